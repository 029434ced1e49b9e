#include "wire/escrow_message.h"

#include "base/codec.h"
#include "crdt/effect.h"

namespace polyarch::wire {

std::string Encode(const Need& need) {
  std::string out(1, kEscrowMessage);
  base::PutFixed8(out, kEscrowFormat);
  base::PutBytes(out, need.leader);
  base::PutFixed64(out, need.holder);
  base::PutVarint(out, need.number);
  base::PutFixed8(out, need.db);
  base::PutBytes(out, need.key);
  base::PutBytes(out, need.stock);
  base::PutVarint(out, need.must);
  base::PutVarint(out, need.more);
  base::PutFixed8(out, need.all ? 1 : 0);
  return out;
}

bool Decode(std::string_view message, Need& need) {
  base::Reader in(message);
  if (in.Fixed8() != static_cast<uint8_t>(kEscrowMessage) || in.Fixed8() != kEscrowFormat) return false;
  need.leader = in.Bytes();
  need.holder = in.Fixed64();
  need.number = in.Varint();
  need.db = in.Fixed8();
  need.key = in.Bytes();
  need.stock = in.Bytes();
  need.must = in.Varint();
  need.more = in.Varint();
  const uint8_t all = in.Fixed8();
  need.all = all == 1;
  return in.ok() && in.empty() && all <= 1 && need.db < crdt::kDatabases;
}

}  // namespace polyarch::wire
