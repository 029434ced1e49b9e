// Keys under the policy `sync`, at one leader: which keys those are, clients' commands as
// operations of agreement, and what was decided as records that are replicated like all else.
// docs/design/0021-sync.md.
//
// A decided value is a register in the reserved database, `decided/<db><key>`. Of several versions
// of it, the one of the highest ballot counts; whoever learns of a decision may write it, and
// nobody writes a lower one than he has applied. So the causal stream, state transfers and digests
// carry it without knowing of it. Clients see it through a keyspace::DecidedView.
//
// Part of Engine, which drives it; on its thread, within its ticks.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "command/context.h"
#include "command/pubsub.h"
#include "command/table.h"
#include "conflict/policy.h"
#include "engine/agreed_run.h"
#include "keyspace/decided.h"
#include "sync/agreement.h"

namespace polyarch::engine {

class Engine;

inline constexpr int64_t kAgreedTimeoutUs = 2'000'000;  // of a client's command
// A command that is right behind the policy waits so long for that to begin: more than it takes at most (0021-sync.md).
inline constexpr int64_t kBeginTimeoutUs = 12'000'000;

inline constexpr std::string_view kDecidedPrefix = "decided/";
inline constexpr std::string_view kElectorateKey = "electorate";
inline constexpr std::string_view kElectorsKey = "electors";

// One version of such a register. docs/FORMATS.md, "decided 1".
struct DecidedRecord {
  clock::Ballot version;
  bool released = false;  // `sync` has ended, and an ordinary write stands in its place
  clock::Hlc hlc;
  wire::Dependencies deps;
  bool absent = true;
  int64_t expires_ms = crdt::kNever;
  std::string value;        // keyspace::PlainValue, encoded
  wire::VoteNumbers votes;  // by which it was decided
  // Of two of one register: does this one count?
  bool Beats(const DecidedRecord& other) const {
    return version != other.version ? version > other.version : released && !other.released;
  }
};
std::string Encode(const DecidedRecord& record);
bool Decode(std::string_view bytes, DecidedRecord& record);

class AgreedKeys final : public command::AgreedHost, private sync::Host {
 public:
  AgreedKeys(Engine& engine, const std::string& leader, uint64_t seed);
  ~AgreedKeys() override;

  // ---- recovery
  bool LoadMeta(std::string_view bytes) { return agreement_.elector().LoadMeta(bytes); }
  bool LoadRow(std::string_view key, std::string_view row) {
    return agreement_.elector().LoadRow(key, row);
  }
  bool Replay(std::string_view record) { return agreement_.elector().Replay(record); }
  // `found`: the cluster begins with this leader. `new_seat`: its votes may not be what they were.
  void Start(bool found, bool new_seat);
  void Rename(const std::string& leader) { agreement_.Rename(leader); }

  // ---- what Engine tells
  void BeginTick();
  void Tick();  // before the tick's last frame is finished
  void DecidedChanged(std::string_view reserved_key) { changed_.emplace_back(reserved_key); }
  // Brings what reads see up to date with the records that have changed.
  void Refresh();
  void RefreshAll();
  // The key's ordinary state has changed.
  void Touched(const keyspace::KeyRef& ref);
  void ReadElectorate();
  void PoliciesChanged();
  // This process's memory is an earlier one, or there are two of it.
  void SetBack() { agreement_.SetBack(); }
  void Arrived(std::string_view message) { inbox_.emplace_back(message); }
  void TakeInbox();
  void Forget(uint64_t client);
  // Is there anything of it: a policy, a decided key?
  bool in_use() const { return policies_sync_ || !rules_text_.empty() || view_.size() != 0; }
  sync::Agreement& agreement() { return agreement_; }
  const sync::Agreement& agreement() const { return agreement_; }
  bool started() const { return started_; }
  // Are writes of this key agreed on here and now?
  bool IsAgreed(std::string_view key) const { return StandingOf(key) == Standing::kAgreed; }
  // Was it agreed on, or is it to be? Then it is never evicted.
  bool Keeps(uint8_t db, std::string_view key) const {
    return StandingOf(key) != Standing::kOrdinary || view_.Holds(db, key);
  }
  base::Status MayBegin() const;
  // Why no quorum of electors answers, and what helps.
  std::string NoQuorumText() const;
  base::Status ForceElectors(std::vector<std::string> leaders);
  // May this leader be taken out? Not if those who are left could not even replace its vote.
  base::Status MayRetire(std::string_view leader) const;
  // Who is to vote (LEADER ELECTORS); nobody named: the first five.
  void SetChosen(std::vector<std::string> leaders) { chosen_ = std::move(leaders); }
  void Info(std::string& out) const;
  // A change of one such key for the engine's own purposes: `arguments` are run, unless one of the questions before it
  // is answered otherwise than wanted; then that error is given. `reply`, if it was run without an error.
  struct Unless {
    std::vector<std::string> ask;
    std::string wanted;
    std::string otherwise;
  };
  // While the policy begins, it waits for that: the command is run again then.
  void AskChange(command::Context& c,
                 const std::string& key,
                 std::vector<Unless> unless,
                 std::vector<std::string> arguments,
                 std::string reply);
  // Does a command of this client wait so?
  bool WaitsToBegin(uint64_t client) const { return !beginning_.empty() && beginning_.count(client) != 0; }
  // Its command has ended, in whatever way.
  void NoteEnded(uint64_t client) {
    if (!beginning_.empty()) beginning_.erase(client);
  }
  // What was decided last, as far as this leader has heard, if every member, away ones too, has said that it has applied
  // it.
  std::optional<DecidedRecord> NewestEverywhere(const std::pair<uint8_t, std::string>& key);
  template <typename Visit>
  void ForEachPresent(Visit visit) const {
    view_.ForEach([&](uint8_t db, std::string_view key, bool present) {
      if (present) visit(db, key);
    });
  }

  // ---- command::AgreedHost
  bool Takes(command::Context& c, const command::Row& row) override;
  bool TakesScript(command::Context& c,
                   std::string_view source,
                   command::Arguments keys,
                   command::Arguments rest) override;
  base::Status MayRun(command::Context& c, const command::Row& row) override;
  void AskRead(command::Context& c, std::string_view key) override;
  void AskOutcome(command::Context& c, std::string_view key, const clock::Ballot& name) override;

 private:
  using Key = std::pair<uint8_t, std::string>;
  enum class Standing : uint8_t { kOrdinary, kAgreed, kChanging };
  struct Call {
    enum class Kind : uint8_t { kCommand, kRead, kOutcome, kExpire } kind = Kind::kCommand;
    uint64_t client = 0;  // 0: gone
    int protocol = 2;
    AgreedRun::As as;  // whose command it is: scripts call others as that user
    Key key;
    std::vector<std::string> arguments;
    bool script = false;
    command::ServerHost* server = nullptr;
    std::vector<std::vector<std::string>> steps;  // of a transaction
    std::optional<clock::Ballot> watched;         // it runs on this version only
    std::vector<Unless> unless;                   // of AskChange
    std::string reply;
    struct Replied {
      std::string reply;
      std::vector<command::Publication> events;
    };
    std::map<clock::Ballot, Replied> told;  // by attempt
  };

  Standing StandingOf(std::string_view key) const;
  // Why the key cannot be agreed on; empty: it can.
  std::string Unsuitable(uint8_t db, const std::string& key);
  static wire::SyncKey SyncKeyOf(const Key& key) { return {key.first, key.second}; }
  bool OwnVoteIsLost() const;
  struct Plan;
  Plan PlanOf(const command::Context& c,
              const command::Row& row,
              std::vector<std::vector<std::string>>& steps) const;
  bool FlushMeets(std::optional<uint8_t> db);
  void ReleaseAll(std::optional<uint8_t> db);
  void RunCall(Call& call,
               AgreedRun& run,
               const wire::Tuple& base,
               const clock::Ballot& attempt,
               const wire::SyncKey& key);
  void Begin(command::Context& c, Call given, const std::string& key, clock::Ballot name = {});
  void Reply(Call& call, std::string reply);
  std::string Error(const Call& call, const std::string& text) const;
  std::string ReadReply(const Call& call, const wire::Tuple* tuple);
  void Release(const Key& key);
  void GiveWay(const Key& key);
  void RefreshOne(const Key& key);
  std::optional<DecidedRecord> Newest(const Key& key, clock::Dot* dot = nullptr);
  // The change that brought the newest one; 0: there is none.
  uint64_t DotOf(const Key& key);
  // Versions that a decision replaces without its writers' having known that anything was decided.
  void NoteStrays(const Key& key, const crdt::KeyState& beneath);
  std::string ElectorNames() const;
  bool AllSeen(const wire::Dependencies& deps, const crdt::KeyState& state);
  void WriteElectorate();
  bool MayWriteElectorate() const;
  void Duties();
  void RemoveExpired();
  bool IsAbsentEverywhere(const wire::SyncKey& key);
  void CollectRows();

  // ---- sync::Host
  uint64_t Append(std::string_view record) override;
  void Send(const std::string& leader, std::string message) override;
  bool InReach(const std::string& leader) const override;
  uint64_t ProcessOf(const std::string& leader) const override;
  bool Agrees() const override { return in_use(); }
  wire::Dependencies Applied() override;
  bool Covers(const wire::Dependencies& deps) const override;
  sync::RunResult FirstBase(const wire::SyncKey& key) override;
  sync::RunResult Run(const wire::SyncKey& key,
                      std::span<const sync::OpId> ops,
                      const wire::Tuple& base,
                      int64_t now_ms,
                      const clock::Ballot& attempt) override;
  void Chosen(const wire::SyncKey& key,
              const wire::Tuple& tuple,
              const wire::VoteNumbers& votes) override;
  clock::Ballot Shown(const wire::SyncKey& key) const override;
  bool Released(const wire::SyncKey& key, const clock::Ballot& version) const override;
  bool InForce(const wire::SyncKey& key, const wire::Electorate& electorate) const override;
  bool HasRulesOf(const wire::Electorate& electorate) const override;
  void Done(sync::OpId op, const sync::Result& result) override;
  void ElectorateKnown(const wire::Electorate& electorate) override;
  bool HasRival() const override;
  uint64_t Entropy() override;
  void VotesLost(uint64_t known, uint64_t number) override;

  Engine& engine_;
  sync::Agreement agreement_;
  keyspace::DecidedView view_;
  bool started_ = false;
  struct Known {
    clock::Ballot version;
    bool live = false;  // not released
  };
  std::map<Key, Known> known_;
  std::vector<std::string> changed_;
  bool telling_ = false;  // the engine, of a change of the view
  std::deque<std::string> inbox_;
  std::map<sync::OpId, Call> calls_;
  std::map<uint64_t, sync::OpId> by_client_;
  // Clients of AskChange whose key's policy begins or ends: their commands are run again when it has.
  struct Beginning {
    std::string key;
    int64_t deadline_us = 0;
    bool resumed = false;
  };
  std::map<uint64_t, Beginning> beginning_;
  struct Told {
    uint64_t client = 0;
    std::string reply;
    uint64_t wrote = 0;  // the change that holds what was decided (its dot's bits); 0: none
  };
  std::vector<Told> answers_;   // to be given at the end of the tick
  std::set<Key> to_release_;  // at the end of the tick, if they are ordinary keys then
  std::set<Key> overtaken_;   // decided values behind which an ordinary write stands that had not seen them
  uint64_t next_op_ = 1;
  base::Random random_;

  std::string rules_text_;  // that are in force, with their number (see Numbered)
  conflict::PolicyTable rules_;
  std::string wanted_rules_;  // that the policies say
  bool policies_sync_ = false;
  int64_t wanted_since_us_ = 0;
  clock::VersionVector wanted_seen_;  // what was applied then
  uint64_t written_epoch_ = 0;        // in the reserved database
  int64_t unwritten_since_us_ = -1;
  int64_t next_duty_us_ = 0;
  int64_t next_change_us_ = 0;
  int64_t next_collect_us_ = 0;
  std::set<Key> expiring_;
  std::vector<std::string> chosen_;
  bool lost_told_ = false;
  uint64_t given_up_for_ = 0;  // the nonce of the rival with whom a seat was shared
};

}  // namespace polyarch::engine
