#include "replication/origin_row.h"

#include "base/planted.h"

namespace polyarch::replication {

namespace {

// Frames waiting for their durable mark. Under load a row would hold one per frame of the last
// second; dropping one in the middle only makes a claim a little older.
constexpr size_t kWaitingMax = 64;

}  // namespace

void EncodeVector(std::string& out, const clock::VersionVector& vv) {
  size_t count = 0;
  for (size_t i = 0; i < vv.index_end(); ++i) {
    if (vv.Get(static_cast<clock::OriginIndex>(i)) != 0) ++count;
  }
  base::PutVarint(out, count);
  for (size_t i = 0; i < vv.index_end(); ++i) {
    uint64_t sequence = vv.Get(static_cast<clock::OriginIndex>(i));
    if (sequence == 0) continue;
    base::PutVarint(out, i);
    base::PutVarint(out, sequence);
  }
}

bool DecodeVector(base::Reader& in, clock::VersionVector& vv, size_t origins) {
  vv.clear();
  for (uint64_t n = in.Varint(); n > 0 && in.ok(); --n) {
    uint64_t index = in.Varint();
    uint64_t sequence = in.Varint();
    if (index >= origins) {
      in.Fail();
      break;
    }
    vv.Set(static_cast<clock::OriginIndex>(index), sequence);
  }
  return in.ok();
}

void OriginRow::Note(const wire::Frame& frame,
                     const clock::VersionVector& frame_deps,
                     clock::OriginIndex self) {
  last = frame.last();
  chain = frame.chain;
  deps = frame_deps;
  clock_ms = std::max(clock_ms, frame.clock_ms);
  clock::VersionVector covered = frame_deps;
  covered.Set(self, frame.last());
  uint64_t mark = frame.solid ? frame.last() : frame.durable;
  if (PLANTED(kClaimUndurable)) mark = frame.last();
  while (!waiting.empty() && waiting.front().first <= mark) {
    claim = std::move(waiting.front().second);
    has_claim = true;
    waiting.pop_front();
  }
  if (frame.last() <= mark) {
    claim = std::move(covered);
    has_claim = true;
    waiting.clear();
    return;
  }
  if (waiting.size() >= kWaitingMax) waiting.erase(waiting.begin() + kWaitingMax / 2);
  waiting.emplace_back(frame.last(), std::move(covered));
}

void OriginRow::Encode(std::string& out) const {
  base::PutVarint(out, last);
  base::PutFixed64(out, chain);
  base::PutVarint(out, dictionary.size());
  for (size_t i = 0; i < dictionary.size(); ++i) {
    base::PutVarint(out, clock::IndexOf(dictionary.At(i)));
  }
  EncodeVector(out, deps);
  out.push_back(has_claim ? 1 : 0);
  EncodeVector(out, claim);
  base::PutVarint(out, waiting.size());
  for (const auto& [sequence, vv] : waiting) {
    base::PutVarint(out, sequence);
    EncodeVector(out, vv);
  }
  base::PutVarint(out, base::ZigZag(clock_ms));
  out.push_back(ended ? 1 : 0);
}

bool OriginRow::Decode(base::Reader& in, size_t origins) {
  last = in.Varint();
  chain = in.Fixed64();
  uint64_t entries = in.Varint();
  for (uint64_t i = 0; i < entries && in.ok(); ++i) {
    uint64_t index = in.Varint();
    if (index >= origins) {
      in.Fail();
      break;
    }
    auto origin = static_cast<clock::OriginIndex>(index);
    if (i == 0) {
      dictionary = wire::Dictionary(origin);
    } else {
      dictionary.Add(origin);
    }
  }
  DecodeVector(in, deps, origins);
  has_claim = in.Fixed8() != 0;
  DecodeVector(in, claim, origins);
  uint64_t frames = in.Varint();
  if (frames > kWaitingMax) in.Fail();
  for (uint64_t n = frames; n > 0 && in.ok(); --n) {
    uint64_t sequence = in.Varint();
    clock::VersionVector vv;
    DecodeVector(in, vv, origins);
    waiting.emplace_back(sequence, std::move(vv));
  }
  clock_ms = in.SignedVarint();
  ended = in.Fixed8() != 0;
  return in.ok() && entries > 0;
}

}  // namespace polyarch::replication
