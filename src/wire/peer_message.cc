#include "wire/peer_message.h"

#include "base/codec.h"

namespace polyarch::wire {

namespace {

constexpr size_t kTextMax = 1024;

void PutOrigin(std::string& out, const clock::Origin& origin) {
  base::PutBytes(out, origin.leader);
  base::PutFixed64(out, origin.incarnation);
}

std::string_view ReadLeader(base::Reader& in) {
  const std::string_view leader = in.Bytes();
  if (leader.empty() || leader.size() > 255) in.Fail();
  return leader;
}

clock::Origin ReadOrigin(base::Reader& in) {
  clock::Origin origin;
  origin.leader = ReadLeader(in);
  origin.incarnation = in.Fixed64();
  return origin;
}

void PutProcess(std::string& out, const ProcessInfo& p) {
  base::PutBytes(out, p.leader);
  base::PutFixed64(out, p.nonce);
  base::PutVarint(out, base::ZigZag(p.started_ms));
  base::PutBytes(out, p.address);
  base::PutFixed64(out, p.incarnation);
  base::PutFixed64(out, p.rival);
}

ProcessInfo ReadProcess(base::Reader& in) {
  ProcessInfo p;
  std::string_view leader = in.Bytes();
  p.nonce = in.Fixed64();
  p.started_ms = in.SignedVarint();
  std::string_view address = in.Bytes();
  p.incarnation = in.Fixed64();
  p.rival = in.Fixed64();
  if (leader.empty() || leader.size() > 255 || address.size() > kTextMax) in.Fail();
  p.leader = leader;
  p.address = address;
  return p;
}

std::string Begin(MessageType type) {
  return std::string(1, static_cast<char>(type));
}

bool Sequence(base::Reader& in, uint64_t& value) {
  value = in.Varint();
  if (value >> 48 != 0) in.Fail();
  return in.ok();
}

}  // namespace

std::string Encode(const Hello& m) {
  std::string out = Begin(MessageType::kHello);
  base::PutVarint(out, m.format);
  base::PutFixed64(out, m.cluster);
  PutProcess(out, m.process);
  out.push_back(m.joining ? 1 : 0);
  base::PutFixed64(out, m.join_nonce);
  base::PutFixed64(out, m.heard);
  base::PutVarint(out, m.version);
  return out;
}

bool Decode(std::string_view payload, Hello& m) {
  base::Reader in(payload);
  uint64_t format = in.Varint();
  m.format = format > UINT32_MAX ? UINT32_MAX : static_cast<uint32_t>(format);
  if (m.format != kPeerFormat) return in.ok();  // the rest may look different
  m.cluster = in.Fixed64();
  m.process = ReadProcess(in);
  m.joining = in.Fixed8() != 0;
  m.join_nonce = in.Fixed64();
  m.heard = in.Fixed64();
  m.version = in.Varint();
  return in.ok() && in.empty();
}

std::string Encode(const Have& m) {
  std::string out = Begin(MessageType::kHave);
  out.push_back(m.full ? 1 : 0);
  base::PutVarint(out, m.number);
  base::PutVarint(out, base::ZigZag(m.wall_ms));
  base::PutVarint(out, m.entries.size());
  for (const HaveEntry& e : m.entries) {
    PutOrigin(out, e.origin);
    base::PutVarint(out, e.applied);
    base::PutVarint(out, e.durable);
  }
  return out;
}

bool Decode(std::string_view payload, Have& m) {
  base::Reader in(payload);
  m.full = in.Fixed8() != 0;
  m.number = in.Varint();
  m.wall_ms = in.SignedVarint();
  m.entries.clear();
  uint64_t n = in.Varint();
  if (n > kListMax) return false;
  for (; n > 0 && in.ok(); --n) {
    HaveEntry e;
    e.origin = ReadOrigin(in);
    Sequence(in, e.applied);
    Sequence(in, e.durable);
    m.entries.push_back(std::move(e));
  }
  return in.ok() && in.empty();
}

std::string Encode(const HaveMore& m) {
  std::string out = Begin(MessageType::kHaveMore);
  base::PutVarint(out, m.number);
  base::PutVarint(out, m.entries.size());
  uint64_t next = 0;
  for (const HaveMoreEntry& e : m.entries) {
    const bool named = !e.name.leader.empty();
    base::PutVarint(out, (e.origin - next) << 1 | (named ? 1 : 0));
    next = e.origin + 1;
    if (named) PutOrigin(out, e.name);
    base::PutVarint(out, e.applied);
    base::PutVarint(out, e.applied - e.durable);
  }
  return out;
}

bool Decode(std::string_view payload, HaveMore& m) {
  base::Reader in(payload);
  m.number = in.Varint();
  m.entries.clear();
  uint64_t n = in.Varint();
  if (n > kListMax) return false;
  uint64_t next = 0;
  for (; n > 0 && in.ok(); --n) {
    HaveMoreEntry e;
    const uint64_t step = in.Varint();
    e.origin = next + (step >> 1);
    if (e.origin >= clock::kOriginsMax) in.Fail();
    next = e.origin + 1;
    if ((step & 1) != 0) e.name = ReadOrigin(in);
    Sequence(in, e.applied);
    const uint64_t behind = in.Varint();
    if (behind > e.applied) in.Fail();
    e.durable = e.applied - behind;
    m.entries.push_back(std::move(e));
  }
  return in.ok() && in.empty();
}

std::string Encode(const Subscribe& m) {
  std::string out = Begin(MessageType::kSubscribe);
  PutOrigin(out, m.origin);
  base::PutVarint(out, m.from);
  base::PutFixed64(out, m.chain);
  base::PutVarint(out, m.credit);
  base::PutVarint(out, m.generation);
  return out;
}

bool Decode(std::string_view payload, Subscribe& m) {
  base::Reader in(payload);
  m.origin = ReadOrigin(in);
  Sequence(in, m.from);
  m.chain = in.Fixed64();
  m.credit = in.Varint();
  m.generation = in.Varint();
  return in.ok() && in.empty() && m.from > 0;
}

std::string Encode(const Unsubscribe& m) {
  std::string out = Begin(MessageType::kUnsubscribe);
  PutOrigin(out, m.origin);
  base::PutVarint(out, m.generation);
  return out;
}

bool Decode(std::string_view payload, Unsubscribe& m) {
  base::Reader in(payload);
  m.origin = ReadOrigin(in);
  m.generation = in.Varint();
  return in.ok() && in.empty();
}

std::string Encode(const Credit& m) {
  std::string out = Begin(MessageType::kCredit);
  PutOrigin(out, m.origin);
  base::PutVarint(out, m.generation);
  base::PutVarint(out, m.credit);
  return out;
}

bool Decode(std::string_view payload, Credit& m) {
  base::Reader in(payload);
  m.origin = ReadOrigin(in);
  m.generation = in.Varint();
  m.credit = in.Varint();
  return in.ok() && in.empty();
}

std::string Encode(const Fork& m) {
  std::string out = Begin(MessageType::kFork);
  PutOrigin(out, m.origin);
  base::PutVarint(out, m.sequence);
  return out;
}

bool Decode(std::string_view payload, Fork& m) {
  base::Reader in(payload);
  m.origin = ReadOrigin(in);
  Sequence(in, m.sequence);
  return in.ok() && in.empty();
}

std::string Encode(const WantReceipt& m) {
  std::string out = Begin(MessageType::kWantReceipt);
  PutOrigin(out, m.origin);
  base::PutVarint(out, m.sequence);
  return out;
}

bool Decode(std::string_view payload, WantReceipt& m) {
  base::Reader in(payload);
  m.origin = ReadOrigin(in);
  Sequence(in, m.sequence);
  return in.ok() && in.empty();
}

std::string Encode(const Receipt& m) {
  std::string out = Begin(MessageType::kReceipt);
  PutOrigin(out, m.origin);
  base::PutBytes(out, m.leader);
  base::PutVarint(out, m.sequence);
  return out;
}

bool Decode(std::string_view payload, Receipt& m) {
  base::Reader in(payload);
  m.origin = ReadOrigin(in);
  m.leader = ReadLeader(in);
  Sequence(in, m.sequence);
  return in.ok() && in.empty();
}

// ---- links

namespace {

constexpr uint8_t kPulseWanted = 1;
constexpr uint8_t kPulseWantFull = 2;

}  // namespace

std::string Encode(const Pulse& m) {
  std::string out = Begin(MessageType::kPulse);
  out.push_back(static_cast<char>((m.wanted ? kPulseWanted : 0) | (m.want_full ? kPulseWantFull : 0)));
  base::PutVarint(out, m.have);
  base::PutVarint(out, m.hello);
  base::PutFixed64(out, m.graph);
  base::PutVarint(out, base::ZigZag(m.wall_ms));
  return out;
}

bool Decode(std::string_view payload, Pulse& m) {
  base::Reader in(payload);
  const uint8_t flags = in.Fixed8();
  m.wanted = (flags & kPulseWanted) != 0;
  m.want_full = (flags & kPulseWantFull) != 0;
  m.have = in.Varint();
  m.hello = in.Varint();
  m.graph = in.Fixed64();
  m.wall_ms = in.SignedVarint();
  return in.ok() && in.empty();
}

std::string Encode(const LinkStates& m) {
  std::string out = Begin(MessageType::kLinkState);
  base::PutVarint(out, m.entries.size());
  for (const LinkState& e : m.entries) {
    PutProcess(out, e.process);
    base::PutVarint(out, e.number);
    base::PutVarint(out, e.neighbours.size());
    for (uint64_t nonce : e.neighbours)
      base::PutFixed64(out, nonce);
  }
  return out;
}

bool Decode(std::string_view payload, LinkStates& m) {
  base::Reader in(payload);
  m.entries.clear();
  uint64_t n = in.Varint();
  if (n > kProcessesMax) return false;
  for (; n > 0 && in.ok(); --n) {
    LinkState e;
    e.process = ReadProcess(in);
    Sequence(in, e.number);
    uint64_t count = in.Varint();
    if (count > kProcessesMax) return false;
    for (; count > 0 && in.ok(); --count) {
      const uint64_t nonce = in.Fixed64();
      if (!e.neighbours.empty() && nonce <= e.neighbours.back()) in.Fail();
      e.neighbours.push_back(nonce);
    }
    m.entries.push_back(std::move(e));
  }
  return in.ok() && in.empty();
}

std::string Encode(const LinkSummary& m) {
  std::string out = Begin(MessageType::kLinkSummary);
  base::PutVarint(out, m.items.size());
  for (const LinkSummary::Item& item : m.items) {
    base::PutFixed64(out, item.nonce);
    base::PutVarint(out, item.number);
  }
  return out;
}

bool Decode(std::string_view payload, LinkSummary& m) {
  base::Reader in(payload);
  m.items.clear();
  uint64_t n = in.Varint();
  if (n > kProcessesMax) return false;
  for (; n > 0 && in.ok(); --n) {
    LinkSummary::Item item;
    item.nonce = in.Fixed64();
    Sequence(in, item.number);
    m.items.push_back(item);
  }
  return in.ok() && in.empty();
}

std::string Encode(const LinkWant& m) {
  std::string out = Begin(MessageType::kLinkWant);
  base::PutVarint(out, m.nonces.size());
  for (uint64_t nonce : m.nonces)
    base::PutFixed64(out, nonce);
  return out;
}

bool Decode(std::string_view payload, LinkWant& m) {
  base::Reader in(payload);
  m.nonces.clear();
  uint64_t n = in.Varint();
  if (n > kProcessesMax) return false;
  for (; n > 0 && in.ok(); --n)
    m.nonces.push_back(in.Fixed64());
  return in.ok() && in.empty();
}

std::string Encode(const Refused& m) {
  std::string out = Begin(MessageType::kRefused);
  out.push_back(static_cast<char>(m.reason));
  base::PutFixed64(out, m.join_nonce);
  return out;
}

bool Decode(std::string_view payload, Refused& m) {
  base::Reader in(payload);
  m.reason = static_cast<Refused::Reason>(in.Fixed8());
  m.join_nonce = in.Fixed64();
  return in.ok() && in.empty();
}

std::string Encode(const Publish& m) {
  std::string out = Begin(MessageType::kPublish);
  out.push_back(static_cast<char>(m.layout));
  base::PutFixed64(out, m.source);
  base::PutVarint(out, m.number);
  out.push_back(m.shard ? 1 : 0);
  base::PutBytes(out, m.channel);
  base::PutBytes(out, m.message);
  return out;
}

bool Decode(std::string_view payload, Publish& m) {
  base::Reader in(payload);
  m.layout = in.Fixed8();
  m.source = in.Fixed64();
  m.number = in.Varint();
  if (!in.ok() || m.layout == 0 || m.number == 0) return false;
  if (m.layout != Publish::kLayout) return true;
  const uint8_t shard = in.Fixed8();
  m.shard = shard == 1;
  m.channel = in.Bytes();
  m.message = in.Bytes();
  return in.ok() && in.empty() && shard <= 1;
}

std::string Encode(const Routed& m) {
  std::string out = Begin(MessageType::kRouted);
  base::PutFixed64(out, m.to);
  base::PutFixed8(out, m.hops);
  base::PutFixed8(out, m.layout);
  base::PutBytes(out, m.payload);
  return out;
}

bool Decode(std::string_view payload, Routed& m) {
  base::Reader in(payload);
  m.to = in.Fixed64();
  m.hops = in.Fixed8();
  m.layout = in.Fixed8();
  m.payload = {};
  if (!in.ok() || m.layout == 0) return false;
  if (m.layout != Routed::kLayout) return true;
  m.payload = in.Bytes();
  return in.ok() && in.empty();
}

}  // namespace polyarch::wire
