// HANDLER: the user's own merge functions. Its source is an ordinary replicated register in the reserved
// database, under "handler/<name>"; policies name it. What it makes of versions is a view, so another source
// changes what is shown, at every leader that has it, and never what is stored.
#include <string>
#include <vector>

#include "command/families.h"
#include "command/polyarch.h"
#include "command/support.h"
#include "conflict/loaded_handler.h"

namespace polyarch::command {
namespace {

std::string HandlerKey(std::string_view name) { return std::string(conflict::kHandlerPrefix).append(name); }

// Null if there is none.
const conflict::LoadedHandler* FindHandler(Context& c, std::string_view name) {
  const auto& handlers = c.cluster.policies().handlers();
  const auto it = handlers.find(name);
  return it == handlers.end() ? nullptr : it->second.get();
}

// The patterns (and fields) whose policy it is.
std::vector<std::string> UsersOf(Context& c, std::string_view name) {
  std::vector<std::string> users;
  auto uses = [&](const conflict::Policy& policy) {
    return policy.kind == conflict::PolicyKind::kHandler && policy.handler == name;
  };
  for (const auto& [pattern, policy] : c.cluster.policies().entries()) {
    if (uses(policy)) users.push_back(pattern);
  }
  for (const auto& [pattern, field, policy] : c.cluster.policies().field_entries()) {
    if (uses(policy)) users.push_back(pattern + " FIELD " + field);
  }
  return users;
}

// What one leader tries for its own client may take as long as a script.
conflict::HandlerLimits WithTime(Context& c) {
  const int64_t until_us = c.server.MonotonicMicros() + c.server.script_ms_max() * 1000;
  conflict::HandlerLimits limits;
  limits.expired = [&server = c.server, until_us] { return server.MonotonicMicros() > until_us; };
  return limits;
}

void HandlerLoad(Context& c) {
  const std::string_view name = c.args[2];
  const std::string_view source = c.args[3];
  if (!conflict::IsHandlerName(name)) {
    return c.reply.Error("ERR a handler's name has 1 to " + std::to_string(conflict::kHandlerNameBytesMax) +
                         " printable characters and no space");
  }
  if (auto status = conflict::CheckHandler(source, WithTime(c)); !status.ok()) {
    return c.reply.Error("ERR handler '" + std::string(name) + "' is not loaded: " + status.message());
  }
  const std::string key = HandlerKey(name);
  const keyspace::KeyRef ref = c.keys.Ref(crdt::kReservedDatabase, key);
  if (!c.keys.Exists(ref)) {
    size_t& unread = c.cluster.unread_configuration();
    if (c.cluster.policies().handlers().size() + unread >= conflict::kHandlersMax) {
      return c.reply.Error("LIMIT there are " + std::to_string(conflict::kHandlersMax) +
                           " handlers already; HANDLER DEL one that no policy names");
    }
    ++unread;
  }
  c.change.Put(ref, source, keyspace::Change::Ttl::kNone);
  c.reply.Ok();
}

void HandlerGet(Context& c) {
  const conflict::LoadedHandler* handler = FindHandler(c, c.args[2]);
  if (handler == nullptr) return c.reply.Null();
  c.reply.Bulk(handler->source());
}

void HandlerList(Context& c) {
  const auto& handlers = c.cluster.policies().handlers();
  c.reply.Array(handlers.size());
  for (const auto& [name, handler] : handlers) {
    const auto& stats = handler->stats();
    c.reply.Map(7);
    c.reply.Bulk("name");
    c.reply.Bulk(name);
    c.reply.Bulk("version");
    c.reply.Bulk(handler->version());
    c.reply.Bulk("bytes");
    c.reply.Integer(static_cast<int64_t>(handler->source().size()));
    c.reply.Bulk("policies");
    const std::vector<std::string> users = UsersOf(c, name);
    c.reply.Array(users.size());
    for (const std::string& user : users) c.reply.Bulk(user);
    c.reply.Bulk("runs");
    c.reply.Integer(static_cast<int64_t>(stats.runs));
    c.reply.Bulk("fallbacks");
    c.reply.Integer(static_cast<int64_t>(stats.fallbacks));
    c.reply.Bulk("last-error");
    c.reply.Bulk(stats.last_error);
  }
}

void HandlerDel(Context& c) {
  if (const auto users = UsersOf(c, c.args[2]); !users.empty()) {
    return c.reply.Error("ERR handler '" + std::string(c.args[2]) + "' is in use by the policy of '" + users.front() +
                         "'; give that another one first with POLICY SET");
  }
  const std::string key = HandlerKey(c.args[2]);
  const keyspace::KeyRef ref = c.keys.Ref(crdt::kReservedDatabase, key);
  const bool exists = c.keys.Exists(ref);
  if (exists) c.change.Delete(ref);
  c.reply.Integer(exists ? 1 : 0);
}

void HandlerTest(Context& c) {
  const conflict::LoadedHandler* handler = FindHandler(c, c.args[2]);
  if (handler == nullptr) {
    return c.reply.Error("ERR there is no handler '" + std::string(c.args[2]) + "'; load it first with HANDLER LOAD");
  }
  const auto values = c.args.subspan(3);
  if (values.size() < 2) {
    return c.reply.Error("ERR HANDLER TEST takes a handler and two or more values, between which it is to decide");
  }
  if (values.size() > conflict::kTrialValuesMax) {
    return c.reply.Error("LIMIT a test takes at most " + std::to_string(conflict::kTrialValuesMax) +
                         " values: it tries them in every order");
  }
  const conflict::HandlerTrial trial = conflict::TryHandler(handler->source(), values, WithTime(c));
  if (!trial.view.ok()) return c.reply.Error("ERR handler '" + handler->name() + "': " + trial.view.status().message());
  c.reply.Map(3);
  c.reply.Bulk("view");
  if (trial.view->value) {
    c.reply.Bulk(*trial.view->value);
  } else {
    c.reply.Null();
  }
  c.reply.Bulk("steps");
  c.reply.Integer(static_cast<int64_t>(trial.view->steps));
  c.reply.Bulk("warnings");
  c.reply.Array(trial.warnings.size());
  for (const std::string& warning : trial.warnings) c.reply.Bulk(warning);
}

}  // namespace

void AddHandlerRows(std::vector<Row>& rows) {
  static constexpr Row kRows[] = {
      {.name = "handler", .arity = -2, .categories = "@slow",
       .summary = "The user's own functions for what reads show of concurrent writes", .since = "polyarch 0.1.0",
       .group = "polyarch", .complexity = "Depends on the subcommand"},
      {.name = "handler|load", .arity = 4, .flags = kWrite | kAdmin | kNoScript,
       .categories = "@admin @write @slow @dangerous", .handler = HandlerLoad,
       .summary = "Loads a merge function in Lua, or another version of it, at every leader",
       .since = "polyarch 0.1.0", .group = "polyarch", .complexity = "O(N) where N is the size of the source",
       .syntax = "name source"},
      {.name = "handler|get", .arity = 3, .flags = kReadonly, .categories = "@read @slow", .handler = HandlerGet,
       .summary = "Returns the source of a handler", .since = "polyarch 0.1.0", .group = "polyarch",
       .complexity = "O(1)", .syntax = "name"},
      {.name = "handler|list", .arity = 2, .flags = kReadonly, .categories = "@read @slow", .handler = HandlerList,
       .summary = "Returns all handlers, and how they fared at this leader", .since = "polyarch 0.1.0",
       .group = "polyarch", .complexity = "O(N*P) where N is the number of handlers and P that of policies"},
      {.name = "handler|del", .arity = 3, .flags = kWrite | kAdmin | kNoScript,
       .categories = "@admin @write @slow @dangerous", .handler = HandlerDel,
       .summary = "Deletes a handler that no policy names, at every leader", .since = "polyarch 0.1.0",
       .group = "polyarch", .complexity = "O(P) where P is the number of policies", .syntax = "name"},
      {.name = "handler|test", .arity = -4, .flags = kReadonly | kNoScript, .categories = "@read @slow",
       .handler = HandlerTest,
       .summary = "Shows what a handler makes of values, and warns of what that depends on",
       .since = "polyarch 0.1.0", .group = "polyarch", .complexity = "O(N!) where N is the number of values, at most 6",
       .syntax = "name value+"},
      {.name = "handler|help", .arity = 2, .flags = kLoading | kStale, .categories = "@slow",
       .handler = ContainerHelp, .summary = "Print this help", .since = "polyarch 0.1.0", .group = "polyarch",
       .complexity = "O(1)"},
  };
  rows.insert(rows.end(), std::begin(kRows), std::end(kRows));
}

}  // namespace polyarch::command
