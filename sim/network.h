// The simulated network: links between processes as the engine sees them. A link carries messages,
// each way, each with its own delay; it may lose, double and reorder them (the peer protocol allows for
// all of that), so a partition simply drops what is sent across it. A message is never damaged: the
// real transport has a checksum and closes the link.
//
// With split_percent a link is a stream of bytes, framed as on the wire (net/framing.h): the end of some
// messages is held back and comes a little later, before the next ones or together with them.
//
// Endpoints are processes; when one ends, the other sides learn of it after a while, or never (they
// find out by silence).
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "resp/buffer.h"
#include "sim/draw.h"
#include "sim/scheduler.h"

namespace polyarch::sim {

using LinkId = uint64_t;

// What one process gets from the network. Calls come from events, never from within a call of Network.
class Endpoint {
 public:
  virtual ~Endpoint() = default;
  virtual void LinkUp(LinkId link, const std::string& dialed, const std::string& remote) = 0;
  virtual void Message(LinkId link, std::shared_ptr<const std::string> bytes) = 0;
  virtual void Part(LinkId link) = 0;  // some bytes of a message have come
  virtual void LinkDown(LinkId link) = 0;
  virtual void DialFailed(const std::string& address) = 0;
};

// How bad it is; drawn per seed, off in the liveness phase.
struct Weather {
  unsigned loss_percent = 0;
  unsigned duplicate_percent = 0;
  unsigned reorder_percent = 0;
  int64_t delay_min_us = 1 * kMs;
  int64_t delay_max_us = 2 * kMs;
  unsigned split_percent = 0;     // messages that do not come in one piece
  unsigned slow_percent = 0;      // messages that take up to slow_max_us
  int64_t slow_max_us = 10 * kSecond;
};

class Network {
 public:
  Network(Scheduler& scheduler, Draw& draw) : scheduler_(scheduler), draw_(draw) {}

  // A process that can be dialed at `address`, on machine `place` (small integers). The number stays
  // valid until Leave.
  uint64_t Join(int place, std::string address, Endpoint* endpoint);
  // `silent`: the other sides are not told.
  void Leave(uint64_t process, bool silent);

  void Dial(uint64_t process, const std::string& address);
  void Send(LinkId link, std::string_view bytes);
  void Close(LinkId link);
  size_t Backlog(LinkId link) const;

  Weather& weather() { return weather_; }
  // One direction from one place to another.
  void SetBlocked(int from, int to, bool blocked);
  bool IsBlocked(int from, int to) const { return blocked_.count({from, to}) != 0; }
  void UnblockAll() { blocked_.clear(); }
  // Everything sent on this direction arrives at `until_us` or later.
  void Clog(int from, int to, int64_t until_us) { clogged_[{from, to}] = until_us; }
  void UnclogAll() { clogged_.clear(); }
  void SetDelay(int from, int to, int64_t delay_us) { fixed_delay_[{from, to}] = delay_us; }

  uint64_t messages() const { return messages_; }
  uint64_t bytes() const { return bytes_; }
  // Of messages of one type (their first byte).
  uint64_t bytes_of(uint8_t type) const { return bytes_of_[type]; }

 private:
  struct Process {
    int place = 0;
    std::string address;
    Endpoint* endpoint = nullptr;
  };
  struct End {  // one side of a link
    uint64_t process = 0;
    LinkId other = 0;
    bool open = true;
    size_t in_flight = 0;
    int64_t last_arrival_us = 0;
    resp::Buffer stream;  // what has come and is not a whole message yet, or is held back
  };

  int64_t DelayUs(int from, int to);
  void Answer(uint64_t process, const std::string& address, const std::string& from_address);
  void Deliver(LinkId to, LinkId from, std::shared_ptr<const std::string> bytes, size_t charged);
  // Hands on what is whole in the first `visible` bytes that came at `to`.
  void Take(LinkId to, size_t visible);
  void TellDown(LinkId link, int64_t delay_us);
  Process* Find(uint64_t process);

  Scheduler& scheduler_;
  Draw& draw_;
  Weather weather_;
  std::map<uint64_t, Process> processes_;
  std::map<LinkId, End> ends_;
  std::map<std::pair<int, int>, bool> blocked_;
  std::map<std::pair<int, int>, int64_t> clogged_;
  std::map<std::pair<int, int>, int64_t> fixed_delay_;
  uint64_t next_process_ = 1;
  LinkId next_link_ = 1;
  uint64_t messages_ = 0;
  uint64_t bytes_ = 0;
  std::array<uint64_t, 256> bytes_of_{};
};

}  // namespace polyarch::sim
