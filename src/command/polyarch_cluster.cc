// The node among the others: LEADER, LINK, TOPOLOGY, POLYARCH.
#include <algorithm>

#include "base/number.h"
#include "command/families.h"
#include "command/polyarch.h"
#include "command/support.h"
#include "command/version.h"

namespace polyarch::command {
namespace {

// A drill longer than that is a cut.
constexpr int64_t kLinkDelayMsMax = 3'600'000;

std::string_view LinkOf(const LeaderInfo& info) {
  if (info.link_cut) return "cut";
  return info.link_delay_ms > 0 ? "delayed" : "up";
}

// ---- LEADER

void LeaderList(Context& c) {
  const std::vector<LeaderInfo> leaders = c.cluster.Leaders();
  auto field = [&c](std::string_view name, std::string_view value) {
    c.reply.Bulk(name);
    c.reply.Bulk(value);
  };
  auto number = [&c](std::string_view name, int64_t value) {
    c.reply.Bulk(name);
    c.reply.Integer(value);
  };
  c.reply.Array(leaders.size());
  for (const LeaderInfo& info : leaders) {
    c.reply.Map(10);
    field("id", info.id);
    field("incarnation", info.incarnation);
    field("address", info.address);
    field("state", info.state);
    number("lag_changes", static_cast<int64_t>(info.lag_changes));
    number("lag_ms", info.lag_ms);
    number("retained_log_bytes", static_cast<int64_t>(info.retained_bytes));
    number("clock_difference_ms", info.clock_difference_ms);
    c.reply.Bulk("self");
    c.reply.Boolean(info.self);
    field("link", LinkOf(info));
  }
}

void LeaderPriority(Context& c) {
  if (c.count() - 2 > conflict::kPriorityNamesMax) {
    return c.reply.Error("LIMIT the order of precedence names at most " +
                         std::to_string(conflict::kPriorityNamesMax) + " leaders");
  }
  const std::vector<LeaderInfo> leaders = c.cluster.Leaders();
  std::string order;
  for (size_t i = 2; i < c.count(); ++i) {
    const std::string_view id = c.args[i];
    const bool known = std::any_of(
        leaders.begin(), leaders.end(), [id](const LeaderInfo& info) { return info.id == id; });
    if (!known) {
      return c.reply.Error("ERR no leader '" + std::string(id.substr(0, 64)) +
                           "'; see LEADER LIST");
    }
    if (std::find(c.args.begin() + 2, c.args.begin() + static_cast<ptrdiff_t>(i), id) !=
        c.args.begin() + static_cast<ptrdiff_t>(i)) {
      return c.reply.Error("ERR leader '" + std::string(id) + "' is named twice");
    }
    if (!order.empty()) order += ' ';
    order += id;
  }
  c.change.Put(
      c.keys.Ref(crdt::kReservedDatabase, "priority"), order, keyspace::Change::Ttl::kNone);
  c.reply.Ok();
}

void LeaderRetire(Context& c) {
  c.reply.Error("ERR LEADER RETIRE comes with a later version");
}

// ---- LINK

void ReplyStatus(Context& c, const base::Status& status) {
  if (!status.ok()) return c.reply.Error("ERR " + status.message());
  c.reply.Ok();
}

void LinkCut(Context& c) {
  ReplyStatus(c, c.cluster.CutLink(c.args[2]));
}
void LinkHeal(Context& c) {
  ReplyStatus(c, c.cluster.HealLink(c.args[2]));
}

void LinkDelay(Context& c) {
  std::optional<int64_t> delay_ms = ReadInteger(c, c.args[3]);
  if (!delay_ms) return;
  if (*delay_ms < 0 || *delay_ms > kLinkDelayMsMax) {
    return c.reply.Error("ERR a delay is from 0 to " + base::FormatInt64(kLinkDelayMsMax) + " ms");
  }
  ReplyStatus(c, c.cluster.DelayLink(c.args[2], *delay_ms));
}

// ---- TOPOLOGY: all-to-all, so far

void TopologyGet(Context& c) {
  std::vector<LeaderInfo> peers = c.cluster.Leaders();
  std::erase_if(peers, [](const LeaderInfo& info) { return info.self; });
  c.reply.Map(4);
  c.reply.Bulk("topology");
  c.reply.Bulk("mesh");
  c.reply.Bulk("links");
  c.reply.Map(peers.size());
  for (const LeaderInfo& info : peers) {
    c.reply.Bulk(info.id);
    c.reply.Bulk(info.state == "unreachable" && !info.link_cut ? "down" : LinkOf(info));
  }
  c.reply.Bulk("bypasses");
  c.reply.Array(0);
  // Each origin comes from its own leader.
  c.reply.Bulk("routes");
  c.reply.Map(peers.size());
  for (const LeaderInfo& info : peers) {
    c.reply.Bulk(info.id);
    c.reply.Bulk(info.id);
  }
}

void TopologySet(Context& c) {
  const std::string_view name = c.args[2];
  if (EqualsIgnoreCase(name, "mesh")) {
    if (c.count() != 3) return ReplySyntaxError(c);
    return c.reply.Ok();
  }
  for (std::string_view later : {"ring", "star", "links"}) {
    if (!EqualsIgnoreCase(name, later)) continue;
    return c.reply.Error("ERR topology '" + std::string(later) +
                         "' comes with a later version; this one knows mesh");
  }
  c.reply.Error("ERR unknown topology '" + std::string(name.substr(0, 64)) +
                "'; this version knows mesh");
}

// ---- POLYARCH

void PolyarchVv(Context& c) {
  c.reply.Bulk(c.cluster.VersionVectorText());
}

void PolyarchDigest(Context& c) {
  c.reply.Array(2);
  c.reply.Bulk(c.cluster.VersionVectorText());
  c.reply.Bulk(c.cluster.DigestText());
}

void PolyarchCheckpoint(Context& c) {
  if (c.client.ticket == 0) c.client.ticket = c.cluster.StartCheckpoint();
  if (!c.cluster.CheckpointDone(c.client.ticket)) {
    c.suspended = true;
    return;
  }
  c.client.ticket = 0;
  c.reply.Ok();
}

void PolyarchVersion(Context& c) {
  c.reply.Bulk(kPolyarchVersion);
}

}  // namespace

bool CheckPatternSize(Context& c, std::string_view pattern) {
  if (pattern.size() <= conflict::kPatternBytesMax) return true;
  c.reply.Error("LIMIT pattern longer than " + std::to_string(conflict::kPatternBytesMax) +
                " bytes");
  return false;
}

void AddClusterRows(std::vector<Row>& rows) {
  static constexpr Row kRows[] = {
      {.name = "leader", .arity = -2, .categories = "@slow",
       .summary = "The leaders of the cluster", .since = "polyarch 0.1.0", .group = "polyarch",
       .complexity = "Depends on the subcommand"},
      {.name = "leader|list", .arity = 2, .flags = kAdmin | kStale,
       .categories = "@admin @slow @dangerous", .handler = LeaderList,
       .summary = "Returns every leader with state, lag and clock difference",
       .since = "polyarch 0.1.0", .group = "polyarch",
       .complexity = "O(N) where N is the number of leaders", .tips = "nondeterministic_output"},
      {.name = "leader|priority", .arity = -3, .flags = kWrite | kAdmin | kNoScript,
       .categories = "@admin @write @slow @dangerous", .handler = LeaderPriority,
       .summary = "Sets the order of precedence that a policy 'priority' without names uses",
       .since = "polyarch 0.1.0", .group = "polyarch",
       .complexity = "O(N) where N is the number of leaders", .syntax = "id*"},
      {.name = "leader|retire", .arity = 3, .flags = kAdmin | kNoScript,
       .categories = "@admin @slow @dangerous", .handler = LeaderRetire,
       .summary = "Takes a leader out for good (in a later version)", .since = "polyarch 0.1.0",
       .group = "polyarch", .complexity = "O(1)", .syntax = "id"},
      {.name = "leader|help", .arity = 2, .flags = kLoading | kStale, .categories = "@slow",
       .handler = ContainerHelp, .summary = "Print this help", .since = "polyarch 0.1.0",
       .group = "polyarch", .complexity = "O(1)"},

      {.name = "link", .arity = -2, .categories = "@slow",
       .summary = "Stops, resumes or slows down replication with a peer, at this node",
       .since = "polyarch 0.1.0", .group = "polyarch",
       .complexity = "Depends on the subcommand"},
      {.name = "link|cut", .arity = 3, .flags = kAdmin | kNoScript | kStale,
       .categories = "@admin @slow @dangerous", .handler = LinkCut,
       .summary = "Stops replication with a leader, in both directions", .since = "polyarch 0.1.0",
       .group = "polyarch", .complexity = "O(1)", .syntax = "id"},
      {.name = "link|heal", .arity = 3, .flags = kAdmin | kNoScript | kStale,
       .categories = "@admin @slow @dangerous", .handler = LinkHeal,
       .summary = "Resumes replication with a leader", .since = "polyarch 0.1.0",
       .group = "polyarch", .complexity = "O(1)", .syntax = "id"},
      {.name = "link|delay", .arity = 4, .flags = kAdmin | kNoScript | kStale,
       .categories = "@admin @slow @dangerous", .handler = LinkDelay,
       .summary = "Delays what is sent to and received from a leader (0: no longer)", .since = "polyarch 0.1.0",
       .group = "polyarch", .complexity = "O(1)", .syntax = "id milliseconds:integer"},
      {.name = "link|help", .arity = 2, .flags = kLoading | kStale, .categories = "@slow",
       .handler = ContainerHelp, .summary = "Print this help", .since = "polyarch 0.1.0",
       .group = "polyarch", .complexity = "O(1)"},

      {.name = "topology", .arity = -2, .categories = "@slow",
       .summary = "The graph of links between leaders", .since = "polyarch 0.1.0",
       .group = "polyarch", .complexity = "Depends on the subcommand"},
      {.name = "topology|get", .arity = 2, .flags = kAdmin | kStale,
       .categories = "@admin @slow @dangerous", .handler = TopologyGet,
       .summary = "Returns the topology, the links of this node, bypasses and routes",
       .since = "polyarch 0.1.0", .group = "polyarch",
       .complexity = "O(N) where N is the number of leaders", .tips = "nondeterministic_output"},
      {.name = "topology|set", .arity = -3, .flags = kAdmin | kNoScript,
       .categories = "@admin @slow @dangerous", .handler = TopologySet,
       .summary = "Sets the topology; this version knows mesh", .since = "polyarch 0.1.0",
       .group = "polyarch", .complexity = "O(1)", .syntax = "topology:(MESH)"},
      {.name = "topology|help", .arity = 2, .flags = kLoading | kStale, .categories = "@slow",
       .handler = ContainerHelp, .summary = "Print this help", .since = "polyarch 0.1.0",
       .group = "polyarch", .complexity = "O(1)"},

      {.name = "polyarch", .arity = -2, .categories = "@slow",
       .summary = "The replicated state as a whole", .since = "polyarch 0.1.0", .group = "polyarch",
       .complexity = "Depends on the subcommand"},
      {.name = "polyarch|vv", .arity = 2, .flags = kReadonly | kWholeKeyspace,
       .categories = "@read @slow", .handler = PolyarchVv,
       .summary = "Returns the version vector: what this leader has applied, an entry an origin",
       .since = "polyarch 0.1.0", .group = "polyarch",
       .complexity = "O(N) where N is the number of origins"},
      {.name = "polyarch|digest", .arity = 2, .flags = kReadonly | kWholeKeyspace,
       .categories = "@read @slow @dangerous", .handler = PolyarchDigest,
       .summary = "Returns the version vector and a digest of all that is stored; equal vectors "
                  "mean equal digests",
       .since = "polyarch 0.1.0", .group = "polyarch",
       .complexity = "O(N) where N is the number of keys"},
      {.name = "polyarch|checkpoint", .arity = 2, .flags = kAdmin | kNoScript | kNoMulti,
       .categories = "@admin @slow @dangerous", .handler = PolyarchCheckpoint,
       .summary = "Makes a checkpoint and waits for it", .since = "polyarch 0.1.0",
       .group = "polyarch",
       .complexity = "O(N) where N is the number of keys written since the last checkpoint"},
      {.name = "polyarch|version", .arity = 2, .flags = kFast | kLoading | kStale,
       .categories = "@fast", .handler = PolyarchVersion,
       .summary = "Returns the version of Polyarch", .since = "polyarch 0.1.0",
       .group = "polyarch", .complexity = "O(1)"},
      {.name = "polyarch|help", .arity = 2, .flags = kLoading | kStale, .categories = "@slow",
       .handler = ContainerHelp, .summary = "Print this help", .since = "polyarch 0.1.0",
       .group = "polyarch", .complexity = "O(1)"},
  };
  rows.insert(rows.end(), std::begin(kRows), std::end(kRows));
}

void AddPolyarchFamily(std::vector<Row>& rows) {
  AddPolicyRows(rows);
  AddConflictRows(rows);
  AddClusterRows(rows);
}

}  // namespace polyarch::command
