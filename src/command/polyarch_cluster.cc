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
constexpr size_t kElectorsNamedMax = 9;

// This node's own link with it.
std::string_view LinkOf(const LeaderInfo& info) {
  if (info.link_cut) return "cut";
  if (info.self || info.hops == 0) return info.self ? "up" : "down";
  if (info.hops > 1) return "none";  // reached over others
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
    c.reply.Map(12);
    field("id", info.id);
    field("incarnation", info.incarnation);
    field("address", info.address);
    field("state", info.state);
    number("lag_changes", static_cast<int64_t>(info.lag_changes));
    number("lag_ms", info.lag_ms);
    number("retained_log_bytes", static_cast<int64_t>(info.retained_bytes));
    if (info.self || info.clock_difference_ms) {
      number("clock_difference_ms", info.clock_difference_ms.value_or(0));
    } else {
      c.reply.Bulk("clock_difference_ms");
      c.reply.Null();
    }
    c.reply.Bulk("self");
    c.reply.Boolean(info.self);
    field("link", LinkOf(info));
    field("next", info.next);
    number("hops", info.hops);
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
  base::Result<std::string> record = c.cluster.RetireRecord(c.args[2]);
  if (!record.ok()) return c.reply.Error("ERR " + record.status().message());
  c.change.Put(c.keys.Ref(crdt::kReservedDatabase, "retired/" + std::string(c.args[2])), *record,
               keyspace::Change::Ttl::kNone);
  c.reply.Ok();
}

// LEADER ELECTORS id... | AUTO | FORCE id...
void LeaderElectors(Context& c) {
  const bool force = c.count() > 3 && EqualsIgnoreCase(c.args[2], "force");
  const bool automatic = c.count() == 3 && EqualsIgnoreCase(c.args[2], "auto");
  if (c.count() == 3 && EqualsIgnoreCase(c.args[2], "force")) {
    return c.reply.Error("ERR LEADER ELECTORS FORCE needs the names of those who vote from now on");
  }
  const std::vector<LeaderInfo> leaders = c.cluster.Leaders();
  std::vector<std::string> electors;
  for (size_t i = force ? 3 : 2; i < c.count() && !automatic; ++i) {
    const std::string id(c.args[i]);
    const bool known = std::any_of(
        leaders.begin(), leaders.end(), [&](const LeaderInfo& info) { return info.id == id; });
    if (!known) {
      return c.reply.Error("ERR no leader '" + id.substr(0, 64) + "'; see LEADER LIST");
    }
    if (std::find(electors.begin(), electors.end(), id) != electors.end()) {
      return c.reply.Error("ERR leader '" + id + "' is named twice");
    }
    electors.push_back(id);
  }
  if (electors.size() > kElectorsNamedMax) {
    return c.reply.Error("LIMIT at most " + std::to_string(kElectorsNamedMax) + " electors");
  }
  if (force) {
    const base::Status forced = c.cluster.ForceElectors(std::move(electors));
    if (!forced.ok()) return c.reply.Error("ERR " + forced.message());
    return c.reply.Bulk(
        "these leaders become the electors when all have answered (see electors in INFO "
        "replication); what the old ones agreed on and none of these has applied is lost");
  }
  if (const base::Status may = c.cluster.MayAgree(); !may.ok()) {
    return c.reply.Error("ERR " + may.message());
  }
  std::string names;
  for (const std::string& id : electors)
    names += (names.empty() ? "" : " ") + id;
  c.change.Put(
      c.keys.Ref(crdt::kReservedDatabase, "electors"), names, keyspace::Change::Ttl::kNone);
  c.reply.Ok();
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

// ---- TOPOLOGY

void TopologyGet(Context& c) {
  const TopologyInfo info = c.cluster.Topology();
  std::vector<LeaderInfo> peers = c.cluster.Leaders();
  std::erase_if(peers, [](const LeaderInfo& peer) { return peer.self; });
  auto list = [&c](std::string_view name, const std::vector<std::string>& texts) {
    c.reply.Bulk(name);
    c.reply.Array(texts.size());
    for (const std::string& text : texts)
      c.reply.Bulk(text);
  };
  c.reply.Map(7);
  c.reply.Bulk("topology");
  c.reply.Bulk(info.topology);
  list("configured", info.configured);
  list("live", info.live);
  list("bypasses", info.bypasses);
  c.reply.Bulk("links");
  c.reply.Map(peers.size());
  for (const LeaderInfo& peer : peers) {
    c.reply.Bulk(peer.id);
    c.reply.Bulk(LinkOf(peer));
  }
  c.reply.Bulk("routes");
  c.reply.Map(info.routes.size());
  for (const TopologyInfo::Route& route : info.routes) {
    c.reply.Bulk(route.to);
    c.reply.Map(2);
    c.reply.Bulk("next");
    c.reply.Bulk(route.next);
    c.reply.Bulk("hops");
    c.reply.Integer(route.hops);
  }
  c.reply.Bulk("origins");
  c.reply.Map(info.sources.size());
  for (const auto& [origin, source] : info.sources) {
    c.reply.Bulk(origin);
    c.reply.Bulk(source);
  }
}

void TopologySet(Context& c) {
  const std::vector<std::string_view> words(c.args.begin() + 2, c.args.end());
  auto stored = c.cluster.ParseTopology(words);
  if (!stored.ok()) return c.reply.Error("ERR " + stored.status().message());
  c.change.Put(
      c.keys.Ref(crdt::kReservedDatabase, "topology"), *stored, keyspace::Change::Ttl::kNone);
  c.reply.Ok();
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

void PolyarchBackup(Context& c) {
  if (c.client.ticket == 0) {
    base::Result<uint64_t> ticket = c.server.StartBackup(c.args[2], c.client.id);
    if (!ticket.ok()) return c.reply.Error("ERR " + ticket.status().message());
    c.client.ticket = *ticket;
  }
  std::optional<base::Result<BackupSummary>> result = c.server.TakeBackup(c.client.ticket);
  if (!result) {
    c.suspended = true;
    return;
  }
  c.client.ticket = 0;
  if (!result->ok()) {
    const bool full = result->status().code() == base::Code::kFull;
    return c.reply.Error((full ? "DISKFULL " : "ERR ") + result->status().message());
  }
  const BackupSummary& summary = **result;
  c.reply.Map(5);
  c.reply.Bulk("path");
  c.reply.Bulk(summary.path);
  c.reply.Bulk("vv");
  c.reply.Bulk(summary.vv);
  c.reply.Bulk("files");
  c.reply.Integer(static_cast<int64_t>(summary.files));
  c.reply.Bulk("bytes");
  c.reply.Integer(static_cast<int64_t>(summary.bytes));
  c.reply.Bulk("taken_ms");
  c.reply.Integer(summary.taken_ms);
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
      {.name = "leader|retire", .arity = 3, .flags = kWrite | kAdmin | kNoScript,
       .categories = "@admin @write @slow @dangerous", .handler = LeaderRetire,
       .summary = "Takes a leader out for good: it holds nothing back any more and is refused", .since = "polyarch 0.1.0",
       .group = "polyarch", .complexity = "O(1)", .syntax = "id"},
      {.name = "leader|electors", .arity = -3, .flags = kWrite | kAdmin | kNoScript,
       .categories = "@admin @write @slow @dangerous", .handler = LeaderElectors,
       .summary = "Names who votes on keys under policy 'sync' (AUTO: up to five leaders); FORCE: without the "
                  "agreement of the present electors, when a majority of them is gone for good",
       .since = "polyarch 0.1.0", .group = "polyarch",
       .complexity = "O(N) where N is the number of leaders", .syntax = "FORCE? id*"},
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
       .summary = "Returns the topology, its links, the live ones, bypasses, and the way to each leader",
       .since = "polyarch 0.1.0", .group = "polyarch",
       .complexity = "O(N) where N is the number of leaders", .tips = "nondeterministic_output"},
      {.name = "topology|set", .arity = -3, .flags = kWrite | kAdmin | kNoScript,
       .categories = "@admin @write @slow @dangerous", .handler = TopologySet,
       .summary = "Sets the graph of links between leaders, while all of them work",
       .since = "polyarch 0.1.0", .group = "polyarch",
       .complexity = "O(N) where N is the number of leaders and links",
       .syntax = "topology:(MESH|RING leader*|STAR hub|LINKS link*)"},
      {.name = "topology|help", .arity = 2, .flags = kLoading | kStale, .categories = "@slow",
       .handler = ContainerHelp, .summary = "Print this help", .since = "polyarch 0.1.0",
       .group = "polyarch", .complexity = "O(1)"},

      {.name = "polyarch", .arity = -2, .categories = "@slow",
       .summary = "The replicated state as a whole", .since = "polyarch 0.1.0", .group = "polyarch",
       .complexity = "Depends on the subcommand"},
      // Effects are applied at once, the vector is raised at the end of the change: within one they do not fit together.
      {.name = "polyarch|vv", .arity = 2, .flags = kReadonly | kWholeKeyspace | kNoScript | kNoMulti,
       .categories = "@read @slow", .handler = PolyarchVv,
       .summary = "Returns the version vector: what this leader has applied, an entry an origin",
       .since = "polyarch 0.1.0", .group = "polyarch",
       .complexity = "O(N) where N is the number of origins"},
      {.name = "polyarch|digest", .arity = 2, .flags = kReadonly | kWholeKeyspace | kNoScript | kNoMulti,
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
      {.name = "polyarch|backup", .arity = 3, .flags = kAdmin | kNoScript | kNoMulti,
       .categories = "@admin @slow @dangerous", .handler = PolyarchBackup,
       .summary = "Makes a backup in a new directory on the leader's machine and waits for it",
       .since = "polyarch 0.1.0", .group = "polyarch",
       .complexity = "O(N) where N is the size of the store and of the log since the last "
                     "checkpoint; by a thread of its own",
       .syntax = "absolute-path"},
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
  AddHandlerRows(rows);
  AddSyncRows(rows);
  AddEscrowRows(rows);
  AddConflictRows(rows);
  AddFeedRows(rows);
  AddClusterRows(rows);
}

}  // namespace polyarch::command
