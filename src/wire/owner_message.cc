#include "wire/owner_message.h"

#include "base/codec.h"
#include "crdt/effect.h"

namespace polyarch::wire {

namespace {

// What a want is of; of a list from which end.
constexpr uint8_t kFirst = 1;
constexpr uint8_t kOfGroup = 2;
constexpr uint8_t kOfPending = 3;

}  // namespace

std::string Encode(const Want& want) {
  std::string out(1, kOwnerMessage);
  base::PutFixed8(out, kOwnerFormat);
  base::PutBytes(out, want.leader);
  base::PutFixed8(out, want.db);
  base::PutBytes(out, want.key);
  if (!want.group) {
    base::PutFixed8(out, want.front ? 1 : 0);
    base::PutVarint(out, want.count);
    return out;
  }
  base::PutFixed8(out, want.pending.empty() ? kOfGroup : kOfPending);
  base::PutBytes(out, *want.group);
  if (want.pending.empty()) {
    base::PutVarint(out, want.count);
    return out;
  }
  base::PutVarint(out, want.pending.size());
  for (const crdt::StreamId& id : want.pending) {
    base::PutVarint(out, id.ms);
    base::PutVarint(out, id.seq);
  }
  return out;
}

bool Decode(std::string_view message, Want& want) {
  base::Reader in(message);
  if (in.Fixed8() != static_cast<uint8_t>(kOwnerMessage) || in.Fixed8() != kOwnerFormat) return false;
  want.leader = in.Bytes();
  want.db = in.Fixed8();
  want.key = in.Bytes();
  const uint8_t of = in.Fixed8();
  want.front = of == kFirst;
  want.count = 0;
  want.group.reset();
  want.pending.clear();
  if (of == kOfGroup || of == kOfPending) want.group = in.Bytes();
  if (of != kOfPending) {
    want.count = in.Varint();
  } else {
    const uint64_t ids = in.Varint();
    if (!in.ok() || ids == 0 || ids > kWantedPendingMax) return false;
    for (uint64_t i = 0; i < ids; ++i) {
      const uint64_t ms = in.Varint();
      want.pending.push_back({ms, in.Varint()});
    }
  }
  return in.ok() && in.empty() && of <= kOfPending && want.db < crdt::kDatabases;
}

}  // namespace polyarch::wire
