#include "wire/sync_message.h"

#include <algorithm>
#include <map>

namespace polyarch::wire {

namespace {

constexpr char kRequestType = 'q';
constexpr char kReplyType = 'r';
constexpr size_t kLeaderMax = 255;

void PutOrigin(std::string& out, const clock::Origin& origin) {
  base::PutBytes(out, origin.leader);
  base::PutFixed64(out, origin.incarnation);
}

clock::Origin ReadOrigin(base::Reader& in) {
  clock::Origin origin;
  const std::string_view leader = in.Bytes();
  if (leader.empty() || leader.size() > kLeaderMax) in.Fail();
  origin.leader = leader;
  origin.incarnation = in.Fixed64();
  return origin;
}

// A tuple names few origins and each many times: they are listed once, in the order in which they
// come.
class Origins {
 public:
  uint64_t PlaceOf(const clock::Origin& origin) {
    auto [it, fresh] = places_.try_emplace(origin, list_.size());
    if (fresh) list_.push_back(origin);
    return it->second;
  }
  void PutBallot(std::string& out, const clock::Ballot& ballot) {
    base::PutVarint(out, ballot.counter);
    if (!ballot.none()) base::PutVarint(out, PlaceOf(ballot.proposer));
  }
  void Put(std::string& out) const {
    base::PutVarint(out, list_.size());
    for (const clock::Origin& origin : list_)
      PutOrigin(out, origin);
  }

  bool Read(base::Reader& in) {
    uint64_t n = in.Varint();
    if (n > kSyncListMax) in.Fail();
    for (; n > 0 && in.ok(); --n)
      list_.push_back(ReadOrigin(in));
    return in.ok();
  }
  clock::Origin ReadPlace(base::Reader& in) const {
    const uint64_t place = in.Varint();
    if (place >= list_.size()) {
      in.Fail();
      return {};
    }
    return list_[place];
  }
  clock::Ballot ReadBallot(base::Reader& in) const {
    clock::Ballot ballot;
    ballot.counter = in.Varint();
    if (!ballot.none()) ballot.proposer = ReadPlace(in);
    return ballot;
  }

 private:
  std::map<clock::Origin, uint64_t> places_;
  std::vector<clock::Origin> list_;
};

void PutSeats(std::string& out, const std::vector<Seat>& seats) {
  base::PutVarint(out, seats.size());
  for (const Seat& seat : seats)
    PutOrigin(out, {seat.leader, seat.id});
}

std::vector<Seat> ReadSeats(base::Reader& in) {
  std::vector<Seat> seats;
  uint64_t n = in.Varint();
  if (n > kElectorsMax) in.Fail();
  for (; n > 0 && in.ok(); --n) {
    clock::Origin origin = ReadOrigin(in);
    seats.push_back({std::move(origin.leader), origin.incarnation});
  }
  return seats;
}

std::string Begin(char type) {
  return {static_cast<char>(kSyncFormat), type};
}

bool ReadBegin(base::Reader& in, char type) {
  if (in.Fixed8() != kSyncFormat || in.Fixed8() != static_cast<uint8_t>(type)) in.Fail();
  return in.ok();
}

}  // namespace

void PutBallot(std::string& out, const clock::Ballot& ballot) {
  base::PutVarint(out, ballot.counter);
  if (!ballot.none()) PutOrigin(out, ballot.proposer);
}

clock::Ballot ReadBallot(base::Reader& in) {
  clock::Ballot ballot;
  ballot.counter = in.Varint();
  if (!ballot.none()) ballot.proposer = ReadOrigin(in);
  return ballot;
}

void PutElectorate(std::string& out, const Electorate& electorate) {
  base::PutVarint(out, electorate.epoch);
  if (electorate.epoch == 0) return;
  PutSeats(out, electorate.now);
  PutSeats(out, electorate.next);
  PutBallot(out, electorate.floor);
  base::PutBytes(out, electorate.rules);
}

Electorate ReadElectorate(base::Reader& in) {
  Electorate electorate;
  electorate.epoch = in.Varint();
  if (electorate.epoch == 0) return electorate;
  electorate.now = ReadSeats(in);
  electorate.next = ReadSeats(in);
  electorate.floor = ReadBallot(in);
  electorate.rules = in.Bytes();
  if (electorate.now.empty()) in.Fail();
  return electorate;
}

void PutSyncKey(std::string& out, const SyncKey& key) {
  base::PutFixed8(out, key.db);
  base::PutBytes(out, key.key);
}

SyncKey ReadSyncKey(base::Reader& in) {
  SyncKey key;
  key.db = in.Fixed8();
  const std::string_view name = in.Bytes();
  if (name.size() > kSyncKeyBytesMax) in.Fail();
  key.key = name;
  return key;
}

void PutVoteNumbers(std::string& out, const VoteNumbers& numbers) {
  base::PutVarint(out, numbers.size());
  for (const VoteNumber& n : numbers) {
    base::PutFixed64(out, n.seat);
    base::PutVarint(out, n.number);
  }
}

VoteNumbers ReadVoteNumbers(base::Reader& in) {
  VoteNumbers numbers;
  uint64_t n = in.Varint();
  if (n > kElectorsMax) in.Fail();
  for (; n > 0 && in.ok(); --n) {
    VoteNumber number;
    number.seat = in.Fixed64();
    number.number = in.Varint();
    numbers.push_back(number);
  }
  return numbers;
}

void PutTuple(std::string& out, const Tuple& tuple) {
  Origins origins;
  std::string body;
  origins.PutBallot(body, tuple.version);
  base::PutVarint(body, tuple.chain.size());
  for (const Named& write : tuple.chain) {
    origins.PutBallot(body, write.name);
    origins.PutBallot(body, write.version);
  }
  origins.PutBallot(body, tuple.since);
  base::PutVarint(body, tuple.deps.size());
  for (const Dependency& d : tuple.deps) {
    base::PutVarint(body, origins.PlaceOf(d.origin));
    base::PutVarint(body, d.sequence);
  }
  base::PutFixed64(body, tuple.hlc.bits);
  base::PutFixed8(body, tuple.absent ? 1 : 0);
  base::PutFixed64(body, static_cast<uint64_t>(tuple.expires_ms));
  base::PutBytes(body, tuple.value);
  origins.Put(out);
  out += body;
}

Tuple ReadTuple(base::Reader& in) {
  Tuple tuple;
  Origins origins;
  if (!origins.Read(in)) return tuple;
  tuple.version = origins.ReadBallot(in);
  uint64_t n = in.Varint();
  if (n > kChainMax) in.Fail();
  for (; n > 0 && in.ok(); --n) {
    Named write;
    write.name = origins.ReadBallot(in);
    write.version = origins.ReadBallot(in);
    tuple.chain.push_back(std::move(write));
  }
  tuple.since = origins.ReadBallot(in);
  n = in.Varint();
  if (n > kSyncListMax) in.Fail();
  for (; n > 0 && in.ok(); --n) {
    Dependency d;
    d.origin = origins.ReadPlace(in);
    d.sequence = in.Varint();
    if (d.sequence >> 48 != 0) in.Fail();
    if (!tuple.deps.empty() && !(tuple.deps.back().origin < d.origin)) in.Fail();
    tuple.deps.push_back(std::move(d));
  }
  tuple.hlc.bits = in.Fixed64();
  tuple.absent = in.Fixed8() != 0;
  tuple.expires_ms = static_cast<int64_t>(in.Fixed64());
  tuple.value = in.Bytes();
  return tuple;
}

std::string Encode(const SyncRequest& m) {
  std::string out = Begin(kRequestType);
  base::PutFixed8(out, static_cast<uint8_t>(m.ask));
  PutOrigin(out, m.proposer);
  base::PutFixed64(out, m.round);
  base::PutFixed64(out, m.seat);
  PutElectorate(out, m.electorate);
  PutSyncKey(out, m.key);
  PutBallot(out, m.ballot);
  PutVoteNumbers(out, m.known);
  if (m.ask == SyncAsk::kAccept) {
    PutBallot(out, m.next);
    PutTuple(out, m.tuple);
  }
  return out;
}

bool Decode(std::string_view message, SyncRequest& m) {
  base::Reader in(message);
  if (!ReadBegin(in, kRequestType)) return false;
  const uint8_t ask = in.Fixed8();
  if (ask < static_cast<uint8_t>(SyncAsk::kPrepare) || ask > static_cast<uint8_t>(SyncAsk::kVotes))
    return false;
  m.ask = static_cast<SyncAsk>(ask);
  m.proposer = ReadOrigin(in);
  m.round = in.Fixed64();
  m.seat = in.Fixed64();
  m.electorate = ReadElectorate(in);
  m.key = ReadSyncKey(in);
  m.ballot = ReadBallot(in);
  m.known = ReadVoteNumbers(in);
  if (m.ask == SyncAsk::kAccept) {
    m.next = ReadBallot(in);
    m.tuple = ReadTuple(in);
    if (m.tuple.none()) in.Fail();
  }
  // Where nobody votes yet, seats are asked for by who is about to begin.
  if (m.electorate.epoch == 0 && m.ask != SyncAsk::kSeat) in.Fail();
  const bool ballot =
      m.ask == SyncAsk::kPrepare || m.ask == SyncAsk::kAccept || m.ask == SyncAsk::kDrop;
  if (ballot && m.ballot.none()) in.Fail();
  return in.ok() && in.empty();
}

std::string Encode(const SyncReply& m) {
  std::string out = Begin(kReplyType);
  base::PutFixed8(out, static_cast<uint8_t>(m.said));
  PutOrigin(out, m.proposer);
  base::PutFixed64(out, m.round);
  PutOrigin(out, {m.seat.leader, m.seat.id});
  base::PutVarint(out, m.vote);
  base::PutFixed64(out, static_cast<uint64_t>(m.clock_ms));
  switch (m.said) {
    case SyncSaid::kRow:
      PutBallot(out, m.accepted);
      PutBallot(out, m.floor);
      PutTuple(out, m.tuple);
      break;
    case SyncSaid::kRefused:
      PutElectorate(out, m.electorate);
      PutBallot(out, m.promised);
      break;
    case SyncSaid::kKeys:
      PutBallot(out, m.floor);
      base::PutFixed8(out, m.more ? 1 : 0);
      base::PutVarint(out, m.keys.size());
      for (const SyncKey& key : m.keys)
        PutSyncKey(out, key);
      break;
    case SyncSaid::kVotes:
      PutElectorate(out, m.electorate);
      base::PutVarint(out, m.known);
      break;
    case SyncSaid::kAccepted:
    case SyncSaid::kSeat:
    case SyncSaid::kDropped:
      break;
  }
  return out;
}

bool Decode(std::string_view message, SyncReply& m) {
  base::Reader in(message);
  if (!ReadBegin(in, kReplyType)) return false;
  const uint8_t said = in.Fixed8();
  if (said < static_cast<uint8_t>(SyncSaid::kRow) || said > static_cast<uint8_t>(SyncSaid::kVotes))
    return false;
  m.said = static_cast<SyncSaid>(said);
  m.proposer = ReadOrigin(in);
  m.round = in.Fixed64();
  clock::Origin seat = ReadOrigin(in);
  m.seat = {std::move(seat.leader), seat.incarnation};
  m.vote = in.Varint();
  m.clock_ms = static_cast<int64_t>(in.Fixed64());
  switch (m.said) {
    case SyncSaid::kRow:
      m.accepted = ReadBallot(in);
      m.floor = ReadBallot(in);
      m.tuple = ReadTuple(in);
      if (m.tuple.none() != m.accepted.none()) in.Fail();
      break;
    case SyncSaid::kRefused:
      m.electorate = ReadElectorate(in);
      m.promised = ReadBallot(in);
      break;
    case SyncSaid::kKeys: {
      m.floor = ReadBallot(in);
      m.more = in.Fixed8() != 0;
      uint64_t n = in.Varint();
      if (n > kSyncListMax) in.Fail();
      m.keys.clear();
      for (; n > 0 && in.ok(); --n)
        m.keys.push_back(ReadSyncKey(in));
      break;
    }
    case SyncSaid::kVotes:
      m.electorate = ReadElectorate(in);
      m.known = in.Varint();
      break;
    case SyncSaid::kAccepted:
    case SyncSaid::kSeat:
    case SyncSaid::kDropped:
      break;
  }
  return in.ok() && in.empty();
}

std::optional<bool> IsSyncRequest(std::string_view message) {
  if (message.size() < 2 || static_cast<uint8_t>(message[0]) != kSyncFormat) return std::nullopt;
  if (message[1] == kRequestType) return true;
  if (message[1] == kReplyType) return false;
  return std::nullopt;
}

}  // namespace polyarch::wire
