// What clients do.
//
// Few keys, so that conflicts abound, and commands of all types on the same ones. Every value written is
// unique. Keys whose names begin with "n:" are written by few commands, so that what they hold is known
// exactly: counters (INCRBY), a hash of counters (HINCRBY), a set (SADD, SREM, SPOP), a list (pushes and pops),
// a HyperLogLog (PFADD).
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sim/draw.h"
#include "sim/node.h"

namespace polyarch::sim {

inline constexpr std::string_view kTrackedPrefix = "n:";
inline constexpr std::string_view kTrackedHash = "n:hash";
inline constexpr std::string_view kTrackedSet = "n:set";
inline constexpr std::string_view kTrackedList = "n:list";
inline constexpr std::string_view kTrackedSketch = "n:sketch";
inline constexpr std::string_view kTrackedStream = "n:stream";

// Which commands, how often, on which keys; drawn per seed.
struct WorkloadProfile {
  std::vector<std::string> keys;         // plain ones
  std::vector<std::string> tracked;      // "n:..."
  unsigned set = 20;
  unsigned set_ttl = 5;
  unsigned get = 15;
  unsigned incr = 15;
  unsigned tracked_incr = 10;
  unsigned incr_float = 1;
  unsigned append = 4;
  unsigned del = 10;
  unsigned expire = 4;
  unsigned persist = 2;
  unsigned mset = 3;
  unsigned getdel = 2;
  unsigned rename = 2;
  unsigned copy = 2;
  unsigned move = 1;
  unsigned set_nx = 2;
  unsigned mset_nx = 1;
  unsigned get_ex = 2;                   // PX (if anything else gives a time to live), PERSIST, or nothing
  unsigned keep_ttl = 2;                 // SET KEEPTTL
  unsigned flush = 1;
  unsigned conflict = 6;                 // GET, then RESOLVE here or elsewhere; LOG and RESTORE
  unsigned policy = 1;
  unsigned checkpoint = 3;
  unsigned scan = 2;
  unsigned link = 0;                     // LINK CUT, HEAL, DELAY
  unsigned topology = 0;                 // TOPOLOGY SET
  unsigned retire = 0;                   // LEADER RETIRE
  // Of commands on single keys, how many are of collections; on how many different elements.
  unsigned collection_percent = 0;
  uint64_t elements = 4;
  unsigned feed = 0;                     // CONFLICT FEED
  bool handlers = false;                 // HANDLER, policies that name them
  bool merges = false;                   // policies `merge`, also of fields; values for them
  unsigned precedence = 0;               // LEADER PRIORITY
  unsigned publish = 0;                  // PUBLISH
  unsigned travel = 0;                   // SESSION TOKEN and WAIT, WAIT
  unsigned transaction = 0;              // MULTI and EXEC, also behind a WATCH
  int64_t ttl_max_ms = 5000;
  bool numeric = false;                  // SET numbers, so that INCR applies
  bool huge = false;                     // increments near 2^62; then none of real numbers
  bool shown_deletes = false;            // most policies are `lww DELETES`
  unsigned burst_percent = 10;           // the same command at several nodes in one instant
};

class World;

inline constexpr int kOtherDbClient = 2;  // of each node: it has selected database 1

// Draws commands and gives them to nodes.
class Workload {
 public:
  Workload(World& world, WorkloadProfile profile) : world_(world), profile_(std::move(profile)) {}

  // Several commands, by one client of one node, or by many of many.
  void Step();
  const WorkloadProfile& profile() const { return profile_; }
  // TOPOLOGY SET with some of the leaders, or all of them, in any shape.
  std::vector<std::string> DrawTopology();
  void Give(Node& node, int client, std::vector<std::string> args);

 private:
  std::vector<std::string> DrawCommand(Node& node, int client);
  // Of a hash, a set or a sorted set.
  std::vector<std::string> DrawCollectionCommand(Node& node, uint8_t db);
  std::vector<std::string> DrawHashCommand();
  std::vector<std::string> DrawSetCommand();
  std::vector<std::string> DrawSortedSetCommand();
  std::vector<std::string> DrawTrackedCommand(Node& node, uint8_t db);
  std::string ValueIn(Node& node, uint8_t db, const std::string& key);
  std::vector<std::string> DrawListCommand(Node& node, uint8_t db);
  // workload_waiting.cc
  std::vector<std::string> DrawWaiting();
  void WaitTogether(std::vector<Node*> writers);
  // Streams: workload_stream.cc.
  std::vector<std::string> DrawStreamCommand(Node& node, uint8_t db);
  std::vector<std::string> DrawTrackedStream(Node& node, uint8_t db);
  std::string DrawElement();
  std::string DrawAmount();
  // How many elements one command writes: mostly one.
  size_t DrawCount();
  void Resolve(Node& node, int client);
  // workload_transaction.cc
  void Transact(Node& node, int client);
  void GiveScript(Node& node, int client);
  void GiveTransaction(Node& node, int client, const std::vector<std::vector<std::string>>& commands);
  std::string DrawKey();
  std::string DrawValue();
  // workload_feed.cc
  void UseFeed(Node& node, int client);
  // workload_handler.cc
  std::vector<std::string> DrawHandlerCommand(const std::string& pattern);
  // workload_merge.cc
  std::string DrawMergeable();
  std::vector<std::string> DrawMergePolicy(const std::string& pattern);

  World& world_;
  WorkloadProfile profile_;
  uint64_t next_value_ = 1;
  struct Token {
    uint8_t db;
    std::string key;
    std::string field;  // or nothing: of the key's own register
    std::string token;
  };
  std::vector<Token> tokens_;
  std::vector<std::pair<std::string, std::string>> feed_ids_;  // feed, id: to be acknowledged
  std::map<std::pair<const Node*, int>, std::string> watched_;  // by clients, if they still live
};

// The database that COPY or MOVE writes to.
uint8_t TargetDb(const std::vector<std::string_view>& args, uint8_t db);
// The keys of a command as the oracle names them; `whole`: it looks at all.
void KeysOf(const std::vector<std::string>& args, uint8_t db, std::vector<Key>& keys, bool& whole);

}  // namespace polyarch::sim
