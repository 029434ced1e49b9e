#include "replication/origin_row.h"

#include "base/planted.h"

namespace polyarch::replication {

namespace {

// Frames waiting for their durable mark. Under load a row would hold one per frame of the last
// second; dropping one in the middle only makes a claim a little older.
constexpr size_t kWaitingMax = 64;

constexpr uint8_t kRowsOverBase = 3;  // the first version of checkpoint rows with a base
constexpr uint8_t kEnded = 1;
constexpr uint8_t kCompact = 2;
constexpr uint8_t kHasClaim = 4;

}  // namespace

void EncodeVector(std::string& out, const clock::VersionVector& vv) {
  EncodeOver(out, vv, nullptr);
}

bool DecodeVector(base::Reader& in, clock::VersionVector& vv, size_t origins) {
  return DecodeOver(in, vv, origins, nullptr);
}

void EncodeOver(std::string& out, const clock::VersionVector& vv, const OriginRow::Base& base) {
  if (vv.base() != base) {
    clock::VersionVector over = vv;
    over.Rebase(base);
    return EncodeOver(out, over, base);
  }
  base::PutVarint(out, vv.entries().size());
  for (const auto& [origin, sequence] : vv.entries()) {
    base::PutVarint(out, clock::IndexOf(origin));
    base::PutVarint(out, sequence);
  }
}

bool DecodeOver(base::Reader& in, clock::VersionVector& vv, size_t origins, const OriginRow::Base& base) {
  std::vector<clock::VersionVector::Entry> entries;
  for (uint64_t n = in.Varint(); n > 0 && in.ok(); --n) {
    const uint64_t index = in.Varint();
    const uint64_t sequence = in.Varint();
    if (index >= origins || (!entries.empty() && index <= clock::IndexOf(entries.back().first))) {
      in.Fail();
      break;
    }
    entries.emplace_back(static_cast<clock::OriginIndex>(index), sequence);
  }
  vv = clock::VersionVector::Over(base, entries);
  return in.ok();
}

void OriginRow::Note(const wire::Frame& frame,
                     const clock::VersionVector& frame_deps,
                     clock::OriginIndex self) {
  last = frame.last();
  chain = frame.chain;
  followed = frame.first - 1;
  compact = false;
  deps = frame_deps;
  clock_ms = std::max(clock_ms, frame.clock_ms);
  clock::VersionVector covered = frame_deps;
  covered.Set(self, frame.last());
  uint64_t mark = frame.solid ? frame.last() : frame.durable;
  if (PLANTED(kClaimUndurable)) mark = frame.last();
  while (!waiting.empty() && waiting.front().first <= mark) {
    claim = std::move(waiting.front().second);
    has_claim = true;
    waiting.erase(waiting.begin());
  }
  if (frame.last() <= mark) {
    claim = std::move(covered);
    has_claim = true;
    waiting.clear();
    return;
  }
  if (ended) return;
  if (waiting.size() >= kWaitingMax) waiting.erase(waiting.begin() + kWaitingMax / 2);
  waiting.emplace_back(frame.last(), std::move(covered));
}

void OriginRow::Encode(std::string& out, const Base& base) const {
  base::PutVarint(out, last);
  base::PutFixed64(out, chain);
  out.push_back(static_cast<char>((ended ? kEnded : 0) | (compact ? kCompact : 0) | (has_claim ? kHasClaim : 0)));
  base::PutVarint(out, dictionary.size());
  for (size_t i = 0; i < dictionary.size(); ++i) {
    base::PutVarint(out, clock::IndexOf(dictionary.At(i)));
  }
  EncodeOver(out, deps, compact ? nullptr : base);
  if (has_claim) EncodeOver(out, claim, base);
  base::PutVarint(out, waiting.size());
  for (const auto& [sequence, vv] : waiting) {
    base::PutVarint(out, sequence);
    EncodeOver(out, vv, base);
  }
  base::PutVarint(out, base::ZigZag(clock_ms));
}

bool OriginRow::Decode(base::Reader& in, size_t origins, const Base& base, uint8_t version) {
  last = in.Varint();
  chain = in.Fixed64();
  const bool old = version < kRowsOverBase;
  if (!old) {
    const uint8_t flags = in.Fixed8();
    ended = (flags & kEnded) != 0;
    compact = (flags & kCompact) != 0;
    has_claim = (flags & kHasClaim) != 0;
  }
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
  DecodeOver(in, deps, origins, compact ? nullptr : base);
  if (old) has_claim = in.Fixed8() != 0;
  if (old || has_claim) DecodeOver(in, claim, origins, base);
  uint64_t frames = in.Varint();
  if (frames > kWaitingMax) in.Fail();
  for (uint64_t n = frames; n > 0 && in.ok(); --n) {
    uint64_t sequence = in.Varint();
    clock::VersionVector vv;
    DecodeOver(in, vv, origins, base);
    waiting.emplace_back(sequence, std::move(vv));
  }
  clock_ms = in.SignedVarint();
  if (old) ended = in.Fixed8() != 0;
  if (ended) waiting = {};
  return in.ok() && entries > 0;
}

}  // namespace polyarch::replication
