// What clients ask a server that may be part of a Redis Cluster, or may have modules: it is none, and has none.
#include <string>

#include "command/families.h"
#include "command/support.h"

namespace polyarch::command {
namespace {

void ClusterDisabled(Context& c) {
  c.reply.Error("ERR This instance has cluster support disabled");
}

void ModuleList(Context& c) {
  c.reply.Array(0);
}

void ModuleRefused(Context& c) {
  c.reply.Error(
      "ERR MODULE command not allowed. If the enable-module-command option is set to \"local\", you can run it from a "
      "local connection, otherwise you need to set this option in the configuration file, and then restart the "
      "server.");
}

struct Subcommand {
  std::string_view name;
  int arity;
  uint32_t flags;
  std::string_view since;
  std::string_view tips = {};
};

constexpr uint32_t kManages = kAdmin | kStale | kNoAsyncLoading;
constexpr std::string_view kVaries = "nondeterministic_output";

constexpr Subcommand kSubcommands[] = {
    {"cluster|addslots", -3, kManages, "3.0.0"},
    {"cluster|addslotsrange", -4, kManages, "7.0.0"},
    {"cluster|bumpepoch", 2, kManages, "3.0.0", kVaries},
    {"cluster|count-failure-reports", 3, kAdmin | kStale, "3.0.0", kVaries},
    {"cluster|countkeysinslot", 3, kStale, "3.0.0"},
    {"cluster|delslots", -3, kManages, "3.0.0"},
    {"cluster|delslotsrange", -4, kManages, "7.0.0"},
    {"cluster|failover", -2, kManages, "3.0.0"},
    {"cluster|flushslots", 2, kManages, "3.0.0"},
    {"cluster|forget", 3, kManages, "3.0.0"},
    {"cluster|getkeysinslot", 4, kStale, "3.0.0", kVaries},
    {"cluster|help", 2, kLoading | kStale, "5.0.0"},
    {"cluster|info", 2, kStale, "3.0.0", kVaries},
    {"cluster|keyslot", 3, kStale, "3.0.0"},
    {"cluster|links", 2, kStale, "7.0.0", kVaries},
    {"cluster|meet", -4, kManages, "3.0.0"},
    {"cluster|myid", 2, kStale, "3.0.0"},
    {"cluster|nodes", 2, kStale, "3.0.0", kVaries},
    {"cluster|replicas", 3, kAdmin | kStale, "5.0.0", kVaries},
    {"cluster|replicate", 3, kManages, "3.0.0"},
    {"cluster|reset", -2, kAdmin | kNoScript | kStale, "3.0.0"},
    {"cluster|saveconfig", 2, kManages, "3.0.0"},
    {"cluster|set-config-epoch", 3, kManages, "3.0.0"},
    {"cluster|setslot", -4, kManages, "3.0.0"},
    {"cluster|shards", 2, kStale, "7.0.0", kVaries},
    {"cluster|slaves", 3, kAdmin | kStale, "3.0.0", kVaries},
    {"cluster|slots", 2, kStale, "3.0.0", kVaries},
};

}  // namespace

void AddClusterFamily(std::vector<Row>& rows) {
  static constexpr std::string_view kThereIsNone = "Not supported: there is no Redis Cluster";
  rows.push_back({.name = "cluster", .arity = -2, .categories = "@slow", .summary = kThereIsNone, .since = "3.0.0",
                  .group = "cluster", .complexity = "O(1)"});
  for (const Subcommand& sub : kSubcommands) {
    rows.push_back({.name = sub.name,
                    .arity = sub.arity,
                    .flags = sub.flags,
                    .categories = (sub.flags & kAdmin) != 0 ? "@admin @slow @dangerous" : "@slow",
                    .handler = ClusterDisabled,
                    .summary = kThereIsNone,
                    .since = sub.since,
                    .group = "cluster",
                    .complexity = "O(1)",
                    .tips = sub.tips});
  }
  // clang-format off: a row as few lines as it needs
  static constexpr uint32_t kLoads = kAdmin | kNoScript | kNoAsyncLoading;
  static constexpr std::string_view kCategories = "@admin @slow @dangerous";
  static constexpr Row kRows[] = {
      {.name = "asking", .arity = 1, .flags = kFast, .categories = "@fast @connection", .handler = ClusterDisabled,
       .summary = kThereIsNone, .since = "3.0.0", .group = "cluster", .complexity = "O(1)"},
      {.name = "readonly", .arity = 1, .flags = kLoading | kStale | kFast, .categories = "@fast @connection",
       .handler = ClusterDisabled, .summary = kThereIsNone, .since = "3.0.0", .group = "cluster",
       .complexity = "O(1)"},
      {.name = "readwrite", .arity = 1, .flags = kLoading | kStale | kFast, .categories = "@fast @connection",
       .handler = ClusterDisabled, .summary = kThereIsNone, .since = "3.0.0", .group = "cluster",
       .complexity = "O(1)"},
      {.name = "module", .arity = -2, .categories = "@slow", .summary = "Modules: there are none", .since = "4.0.0",
       .group = "server", .complexity = "O(1)"},
      {.name = "module|list", .arity = 2, .flags = kAdmin | kNoScript, .categories = kCategories,
       .handler = ModuleList, .summary = "Returns nothing: there are no modules", .since = "4.0.0",
       .group = "server", .complexity = "O(1)", .tips = "nondeterministic_output_order"},
      {.name = "module|load", .arity = -3, .flags = kLoads, .categories = kCategories, .handler = ModuleRefused,
       .summary = "Not supported", .since = "4.0.0", .group = "server", .complexity = "O(1)"},
      {.name = "module|loadex", .arity = -3, .flags = kLoads, .categories = kCategories, .handler = ModuleRefused,
       .summary = "Not supported", .since = "7.0.0", .group = "server", .complexity = "O(1)"},
      {.name = "module|unload", .arity = 3, .flags = kLoads, .categories = kCategories, .handler = ModuleRefused,
       .summary = "Not supported", .since = "4.0.0", .group = "server", .complexity = "O(1)"},
      {.name = "module|help", .arity = 2, .flags = kLoading | kStale, .categories = "@slow",
       .handler = ContainerHelp, .summary = "Print this help", .since = "5.0.0", .group = "server",
       .complexity = "O(1)"},
  };
  // clang-format on
  rows.insert(rows.end(), std::begin(kRows), std::end(kRows));
}

}  // namespace polyarch::command
