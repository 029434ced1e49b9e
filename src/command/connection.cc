// The connection itself: PING, ECHO, AUTH, HELLO, SELECT, QUIT, RESET.
#include "base/number.h"
#include "command/families.h"
#include "command/monitors.h"
#include "command/rights.h"
#include "command/support.h"
#include "command/transaction.h"
#include "command/version.h"

namespace polyarch::command {
namespace {

void Ping(Context& c) {
  if (c.count() > 2) {
    return c.reply.Error("ERR wrong number of arguments for 'ping' command");
  }
  if (c.client.subscribed != 0 && c.client.protocol < 3) {
    c.reply.Array(2);
    c.reply.Bulk("pong");
    return c.reply.Bulk(c.count() == 1 ? std::string_view() : c.args[1]);
  }
  c.count() == 1 ? c.reply.Simple("PONG") : c.reply.Bulk(c.args[1]);
}

void Echo(Context& c) {
  c.reply.Bulk(c.args[1]);
}

bool Authenticate(Context& c, std::string_view name, std::string_view password) {
  const Users& users = c.cluster.users();
  const acl::User* user = users.Authenticate(name, password);
  if (user == nullptr) {
    NoteWrongPassword(c, name);
    c.reply.Error("WRONGPASS invalid username-password pair or user is disabled.");
    return false;
  }
  users.Became(c.client, *user);
  return true;
}

void Auth(Context& c) {
  if (c.count() > 3) return ReplySyntaxError(c);
  if (c.count() == 2 && c.cluster.users().Default().no_password()) {
    return c.reply.Error(
        "ERR AUTH <password> called without any password configured for the default user. Are you "
        "sure your configuration is correct?");
  }
  bool named = c.count() == 3;
  if (Authenticate(c, named ? c.args[1] : kDefaultUser, c.args.back())) c.reply.Ok();
}

// One after another, as in Redis: what stands before a wrong one has been done. False: the error was given.
bool RunHelloOptions(Context& c) {
  for (size_t i = 2; i < c.count(); ++i) {
    size_t more = c.count() - 1 - i;
    if (EqualsIgnoreCase(c.args[i], "auth") && more >= 2) {
      if (!Authenticate(c, c.args[i + 1], c.args[i + 2])) return false;
      i += 2;
    } else if (EqualsIgnoreCase(c.args[i], "setname") && more >= 1) {
      if (!CheckClientName(c, c.args[i + 1])) return false;
      c.client.name = c.args[++i];
    } else {
      c.reply.Error("ERR Syntax error in HELLO option '" + std::string(c.args[i]) + "'");
      return false;
    }
  }
  return true;
}

void ReplyHello(Context& c) {
  // The reply is already in the protocol that was asked for.
  resp::Writer reply(c.reply.out(), c.client.protocol);
  auto field = [&reply](std::string_view name, std::string_view value) {
    reply.Bulk(name);
    reply.Bulk(value);
  };
  reply.Map(7);
  field("server", "redis");
  field("version", kRedisVersion);
  reply.Bulk("proto");
  reply.Integer(c.client.protocol);
  reply.Bulk("id");
  reply.Integer(static_cast<int64_t>(c.client.id));
  field("mode", "standalone");
  field("role", "master");
  reply.Bulk("modules");
  reply.Array(0);
}

void Hello(Context& c) {
  int protocol = c.client.protocol;
  if (c.count() >= 2) {
    auto asked =
        ReadInteger(c, c.args[1], "ERR Protocol version is not an integer or out of range");
    if (!asked) return;
    if (*asked < 2 || *asked > 3) return c.reply.Error("NOPROTO unsupported protocol version");
    protocol = static_cast<int>(*asked);
  }
  if (!RunHelloOptions(c)) return;
  if (!c.client.authenticated && c.cluster.users().must_authenticate()) {
    return c.reply.Error(
        "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH "
        "<user> <pass> option can be used to authenticate the client and select the RESP protocol "
        "version at the same time");
  }
  c.client.protocol = protocol;
  ReplyHello(c);
}

void Select(Context& c) {
  std::optional<uint8_t> db = ReadDatabase(c, c.args[1]);
  if (!db) return;
  c.client.db = *db;
  c.reply.Ok();
}

void Quit(Context& c) {
  c.reply.Ok();
  c.close = true;
}

void Reset(Context& c) {
  EndTransaction(c);
  c.cluster.subscriptions().Clear(c.client);
  c.cluster.tracking().Disable(c.client);
  c.cluster.monitors().Forget(c.client.id);
  c.client.db = 0;
  c.client.protocol = 2;
  c.client.name.clear();
  c.cluster.users().Welcome(c.client);
  c.client.reply_mode = Client::ReplyMode::kOn;
  c.client.no_touch = false;
  c.reply.Simple("RESET");
}

}  // namespace

void AddConnectionFamily(std::vector<Row>& rows) {
  // clang-format off: a row as few lines as it needs
  static constexpr Row kRows[] = {
      {.name = "ping",
       .arity = -1,
       .flags = kFast,
       .categories = "@fast @connection",
       .handler = Ping,
       .summary = "Answers PONG, or the message",
       .since = "1.0.0",
       .group = "connection",
       .complexity = "O(1)",
       .syntax = "message?",
       .tips = "request_policy:all_shards response_policy:all_succeeded"},
      {.name = "echo",
       .arity = 2,
       .flags = kLoading | kStale | kFast,
       .categories = "@fast @connection",
       .handler = Echo,
       .summary = "Answers the message",
       .since = "1.0.0",
       .group = "connection",
       .complexity = "O(1)",
       .syntax = "message"},
      {.name = "auth",
       .arity = -2,
       .flags = kNoScript | kLoading | kStale | kFast | kNoAuth | kAllowBusy,
       .categories = "@fast @connection",
       .handler = Auth,
       .summary = "Authenticates the connection",
       .since = "1.0.0",
       .group = "connection",
       .complexity = "O(1)",
       .syntax = "username?@6.0.0 password"},
      {.name = "hello",
       .arity = -1,
       .flags = kNoScript | kLoading | kStale | kFast | kNoAuth | kAllowBusy,
       .categories = "@fast @connection",
       .handler = Hello,
       .summary = "Begins a connection: protocol, authentication, name",
       .since = "6.0.0",
       .group = "connection",
       .complexity = "O(1)",
       .syntax = "arguments:{protover:integer AUTH username_password:{username password}? "
                 "SETNAME clientname?}?"},
      {.name = "select",
       .arity = 2,
       .flags = kLoading | kStale | kFast,
       .categories = "@fast @connection",
       .handler = Select,
       .summary = "Chooses the database of the connection",
       .since = "1.0.0",
       .group = "connection",
       .complexity = "O(1)",
       .syntax = "index:integer"},
      {.name = "quit",
       .arity = -1,
       .flags = kNoScript | kLoading | kStale | kFast | kNoAuth | kAllowBusy,
       .categories = "@fast @connection",
       .handler = Quit,
       .summary = "Closes the connection",
       .since = "1.0.0",
       .group = "connection",
       .complexity = "O(1)"},
      {.name = "reset",
       .arity = 1,
       .flags = kNoScript | kLoading | kStale | kFast | kNoAuth | kAllowBusy,
       .categories = "@fast @connection",
       .handler = Reset,
       .summary = "Sets the connection back to how it began",
       .since = "6.2.0",
       .group = "connection",
       .complexity = "O(1)"},
  };
  // clang-format on
  rows.insert(rows.end(), std::begin(kRows), std::end(kRows));
}

}  // namespace polyarch::command
