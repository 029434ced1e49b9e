// POLICY: which rule decides what a read shows of concurrent versions. A policy is an ordinary
// replicated register in the reserved database, under "policy/<pattern>"; the engine keeps the
// table of them.
#include <optional>
#include <string>

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

// What a subcommand names, at args[2]: a pattern (or a key), and a field if FIELD f stands behind it.
struct Named {
  std::string_view pattern;
  std::optional<std::string_view> field;
  size_t end = 3;  // where the arguments go on

  // In the reserved database.
  std::string Key() const {
    if (!field) return PolicyKey(pattern);
    return conflict::FieldPolicyPlace{std::string(pattern), std::string(*field)}.Key();
  }
};

// False, with the error given.
bool ReadNamed(Context& c, Named& named) {
  named = {.pattern = c.args[2]};
  if (c.count() == 3 || !EqualsIgnoreCase(c.args[3], "field")) return true;
  if (c.count() == 4) {
    c.reply.Error("ERR a field is missing behind FIELD");
    return false;
  }
  named.field = c.args[4];
  named.end = 5;
  if (named.field->size() <= conflict::kPatternBytesMax) return true;
  c.reply.Error("LIMIT field longer than " + std::to_string(conflict::kPatternBytesMax) +
                " bytes; it can have no policy of its own");
  return false;
}

// The same, where nothing else may follow.
bool ReadNamedOnly(Context& c, Named& named) {
  if (!ReadNamed(c, named)) return false;
  if (c.count() == named.end) return true;
  ReplySyntaxError(c);
  return false;
}

// The table of this tick may not know it yet, or still.
bool IsLoaded(Context& c, std::string_view handler) {
  return c.keys.Exists(c.keys.Ref(crdt::kReservedDatabase, std::string(conflict::kHandlerPrefix) + std::string(handler)));
}

void PolicySet(Context& c) {
  Named named;
  if (!CheckPattern(c, c.args[2]) || !ReadNamed(c, named)) return;
  base::Result<conflict::Policy> policy = conflict::Policy::Parse(c.args.subspan(named.end));
  if (!policy.ok()) return c.reply.Error("ERR " + policy.status().message());
  if (policy->kind == conflict::PolicyKind::kHandler && !IsLoaded(c, policy->handler)) {
    return c.reply.Error("ERR there is no handler '" + policy->handler + "'; load it first with HANDLER LOAD");
  }
  if (policy->kind == conflict::PolicyKind::kSync) {
    if (named.field) return c.reply.Error("ERR policy 'sync' is of whole keys, not of a field");
    if (const base::Status may = c.cluster.MayAgree(); !may.ok()) return c.reply.Error("ERR " + may.message());
  }
  if (policy->kind == conflict::PolicyKind::kPopOwner && named.field) {
    return c.reply.Error("ERR policy 'pop-owner' is of whole keys, not of a field");
  }
  const std::string key = named.Key();
  const keyspace::KeyRef ref = c.keys.Ref(crdt::kReservedDatabase, key);
  if (!c.keys.Exists(ref)) {
    size_t& unread = c.cluster.unread_configuration();
    if (c.cluster.policies().size() + unread >= conflict::kPatternsMax) {
      return c.reply.Error("LIMIT there are " + std::to_string(conflict::kPatternsMax) +
                           " policies already; each write looks at all of them");
    }
    ++unread;
  }
  const std::string text = policy->ToString();
  if (!FitsChange(c, ref.key.size() + text.size())) return;
  c.change.Put(ref, text, keyspace::Change::Ttl::kNone);
  c.reply.Ok();
}

void PolicyGet(Context& c) {
  Named named;
  if (!ReadNamedOnly(c, named)) return;
  const conflict::PolicyTable& policies = c.cluster.policies();
  const conflict::Policy& policy =
      named.field ? policies.ForField(named.pattern, *named.field) : policies.For(named.pattern);
  c.reply.Bulk(policy.ToString());
}

void PolicyList(Context& c) {
  const auto& entries = c.cluster.policies().entries();
  const auto& fields = c.cluster.policies().field_entries();
  c.reply.Map(entries.size() + fields.size());
  for (const auto& [pattern, policy] : entries) {
    c.reply.Bulk(pattern);
    c.reply.Bulk(policy.ToString());
  }
  for (const auto& [pattern, field, policy] : fields) {
    c.reply.Bulk(pattern + " FIELD " + field);
    c.reply.Bulk(policy.ToString());
  }
}

void PolicyDel(Context& c) {
  Named named;
  if (!CheckPattern(c, c.args[2]) || !ReadNamedOnly(c, named)) return;
  const std::string key = named.Key();
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
       .summary = "Sets the policy of all keys that match a pattern, or of one field of such hashes, at every leader",
       .since = "polyarch 0.1.0", .group = "polyarch",
       .complexity = "O(N) where N is the number of policies",
       .syntax = "pattern:pattern FIELD field? policy:(lww:{LWW DELETES?}|priority:{word:(PRIORITY) leader?*}|"
                 "SIBLINGS|SYNC|POP-OWNER|handler:{word:(HANDLER) name}|merge:{MERGE function:(MIN|MAX|UNION|CONCAT|JSON) separator?})"},
      {.name = "policy|get", .arity = -3, .flags = kReadonly, .keys = {2, 2, 1},
       .categories = "@read @slow", .handler = PolicyGet,
       .summary = "Returns the policy that decides for a key, or for a field of a hash", .since = "polyarch 0.1.0",
       .group = "polyarch", .complexity = "O(N) where N is the number of policies",
       .syntax = "key:key FIELD field?", .key_access = "RO"},
      {.name = "policy|list", .arity = 2, .flags = kReadonly, .categories = "@read @slow",
       .handler = PolicyList, .summary = "Returns all patterns and policies, most specific first",
       .since = "polyarch 0.1.0", .group = "polyarch",
       .complexity = "O(N) where N is the number of policies"},
      {.name = "policy|del", .arity = -3, .flags = kWrite | kAdmin | kNoScript,
       .categories = "@admin @write @slow @dangerous", .handler = PolicyDel,
       .summary = "Deletes the policy of a pattern, or of a field, at every leader", .since = "polyarch 0.1.0",
       .group = "polyarch", .complexity = "O(1)", .syntax = "pattern:pattern FIELD field?"},
      {.name = "policy|help", .arity = 2, .flags = kLoading | kStale, .categories = "@slow",
       .handler = ContainerHelp, .summary = "Print this help", .since = "polyarch 0.1.0",
       .group = "polyarch", .complexity = "O(1)"},
  };
  rows.insert(rows.end(), std::begin(kRows), std::end(kRows));
}

}  // namespace polyarch::command
