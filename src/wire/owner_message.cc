#include "wire/owner_message.h"

#include "base/codec.h"
#include "crdt/effect.h"

namespace polyarch::wire {

std::string Encode(const Want& want) {
  std::string out(1, kOwnerMessage);
  base::PutFixed8(out, kOwnerFormat);
  base::PutBytes(out, want.leader);
  base::PutFixed8(out, want.db);
  base::PutBytes(out, want.key);
  base::PutFixed8(out, want.front ? 1 : 0);
  base::PutVarint(out, want.count);
  return out;
}

bool Decode(std::string_view message, Want& want) {
  base::Reader in(message);
  if (in.Fixed8() != static_cast<uint8_t>(kOwnerMessage) || in.Fixed8() != kOwnerFormat) return false;
  want.leader = in.Bytes();
  want.db = in.Fixed8();
  want.key = in.Bytes();
  const uint8_t front = in.Fixed8();
  want.front = front == 1;
  want.count = in.Varint();
  return in.ok() && in.empty() && front <= 1 && want.db < crdt::kDatabases;
}

}  // namespace polyarch::wire
