// A frame: the changes that one origin made in one tick; the unit of logging, forwarding and
// applying. docs/FORMATS.md, "frame 1". The same bytes everywhere: a node logs and forwards what it
// received.
//
// `deps` is what the author had applied when the tick began, as a difference from its previous
// frame: origins are named by their place in the author's dictionary (0: the author itself, n: the
// n-th origin that its frames listed), so after the first mention an origin costs a byte or two.
// The reader keeps that dictionary per origin (replication/origin_row.h).
//
// `chain` is a hash over the frame's own bytes seeded with the chain of the previous frame: two
// contents for one dot show at first contact, whoever forwards them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "clock/hlc.h"
#include "clock/origin.h"

namespace polyarch::wire {

struct Frame {
  bool solid = false;  // all that deps cover was durable at the author when it wrote this
  clock::Origin origin;
  uint64_t first = 0;    // sequence of the first change; dense
  uint64_t count = 0;    // changes; at least 1 (the empty frame is one empty change)
  clock::Hlc base;       // stamps in the body count from here
  uint64_t durable = 0;  // the author's highest own sequence known durable
  int64_t clock_ms = 0;  // the time at which the author hides what has expired: its clock, or later
  std::vector<std::pair<uint64_t, uint64_t>> deps_changed;  // place, increase of the sequence
  std::vector<std::pair<clock::Origin, uint64_t>>
      deps_new;  // origin, sequence; in dictionary order
  uint64_t chain = 0;
  std::string_view body;

  uint64_t last() const { return first + count - 1; }
};

inline constexpr uint8_t kFrameFormat = 1;

// Appends the encoded frame; computes `frame.chain` from `previous_chain`.
void AppendFrame(std::string& out, Frame& frame, uint64_t previous_chain);

// Decodes; the body is a view into `bytes`. False on malformed bytes.
bool ParseFrame(std::string_view bytes, Frame& frame);
// The chain that `bytes` (a well-formed frame) must carry after `previous_chain`.
uint64_t ChainOf(std::string_view bytes, const Frame& frame, uint64_t previous_chain);

// Just whose and which: for filtering a log without decoding it.
struct FrameName {
  std::string_view leader;
  uint64_t incarnation = 0;
  uint64_t first = 0;
  uint64_t count = 0;
};
bool ParseFrameName(std::string_view bytes, FrameName& name);

}  // namespace polyarch::wire
