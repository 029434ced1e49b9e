#include "wire/frame.h"

#include "base/codec.h"
#include "base/hash.h"

namespace polyarch::wire {

namespace {

constexpr uint8_t kSolid = 1;
constexpr uint64_t kSequenceMax = (uint64_t{1} << 48) - 1;
constexpr size_t kLeaderBytesMax = 255;

bool ReadName(base::Reader& in, FrameName& name, uint8_t& flags) {
  if (in.Fixed8() != kFrameFormat) in.Fail();
  flags = in.Fixed8();
  name.leader = in.Bytes();
  name.incarnation = in.Fixed64();
  name.first = in.Varint();
  name.count = in.Varint();
  if (name.leader.empty() || name.leader.size() > kLeaderBytesMax || name.first == 0 ||
      name.count == 0 || name.first > kSequenceMax || name.count > kSequenceMax - name.first) {
    in.Fail();
  }
  return in.ok();
}

uint64_t Chain(std::string_view head, std::string_view body, uint64_t previous) {
  return base::ContentHash64(body, base::ContentHash64(head, previous));
}

}  // namespace

void AppendFrame(std::string& out, Frame& frame, uint64_t previous_chain) {
  const size_t start = out.size();
  base::PutFixed8(out, kFrameFormat);
  base::PutFixed8(out, frame.solid ? kSolid : 0);
  base::PutBytes(out, frame.origin.leader);
  base::PutFixed64(out, frame.origin.incarnation);
  base::PutVarint(out, frame.first);
  base::PutVarint(out, frame.count);
  base::PutFixed64(out, frame.base.bits);
  base::PutVarint(out, frame.first - 1 - frame.durable);
  base::PutVarint(out, base::ZigZag(static_cast<int64_t>(static_cast<uint64_t>(frame.clock_ms) - frame.base.ms())));
  base::PutVarint(out, frame.deps_changed.size());
  for (const auto& [place, increase] : frame.deps_changed) {
    base::PutVarint(out, place);
    base::PutVarint(out, increase);
  }
  base::PutVarint(out, frame.deps_new.size());
  for (const auto& [origin, sequence] : frame.deps_new) {
    base::PutBytes(out, origin.leader);
    base::PutFixed64(out, origin.incarnation);
    base::PutVarint(out, sequence);
  }
  frame.chain = Chain(std::string_view(out).substr(start), frame.body, previous_chain);
  base::PutFixed64(out, frame.chain);
  out.append(frame.body);
}

bool ParseFrame(std::string_view bytes, Frame& frame) {
  base::Reader in(bytes);
  FrameName name;
  uint8_t flags = 0;
  if (!ReadName(in, name, flags)) return false;
  frame.solid = (flags & kSolid) != 0;
  frame.origin.leader = name.leader;
  frame.origin.incarnation = name.incarnation;
  frame.first = name.first;
  frame.count = name.count;
  frame.base.bits = in.Fixed64();
  uint64_t behind = in.Varint();
  if (behind > frame.first - 1) in.Fail();
  frame.durable = frame.first - 1 - behind;
  frame.clock_ms = static_cast<int64_t>(static_cast<uint64_t>(in.SignedVarint()) + frame.base.ms());
  frame.deps_changed.clear();
  for (uint64_t n = in.Varint(); n > 0 && in.ok(); --n) {
    uint64_t place = in.Varint();
    uint64_t increase = in.Varint();
    frame.deps_changed.emplace_back(place, increase);
  }
  frame.deps_new.clear();
  for (uint64_t n = in.Varint(); n > 0 && in.ok(); --n) {
    clock::Origin origin;
    origin.leader = in.Bytes();
    origin.incarnation = in.Fixed64();
    uint64_t sequence = in.Varint();
    if (origin.leader.empty() || origin.leader.size() > kLeaderBytesMax || sequence > kSequenceMax)
      in.Fail();
    frame.deps_new.emplace_back(std::move(origin), sequence);
  }
  frame.chain = in.Fixed64();
  frame.body = in.Raw(in.remaining());
  return in.ok();
}

uint64_t ChainOf(std::string_view bytes, const Frame& frame, uint64_t previous_chain) {
  std::string_view head = bytes.substr(0, bytes.size() - frame.body.size() - 8);
  return Chain(head, frame.body, previous_chain);
}

bool ParseFrameName(std::string_view bytes, FrameName& name) {
  base::Reader in(bytes);
  uint8_t flags = 0;
  return ReadName(in, name, flags);
}

}  // namespace polyarch::wire
