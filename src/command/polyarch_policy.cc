// POLICY: which rule decides what a read shows of concurrent versions. A policy is an ordinary
// replicated register in the reserved database, under "policy/<pattern>"; the engine keeps the
// table of them.
#include "command/families.h"
#include "command/polyarch.h"
#include "command/support.h"

namespace polyarch::command {
namespace {

std::string PolicyKey(std::string_view pattern) {
  return "policy/" + std::string(pattern);
}

bool CheckPattern(Context& c, std::string_view pattern) {
  if (pattern.empty()) {
    c.reply.Error("ERR a pattern must not be empty; '*' is for all keys");
    return false;
  }
  return CheckPatternSize(c, pattern);
}

void PolicySet(Context& c) {
  const std::string_view pattern = c.args[2];
  if (!CheckPattern(c, pattern)) return;
  if (EqualsIgnoreCase(c.args[3], "field")) {
    return c.reply.Error(
        "ERR policies of single fields come with the hash type, in a later version");
  }
  base::Result<conflict::Policy> policy = conflict::Policy::Parse(c.args.subspan(3));
  if (!policy.ok()) return c.reply.Error("ERR " + policy.status().message());
  const std::string key = PolicyKey(pattern);
  const keyspace::KeyRef ref = c.keys.Ref(crdt::kReservedDatabase, key);
  if (c.cluster.policies().entries().size() >= conflict::kPatternsMax && !c.keys.Exists(ref)) {
    return c.reply.Error("LIMIT there are " + std::to_string(conflict::kPatternsMax) +
                         " policies already; each write looks at all of them");
  }
  c.change.Put(ref, policy->ToString(), keyspace::Change::Ttl::kNone);
  c.reply.Ok();
}

void PolicyGet(Context& c) {
  c.reply.Bulk(c.cluster.policies().For(c.args[2]).ToString());
}

void PolicyList(Context& c) {
  const auto& entries = c.cluster.policies().entries();
  c.reply.Map(entries.size());
  for (const auto& [pattern, policy] : entries) {
    c.reply.Bulk(pattern);
    c.reply.Bulk(policy.ToString());
  }
}

void PolicyDel(Context& c) {
  if (!CheckPattern(c, c.args[2])) return;
  const std::string key = PolicyKey(c.args[2]);
  const keyspace::KeyRef ref = c.keys.Ref(crdt::kReservedDatabase, key);
  const bool exists = c.keys.Exists(ref);
  if (exists) c.change.Delete(ref);
  c.reply.Integer(exists ? 1 : 0);
}

}  // namespace

void AddPolicyRows(std::vector<Row>& rows) {
  static constexpr Row kRows[] = {
      {.name = "policy", .arity = -2, .categories = "@slow",
       .summary = "Rules for what reads show of concurrent writes", .since = "polyarch 0.1.0",
       .group = "polyarch", .complexity = "Depends on the subcommand"},
      {.name = "policy|set", .arity = -4, .flags = kWrite | kAdmin | kNoScript,
       .categories = "@admin @write @slow @dangerous", .handler = PolicySet,
       .summary = "Sets the policy of all keys that match a pattern, at every leader",
       .since = "polyarch 0.1.0", .group = "polyarch",
       .complexity = "O(N) where N is the number of policies",
       .syntax = "pattern:pattern policy:(lww:{LWW DELETES?}|priority:{word:(PRIORITY) leader?*}|"
                 "SIBLINGS)"},
      {.name = "policy|get", .arity = 3, .flags = kReadonly, .keys = {2, 2, 1},
       .categories = "@read @slow", .handler = PolicyGet,
       .summary = "Returns the policy that decides for a key", .since = "polyarch 0.1.0",
       .group = "polyarch", .complexity = "O(N) where N is the number of policies",
       .syntax = "key:key", .key_access = "RO"},
      {.name = "policy|list", .arity = 2, .flags = kReadonly, .categories = "@read @slow",
       .handler = PolicyList, .summary = "Returns all patterns and policies, most specific first",
       .since = "polyarch 0.1.0", .group = "polyarch",
       .complexity = "O(N) where N is the number of policies"},
      {.name = "policy|del", .arity = 3, .flags = kWrite | kAdmin | kNoScript,
       .categories = "@admin @write @slow @dangerous", .handler = PolicyDel,
       .summary = "Deletes the policy of a pattern, at every leader", .since = "polyarch 0.1.0",
       .group = "polyarch", .complexity = "O(1)", .syntax = "pattern:pattern"},
      {.name = "policy|help", .arity = 2, .flags = kLoading | kStale, .categories = "@slow",
       .handler = ContainerHelp, .summary = "Print this help", .since = "polyarch 0.1.0",
       .group = "polyarch", .complexity = "O(1)"},
  };
  rows.insert(rows.end(), std::begin(kRows), std::end(kRows));
}

}  // namespace polyarch::command
