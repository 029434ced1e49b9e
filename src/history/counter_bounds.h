// What a counter may show: at least what the increments in the reader's past add up to, at most what had
// been asked for by the end of the read (for negative increments the other way round).
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "history/history.h"

namespace polyarch::history {

class CounterBounds {
 public:
  struct Range {
    __int128 low = 0;
    __int128 high = 0;
  };

  // `acknowledged`: of unknown outcomes it is not known whether they happened at all. Those that are
  // have a place in a lane, in ascending order.
  void Add(const Operation& op, bool acknowledged, uint32_t lane, uint32_t at);
  void Finish();

  // `clock(lane)`: how many operations of that lane are in the reader's past.
  template <typename Clock>
  Range At(uint64_t completed, const Clock& clock) const {
    Sum past;
    for (const Lane& lane : lanes_) past += Before(lane, clock(lane.number));
    const Sum asked = InvokedUntil(completed);
    return {past.plus + asked.minus, asked.plus + past.minus};
  }

 private:
  struct Sum {
    __int128 plus = 0;
    __int128 minus = 0;
    Sum& operator+=(const Sum& o) {
      plus += o.plus;
      minus += o.minus;
      return *this;
    }
    void Count(int64_t amount) { (amount < 0 ? minus : plus) += amount; }
  };
  struct Lane {
    uint32_t number = 0;
    std::vector<std::pair<uint32_t, Sum>> until;  // place, and the sum up to and with it
  };
  static Sum Before(const Lane& lane, uint32_t count);
  Sum InvokedUntil(uint64_t time) const;

  std::vector<Lane> lanes_;
  std::vector<std::pair<uint64_t, Sum>> by_time_;  // after Finish: sums up to and with it
};

// True if the value is that of a number; nil counts as 0.
bool CounterValue(const History& history, uint32_t value, int64_t& number);
std::string Decimal(__int128 number);

}  // namespace polyarch::history
