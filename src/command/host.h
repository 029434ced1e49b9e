// What commands ask of the node around them, beyond the keyspace. ClusterHost is the engine (the same
// one in the server and in the simulator); ServerHost is the process: clients, configuration, numbers
// about the machine. Interfaces belong to this room, which uses them.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/function_ref.h"
#include "base/status.h"
#include "clock/ballot.h"
#include "clock/session_token.h"
#include "command/client.h"
#include "command/observations.h"
#include "command/remembered.h"
#include "command/scripts.h"
#include "command/subscriptions.h"
#include "command/tracking.h"
#include "command/users.h"
#include "command/watches.h"
#include "conflict/feed.h"
#include "conflict/ledger.h"
#include "conflict/policy.h"
#include "keyspace/change.h"
#include "keyspace/stream.h"

namespace polyarch::command {

class Monitors;

struct LeaderInfo {
  std::string id;
  std::string incarnation;   // hexadecimal; empty before the first write of its process
  std::string address;       // host:peerport as advertised
  std::string state;         // alive (this one too), unreachable, joining, retired
  uint64_t lag_changes = 0;  // changes applied here that it has not acknowledged as applied
  int64_t lag_ms = 0;        // age of the oldest of them
  std::optional<int64_t> clock_difference_ms;  // its clock minus ours, as of its last message; none without a link
  uint64_t retained_bytes = 0;      // of our log, from what it may lack on
  bool self = false;
  std::string next;          // the neighbour over which it is reached; itself if there is a link
  uint32_t hops = 0;         // links on the way; 0: out of reach, or this node
  bool link_cut = false;
  int64_t link_delay_ms = 0;
};

struct TopologyInfo {
  struct Route {
    std::string to;
    std::string next;
    uint32_t hops = 0;
  };
  std::string topology;                 // as it was set: "ring a b c"
  std::vector<std::string> configured;  // links, "a-b"
  std::vector<std::string> live;        // that this node can see
  std::vector<std::string> bypasses;    // live ones that are not configured
  std::vector<Route> routes;            // to each leader in reach
  std::vector<std::pair<std::string, std::string>> sources;  // origin, neighbour it is pulled from
};

struct Context;
struct Row;
using Arguments = std::span<const std::string_view>;

// Keys whose writes are agreed on among leaders (policy `sync`).
class AgreedHost {
 public:
  virtual ~AgreedHost() = default;
  // The command is to write keys. True: it is answered (an error), or suspended until it has been agreed on. False: it
  // runs as any other.
  virtual bool Takes(Context& context, const Row& row) = 0;
  // EVAL with that source is to run, which may write. True: as for Takes. It is if its only key is one of them.
  virtual bool TakesScript(Context& context, std::string_view source, Arguments keys, Arguments rest) = 0;
  // A script is about to run this command. If it may not, the script ends with that line, and what it did is taken
  // back.
  virtual base::Status MayRun(Context& context, const Row& row) = 0;
  // SYNC READ, SYNC OUTCOME: answered, or suspended.
  virtual void AskRead(Context& context, std::string_view key) = 0;
  virtual void AskOutcome(Context& context, std::string_view key, const clock::Ballot& name) = 0;
  // Is this a try of a round, of which there may be several? The client's command was shown to MONITOR before.
  virtual bool Tries() const { return false; }
};

// Lists whose elements are popped, and groups of streams whose entries are given, by their owners only (policy
// `pop-owner`, docs/design/0029-pop-owner.md).
class OwnerHost {
 public:
  // So many elements of an end are looked at for one that may be popped.
  static constexpr size_t kLookMax = 1000;

  virtual ~OwnerHost() = default;
  // Are there any?
  virtual bool in_use() const = 0;
  virtual bool Covers(std::string_view key) const = 0;
  // Visits up to `count` elements of the key's list that this leader may pop, from that end on.
  virtual void VisitOwned(const keyspace::KeyRef& key,
                          const keyspace::Collection& list,
                          bool front,
                          uint64_t count,
                          base::FunctionRef<void(const keyspace::ElementView&)> visit) = 0;
  // It is popped in this change.
  virtual void NotePopped(keyspace::Change& change, const keyspace::KeyRef& key, std::string_view name) = 0;
  // A client would pop so many elements from that end, which others own or have not pushed yet: they are asked.
  // `waits`: it goes on waiting; else it will ask again.
  virtual void Want(const keyspace::KeyRef& key, bool front, uint64_t count, bool waits) = 0;

  // ---- the same of a group of a stream
  virtual bool CoversGroup(std::string_view key, std::string_view group) const = 0;
  // Up to `count` entries that the group was not given and that this leader may give, by rising ids; of the first
  // kLookMax. `others`: are there any that it may not?
  virtual std::vector<keyspace::Stream::Item> OwnedEntries(const keyspace::KeyRef& key,
                                                           const keyspace::Stream& stream,
                                                           std::string_view group,
                                                           const crdt::StreamGroup& state,
                                                           size_t count,
                                                           bool& others) = 0;
  // Of a pending entry: may this leader give it to another consumer?
  virtual bool OwnsPending(const keyspace::KeyRef& key,
                           const keyspace::Stream& stream,
                           std::string_view group,
                           crdt::StreamId id) = 0;
  // It is given, or claimed, in this change.
  virtual void NoteGiven(keyspace::Change& change,
                         const keyspace::KeyRef& key,
                         std::string_view group,
                         crdt::StreamId id) = 0;
  virtual void WantEntries(const keyspace::KeyRef& key, std::string_view group, uint64_t count, bool waits) = 0;
  // These pending entries, which others gave.
  virtual void WantPending(const keyspace::KeyRef& key, std::string_view group, const std::vector<crdt::StreamId>& ids) = 0;
};

// Bounded counters (ESCROW, docs/design/0030-escrow.md). Each gives a reply, or suspends the client. Amounts are from 1
// to kEscrowMax of engine/escrow.h; that of a new stock may be 0.
class EscrowHost {
 public:
  virtual ~EscrowHost() = default;
  virtual void Create(Context& context, std::string_view key, int64_t total) = 0;
  virtual void Grant(Context& context, std::string_view key, int64_t amount) = 0;
  virtual void Spend(Context& context, std::string_view key, int64_t amount) = 0;
  virtual void Get(Context& context, std::string_view key) = 0;
  virtual void Reclaim(Context& context, std::string_view key, std::string_view leader) = 0;
};

// What SESSION TOKEN tells, and up to where the log must be durable before it does.
struct SessionMark {
  std::string token;
  uint64_t position = 0;
};

// What is not here of that which a session has seen.
struct SessionLack {
  bool foreign = false;      // the token is of another cluster
  std::string missing;       // "eu.3f2a9c0d11223344:91..100 ..."; empty: nothing
  std::string lost;          // of origins that have ended, and nobody that counts has it
};

class ClusterHost {
 public:
  virtual ~ClusterHost() = default;

  virtual const std::string& leader_id() const = 0;
  virtual std::vector<LeaderInfo> Leaders() = 0;
  virtual TopologyInfo Topology() = 0;
  // The words behind TOPOLOGY SET as they are stored; an error names cause and remedy.
  virtual base::Result<std::string> ParseTopology(const std::vector<std::string_view>& words) = 0;
  // kNotFound for a name that is no member, kInvalid for this node's own.
  virtual base::Status CutLink(std::string_view leader) = 0;
  virtual base::Status HealLink(std::string_view leader) = 0;
  virtual base::Status DelayLink(std::string_view leader, int64_t delay_ms) = 0;

  // What to store at "retired/<leader>" in the reserved database to take it out; kNotFound, kInvalid with a line
  // for the client.
  virtual base::Result<std::string> RetireRecord(std::string_view leader) = 0;

  virtual const conflict::PolicyTable& policies() const = 0;
  virtual conflict::Ledger& ledger() = 0;
  virtual const clock::OriginTable& origins() const = 0;
  virtual const clock::VersionVector& applied() const = 0;

  // Conflict feeds, with all items that there are now.
  virtual conflict::Feeds& feeds() = 0;
  // The first of a feed's leaders that is in reach, this one included; empty: none is.
  virtual std::string DelivererOf(const conflict::FeedGroup& group) = 0;
  // Of this process; never goes back.
  virtual int64_t mono_us() const = 0;

  virtual std::string VersionVectorText() = 0;
  virtual std::string DigestText() = 0;            // 32 hexadecimal digits
  // Begins (or joins) a checkpoint; returns a ticket. CheckpointDone says whether it has ended.
  virtual uint64_t StartCheckpoint() = 0;
  virtual bool CheckpointDone(uint64_t ticket) const = 0;
  // The wall time of the last checkpoint that ended, or of the start if there was none.
  virtual int64_t last_checkpoint_ms() const = 0;
  // Removed by this node since its start, being past their time.
  virtual uint64_t expired_keys() const { return 0; }
  // Removed by this node since its start, for their memory.
  virtual uint64_t evicted_keys() const { return 0; }
  // How long keys and values took more than `maxmemory`, since its start.
  struct MemoryExceeded {
    int64_t total_ms = 0;
    int64_t now_ms = 0;  // of that, until now
  };
  virtual MemoryExceeded memory_exceeded() const { return {}; }

  // Keyspace::over_memory_line() says so: is there no room to be had? What may be evicted is, first. No change is under way.
  virtual bool OutOfMemory() { return true; }

  // May this node accept writes? Else a line for the client: "HISTORY not yet admitted ...",
  // "DISKFULL ...".
  virtual base::Status WriteAllowed() const = 0;
  // "name:value" lines of INFO's replication, persistence, ... sections that the engine knows.
  virtual void InfoReplication(std::string& out) = 0;
  virtual void InfoPersistence(std::string& out) = 0;
  virtual uint64_t conflicts_detected() const = 0;

  // Clients that wait for elements. Unblock: this one waits no more; its command answers as after its
  // timeout, or with an error. False if it does not wait.
  virtual bool Unblock(uint64_t client, bool with_error) = 0;
  virtual size_t blocked_clients() const = 0;
  // Commands of clients, or only those that may write, wait from now on. What waits longer already, or more, goes on
  // so. A pause ends by itself.
  virtual void Pause(int64_t millis, bool writes_only) = 0;
  virtual void Unpause() = 0;

  // Who listens here. Publish sends a message to them and to the subscribers of all other leaders in reach, and
  // returns how many there are here. Nothing is logged, nothing is sent again.
  virtual Subscriptions& subscriptions() = 0;
  virtual size_t Publish(bool shard, std::string_view channel, std::string_view message) = 0;
  // Tells those who listen here what has happened to a key (notify.h).
  virtual void Notify(uint32_t notice, std::string_view event, uint8_t db, std::string_view key) = 0;

  virtual Watches& watches() = 0;
  // Who has read which keys, and is told when they change.
  virtual Tracking& tracking() = 0;
  virtual Monitors& monitors() = 0;
  virtual Scripts& scripts() = 0;
  virtual Users& users() = 0;
  // What was written of users counts from now on, for connections that are there too.
  virtual void SettleUsers() = 0;
  // Null where nothing is ever agreed on.
  virtual AgreedHost* agreed() { return nullptr; }
  // Null where nobody owns anything.
  virtual OwnerHost* owners() { return nullptr; }
  virtual EscrowHost* escrow() { return nullptr; }
  // Replaces the electors without their agreement.
  virtual base::Status ForceElectors(std::vector<std::string> /*leaders*/) {
    return base::Invalid("this leader agrees with nobody");
  }
  // May a policy `sync` be set? Else a line for the client.
  virtual base::Status MayAgree() const { return base::Invalid("this leader agrees with nobody"); }

  // ---- WAIT and SESSION
  // How many other members hold this change (its bits; 0: all do) durably, as far as they have told; and
  // they are asked to tell.
  virtual size_t Holders(uint64_t dot) = 0;
  // Of all that is applied. Not within a change.
  virtual SessionMark MarkSession() = 0;
  // Is the log durable up to there? If not, it soon will be.
  virtual bool IsDurable(uint64_t position) = 0;
  // `all`: else the first that is missing is enough, and is not named.
  virtual SessionLack LackOf(const clock::SessionToken& token, bool all) = 0;
  // New policies and handlers that this tick has brought, which policies() does not know yet.
  virtual size_t& unread_configuration() = 0;
  // What the commands take that are queued between MULTI and EXEC, of all clients.
  virtual const std::shared_ptr<size_t>& queued_bytes() = 0;
};

// What a backup that ended well came to.
struct BackupSummary {
  std::string path;
  std::string vv;  // what it holds
  uint64_t files = 0;
  uint64_t bytes = 0;
  int64_t taken_ms = 0;  // since 1970
};

class ServerHost {
 public:
  virtual ~ServerHost() = default;

  // What was observed of commands: filled by whoever runs them, as this room tells (command_timer.h).
  Observations& observations() { return observations_; }
  // Redis's parameters that a process keeps for its clients.
  Remembered& remembered() { return remembered_; }

  virtual void ForEachClient(const std::function<void(Client&)>& visit) = 0;
  virtual bool KillClient(uint64_t id) = 0;
  virtual size_t ClientOutputBytes(uint64_t id) const = 0;

  // Parameters by name (lower case), sorted; `set` returns an error line for a bad value.
  virtual std::vector<std::pair<std::string, std::string>> ConfigGet(std::string_view pattern) = 0;
  virtual base::Status ConfigSet(std::string_view name, std::string_view value) = 0;
  // An error line if a parameter that there is may not be changed at all; whether `value` fits is not asked.
  virtual base::Status ConfigMayChange(std::string_view name, std::string_view /*value*/) {
    return remembered_.Has(name) ? remembered_.MayChange(name) : base::Status();
  }
  // Behind the last ConfigSet of a command: what takes effect only with all its values does now. `keep` false: they were
  // set back, and nothing takes effect. An error line: nothing of it did, and they are to be set back.
  virtual base::Status ConfigSettle(bool /*keep*/) { return {}; }
  virtual void ConfigResetStat() = 0;

  // A random number that nobody can guess.
  virtual uint64_t Secret() = 0;

  // Appends "name:value" lines of the INFO sections server, clients, memory, persistence (behind the
  // cluster's lines), stats, cpu; without the section's title. redis_version, polyarch_version and
  // redis_mode are written by this room.
  virtual void InfoSection(std::string_view section, std::string& out) = 0;
  // For SHUTDOWN: the process ends after this tick.
  virtual void Shutdown() = 0;
  // For DEBUG SLEEP: blocks the whole process.
  virtual void Sleep(double seconds) = 0;
  virtual int64_t WallMicros() = 0;
  // Of a clock that nobody sets.
  virtual int64_t MonotonicMicros() { return WallMicros(); }
  virtual int64_t MonotonicNanos() { return MonotonicMicros() * 1000; }
  // How long a script may take.
  virtual int64_t script_ms_max() const { return 1000; }
  // redis.log: `level` 0 (debug) to 3 (warning).
  virtual void ScriptLog(int /*level*/, std::string_view /*line*/) {}

  // POLYARCH BACKUP: begins one into `path` and returns a ticket; the client's command is run again
  // when it has ended. A process without files of its own has none.
  virtual base::Result<uint64_t> StartBackup(std::string_view /*path*/, uint64_t /*client*/) {
    return base::NotFound("this leader cannot make backups");
  }
  // The result, once; nothing while it is under way.
  virtual std::optional<base::Result<BackupSummary>> TakeBackup(uint64_t /*ticket*/) {
    return std::nullopt;
  }

 private:
  Observations observations_;
  Remembered remembered_;
};

}  // namespace polyarch::command
