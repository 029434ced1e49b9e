#include "engine/agreed_run.h"

#include <algorithm>

#include "base/check.h"
#include "engine/escrow.h"
#include "keyspace/change.h"
#include "resp/writer.h"

namespace polyarch::engine {

bool MayBeAgreed(const command::Row& row) {
  static constexpr std::string_view kGroups[] = {"string", "hash", "bitmap", "hyperloglog"};
  static constexpr std::string_view kNames[] = {
      "del", "unlink", "expire", "pexpire", "expireat", "pexpireat", "persist", "restore"};
  return std::find(std::begin(kGroups), std::end(kGroups), row.group) != std::end(kGroups) ||
         std::find(std::begin(kNames), std::end(kNames), row.name) != std::end(kNames);
}

// What scripts may do: here is nothing but that key, and what they do is done once more.
class AgreedRun::Alone final : public command::AgreedHost {
 public:
  Alone(uint8_t db, std::string_view key) : db_(db), key_(key) {}

  bool Tries() const override { return true; }
  bool Takes(command::Context&, const command::Row&) override { return false; }
  bool TakesScript(command::Context&,
                   std::string_view,
                   command::Arguments,
                   command::Arguments) override {
    return false;
  }
  base::Status MayRun(command::Context& c, const command::Row& row) override {
    static constexpr std::string_view kHarmless[] = {"time", "ping", "echo"};
    if (std::find(std::begin(kHarmless), std::end(kHarmless), row.name) != std::end(kHarmless))
      return {};
    constexpr uint32_t kMore =
        command::kWholeKeyspace | command::kReadsByPattern | command::kRunsScript;
    std::vector<size_t> keys;
    command::KeyIndices(row, c.args, keys);
    const bool alone = !keys.empty() && c.client.db == db_ && (row.flags & kMore) == 0 &&
                       std::all_of(keys.begin(), keys.end(), [&](size_t i) {
                         return c.args[i] == key_;
                       });
    if (alone && ((row.flags & command::kWrite) == 0 || MayBeAgreed(row))) return {};
    return base::Invalid(
        "CROSSSYNC a script whose one key is under policy 'sync' reads and writes nothing else; "
        "nothing was done");
  }
  void AskRead(command::Context& c, std::string_view) override { Refuse(c); }
  void AskOutcome(command::Context& c, std::string_view, const clock::Ballot&) override {
    Refuse(c);
  }

 private:
  static void Refuse(command::Context& c) {
    c.reply.Error("ERR This Redis command is not allowed from script");
  }
  const uint8_t db_;
  const std::string_view key_;
};

// A leader that has only this key, and only this leader.
struct AgreedRun::Space final : keyspace::ChangeSink {
  Space() : keys(origins, policies, {1, 2}) {
    before = origins.Intern({"before", 1});
    own = origins.Intern({"own", 1});
    seen.Set(before, 1);
  }

  Stamp Open() override { return {own, ++sequence, clock::Hlc{++stamp}}; }
  const clock::VersionVector& applied() const override { return seen; }
  void Add(const crdt::Effect&) override {}
  void Close() override { seen.Raise(own, sequence); }
  void Abandon() override { --sequence; }
  size_t open_bytes() const override { return 0; }

  clock::OriginTable origins;
  conflict::PolicyTable policies;
  keyspace::Keyspace keys;
  clock::OriginIndex before{};
  clock::OriginIndex own{};
  clock::VersionVector seen;
  uint64_t sequence = 0;
  uint64_t stamp = 1;
};

AgreedRun::AgreedRun(uint8_t db,
                     std::string_view key,
                     const std::optional<keyspace::PlainValue>& value,
                     int64_t expire_ms,
                     int64_t now_ms)
    : db_(db), key_(key), now_ms_(now_ms), value_(value), expire_ms_(expire_ms) {
  if (expire_ms_ < now_ms_) {  // it is over, whoever removes it
    value_.reset();
    expire_ms_ = crdt::kNever;
    expired_ = true;
  }
  space_ = NewSpace();
}

AgreedRun::~AgreedRun() = default;

std::unique_ptr<AgreedRun::Space> AgreedRun::NewSpace() const {
  auto space = std::make_unique<Space>();
  space->keys.SetTime(now_ms_);
  if (value_) {
    space->keys.Restore(space->keys.Ref(db_, key_),
                        keyspace::StateOf(*value_, expire_ms_, {space->before, 1}, clock::Hlc{1}));
  }
  return space;
}

std::string AgreedRun::Run(const Asked& asked) {
  command::Client client;
  client.db = db_;
  client.protocol = asked.protocol;
  client.authenticated = true;
  if (asked.as != nullptr) {
    client.user = asked.as->user;
    client.user_born = asked.as->born;
    client.authenticated = asked.as->authenticated;
    asked.cluster->users().Refresh(client);
  }
  resp::Buffer out;
  resp::Writer writer(out, asked.protocol);
  const std::vector<std::string_view> arguments(asked.arguments->begin(), asked.arguments->end());
  const size_t events_before = asked.events == nullptr ? 0 : asked.events->size();
  bool wrote = false;
  Alone alone(db_, key_);
  {
    keyspace::Change change(*space_, space_->keys);
    command::Context context{.client = client,
                             .args = arguments,
                             .reply = writer,
                             .keys = space_->keys,
                             .change = change,
                             .cluster = *asked.cluster,
                             .server = *asked.server,
                             .now_ms = now_ms_,
                             .random = asked.random,
                             .may_wait = false,
                             .publications = asked.events,
                             .notify = asked.events != nullptr,
                             .agreed = &alone};
    command::Dispatch(context);
    wrote = change.wrote();
  }
  if (!wrote) return std::string(out.view());
  const keyspace::PlainShown shown = keyspace::ReadPlain(space_->keys, space_->keys.Ref(db_, key_));
  std::string refused;
  if (shown.kind == keyspace::PlainShown::Kind::kOther) {
    refused = "WRONGTYPE keys under policy 'sync' hold strings, counters and hashes only";
  } else if (shown.kind == keyspace::PlainShown::Kind::kValue &&
             keyspace::Encode(shown.value).size() > kSyncValueBytesMax) {
    refused = "LIMIT the value would come to more than " + std::to_string(kSyncValueBytesMax) +
              " bytes, which is the most of a key under policy 'sync'";
  }
  // What was sold of it is not in the value: one that comes back would be sold once more.
  if (!asked.makes_stock && shown.kind == keyspace::PlainShown::Kind::kValue &&
      Stock::Of(shown.value, db_, key_).has_value()) {
    refused = "WRONGTYPE a stock is made by ESCROW CREATE alone";
  }
  if (!refused.empty()) {
    space_ = NewSpace();
    if (asked.events != nullptr) asked.events->resize(events_before);
    resp::Buffer error;
    resp::Writer(error, asked.protocol).Error(refused);
    return std::string(error.view());
  }
  ++changes_;
  value_.reset();
  if (shown.kind == keyspace::PlainShown::Kind::kValue) value_ = shown.value;
  expire_ms_ = value_ ? shown.expire_ms : crdt::kNever;
  return std::string(out.view());
}

}  // namespace polyarch::engine
