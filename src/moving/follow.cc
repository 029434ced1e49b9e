#include "moving/follow.h"

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <poll.h>
#include <unistd.h>
#include <utility>

#include "base/number.h"
#include "base/try.h"
#include "cli/dial.h"
#include "cli/text.h"
#include "moving/expiry.h"

namespace polyarch::moving {

namespace {

constexpr int64_t kLevelMs = 1000;
constexpr int64_t kReadMs = 10;
constexpr int64_t kAskAgainMs = 1000;
constexpr int64_t kClocksApartMs = 500;
// However short --patience is: a source that has just changed takes a moment.
constexpr int64_t kAskPatienceMs = 3000;
constexpr size_t kReadBytes = 256 << 10;
// As Redis's own limits.
constexpr resp::Limits kLimits{.bulk_bytes_max = 512ULL << 20,
                               .arguments_max = 1 << 20,
                               .inline_bytes_max = 64 << 10,
                               .request_bytes_max = (1ULL << 32) - 1};

class SpoolSource : public rdb::FileSource {
 public:
  SpoolSource(Spool& spool, base::FunctionRef<base::Status()> tick) : spool_(spool), tick_(tick) {}
  base::Result<size_t> Read(char* into, size_t size) override {
    for (;;) {
      if (base::Status s = tick_(); !s.ok()) return s;
      auto read = spool_.Read(into, size, 200);
      if (!read.ok() || *read > 0) return read;
    }
  }

 private:
  Spool& spool_;
  base::FunctionRef<base::Status()> tick_;
};

base::Status Stopped() {
  return base::Status(base::Code::kBusy, "stopped");
}

// Where COPY names another database: it and REPLACE come in any order. 0: it does not.
size_t DatabaseOfCopy(const std::vector<std::string_view>& words) {
  for (size_t i = 3; i + 1 < words.size(); ++i) {
    if (Upper(words[i]) == "DB") return i + 1;
  }
  return 0;
}

// TIME, in ms since 1970.
std::optional<int64_t> TimeOf(const base::Result<resp::Value>& reply) {
  if (!reply.ok() || reply->items.size() != 2) return std::nullopt;
  const auto seconds = base::ParseInt64(reply->items[0].text);
  const auto micros = base::ParseInt64(reply->items[1].text);
  if (!seconds || !micros) return std::nullopt;
  return *seconds * 1000 + *micros / 1000;
}

// An answer that the source would give again.
bool IsFinal(const base::Status& status) {
  if (status.code() != base::Code::kInvalid) return false;
  const std::string& text = status.message();
  for (const std::string_view passing :
       {"LOADING", "BUSY", "MASTERDOWN", "max number of clients"}) {
    if (text.find(passing) != std::string::npos) return false;
  }
  return true;
}

}  // namespace

Follower::Follower(const cli::Target& source,
                   Leader& leader,
                   FollowOptions options,
                   Progress& progress,
                   Stop& stop)
    : source_(source),
      leader_(leader),
      options_(std::move(options)),
      progress_(progress),
      stop_(stop),
      replica_(source, options_.spool_directory, options_.patience_ms) {}

base::Result<Follower::End> Follower::Run() {
  bool followed = false;
  auto end = RunCopies(followed);
  if (paused_ && !(end.ok() && *end == End::kCutOver)) UnpauseSource();
  // What was read before the end is to be there, whatever the end is.
  if (followed) {
    if (base::Status s = leader_.Flush(); !s.ok() && end.ok()) return s;
  }
  return end;
}

// What is known to be of no use before anything is copied.
base::Status Follower::LookAtSource() {
  auto standing = AskStanding();
  if (!standing.ok()) return IsFinal(standing.status()) ? standing.status() : base::Status();
  if (standing->replica && options_.pause_ms > 0) {
    return base::Invalid("the source " + source_.Name() +
                         " is a replica, where --pause holds nothing back: import from its master, "
                         "or leave out --pause");
  }
  return CompareClocks();
}

base::Status Follower::CompareClocks() {
  const int64_t begin = cli::MonotonicMs();
  const auto source = TimeOf(asking_->Ask({"TIME"}));
  auto reply = leader_.Ask({"TIME"});
  if (!reply.ok()) return reply.status();
  const auto leader = TimeOf(reply);
  // The source may not allow it.
  if (!source) asking_.reset();
  if (!source || !leader) return {};
  const int64_t apart = *leader - *source;
  if (std::abs(apart) > kClocksApartMs + (cli::MonotonicMs() - begin)) {
    progress_.Milestone(
        "warning: the leader's clock is " + cli::HumanMillis(std::abs(apart)) +
        (apart > 0 ? " ahead of" : " behind") +
        " the source's, and keys that expire do so by the leader's once it is level: "
        "set the wrong clock right first");
  }
  return {};
}

base::Result<Follower::End> Follower::RunCopies(bool& followed) {
  TRY(LookAtSource());
  for (;;) {
    base::Status status = TakeCopy();
    if (stop_.stop()) return End::kStopped;
    // The source's connection broke within the copy, and another copy has begun.
    if (status.code() == base::Code::kBusy) continue;
    if (!status.ok()) return status;
    bool again = false;
    auto end = FollowStream(again);
    if (again && !stop_.stop()) continue;
    followed = true;
    if (again) return End::kStopped;
    return end;
  }
}

base::Status Follower::NextCopy() {
  for (const uint64_t before = copy_.number; copy_.number == before;) {
    if (stop_.stop()) return Stopped();
    auto copy = replica_.Current();
    if (!copy.ok()) return copy.status();
    // A copy that was left half-way is looked at again: only the receiver knows whether another one
    // is to come.
    if (copy->number != before) {
      // A source that has lost its data must not take the leader's with it.
      if (was_level_ && copy->histories != copy_.histories) {
        another_history_ = true;
        return base::Invalid("the source " + source_.Name() +
                             " began another history after the leader was level (it was started "
                             "anew, or another server took its place)");
      }
      copy_ = *copy;
      was_level_ = false;
      replica_.KeepWhatCame(false);
      break;
    }
    const Replica::Health health = replica_.health();
    progress_.Show([&] {
      return "waits for the source" + (health.trouble.empty() ? "" : ": " + health.trouble);
    });
    static_cast<void>(leader_.Poll(0));
    ::poll(nullptr, 0, 20);
  }
  return {};
}

base::Status Follower::TakeCopy() {
  TRY(NextCopy());
  if (copy_.number > 1) {
    if (options_.merge)
      leader_.Refused(
          "a new copy was begun, and --merge deletes nothing: keys that were deleted at the source "
          "meanwhile are still here");
    options_.flush = true;
  }
  LeaveTransaction();
  const bool empty = options_.flush && !options_.merge;
  if (empty) {
    progress_.Milestone(options_.database
                            ? "empties database " + std::to_string(*options_.database) +
                                  " of the leader"
                            : "empties the leader");
  }
  progress_.Milestone(copy_.number == 1
                          ? "the copy begins"
                          : "a new copy begins (number " + std::to_string(copy_.number) + ")" +
                                (renew_why_.empty() ? "" : ": " + renew_why_));
  renew_ = false;
  renew_why_.clear();
  counts_ = {};
  settling_ = kLater;
  const auto tick = [&]() -> base::Status {
    if (stop_.stop()) return Stopped();
    progress_.Show([&] { return Line("copy"); });
    return {};
  };
  SpoolSource from(*copy_.spool, tick);
  TRY(Load(from,
           leader_,
           LoadOptions{.database = options_.database, .later_expiry = true, .empty = empty},
           0,
           counts_,
           tick));
  // The receiver may still be at the mark behind the RDB.
  while (!copy_.stream) {
    TRY(tick());
    auto copy = replica_.Current();
    if (!copy.ok()) return copy.status();
    if (copy->number != copy_.number) return base::Status(base::Code::kBusy, "another copy");
    copy_ = *copy;
    if (!copy_.stream) ::poll(nullptr, 0, 20);
  }
  if (counts_.bytes != copy_.stream->begin)
    return base::Corrupt("the source's snapshot is " + std::to_string(copy_.stream->begin) +
                         " bytes long, and ends at byte " + std::to_string(counts_.bytes));
  for (const std::string& module : counts_.modules)
    progress_.Milestone("passed over: what the module " + module + " keeps beside its keys");
  progress_.Milestone("copied " + cli::HumanCount(counts_.keys) + " keys, " +
                      cli::HumanBytes(counts_.bytes) + "; follows");
  copy_.spool->Seek(copy_.stream->begin);
  in_.clear();
  at_ = 0;
  parser_.Reset();
  offset_ = copy_.stream->offset;
  source_database_ = counts_.stream_database;
  in_transaction_ = false;
  leader_.Skip(offset_);
  return {};
}

// The stream that was followed ended between MULTI and EXEC: what is queued at the leader is no
// part of what comes now, and everything else would be queued behind it.
void Follower::LeaveTransaction() {
  if (!std::exchange(in_transaction_, false)) return;
  static_cast<void>(leader_.Ask({"DISCARD"}));
  leader_.ForgetDatabase();
}

base::Result<Follower::End> Follower::FollowStream(bool& again) {
  std::optional<int64_t> paused_until_ms;
  bool ending = false;
  goal_.reset();
  goal_next_ms_ = 0;
  goal_well_ms_ = cli::MonotonicMs();
  for (;;) {
    if (stop_.stop()) return End::kStopped;
    const bool settling = settling_ != kLater && !settled();
    bool drained = false;
    base::Status status = ReadStream(settling ? 0 : kReadMs, drained);
    if (status.code() == base::Code::kBusy || renew_) {
      if (renew_) replica_.Restart();
      again = true;
      return Stopped();
    }
    if (!status.ok()) return status;
    TRY(leader_.Poll(0));
    replica_.Acknowledge(leader_.acknowledged());
    progress_.Show([&] {
      return Line(settled() ? "follows" : settling ? "sets expiries" : "catches up");
    });
    if (settling) {
      // What has come goes first, else the lag would grow meanwhile.
      if (drained && !in_transaction_) TRY(Settle());
      if (settled()) {
        was_level_ = true;
        replica_.KeepWhatCame(true);
        progress_.Milestone("level with the source: lag " + cli::HumanBytes(lag()) + HowToEnd());
      }
      continue;
    }
    if (settled() && !ending) {
      if (!options_.until_synced && !stop_.cut_over()) continue;
      ending = true;
      goal_.reset();
    }
    // A pause that ended before the cut-over was none: what was written since is followed first.
    if (ending && options_.pause_ms > 0 &&
        (!paused_until_ms || cli::MonotonicMs() >= *paused_until_ms)) {
      paused_until_ms = cli::MonotonicMs() + options_.pause_ms;
      TRY(PauseSource());
      goal_.reset();
    }
    if (!goal_) {
      TRY(SeekGoal());
      continue;
    }
    if (leader_.acknowledged() < *goal_ || in_transaction_) continue;
    if (ending) return End::kCutOver;
    // Level only if little can have come since it was asked.
    if (cli::MonotonicMs() - goal_asked_ms_ <= kLevelMs) {
      settling_ = 0;
      settle_cursor_ = "0";
      settle_moved_.clear();
    }
    goal_.reset();
  }
}

base::Status Follower::ReadStream(int64_t wait_ms, bool& drained) {
  const size_t before = in_.size();
  in_.resize(before + kReadBytes);
  auto read = copy_.spool->Read(in_.data() + before, kReadBytes, wait_ms);
  in_.resize(before + (read.ok() ? *read : 0));
  if (!read.ok()) return read.status();
  drained = *read < kReadBytes;
  while (at_ < in_.size() && !renew_) {
    switch (parser_.Next(std::string_view(in_).substr(at_), kLimits)) {
      case resp::Parser::State::kError:
        return base::Corrupt("the source's stream is no RESP (" + parser_.error() + ") at offset " +
                             std::to_string(offset_));
      case resp::Parser::State::kNeedMore:
        if (at_ > kReadBytes) {
          in_.erase(0, at_);
          at_ = 0;
        }
        return {};
      case resp::Parser::State::kRequest:
        offset_ += parser_.consumed();
        if (!parser_.arguments().empty()) TRY(Apply(parser_.arguments()));
        at_ += parser_.consumed();
        // What was for the leader has this mark already.
        leader_.Skip(offset_);
    }
  }
  in_.clear();
  at_ = 0;
  return {};
}

base::Status Follower::Apply(const std::vector<std::string_view>& words) {
  const std::string name = Upper(words[0]);
  if (name == "PING") return {};
  if (name == "REPLCONF") {
    if (words.size() < 2 || Upper(words[1]) != "GETACK") return {};
    TRY(leader_.Flush());
    leader_.Skip(offset_);
    replica_.Acknowledge(offset_);
    replica_.AnswerNow();
    return {};
  }
  if (name == "SELECT" && words.size() == 2) {
    const auto database = base::ParseInt64(words[1]);
    if (!database || *database < 0)
      return base::Corrupt("the source selects no database: " + cli::Printable(words[1]));
    source_database_ = static_cast<int>(std::min<int64_t>(*database, INT32_MAX));
    return {};
  }
  if (name == "PUBLISH" || name == "SPUBLISH")
    return options_.publish ? leader_.Write(words, offset_) : base::Status();
  if (name == "MULTI" || name == "EXEC") {
    in_transaction_ = name == "MULTI";
    if (in_transaction_) {
      if (wanted()) TRY(SelectDatabase());
      transaction_database_ = leader_.database();
    }
    TRY(leader_.Write(words, offset_));
    if (!in_transaction_ && leader_.database() != transaction_database_) leader_.ForgetDatabase();
    return {};
  }
  if (name == "SWAPDB") {
    renew_ = true;
    renew_why_ = "the source has swapped databases, which a leader cannot";
    return {};
  }
  ++commands_;
  if (options_.merge && FlushOfMerge(words, name)) return {};
  if (name == "FLUSHALL") {
    if (!options_.database) return leader_.Write({"FLUSHALL"}, offset_);
    TRY(leader_.Select(*options_.database));
    return leader_.Write({"FLUSHDB"}, offset_);
  }
  if (name == "FUNCTION" || name == "SCRIPT") {
    std::vector<std::string_view> passed = words;
    // RESTORE payload FLUSH.
    if (options_.merge && passed.size() > 3 && Upper(passed[3]) == "FLUSH") passed[3] = "REPLACE";
    return leader_.Write(passed, offset_);
  }
  return ApplyToDatabase(words, name);
}

base::Status Follower::SelectDatabase() {
  if (source_database_ >= Leader::kDatabases) {
    return base::Invalid("the source writes to database " + std::to_string(source_database_) +
                         ", a leader has 0 to " + std::to_string(Leader::kDatabases - 1));
  }
  return leader_.Select(source_database_);
}

// It would delete what the leader held before. True: it is not passed on.
bool Follower::FlushOfMerge(const std::vector<std::string_view>& words, const std::string& name) {
  const bool functions =
      name == "FUNCTION" &&
      ((words.size() > 1 && Upper(words[1]) == "FLUSH") ||
       (words.size() > 3 && Upper(words[1]) == "RESTORE" && Upper(words[3]) == "FLUSH"));
  if (!functions && name != "FLUSHALL" && name != "FLUSHDB") return false;
  if (name == "FLUSHDB" && !wanted()) return true;
  leader_.Refused(name + (functions ? " FLUSH" : "") +
                  " of the source: --merge deletes nothing that the leader holds, so what it "
                  "deleted there is still here");
  return !functions || Upper(words[1]) == "FLUSH";
}

base::Status Follower::ApplyToDatabase(const std::vector<std::string_view>& words,
                                       const std::string& name) {
  const std::vector<std::string_view> plain = Unconditional(words);
  const size_t to_database = name == "COPY" ? DatabaseOfCopy(words) : 0;
  const bool copies = to_database != 0;
  if (options_.database && (name == "MOVE" || copies)) {
    // What comes from a database that is not followed is not known here.
    renew_ = true;
    renew_why_ = "a key went from database to database, and one of them alone is followed";
    return {};
  }
  if (!wanted()) return {};
  TRY(SelectDatabase());
  if (settling_ != kLater && !settled() && words.size() > 2) {
    if (name == "RENAME" || name == "RENAMENX" || name == "COPY") {
      const auto to = copies ? base::ParseInt64(words[to_database]) : std::nullopt;
      settle_moved_.emplace(to ? static_cast<int>(*to) : source_database_, std::string(words[2]));
    } else if (name == "MOVE") {
      const auto to = base::ParseInt64(words[2]);
      if (to) settle_moved_.emplace(static_cast<int>(*to), std::string(words[1]));
    }
  }
  if (settling_ == kLater) {
    // It may take an instant with it.
    if (name == "MOVE" || copies) counts_.expiring.fill(true);
    // Redis before 7.0 tells replicas times from now: from when it sent them.
    if (auto later = WithLaterExpiry(plain, replica_.ArrivedMs(offset_))) {
      counts_.expiring[static_cast<size_t>(source_database_)] = true;
      const std::vector<std::string_view> views(later->begin(), later->end());
      return leader_.Write(views, offset_);
    }
  }
  if (options_.merge && name == "MOVE" && words.size() == 3) {
    // MOVE leaves a key that stands there already: here it may be one of the leader's own.
    TRY(leader_.Write({"COPY", words[1], words[1], "DB", words[2], "REPLACE"}, offset_));
    return leader_.Write({"DEL", words[1]}, offset_);
  }
  return leader_.Write(plain, offset_);
}

// A step: some keys of the database under way.
base::Status Follower::Settle() {
  const int database = settling_;
  if ((options_.database && *options_.database != database) ||
      !counts_.expiring[static_cast<size_t>(database)])
    return NextToSettle();
  TRY(leader_.Select(database));
  auto reply = leader_.Ask({"SCAN", settle_cursor_, "COUNT", "200"});
  if (!reply.ok()) return reply.status();
  if (reply->items.size() != 2) return base::Invalid("the leader answers SCAN with something else");
  std::vector<std::string> keys;
  for (resp::Value& key : reply->items[1].items)
    keys.push_back(std::move(key.text));
  TRY(SettleKeys(database, keys));
  settle_cursor_ = reply->items[0].text;
  return settle_cursor_ != "0" ? base::Status() : NextToSettle();
}

// Settled only when all is.
base::Status Follower::NextToSettle() {
  if (settling_ + 1 == kSettled) TRY(SettleMoved());
  ++settling_;
  return {};
}

base::Status Follower::SettleKeys(int database, const std::vector<std::string>& keys) {
  TRY(leader_.Select(database));
  auto link = leader_.Idle();
  if (!link.ok()) return link.status();
  for (const std::string& key : keys)
    (*link)->Put({"PEXPIRETIME", key});
  auto instants = (*link)->Collect();
  if (!instants.ok()) return instants.status();
  for (size_t i = 0; i < keys.size(); ++i) {
    const auto instant = TrueExpiry((*instants)[i].integer);
    if (instant)
      TRY(leader_.Write({"PEXPIREAT", keys[i], base::FormatInt64(*instant)},
                        leader_.acknowledged()));
  }
  return leader_.Flush();
}

base::Status Follower::SettleMoved() {
  for (const auto& [database, key] : settle_moved_)
    TRY(SettleKeys(database, {key}));
  settle_moved_.clear();
  return {};
}

base::Status Follower::Connect() {
  if (asking_) return {};
  auto link = Link::Open(source_, "the source");
  if (!link.ok()) return link.status();
  asking_ = std::move(*link);
  return {};
}

base::Result<Follower::Standing> Follower::AskStanding() {
  auto reply = base::Result<resp::Value>(base::IoError("not asked"));
  // The connection may have idled for hours, and be gone.
  for (int attempt = 0; attempt < 2; ++attempt) {
    const bool fresh = asking_ == nullptr;
    TRY(Connect());
    reply = asking_->Ask({"INFO", "replication"});
    if (reply.ok()) break;
    asking_.reset();
    if (fresh || reply.status().code() == base::Code::kInvalid) break;
  }
  if (!reply.ok()) {
    return base::Status(reply.status().code(),
                        "the source " + source_.Name() + " does not tell how far it is (INFO: " +
                            reply.status().message() + ")");
  }
  const auto field = [&](std::string_view name) {
    const size_t at = reply->text.find(name);
    if (at == std::string::npos) return std::string_view();
    const size_t begin = at + name.size();
    return std::string_view(reply->text).substr(begin, reply->text.find('\r', begin) - begin);
  };
  const auto offset = base::ParseInt64(field("master_repl_offset:"));
  if (!offset) return base::Invalid("the source tells no master_repl_offset in INFO replication");
  const bool replica = field("role:") == "slave";
  return Standing{.offset = static_cast<uint64_t>(*offset),
                  .history = std::string(field("master_replid:")),
                  .replica = replica,
                  .master_lost = replica && field("master_link_status:") != "up"};
}

base::Status Follower::SeekGoal() {
  const int64_t now = cli::MonotonicMs();
  if (now < goal_next_ms_) return {};
  base::Status status = AskGoal();
  // While the stream is out of reach, too, the replica knows how long to wait for it.
  if (status.ok() || !replica_.health().connected) goal_well_ms_ = now;
  if (status.ok()) {
    goal_trouble_.clear();
    return {};
  }
  if (IsFinal(status) || !replica_.Current().ok()) return status;
  const int64_t patience = std::max(options_.patience_ms, kAskPatienceMs);
  if (now - goal_well_ms_ > patience) return base::IoError(status.message());
  goal_trouble_ = status.message();
  goal_next_ms_ = now + (status.code() == base::Code::kBusy ? kReadMs : kAskAgainMs);
  return {};
}

base::Status Follower::AskGoal() {
  goal_asked_ms_ = cli::MonotonicMs();
  auto standing = AskStanding();
  if (!standing.ok()) return standing.status();
  // An offset means something in its history only: the source may have begun another one (a
  // restart, a failover), and the stream has not heard of that yet.
  const Replica::Health health = replica_.health();
  if (!standing->history.empty() && standing->history != health.history)
    return base::Status(base::Code::kBusy, "the source goes on under another replication id");
  if (!health.connected) return base::IoError("the source is out of reach");
  // What is followed still may be the rest of the former copy.
  if (auto copy = replica_.Current(); copy.ok() && copy->number != copy_.number)
    return base::Status(base::Code::kBusy, "a new copy begins");
  // It stands still, and looks level.
  if (standing->master_lost)
    return base::IoError("the source " + source_.Name() +
                         " is a replica that has lost its master (master_link_status)");
  goal_ = standing->offset;
  return {};
}

base::Status Follower::PauseSource() {
  auto reply = base::Result<resp::Value>(base::IoError("not asked"));
  // The connection may have idled for hours, and be gone.
  for (int attempt = 0; attempt < 2 && !reply.ok(); ++attempt) {
    if (attempt > 0) asking_.reset();
    TRY(Connect());
    paused_ = true;  // also if no answer comes
    reply = asking_->Ask({"CLIENT", "PAUSE", std::to_string(options_.pause_ms), "WRITE"});
  }
  if (!reply.ok())
    return base::Invalid("the source cannot pause its clients' writes (" +
                         reply.status().message() + "): leave out --pause");
  progress_.Milestone("the source's writes are paused for " + cli::HumanMillis(options_.pause_ms));
  return {};
}

// Its clients must not wait for an import that has ended without a cut-over.
void Follower::UnpauseSource() {
  asking_.reset();
  base::Status status = Connect();
  if (status.ok()) status = asking_->Ask({"CLIENT", "UNPAUSE"}).status();
  progress_.Milestone(status.ok()
                          ? "the source's writes go on"
                          : "the source's writes may stay paused for as long as --pause says (" +
                                status.message() + "): CLIENT UNPAUSE there ends it");
}

std::string Follower::Left() const {
  if (another_history_)
    return "the leader keeps what it has. Look at the source; then use the leader as it is, or "
           "begin "
           "again with --replace";
  if (copy_.number == 0) return "";
  if (whole())
    return "the leader has all that the source had sent: use it as it is, or begin again with "
           "--replace";
  return "the leader holds a part of it: begin again with --replace";
}

bool Follower::whole() const {
  return settled() && !in_transaction_ && leader_.acknowledged() >= replica_.health().received;
}

uint64_t Follower::lag() const {
  const uint64_t received = replica_.health().received;
  return received - std::min(received, leader_.acknowledged());
}

std::string Follower::HowToEnd() const {
  if (options_.until_synced) return {};
  return "; " + std::string(stop_.reads_terminal() ? "type cutover, or " : "") + "kill -USR1 " +
         std::to_string(::getpid()) + (stop_.reads_terminal() ? "," : "") + " to cut over";
}

std::string Follower::Line(std::string_view phase) const {
  const Replica::Health health = replica_.health();
  std::string line(phase);
  if (phase == "copy") {
    line += ": " + Bar(counts_.bytes, copy_.rdb_bytes.value_or(0)) + " " +
            cli::HumanBytes(counts_.bytes) + ", " + cli::HumanCount(counts_.keys) + " keys";
  } else {
    line += ": lag " + cli::HumanBytes(lag()) + ", " + cli::HumanCount(commands_) + " commands";
    if (!health.connected) {
      line += "; not connected: " + health.trouble;
    } else if (!goal_trouble_.empty()) {
      line += "; " + goal_trouble_;
    }
    if (progress_.terminal() && phase == "follows") line += HowToEnd();
  }
  if (leader_.refused() > 0) line += ", " + cli::HumanCount(leader_.refused()) + " refused";
  return line;
}

}  // namespace polyarch::moving
