#include "engine/agreed.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/number.h"
#include "command/notify.h"
#include "command/support.h"
#include "engine/agreed_run.h"
#include "engine/engine.h"
#include "engine/rows.h"
#include "sync/electorate.h"

namespace polyarch::engine {

namespace {

constexpr uint8_t kFormat = 1;
constexpr int64_t kAbsentMs = 600'000;     // so long after a delete its row may go
constexpr size_t kCollectMax = 100;        // rows, each kCollectUs
constexpr int64_t kCollectUs = 10'000'000;

sync::Agreement::Options OptionsOf(const std::string& leader, uint64_t seed) {
  sync::Agreement::Options options;
  options.leader = leader;
  options.seed = seed;
  return options;
}

base::SipKey HashKey(uint64_t seed) {
  base::Random random(seed);
  const uint64_t k0 = random.Next();
  return {k0, random.Next()};
}

std::string ReservedKey(const std::pair<uint8_t, std::string>& key) {
  std::string out(kDecidedPrefix);
  out.push_back(static_cast<char>(key.first));
  return out + key.second;
}

// The rules in an electorate bear the number of the epoch with which they came into force: the same ones may end and
// come back. docs/FORMATS.md, "electorate".
constexpr uint8_t kNumbered = 2;

std::string Numbered(const std::string& rules, uint64_t epoch) {
  if (rules.empty()) return rules;
  std::string out;
  base::PutFixed8(out, kNumbered);
  base::PutVarint(out, epoch);
  return out + rules;
}

std::string_view WithoutNumber(std::string_view rules) {
  if (rules.empty() || static_cast<uint8_t>(rules[0]) != kNumbered) return rules;
  base::Reader in(rules.substr(1));
  (void)in.Varint();
  return in.Raw(in.remaining());
}

// Could it have been what the first decision began with? What could not stays, hidden.
bool IsPlain(const crdt::KeyState& state) {
  size_t bytes = 0;
  for (const crdt::Version& v : state.versions)
    bytes = std::max(bytes, v.value.size());
  for (const crdt::Element& e : state.elements) {
    if (e.type != crdt::Type::kHash) return false;
    bytes += e.name.size();
    if (!e.versions.empty()) bytes += e.versions.front().value.size();
  }
  return bytes <= kSyncValueBytesMax;
}

}  // namespace

std::string Encode(const DecidedRecord& record) {
  std::string out(1, static_cast<char>(kFormat));
  wire::Tuple tuple;
  tuple.version = record.version;
  tuple.deps = record.deps;
  tuple.hlc = record.hlc;
  tuple.absent = record.absent;
  tuple.expires_ms = record.expires_ms;
  tuple.value = record.value;
  base::PutFixed8(out, record.released ? 1 : 0);
  wire::PutTuple(out, tuple);
  wire::PutVoteNumbers(out, record.votes);
  return out;
}

bool Decode(std::string_view bytes, DecidedRecord& record) {
  base::Reader in(bytes);
  if (in.Fixed8() != kFormat) return false;
  record.released = in.Fixed8() != 0;
  wire::Tuple tuple = wire::ReadTuple(in);
  record.version = std::move(tuple.version);
  record.deps = std::move(tuple.deps);
  record.hlc = tuple.hlc;
  record.absent = tuple.absent;
  record.expires_ms = tuple.expires_ms;
  record.value = std::move(tuple.value);
  record.votes = wire::ReadVoteNumbers(in);
  // A leader's own rounds keep to that; a record of more would not fit into a change beside what it replaces.
  return in.ok() && in.empty() && !record.version.none() && record.value.size() <= 2 * kSyncValueBytesMax;
}

AgreedKeys::AgreedKeys(Engine& engine, const std::string& leader, uint64_t seed)
    : engine_(engine),
      agreement_(OptionsOf(leader, seed ^ 0x73796e63), *this),
      view_(HashKey(seed ^ 0x76696577)),
      random_(seed ^ 0x72756e) {}

AgreedKeys::~AgreedKeys() = default;

void AgreedKeys::Start(bool found, bool new_seat) {
  if (started_) return;
  started_ = true;
  agreement_.SetLeader(engine_.options_.leader_id);
  if (new_seat && agreement_.elector().seat() != 0) agreement_.elector().NewSeat();
  agreement_.Start(engine_.now_.mono_us, engine_.now_.wall_ms, found);
  if (found) WriteElectorate();
  ReadElectorate();
  RefreshAll();
}

// ---- ticks

void AgreedKeys::BeginTick() {
  agreement_.SetTime(engine_.now_.mono_us, engine_.now_.wall_ms);
  agreement_.OnDurable(engine_.log_.durable());
}

void AgreedKeys::TakeInbox() {
  while (!inbox_.empty()) {
    const std::string message = std::move(inbox_.front());
    inbox_.pop_front();
    agreement_.OnMessage(message);
  }
}

void AgreedKeys::Tick() {
  const uint64_t rival = engine_.replica_.proven_rival();
  if (rival != 0 && rival != given_up_for_) {
    given_up_for_ = rival;
    if (agreement_.elector().GiveUpShared()) {
      engine_.Report(2,
                     "another live process has this leader's name, and may have voted under its "
                     "seat on keys under policy 'sync': the seat is given up, and the other "
                     "electors admit a new one");
    }
  }
  TakeInbox();
  Refresh();
  agreement_.Tick();
  Duties();
  for (auto& [client, waits] : beginning_) {
    if (waits.resumed) continue;
    if (StandingOf(waits.key) == Standing::kChanging && engine_.now_.mono_us < waits.deadline_us) continue;
    waits.resumed = true;
    engine_.host_.Resume(client);
  }
  for (const Key& key : std::exchange(to_release_, {})) {
    if (StandingOf(key.second) == Standing::kOrdinary && engine_.may_write()) Release(key);
  }
  if (engine_.may_write()) {
    for (const Key& key : std::exchange(overtaken_, {})) {
      if (StandingOf(key.second) == Standing::kOrdinary) GiveWay(key);
    }
  }
  for (const Told& told : std::exchange(answers_, {})) {
    if (engine_.waiters_.Find(told.client) == nullptr) continue;
    engine_.Answer(
        told.client,
        [&](resp::Writer& writer) { writer.out().Append(told.reply); },
        told.wrote);
  }
}

// ---- what was decided, as records

std::optional<DecidedRecord> AgreedKeys::Newest(const Key& key, clock::Dot* dot) {
  const crdt::KeyState state =
      engine_.keyspace_.State(engine_.keyspace_.Ref(crdt::kReservedDatabase, ReservedKey(key)));
  std::optional<DecidedRecord> best;
  for (const crdt::Version& v : state.versions) {
    DecidedRecord record;
    if (v.absent || !Decode(v.value, record)) continue;
    agreement_.Heard(record.votes);
    if (best && !record.Beats(*best)) continue;
    best = std::move(record);
    if (dot != nullptr) *dot = v.dot;
  }
  return best;
}

uint64_t AgreedKeys::DotOf(const Key& key) {
  clock::Dot dot;
  return Newest(key, &dot) ? dot.bits() : 0;
}

void AgreedKeys::RefreshOne(const Key& key) {
  const std::optional<DecidedRecord> record = Newest(key);
  const clock::Ballot before = Shown(SyncKeyOf(key));
  bool shows = record && !record->released;
  if (shows && StandingOf(key.second) == Standing::kOrdinary) {
    // `sync` has ended, and this decision came to light too late to be seen by a write behind the
    // end.
    const crdt::KeyState beneath =
        engine_.keyspace_.State(engine_.keyspace_.Ref(key.first, key.second));
    shows = !beneath.live() || AllSeen(record->deps, beneath);
    if (!shows) overtaken_.insert(key);
  }
  if (!shows) {
    view_.Erase(key.first, key.second);
    if (record) {
      known_[key] = {record->version, false};
    } else {
      known_.erase(key);
    }
  } else {
    keyspace::PlainValue value;
    const bool there = !record->absent && keyspace::Decode(record->value, value);
    view_.Set(
        key.first, key.second, there ? std::optional(value) : std::nullopt, record->expires_ms);
    engine_.keyspace_.SetDecided(&view_);
    view_.values().SetTime(engine_.keyspace_.time_ms());
    known_[key] = {record->version, true};
  }
  if (!started_) return;
  if (record) agreement_.OnDecided(SyncKeyOf(key), record->version);
  // What this process's clients do is told when they are answered.
  if (shows && record->version > before && engine_.notifies() &&
      record->version.proposer.incarnation != agreement_.proposer().self().incarnation)
    engine_.merged_keys_.emplace_back(key);
  telling_ = true;
  engine_.KeyModified(engine_.keyspace_.Ref(key.first, key.second), keyspace::Cause::kRemote);
  telling_ = false;
}

void AgreedKeys::Refresh() {
  for (const std::string& name : std::exchange(changed_, {})) {
    if (name.size() <= kDecidedPrefix.size()) continue;
    const auto db = static_cast<uint8_t>(name[kDecidedPrefix.size()]);
    if (db >= crdt::kDatabases) continue;
    RefreshOne({db, name.substr(kDecidedPrefix.size() + 1)});
  }
}

void AgreedKeys::Touched(const keyspace::KeyRef& ref) {
  if (telling_ || known_.empty() || ref.db >= crdt::kDatabases) return;
  auto it = known_.find({ref.db, std::string(ref.key)});
  if (it != known_.end() && it->second.live && StandingOf(ref.key) == Standing::kOrdinary)
    changed_.push_back(ReservedKey(it->first));
}

void AgreedKeys::RefreshAll() {
  changed_.clear();
  uint64_t cursor = 0;
  do {
    cursor =
        engine_.keyspace_.Scan(crdt::kReservedDatabase, cursor, 1000, [&](std::string_view key) {
          if (key.starts_with(kDecidedPrefix)) changed_.emplace_back(key);
        });
  } while (cursor != 0);
  Refresh();
}

// ---- which keys

AgreedKeys::Standing AgreedKeys::StandingOf(std::string_view key) const {
  const bool wanted = engine_.policies_.IsSync(key);
  const bool in_force = rules_.IsSync(key);
  if (wanted != in_force) return Standing::kChanging;
  return wanted ? Standing::kAgreed : Standing::kOrdinary;
}

base::Status AgreedKeys::MayBegin() const {
  if (agreement_.electorate().epoch != 0) {
    if (agreement_.QuorumInReach()) return {};
    return base::Invalid(NoQuorumText());
  }
  return base::Invalid(
      "policy 'sync' needs electors, and this cluster was founded by a version that knew none; name "
      "them once, at one leader: LEADER ELECTORS FORCE id...");
}

std::string AgreedKeys::NoQuorumText() const {
  if (!agreement_.QuorumIsGone()) {
    return "no majority of the electors (" + ElectorNames() +
           ") answers: bring them back, or, if they are gone for good, LEADER ELECTORS FORCE id...";
  }
  std::string gone;
  for (const std::string& name : agreement_.GoneElectors())
    gone += (gone.empty() ? "" : ", ") + name;
  return "no majority of the electors (" + ElectorNames() + ") has its votes: the directory of " + gone +
         " was replaced; name who is to vote: LEADER ELECTORS FORCE id...";
}

// This leader alone was to vote, and the seat under which it was is gone (its directory was copied,
// restored or emptied): no majority will ever be.
bool AgreedKeys::OwnVoteIsLost() const {
  const wire::Electorate& electorate = agreement_.electorate();
  return electorate.now.size() == 1 && electorate.now[0].leader == engine_.options_.leader_id &&
         electorate.now[0].id != agreement_.elector().seat();
}

base::Status AgreedKeys::ForceElectors(std::vector<std::string> leaders) {
  for (const std::string& leader : leaders) {
    if (leader != engine_.options_.leader_id && !InReach(leader))
      return base::Invalid("leader '" + leader + "' is not in reach: all who are named must be");
  }
  agreement_.ForceElectors(std::move(leaders));
  return {};
}

base::Status AgreedKeys::MayRetire(std::string_view leader) const {
  if (!in_use()) return {};
  const wire::Electorate& electorate = agreement_.electorate();
  const std::vector<std::string> lost = agreement_.GoneElectors();
  // One that is retired already votes no more, although its seat has not been replaced yet; nor does one whose
  // directory was replaced.
  auto gone = [&](const std::string& name) {
    auto it = engine_.admissions_.find(name);
    return name == leader || (it != engine_.admissions_.end() && it->second.all_retired()) ||
           std::find(lost.begin(), lost.end(), name) != lost.end();
  };
  for (const auto* seats : {&electorate.now, &electorate.next}) {
    const auto votes = static_cast<size_t>(
        std::count_if(seats->begin(), seats->end(), [&](const wire::Seat& seat) { return gone(seat.leader); }));
    const bool has_seat = std::any_of(
        seats->begin(), seats->end(), [&](const wire::Seat& seat) { return seat.leader == leader; });
    if (!has_seat || 2 * (seats->size() - votes) > seats->size()) continue;
    return base::Invalid("leader '" + std::string(leader) +
                         "' votes on keys under policy 'sync', and the others are no majority "
                         "without it: name other electors first (LEADER ELECTORS" +
                         (agreement_.QuorumInReach() ? " id...)" : " FORCE id...: " + NoQuorumText() + ")"));
  }
  return {};
}

void AgreedKeys::PoliciesChanged() {
  std::string wanted = engine_.policies_.SyncRules();
  if (wanted == wanted_rules_) return;
  wanted_rules_ = std::move(wanted);
  policies_sync_ = !wanted_rules_.empty();
  wanted_since_us_ = engine_.now_.mono_us;
  wanted_seen_ = engine_.replica_.applied();
}

void AgreedKeys::ReadElectorate() {
  const crdt::KeyState state =
      engine_.keyspace_.State(engine_.keyspace_.Ref(crdt::kReservedDatabase, kElectorateKey));
  wire::Electorate newest;
  for (const crdt::Version& v : state.versions) {
    base::Reader in(v.value);
    if (v.absent || in.Fixed8() != kFormat) continue;
    wire::Electorate electorate = wire::ReadElectorate(in);
    if (in.ok() && in.empty() && electorate.epoch > newest.epoch) newest = std::move(electorate);
  }
  written_epoch_ = std::max(written_epoch_, newest.epoch);
  // What was written before the epoch is known here with its record, not with the first message
  // that tells of it.
  if (newest.rules != rules_text_) {
    rules_text_ = newest.rules;
    rules_ = conflict::PolicyTable::ParseSyncRules(WithoutNumber(rules_text_)).value_or(conflict::PolicyTable());
  }
  if (started_ && newest.epoch > agreement_.electorate().epoch) agreement_.Learn(newest);
}

// The record tells that what was written before its rules came into force is applied where it is. Whoever has heard of
// the electorate only may lack it.
bool AgreedKeys::MayWriteElectorate() const {
  return agreement_.electorate().rules == rules_text_ || agreement_.HasDecidedElectorate();
}

void AgreedKeys::WriteElectorate() {
  std::string bytes(1, static_cast<char>(kFormat));
  wire::PutElectorate(bytes, agreement_.electorate());
  written_epoch_ = agreement_.electorate().epoch;
  unwritten_since_us_ = -1;
  engine_.PutReserved(kElectorateKey, bytes);
}

// Duties tells the others.
void AgreedKeys::ElectorateKnown(const wire::Electorate&) {}

uint64_t AgreedKeys::Entropy() {
  return engine_.host_.Entropy();
}

bool AgreedKeys::HasRival() const {
  return engine_.replica_.has_rival();
}

void AgreedKeys::VotesLost(uint64_t known, uint64_t number) {
  engine_.Report(2,
                 "this directory is an old one: others know of " + std::to_string(known) +
                     " votes on keys under policy 'sync', and it holds " + std::to_string(number) +
                     "; its seat is given up, and the other electors admit a new one");
}

// ---- the end of `sync`: the decided value becomes an ordinary one, by the first write behind it

void AgreedKeys::Release(const Key& key) {
  std::optional<DecidedRecord> record = Newest(key);
  view_.Erase(key.first, key.second);
  if (!record || record->released) return;
  keyspace::Keyspace& keys = engine_.keyspace_;
  const keyspace::KeyRef ref = keys.Ref(key.first, key.second);
  keyspace::Change change(engine_, keys);
  change.Delete(ref);
  keyspace::PlainValue value;
  const bool expired = record->expires_ms < keys.time_ms();
  if (!record->absent && !expired && keyspace::Decode(record->value, value)) {
    if (value.type == crdt::Type::kString) {
      change.Put(ref, value.text, keyspace::Change::Ttl::kNone);
    }
    for (const auto& [name, text] : value.fields)
      change.PutElement(ref, crdt::Type::kHash, name, text);
    if (record->expires_ms != crdt::kNever) change.SetExpiry(ref, record->expires_ms);
  }
  record->released = true;
  const std::string name = ReservedKey(key);
  change.Put(
      keys.Ref(crdt::kReservedDatabase, name), Encode(*record), keyspace::Change::Ttl::kNone);
  change.Finish();
  known_[key].live = false;
}

// A decision came to light after the end of `sync`, and an ordinary write that had not seen it stands already: so it
// stays, also when that value is deleted later.
void AgreedKeys::GiveWay(const Key& key) {
  std::optional<DecidedRecord> record = Newest(key);
  if (!record || record->released) return;
  record->released = true;
  engine_.PutReserved(ReservedKey(key), Encode(*record));
}

// ---- sync::Host

uint64_t AgreedKeys::Append(std::string_view record) {
  // A vote tells that what it depends on is in the log before it.
  if (!engine_.change_open_) engine_.FinishFrame();
  engine_.sync_wanted_ = true;
  return engine_.log_.Append(log::RecordType::kLocal, EncodeVoteRecord(record));
}

void AgreedKeys::Send(const std::string& leader, std::string message) {
  engine_.replica_.SendRouted(leader, message);
}

bool AgreedKeys::InReach(const std::string& leader) const {
  return engine_.replica_.InReach(leader);
}

// Also before anything is agreed on: POLICY SET sync must not be accepted where nobody could vote (MayBegin).
uint64_t AgreedKeys::ProcessOf(const std::string& leader) const {
  return engine_.replica_.ProcessOf(leader);
}

wire::Dependencies AgreedKeys::Applied() {
  wire::Dependencies deps;
  for (const auto& [origin, sequence] : engine_.replica_.Listed(engine_.replica_.applied())) {
    if (sequence != 0) deps.push_back({engine_.origins_.Get(origin), sequence});
  }
  std::sort(deps.begin(), deps.end());
  return deps;
}

bool AgreedKeys::Covers(const wire::Dependencies& deps) const {
  return std::all_of(deps.begin(), deps.end(), [this](const wire::Dependency& d) {
    const auto origin = engine_.origins_.Find(d.origin);
    return origin && engine_.replica_.applied().Get(*origin) >= d.sequence;
  });
}

sync::RunResult AgreedKeys::FirstBase(const wire::SyncKey& key) {
  sync::RunResult result;
  const keyspace::PlainShown shown =
      keyspace::ReadPlain(engine_.keyspace_, engine_.keyspace_.Ref(key.db, key.key));
  result.hlc = clock::Hlc::FromMs(static_cast<uint64_t>(engine_.now_.wall_ms));
  if (shown.kind != keyspace::PlainShown::Kind::kValue) return result;
  std::string value = keyspace::Encode(shown.value);
  if (value.size() > kSyncValueBytesMax) return result;
  result.absent = false;
  result.value = std::move(value);
  result.expires_ms = shown.expire_ms;
  return result;
}

void AgreedKeys::RunCall(Call& call,
                         AgreedRun& run,
                         const wire::Tuple& base,
                         const clock::Ballot& attempt,
                         const wire::SyncKey& key) {
  Call::Replied& told = call.told[attempt];
  told = {};
  auto step = [&](const std::vector<std::string>& arguments) {
    return run.Run({.arguments = &arguments,
                    .protocol = call.protocol,
                    .as = call.reply.empty() ? &call.as : nullptr,
                    .cluster = &engine_,
                    .server = call.server,
                    .random = random_.Next(),
                    .makes_stock = !call.reply.empty(),
                    .events = engine_.notifies() ? &told.events : nullptr});
  };
  // It was allowed when the round began.
  if (const base::Status allowed = engine_.WriteAllowed(); !allowed.ok()) {
    const char* of_exec = call.steps.empty() ? "" : "EXECABORT Transaction discarded because of: ";
    told.reply = Error(call, of_exec + allowed.message());
    return;
  }
  for (const Unless& unless : call.unless) {
    if (step(unless.ask) == unless.wanted) continue;
    told.reply = Error(call, unless.otherwise);
    return;
  }
  // A stock is what its leaders have sold of it: nothing of that is in the value (escrow.h).
  const bool stock = call.reply.empty() && run.value() && Stock::Of(*run.value(), key.db, key.key);
  auto fits = [](const std::vector<std::string>& arguments) {
    return command::EqualsIgnoreCase(arguments[0], "del") || command::EqualsIgnoreCase(arguments[0], "unlink");
  };
  if (stock && !(call.steps.empty() ? fits(call.arguments) : std::all_of(call.steps.begin(), call.steps.end(), fits))) {
    told.reply = Error(call, "WRONGTYPE this key is a stock: ESCROW GRANT, SPEND and GET work on it, and DEL");
    return;
  }
  if (call.steps.empty()) {
    told.reply = step(call.arguments);
    if (!call.reply.empty() && !told.reply.starts_with('-')) told.reply = call.reply;
    return;
  }
  resp::Buffer out;
  resp::Writer writer(out, call.protocol);
  // What was watched is the version that this leader showed. A base that is proposed for the first
  // time (its version is this attempt) is what this leader shows now.
  const clock::Ballot version = base.version == attempt ? Shown(key) : base.version;
  if (call.watched && (*call.watched != version || run.changes() != 0)) {
    writer.NullArray();
    told.reply = out.view();
    return;
  }
  writer.Array(call.steps.size());
  told.reply = out.view();
  for (const std::vector<std::string>& arguments : call.steps)
    told.reply += step(arguments);
}

sync::RunResult AgreedKeys::Run(const wire::SyncKey& key,
                                std::span<const sync::OpId> ops,
                                const wire::Tuple& base,
                                int64_t now_ms,
                                const clock::Ballot& attempt) {
  std::optional<keyspace::PlainValue> value;
  keyspace::PlainValue decoded;
  if (!base.absent && keyspace::Decode(base.value, decoded)) value = std::move(decoded);
  AgreedRun run(key.db, key.key, value, base.expires_ms, now_ms);
  sync::RunResult result;
  for (sync::OpId op : ops) {
    auto call = calls_.find(op);
    if (call == calls_.end()) continue;
    const uint64_t changes = run.changes();
    if (call->second.kind == Call::Kind::kExpire) {
      run.RemoveExpired();
      if (run.expired()) {
        call->second.told[attempt].events = {{.channel = "expired",
                                              .message = key.key,
                                              .notice = command::kNoticeExpired,
                                              .db = key.db}};
      }
    } else {
      RunCall(call->second, run, base, attempt, key);
    }
    if (run.changes() != changes) result.changed_by.push_back(op);
  }
  result.absent = !run.value().has_value();
  if (run.value()) result.value = keyspace::Encode(*run.value());
  result.expires_ms = run.expire_ms();
  result.hlc = clock::Hlc::FromMs(static_cast<uint64_t>(engine_.now_.wall_ms));
  return result;
}

bool AgreedKeys::AllSeen(const wire::Dependencies& deps, const crdt::KeyState& state) {
  clock::VersionVector seen;
  for (const wire::Dependency& d : deps) {
    if (const auto origin = engine_.origins_.Find(d.origin)) seen.Raise(*origin, d.sequence);
  }
  engine_.replica_.Expand(seen);
  auto all = [&](const crdt::Register& of) {
    return std::all_of(of.versions.begin(),
                       of.versions.end(),
                       [&](const auto& v) { return seen.Covers(v.dot); }) &&
           std::all_of(of.counters.begin(), of.counters.end(), [&](const auto& e) {
             return e.at.sequence <= seen.Get(e.origin);
           });
  };
  return all(state) && std::all_of(state.elements.begin(), state.elements.end(), all) &&
         std::all_of(state.expiries.begin(), state.expiries.end(), [&](const auto& x) {
           return seen.Covers(x.dot);
         });
}

void AgreedKeys::Chosen(const wire::SyncKey& key,
                        const wire::Tuple& tuple,
                        const wire::VoteNumbers& votes) {
  if (key.db >= crdt::kDatabases || !engine_.may_write()) return;
  CHECK(key.key.size() <= wire::kSyncKeyBytesMax);
  DecidedRecord record;
  record.version = tuple.version;
  record.hlc = tuple.hlc;
  record.deps = tuple.deps;
  record.absent = tuple.absent;
  record.expires_ms = tuple.expires_ms;
  record.value = tuple.value;
  record.votes = votes;
  const Key name(key.db, key.key);
  keyspace::Keyspace& keys = engine_.keyspace_;
  {
    keyspace::Change change(engine_, keys);
    const std::string reserved = ReservedKey(name);
    change.Put(
        keys.Ref(crdt::kReservedDatabase, reserved), Encode(record), keyspace::Change::Ttl::kNone);
    // What stood there before goes, unless it is something that the decision has not seen.
    const crdt::KeyState beneath = keys.State(keys.Ref(key.db, key.key));
    if (!beneath.empty() && IsPlain(beneath) && AllSeen(tuple.deps, beneath)) {
      auto known = known_.find(name);
      if (known != known_.end() && known->second.live) NoteStrays(name, beneath);
      change.Delete(keys.Ref(key.db, key.key));
    }
  }
  Refresh();
}

clock::Ballot AgreedKeys::Shown(const wire::SyncKey& key) const {
  auto it = known_.find({key.db, key.key});
  return it == known_.end() ? clock::Ballot{} : it->second.version;
}

bool AgreedKeys::Released(const wire::SyncKey& key, const clock::Ballot& version) const {
  auto it = known_.find({key.db, key.key});
  return it != known_.end() && it->second.version == version && !it->second.live;
}

bool AgreedKeys::InForce(const wire::SyncKey& key, const wire::Electorate& electorate) const {
  if (electorate.rules == rules_text_) return rules_.IsSync(key.key);
  const auto rules = conflict::PolicyTable::ParseSyncRules(WithoutNumber(electorate.rules));
  return rules && rules->IsSync(key.key);
}

// They came with the record that somebody wrote who had applied what was written before them.
bool AgreedKeys::HasRulesOf(const wire::Electorate& electorate) const {
  return electorate.rules == rules_text_;
}

void AgreedKeys::NoteStrays(const Key& key, const crdt::KeyState& beneath) {
  const crdt::KeyState records =
      engine_.keyspace_.State(engine_.keyspace_.Ref(crdt::kReservedDatabase, ReservedKey(key)));
  if (records.versions.empty()) return;
  crdt::Version shown;
  shown.dot = records.versions.back().dot;
  shown.hlc = records.versions.back().hlc;
  const keyspace::PlainShown value =
      keyspace::ReadPlain(engine_.keyspace_, engine_.keyspace_.Ref(key.first, key.second));
  shown.absent = value.kind == keyspace::PlainShown::Kind::kMissing;
  shown.value = value.value.text;
  const conflict::Policy& policy = engine_.policies_.For(key.second);
  auto note = [&](crdt::Type type, std::string_view element, const crdt::Register& of) {
    for (const crdt::Version& v : of.versions)
      engine_.NoteLost(
          key.first, key.second, type, element, policy, shown, v, /*by_position=*/false);
  };
  note(crdt::Type::kString, {}, beneath);
  for (const crdt::Element& e : beneath.elements)
    note(e.type, e.name, e);
}

// ---- what has had its time

// As a delete that is agreed on: by the quorum's clock, whatever this one says.
void AgreedKeys::RemoveExpired() {
  constexpr size_t kAtOnce = 50;
  view_.values().VisitExpired(INT64_MIN, [&](const keyspace::Keyspace::Expired& e) {
    if (expiring_.size() + to_release_.size() >= kAtOnce) return false;
    const Standing standing = StandingOf(e.key);
    if (standing == Standing::kAgreed) expiring_.emplace(e.db, std::string(e.key));
    // The delete that it becomes is an ordinary one.
    if (standing == Standing::kOrdinary) to_release_.emplace(e.db, std::string(e.key));
    return true;
  });
  const std::set<Key> keys = expiring_;
  for (const Key& key : keys) {
    const bool under_way = std::any_of(calls_.begin(), calls_.end(), [&](const auto& entry) {
      return entry.second.kind == Call::Kind::kExpire && entry.second.key == key;
    });
    if (under_way) continue;
    const sync::OpId id = next_op_++;
    calls_[id] = {.kind = Call::Kind::kExpire, .key = key};
    sync::Op op;
    op.id = id;
    op.deadline_us = engine_.now_.mono_us + kAgreedTimeoutUs;
    agreement_.Submit(SyncKeyOf(key), std::move(op));
  }
}

// Without its row whoever proposes begins with what he shows. So every member, away ones too, must have said that he has
// applied the record of the delete: to another one the value that he still shows would be a first proposal.
bool AgreedKeys::IsAbsentEverywhere(const wire::SyncKey& key) {
  const sync::VoteRow* row = agreement_.elector().Find(key);
  clock::Dot dot;
  const std::optional<DecidedRecord> record = Newest({key.db, key.key}, &dot);
  if (row == nullptr || !record || !record->absent || record->version < row->tuple.version) return false;
  const auto& members = engine_.replica_.members();
  return std::all_of(members.begin(), members.end(), [&](const auto& member) {
    return engine_.replica_.Claim(member.first).Covers(dot);
  });
}

std::optional<DecidedRecord> AgreedKeys::NewestEverywhere(const Key& key) {
  clock::Dot dot;
  std::optional<DecidedRecord> record = Newest(key, &dot);
  const auto& members = engine_.replica_.members();
  const bool everywhere = record && std::all_of(members.begin(), members.end(), [&](const auto& member) {
    return engine_.replica_.Claim(member.first).Covers(dot);
  });
  return everywhere ? record : std::nullopt;
}

// Rows of what has been absent for long go, if all electors are there to say so.
void AgreedKeys::CollectRows() {
  if (!agreement_.electorate().next.empty()) return;
  for (const wire::SyncKey& key :
       agreement_.elector().Collectable(engine_.now_.wall_ms, kAbsentMs, kCollectMax)) {
    if (!IsAbsentEverywhere(key)) continue;
    sync::Op op;
    op.kind = sync::OpKind::kCollect;
    op.deadline_us = engine_.now_.mono_us + kAgreedTimeoutUs;
    op.done = [](const sync::Result&) {
    };
    agreement_.Submit(key, std::move(op));
  }
}

// ---- who votes, and on what

void AgreedKeys::Duties() {
  const int64_t now = engine_.now_.mono_us;
  if (now < next_duty_us_) return;
  next_duty_us_ = now + 100'000;
  const wire::Electorate electorate = agreement_.electorate();
  const auto& members = engine_.replica_.members();
  const std::string& self = engine_.options_.leader_id;
  if (!engine_.may_write() || !engine_.status_.ok() || electorate.epoch == 0 ||
      members.count(self) == 0)
    return;
  bool first = true;  // of those in reach, by name
  for (const auto& [name, member] : members) {
    auto admitted = engine_.admissions_.find(name);
    const bool retired = admitted != engine_.admissions_.end() && admitted->second.all_retired();
    first = first && (name >= self || retired || !InReach(name));
  }
  if (electorate.epoch > written_epoch_) {
    if (unwritten_since_us_ < 0) unwritten_since_us_ = now;
    if ((first || now - unwritten_since_us_ > 2'000'000) && MayWriteElectorate()) WriteElectorate();
  }
  if (first) RemoveExpired();
  if (!policies_sync_ && rules_text_.empty()) return;
  if (first && now >= next_collect_us_) {
    next_collect_us_ = now + kCollectUs;
    CollectRows();
  }
  if (OwnVoteIsLost() && !lost_told_) {
    lost_told_ = true;
    engine_.Report(
        2,
        "the only elector's votes on keys under policy 'sync' are lost with the directory "
        "in which they were: nothing can be agreed on until LEADER ELECTORS FORCE names "
        "electors");
  }
  std::vector<std::string> wanted;
  bool lost = false;  // our seat: asks for admission by itself
  for (const wire::Seat& seat : electorate.now) {
    if (members.count(seat.leader) == 0) continue;
    wanted.push_back(seat.leader);
    lost = lost || (seat.leader == self && seat.id != agreement_.elector().seat());
  }
  if (!chosen_.empty()) {
    wanted.clear();
    for (const std::string& name : chosen_) {
      if (members.count(name) != 0) wanted.push_back(name);
    }
    if (wanted.empty()) return;
    lost = lost && std::find(wanted.begin(), wanted.end(), self) != wanted.end();
  }
  for (const auto& [name, member] : members) {
    if (!chosen_.empty()) break;
    const bool in = std::find(wanted.begin(), wanted.end(), name) != wanted.end();
    // Who came under a name that another one bears (it goes on as `eu~ebc665`) was hardly meant to vote.
    if (!in && name.find('~') != std::string::npos) continue;
    if (!in && wanted.size() < 5 && !member.away && (name == self || InReach(name)))
      wanted.push_back(name);
  }
  const bool joint = !electorate.next.empty();
  std::set<std::string> leaders;
  for (const wire::Seat& seat : electorate.now)
    leaders.insert(seat.leader);
  const bool differs = lost || leaders != std::set<std::string>(wanted.begin(), wanted.end());
  if (agreement_.changing() || now < next_change_us_) return;
  if ((first && (joint || differs)) || (lost && !joint)) {
    next_change_us_ = now + 3'000'000;
    agreement_.ChangeElectors(wanted);
    return;
  }
  // Imposed (LEADER ELECTORS FORCE) with rules of which nobody who had seen them begin has written a record: they begin
  // once more.
  const bool unwritten = electorate.rules != rules_text_ && unwritten_since_us_ >= 0 &&
                         now - unwritten_since_us_ > 10'000'000;
  if (!first || joint || (wanted_rules_ == WithoutNumber(rules_text_) && !unwritten)) return;
  const bool all = std::all_of(members.begin(), members.end(), [&](const auto& entry) {
    return entry.second.away || (entry.first != self && !InReach(entry.first)) ||
           engine_.replica_.Claim(entry.first).Includes(wanted_seen_);
  });
  if (!all && now - wanted_since_us_ < 10'000'000) return;
  next_change_us_ = now + 1'000'000;
  agreement_.ChangeRules(Numbered(wanted_rules_, electorate.epoch + 1));
}

void AgreedKeys::Info(std::string& out) const {
  const sync::Proposer::Counters& c = agreement_.counters();
  auto line = [&](const char* name, const std::string& value) {
    out += std::string(name) + ":" + value + "\r\n";
  };
  std::string names;
  for (const wire::Seat& seat : agreement_.electorate().now)
    names += (names.empty() ? "" : ",") + seat.leader;
  line("electors", names);
  line("electorate_epoch", std::to_string(agreement_.electorate().epoch));
  line("electors_changing", agreement_.electorate().next.empty() ? "0" : "1");
  line("sync_in_force", WithoutNumber(rules_text_) == wanted_rules_ ? "1" : "0");
  line("sync_quorum", agreement_.QuorumInReach() ? "1" : "0");
  std::string lost;
  for (const std::string& name : agreement_.GoneElectors())
    lost += (lost.empty() ? "" : ",") + name;
  line("electors_lost", lost);
  line("sync_quorum_lost", agreement_.QuorumIsGone() ? "1" : "0");
  line("sync_rounds", std::to_string(c.rounds));
  line("sync_rounds_fast", std::to_string(c.fast));
  line("sync_no_quorum", std::to_string(c.no_quorum));
  line("sync_in_doubt", std::to_string(c.in_doubt));
}

}  // namespace polyarch::engine
