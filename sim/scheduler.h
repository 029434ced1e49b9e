// Simulated time: a queue of events, run in order of (time, order of scheduling). Nothing here or above
// it reads a real clock.
#pragma once

#include <cstdint>
#include <functional>
#include <queue>
#include <vector>

namespace polyarch::sim {

inline constexpr int64_t kMs = 1000;
inline constexpr int64_t kSecond = 1'000'000;
inline constexpr int64_t kHour = 3600 * kSecond;
inline constexpr int64_t kDay = 24 * kHour;
inline constexpr int64_t kYear = 365 * kDay;

class Scheduler {
 public:
  int64_t now_us() const { return now_us_; }
  void At(int64_t time_us, std::function<void()> run) {
    queue_.push({time_us < now_us_ ? now_us_ : time_us, next_++, std::move(run)});
  }
  void After(int64_t delay_us, std::function<void()> run) { At(now_us_ + delay_us, std::move(run)); }

  // Runs the next event if it is due before `end_us`; else moves the time there and returns false.
  bool RunNext(int64_t end_us) {
    if (queue_.empty() || queue_.top().time_us >= end_us) {
      now_us_ = end_us;
      return false;
    }
    // The queue's top is const; the event is moved out and popped before anybody looks at it again.
    auto run = std::move(const_cast<Event&>(queue_.top()).run);
    if (queue_.top().time_us > now_us_) now_us_ = queue_.top().time_us;  // after a leap it is late
    queue_.pop();
    ++events_;
    run();
    return true;
  }
  // All clocks move on by `us`; whatever was due meanwhile is late.
  void Leap(int64_t us) { now_us_ += us; }
  uint64_t events() const { return events_; }

 private:
  struct Event {
    int64_t time_us;
    uint64_t order;
    std::function<void()> run;
    bool operator<(const Event& o) const {  // the earliest on top
      return time_us != o.time_us ? time_us > o.time_us : order > o.order;
    }
  };
  int64_t now_us_ = 0;
  uint64_t next_ = 0;
  uint64_t events_ = 0;
  std::priority_queue<Event> queue_;
};

}  // namespace polyarch::sim
