// What clients do, and what each reply must be given what the node showed just before.
//
// Few keys, so that conflicts abound. Every value written is unique. Keys whose names begin with "n:"
// are counters that nobody but INCRBY touches: their sums are known exactly.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "command/client.h"
#include "command/context.h"
#include "engine/engine.h"
#include "resp/reply.h"
#include "sim/draw.h"
#include "sim/node.h"

namespace polyarch::sim {

inline constexpr std::string_view kTrackedPrefix = "n:";

// Looks at the keys of one command before it runs, and checks the reply and what the same node shows
// right after it: a leader agrees with itself at once.
class Expectation {
 public:
  Expectation(engine::Engine& engine,
              const command::Client& client,
              const std::vector<std::string_view>& args);
  void Check(engine::Engine& engine,
             const command::Client& client,
             const resp::Value& reply,
             bool wrote,
             const std::string& node);

 private:
  struct Seen {
    bool exists = false;
    bool conflict = false;
    std::string text;
    int64_t expire_ms = 0;
  };
  static Seen Look(engine::Engine& engine, uint8_t db, std::string_view key);
  std::string Judge(engine::Engine& engine, const command::Client& client, const resp::Value& reply);
  std::string After(engine::Engine& engine,
                    uint8_t db,
                    std::string_view key,
                    std::optional<std::string> text,
                    std::optional<int64_t> expire_ms = std::nullopt);

  std::vector<std::string_view> args_;
  // What a copy of this kind must answer and leave behind: RENAME, COPY, MOVE.
  std::string JudgeCopy(engine::Engine& engine, uint8_t db, const resp::Value& reply);
  std::string JudgePairs(engine::Engine& engine, uint8_t db);

  std::vector<Seen> before_;  // of args[1]; then of the target of RENAME, COPY, MOVE, or of MSETNX's other keys
  int64_t now_ms_ = 0;
};

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
  unsigned precedence = 0;               // LEADER PRIORITY
  int64_t ttl_max_ms = 5000;
  bool numeric = false;                  // SET numbers, so that INCR applies
  unsigned burst_percent = 10;           // the same command at several nodes in one instant
};

class World;

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
  void Resolve(Node& node, int client);
  std::string DrawKey();
  std::string DrawValue();

  World& world_;
  WorkloadProfile profile_;
  uint64_t next_value_ = 1;
  struct Token {
    uint8_t db;
    std::string key;
    std::string token;
  };
  std::vector<Token> tokens_;
};

// The database that COPY or MOVE writes to.
uint8_t TargetDb(const std::vector<std::string_view>& args, uint8_t db);
// The keys of a command as the oracle names them; `whole`: it looks at all.
void KeysOf(const std::vector<std::string>& args, uint8_t db, std::vector<Key>& keys, bool& whole);

}  // namespace polyarch::sim
