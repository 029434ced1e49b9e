// What lies on disk or comes back from clients: rows, local records, ledger rows, tokens, vectors and
// policies as text.
#include "engine/rows.h"

#include "base/check.h"
#include "command/polyarch_token.h"
#include "conflict/ledger.h"
#include "conflict/policy.h"
#include "engine/staged.h"
#include "fuzz/target.h"

namespace polyarch::fuzz {

namespace {

constexpr unsigned kKinds = 10;

crdt::Register RandomRegister(base::Random& random) {
  crdt::Register state;
  for (uint16_t o = 0; o < 4; ++o) {
    const clock::OriginIndex origin{o};
    const clock::Dot dot(origin, 1 + random.Below(1000));
    if (random.Percent(50)) {
      state.versions.push_back({dot, {random.Next()}, random.Percent(50), random.Percent(20), std::string(random.Below(30), 'v')});
    }
    if (random.Percent(50)) {
      crdt::CounterEntry e{.origin = origin, .life = {1, 0}, .at = {1 + random.Below(9), 0}};
      e.total = random.Percent(50) ? crdt::Number::Integer(static_cast<int64_t>(random.Next())) : crdt::Number::Real(0.5L);
      state.counters.push_back(e);
    }
  }
  return state;
}

crdt::KeyState RandomState(base::Random& random) {
  crdt::KeyState state;
  static_cast<crdt::Register&>(state) = RandomRegister(random);
  for (uint16_t o = 0; o < 4; ++o) {
    const clock::Dot dot(clock::OriginIndex{o}, 1 + random.Below(1000));
    if (random.Percent(30)) state.expiries.push_back({dot, {random.Next()}, static_cast<int64_t>(random.Next())});
  }
  for (uint8_t type = 1; type <= crdt::kTypeMax; ++type) {
    crdt::Element e;
    static_cast<crdt::Register&>(e) = RandomRegister(random);
    e.type = static_cast<crdt::Type>(type);
    e.name = std::string(random.Below(20), 'e');
    if (!e.empty() && random.Percent(50)) state.elements.push_back(std::move(e));
  }
  return state;
}

size_t HighestOrigin(const crdt::Register& state) {
  size_t named = 0;
  for (const auto& v : state.versions) named = std::max(named, clock::IndexOf(v.dot.origin()));
  for (const auto& e : state.counters) named = std::max(named, clock::IndexOf(e.origin));
  return named;
}

}  // namespace

void Run(std::string_view bytes) {
  Input input(bytes);
  const unsigned kind = input.Byte() % kKinds;
  const std::string_view row = input.Rest();
  switch (kind) {
    case 0: {
      engine::DataRow read;
      if (!engine::DecodeDataRow(row, read)) return;
      const crdt::KeyState& state = read.state;
      engine::DataRow again;
      CHECK(engine::DecodeDataRow(engine::EncodeDataRow(read.position, state, read.spilled), again));
      CHECK(again.state == state && again.position == read.position && again.spilled == read.spilled);
      // A state of known origins can be shown and compared.
      clock::OriginTable origins;
      size_t named = HighestOrigin(state);
      for (const auto& e : state.elements) named = std::max(named, HighestOrigin(e));
      for (const auto& x : state.expiries) named = std::max(named, clock::IndexOf(x.dot.origin()));
      if (named > 100) return;
      for (size_t i = 0; i <= named; ++i) origins.Intern({"o", i});
      (void)crdt::Canonical(state, origins, true);
      (void)crdt::CounterSum(state, origins);
      (void)crdt::NewestType(state, origins);
      (void)crdt::ClearsOf(state);
      (void)state.ExpiryTime();
      const std::string token = command::EncodeToken(command::MakeToken(state, origins), {3, "key"});
      // (A token wants more of its numbers than a row does.)
      (void)command::DecodeToken(token, {3, "key"});
      return;
    }
    case 1: {
      engine::DataRowName name;
      if (!engine::ParseDataRowKey(row, name)) return;
      CHECK(engine::RowKeyOf(name).substr(2) == row.substr(2));
      return;
    }
    case 2: {
      clock::Origin origin;
      if (engine::DecodeOriginRow(row, origin)) {
        clock::Origin again;
        CHECK(engine::DecodeOriginRow(engine::EncodeOriginRow(origin), again) && again == origin);
      }
      return;
    }
    case 3: {
      engine::Local local;
      (void)engine::DecodeLocal(row, local);
      return;
    }
    case 4: {
      conflict::Ledger ledger{{.entries_max = 3, .bytes_max = 10'000, .age_ms_max = 1000}};
      // Several rows, each with its length before it; ids rise.
      Input rows(row);
      for (uint64_t id = 0; id < 20 && !rows.empty(); ++id) {
        std::string key(8, '\0');
        key[7] = static_cast<char>(rows.Byte() % 8);
        (void)ledger.Load(key, rows.Text(250));
      }
      ledger.Expire(1'700'000'000'000);
      ledger.SetLimits({.entries_max = 2, .bytes_max = 1'000, .age_ms_max = 10});
      size_t seen = 0;
      ledger.Visit(0, [&](const conflict::LedgerEntry& e) {
        CHECK(ledger.Find(e.id) == &e);
        ++seen;
        return true;
      });
      CHECK(seen == ledger.size() && seen <= 2);
      for (const auto& [key, value] : ledger.TakeDirty().rows) {
        conflict::Ledger again{{}};
        CHECK(again.Load(key, value));
      }
      return;
    }
    case 5: {
      auto token = command::DecodeToken(row, {3, "key"});
      if (token.ok()) CHECK(command::EncodeToken(*token, {3, "key"}) == row);
      return;
    }
    case 6: {
      clock::OriginTable origins;
      const clock::VersionVector vv = engine::ParseVector(row, origins);
      CHECK(engine::ParseVector(vv.ToString(origins), origins) == vv);
      return;
    }
    case 7: {
      engine::CheckpointRow checkpoint;
      if (!engine::DecodeCheckpoint(row, 40, checkpoint)) return;
      std::vector<clock::OriginIndex> map;
      for (uint16_t i = 0; i < 30; ++i) map.push_back(clock::OriginIndex{static_cast<uint16_t>(100 - i)});
      if (engine::Remap(checkpoint, map)) {
        engine::CheckpointRow again;
        CHECK(engine::DecodeCheckpoint(engine::EncodeCheckpoint(checkpoint), 200, again));
      }
      return;
    }
    case 8: {
      engine::StagedProgress progress;
      if (!engine::DecodeProgress(row, progress)) return;
      engine::StagedProgress again;
      CHECK(engine::DecodeProgress(engine::EncodeProgress(progress), again) && again.after == progress.after);
      return;
    }
    default: {
      auto policy = conflict::Policy::ParseText(row);
      if (policy.ok()) {
        auto again = conflict::Policy::ParseText(policy->ToString());
        CHECK(again.ok() && *again == *policy);
      } else {
        CHECK(!policy.status().message().empty());
      }
      return;
    }
  }
}

std::string Sample(base::Random& random) {
  const unsigned kind = static_cast<unsigned>(random.Below(kKinds));
  std::string out(1, static_cast<char>(kind));
  switch (kind) {
    case 0: out += engine::EncodeDataRow(random.Next(), RandomState(random)); break;
    case 1: out += engine::DataRowKey(static_cast<uint8_t>(random.Below(17)), std::string(random.Below(50), 'k')); break;
    case 2: out += engine::EncodeOriginRow({"leader", random.Next()}); break;
    case 3:
      out += random.Percent(50) ? engine::EncodeLease(random.Next())
                                : engine::EncodeIdentity({random.Next(), "leader", true, random.Next()});
      break;
    case 4: {
      conflict::Ledger ledger{{}};
      for (int i = 0; i < 3; ++i) {
        ledger.Note({.noted_ms = static_cast<int64_t>(random.Below(1'700'000'000'000)), .key = "k", .policy = "lww",
                     .shown = {"a", false, {"eu", random.Below(3)}, 1 + random.Below(5), {random.Next()}},
                     .lost = {"b", false, {"us", random.Below(3)}, 1 + random.Below(5), {random.Next()}}});
      }
      for (const auto& [key, row] : ledger.TakeDirty().rows) {
        out.push_back(key[7]);
        out.push_back(static_cast<char>(row.size()));
        out += row;
      }
      break;
    }
    case 5: {
      clock::OriginTable origins;
      for (size_t i = 0; i < 4; ++i) origins.Intern({"o", i});
      out += command::EncodeToken(command::MakeToken(RandomState(random), origins), {3, "key"});
      break;
    }
    case 7: {
      engine::CheckpointRow row{.start = random.Next(), .identity = {1, "eu", true, 2}, .nonce = random.Next()};
      for (uint16_t i = 0; i < 3; ++i) {
        auto& r = row.rows.emplace_back();
        r.last = random.Below(100);
        r.dictionary = wire::Dictionary(clock::OriginIndex{i});
        r.dictionary.Add(clock::OriginIndex{static_cast<uint16_t>(3 + i)});
        r.deps.Set(clock::OriginIndex{5}, random.Below(1000));
        r.waiting.emplace_back(3, r.deps);
      }
      out += engine::EncodeCheckpoint(row);
      break;
    }
    case 8: out += engine::EncodeProgress({.id = 1, .sender = "us", .epoch = random.Next(), .after = "k"}); break;
    case 6: out += "eu.0123456789abcdef:17 us.fedcba9876543210:4"; break;
    default: {
      static constexpr const char* kPolicies[] = {"lww", "lww DELETES", "siblings", "priority eu us", "priority"};
      out += kPolicies[random.Below(5)];
    }
  }
  return out;
}

}  // namespace polyarch::fuzz
