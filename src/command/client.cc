// CLIENT: what a connection says about itself, and what can be seen and done about the others.
#include <algorithm>
#include <map>
#include <set>
#include <vector>

#include "base/number.h"
#include "command/families.h"
#include "command/rights.h"
#include "command/support.h"

namespace polyarch::command {

bool CheckClientName(Context& c, std::string_view name) {
  constexpr size_t kNameBytesMax = 1024;  // a name is kept and listed for every connection
  if (name.size() > kNameBytesMax) {
    c.reply.Error("LIMIT client name longer than 1024 bytes");
    return false;
  }
  if (!IsPlainName(name)) {
    c.reply.Error("ERR Client names cannot contain spaces, newlines or special characters.");
    return false;
  }
  return true;
}

void ClientReply(Context& c) {
  using Mode = Client::ReplyMode;
  if (EqualsIgnoreCase(c.args[2], "on")) {
    c.client.reply_mode = Mode::kOn;
    c.reply.Ok();
  } else if (EqualsIgnoreCase(c.args[2], "off")) {
    c.client.reply_mode = Mode::kOff;
  } else if (EqualsIgnoreCase(c.args[2], "skip")) {
    if (c.client.reply_mode != Mode::kOff) c.client.reply_mode = Mode::kSkipNext;
  } else {
    ReplySyntaxError(c);
  }
}

namespace {

void ClientSetname(Context& c) {
  if (!CheckClientName(c, c.args[2])) return;
  c.client.name = c.args[2];
  c.reply.Ok();
}

void ClientGetname(Context& c) {
  c.client.name.empty() ? c.reply.Null() : c.reply.Bulk(c.client.name);
}

void ClientSetinfo(Context& c) {
  bool library_name = EqualsIgnoreCase(c.args[2], "lib-name");
  if (!library_name && !EqualsIgnoreCase(c.args[2], "lib-ver")) {
    return c.reply.Error("ERR Unrecognized option '" + std::string(c.args[2]) + "'");
  }
  std::string_view value = c.args[3];
  if (!IsPlainName(value) || value.size() > 256) {
    return c.reply.Error("ERR " + ToLower(c.args[2]) +
                         " cannot contain spaces, newlines or special characters.");
  }
  (library_name ? c.client.library_name : c.client.library_version) = value;
  c.reply.Ok();
}

void ClientId(Context& c) {
  c.reply.Integer(static_cast<int64_t>(c.client.id));
}

}  // namespace

// What Redis shows, as far as it exists here.
std::string ClientLine(Context& c, const Client& client) {
  std::string line;
  auto field = [&line](std::string_view name, std::string_view value) {
    if (!line.empty()) line += ' ';
    line.append(name).append("=").append(value);
  };
  auto number = [&field](std::string_view name, int64_t value) {
    field(name, base::FormatInt64(value));
  };
  number("id", static_cast<int64_t>(client.id));
  field("addr", client.address);
  field("laddr", client.local_address);
  number("fd", -1);
  field("name", client.name);
  number("age", std::max<int64_t>(0, c.now_ms - client.created_ms) / 1000);
  number("idle", std::max<int64_t>(0, c.now_ms - client.active_ms) / 1000);
  std::string flags;
  if (client.monitors) flags += 'O';
  if (client.subscribed != 0) flags += 'P';
  if (client.transaction != nullptr) flags += 'x';
  if (client.blocked == Client::Blocked::kWaits || client.paused) flags += 'b';
  if (client.tracking != nullptr) {
    flags += 't';
    if (client.tracking->broken) flags += 'R';
    if (client.tracking->broadcast) flags += 'B';
  }
  if (c.cluster.watches().Dirty(client.id)) flags += 'd';
  // The address of who came through the Unix socket is its path, with 0 for a port.
  if (client.address.ends_with(":0")) flags += 'U';
  if (client.no_evict) flags += 'e';
  field("flags", flags.empty() ? "N" : flags);
  number("db", client.db);
  auto subscriptions = [&](std::string_view name, Subscriptions::Kind kind) {
    number(name, static_cast<int64_t>(c.cluster.subscriptions().Of(client, kind).size()));
  };
  subscriptions("sub", Subscriptions::Kind::kChannel);
  subscriptions("psub", Subscriptions::Kind::kPattern);
  subscriptions("ssub", Subscriptions::Kind::kShard);
  number("multi", client.transaction == nullptr
                      ? -1 : static_cast<int64_t>(client.transaction->commands.size()));
  // Of the request that runs, as it came; what is behind it is not known here.
  int64_t request = 0;
  int64_t arguments = 0;
  if (client.id == c.client.id) {
    auto counted = [](size_t n) { return static_cast<int64_t>(base::FormatInt64(static_cast<int64_t>(n)).size()) + 3; };
    request = counted(c.count());
    for (std::string_view argument : c.args) {
      arguments += static_cast<int64_t>(argument.size());
      request += counted(argument.size()) + static_cast<int64_t>(argument.size()) + 2;
    }
  }
  const auto output = static_cast<int64_t>(c.server.ClientOutputBytes(client.id));
  number("qbuf", request);
  number("qbuf-free", 0);
  number("argv-mem", arguments);
  number("multi-mem", 0);
  number("rbs", 0);
  number("rbp", 0);
  number("obl", output);
  number("oll", 0);
  number("omem", output);
  number("tot-mem", request + arguments + output);
  field("events", "r");
  field("cmd", client.last_command.empty() ? "NULL" : client.last_command);
  field("user", client.user);
  number("redir", client.tracking == nullptr ? -1 : static_cast<int64_t>(client.tracking->redirect));
  number("resp", client.protocol);
  field("lib-name", client.library_name);
  field("lib-ver", client.library_version);
  line += '\n';
  return line;
}

namespace {

void ClientInfo(Context& c) {
  c.reply.Verbatim(ClientLine(c, c.client));
}

// The kinds that Redis knows; clients here are normal ones or subscribers.
enum class ClientType : uint8_t { kNormal, kPubsub, kOther };

bool IsOf(const Client& client, ClientType type) {
  return type == (client.subscribed == 0 ? ClientType::kNormal : ClientType::kPubsub);
}

// False: no such kind.
bool ReadClientType(Context& c, std::string_view word, std::optional<ClientType>& type) {
  if (EqualsIgnoreCase(word, "normal")) type = ClientType::kNormal;
  if (EqualsIgnoreCase(word, "pubsub")) type = ClientType::kPubsub;
  if (EqualsIgnoreCase(word, "master") || EqualsIgnoreCase(word, "slave") ||
      EqualsIgnoreCase(word, "replica")) {
    type = ClientType::kOther;
  }
  if (type) return true;
  c.reply.Error("ERR Unknown client type '" + std::string(word) + "'");
  return false;
}

void ClientList(Context& c) {
  std::optional<ClientType> type;
  std::vector<uint64_t> ids;
  bool by_id = false;
  if (c.count() == 4 && EqualsIgnoreCase(c.args[2], "type")) {
    if (!ReadClientType(c, c.args[3], type)) return;
  } else if (c.count() > 3 && EqualsIgnoreCase(c.args[2], "id")) {
    by_id = true;
    for (std::string_view text : c.args.subspan(3)) {
      auto id = ReadInteger(c, text, "ERR Invalid client ID");
      if (!id) return;
      ids.push_back(static_cast<uint64_t>(*id));
    }
  } else if (c.count() != 2) {
    return ReplySyntaxError(c);
  }
  const std::set<uint64_t> wanted(ids.begin(), ids.end());
  std::map<uint64_t, std::string> lines;
  c.server.ForEachClient([&](Client& client) {
    if (type && !IsOf(client, *type)) return;
    if (by_id && !wanted.contains(client.id)) return;
    lines.emplace(client.id, ClientLine(c, client));
  });
  if (!by_id) {
    for (const auto& [id, line] : lines)
      ids.push_back(id);
  }
  // Those that were named in the order in which they were, and as often.
  std::string text;
  for (uint64_t id : ids) {
    if (const auto it = lines.find(id); it != lines.end()) text += it->second;
    if (text.size() > kReplyBytesMax) {
      return c.reply.Error("LIMIT the reply would come to more than " + std::to_string(kReplyBytesMax) + " bytes");
    }
  }
  c.reply.Verbatim(text);
}

struct KillFilter {
  std::optional<uint64_t> id;
  std::optional<std::string_view> address;
  std::optional<std::string_view> local_address;
  std::optional<std::string_view> user;
  std::optional<ClientType> type;
  bool skip_self = true;

  bool Matches(const Client& client, const Client& self) const {
    if (skip_self && &client == &self) return false;
    if (type && !IsOf(client, *type)) return false;
    if (id && client.id != *id) return false;
    if (address && client.address != *address) return false;
    if (local_address && client.local_address != *local_address) return false;
    return !user || client.user == *user;
  }
};

bool ReadKillOption(Context& c, std::string_view word, std::string_view value, KillFilter& filter) {
  if (EqualsIgnoreCase(word, "id")) {
    constexpr std::string_view kError = "ERR client-id should be greater than 0";
    auto id = ReadInteger(c, value, kError);
    if (id && *id < 1) c.reply.Error(kError);
    if (!id || *id < 1) return false;
    filter.id = static_cast<uint64_t>(*id);
    return true;
  }
  if (EqualsIgnoreCase(word, "type")) {
    filter.type.reset();
    return ReadClientType(c, value, filter.type);
  }
  if (EqualsIgnoreCase(word, "addr")) {
    filter.address = value;
    return true;
  }
  if (EqualsIgnoreCase(word, "laddr")) {
    filter.local_address = value;
    return true;
  }
  if (EqualsIgnoreCase(word, "user")) {
    filter.user = value;
    if (c.cluster.users().Find(value) != nullptr) return true;
    c.reply.Error("ERR No such user '" + std::string(value) + "'");
    return false;
  }
  if (EqualsIgnoreCase(word, "skipme")) {
    filter.skip_self = EqualsIgnoreCase(value, "yes");
    if (filter.skip_self || EqualsIgnoreCase(value, "no")) return true;
  }
  ReplySyntaxError(c);
  return false;
}

// Closes the clients that match; this one only after its reply. Returns how many.
int64_t KillClients(Context& c, const KillFilter& filter) {
  std::vector<uint64_t> ids;
  bool self = false;
  c.server.ForEachClient([&](Client& client) {
    if (!filter.Matches(client, c.client)) return;
    &client == &c.client ? self = true : (ids.push_back(client.id), true);
  });
  int64_t killed = 0;
  for (uint64_t id : ids) {
    StopListening(c.cluster, id);
    killed += c.server.KillClient(id) ? 1 : 0;
  }
  if (self) c.close = true;
  return killed + (self ? 1 : 0);
}

void ClientKill(Context& c) {
  KillFilter filter;
  if (c.count() == 3) {
    filter.address = c.args[2];
    filter.skip_self = false;
    if (KillClients(c, filter) == 0) return c.reply.Error("ERR No such client");
    return c.reply.Ok();
  }
  for (size_t i = 2; i < c.count(); i += 2) {
    if (i + 1 == c.count()) return ReplySyntaxError(c);
    if (!ReadKillOption(c, c.args[i], c.args[i + 1], filter)) return;
  }
  c.reply.Integer(KillClients(c, filter));
}

void SetSwitch(Context& c, bool& value) {
  bool on = EqualsIgnoreCase(c.args[2], "on");
  if (!on && !EqualsIgnoreCase(c.args[2], "off")) return ReplySyntaxError(c);
  value = on;
  c.reply.Ok();
}

void ClientNoEvict(Context& c) {
  SetSwitch(c, c.client.no_evict);
}
void ClientNoTouch(Context& c) {
  SetSwitch(c, c.client.no_touch);
}

void ClientUnblock(Context& c) {
  bool with_error = false;
  if (c.count() > 4) return ReplySubcommandSyntax(c);
  if (c.count() == 4) {
    with_error = EqualsIgnoreCase(c.args[3], "error");
    if (!with_error && !EqualsIgnoreCase(c.args[3], "timeout"))
      return c.reply.Error("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR");
  }
  const std::optional<int64_t> id = ReadInteger(c, c.args[2]);
  if (id) c.reply.Integer(c.cluster.Unblock(static_cast<uint64_t>(*id), with_error) ? 1 : 0);
}

}  // namespace

void AddClientFamily(std::vector<Row>& rows) {
  // clang-format off: a row as few lines as it needs
  static constexpr Row kRows[] = {
      {.name = "client",
       .arity = -2,
       .categories = "@slow",
       .summary = "Looks after client connections",
       .since = "2.4.0",
       .group = "connection",
       .complexity = "Depends on the subcommand"},
      {.name = "client|setname",
       .arity = 3,
       .flags = kNoScript | kLoading | kStale,
       .categories = "@slow @connection",
       .handler = ClientSetname,
       .summary = "Names the connection",
       .since = "2.6.9",
       .group = "connection",
       .complexity = "O(1)",
       .syntax = "connection-name"},
      {.name = "client|getname",
       .arity = 2,
       .flags = kNoScript | kLoading | kStale,
       .categories = "@slow @connection",
       .handler = ClientGetname,
       .summary = "Returns the name of the connection",
       .since = "2.6.9",
       .group = "connection",
       .complexity = "O(1)"},
      {.name = "client|setinfo",
       .arity = 4,
       .flags = kNoScript | kLoading | kStale,
       .categories = "@slow @connection",
       .handler = ClientSetinfo,
       .summary = "Notes the library that the client uses",
       .since = "7.2.0",
       .group = "connection",
       .complexity = "O(1)",
       .syntax = "attr:(LIB-NAME libname|LIB-VER libver)"},
      {.name = "client|id",
       .arity = 2,
       .flags = kNoScript | kLoading | kStale,
       .categories = "@slow @connection",
       .handler = ClientId,
       .summary = "Returns the id of the connection",
       .since = "5.0.0",
       .group = "connection",
       .complexity = "O(1)"},
      {.name = "client|list",
       .arity = -2,
       .flags = kAdmin | kNoScript | kLoading | kStale,
       .categories = "@admin @slow @dangerous @connection",
       .handler = ClientList,
       .summary = "Lists the connections",
       .since = "2.4.0",
       .group = "connection",
       .complexity = "O(N) where N is the number of connections",
       .syntax = "TYPE normal_master_replica_pubsub:(NORMAL|MASTER|REPLICA|PUBSUB)?@5.0.0 ID "
                 "id:{client-id:integer*}?@6.2.0",
       .tips = "nondeterministic_output"},
      {.name = "client|info",
       .arity = 2,
       .flags = kNoScript | kLoading | kStale,
       .categories = "@slow @connection",
       .handler = ClientInfo,
       .summary = "Describes the connection",
       .since = "6.2.0",
       .group = "connection",
       .complexity = "O(1)",
       .tips = "nondeterministic_output"},
      {.name = "client|kill",
       .arity = -3,
       .flags = kAdmin | kNoScript | kLoading | kStale,
       .categories = "@admin @slow @dangerous @connection",
       .handler = ClientKill,
       .summary = "Closes connections",
       .since = "2.4.0",
       .group = "connection",
       .complexity = "O(N) where N is the number of connections",
       .syntax = "filter:(ip:port~2.8.12|new-format:(ID client-id:integer?@2.8.12|TYPE "
                 "normal_master_slave_pubsub:(NORMAL|MASTER@3.2.0|SLAVE|REPLICA@5.0.0|PUBSUB)?@2.8."
                 "12|USER "
                 "username?|ADDR ip:port?|LADDR ip:port?@6.2.0|SKIPME yes/no?)*)"},
      {.name = "client|reply",
       .arity = 3,
       .flags = kNoScript | kLoading | kStale,
       .categories = "@slow @connection",
       .handler = ClientReply,
       .summary = "Turns replies to this connection on or off",
       .since = "3.2.0",
       .group = "connection",
       .complexity = "O(1)",
       .syntax = "on_off_skip:(ON|OFF|SKIP)"},
      {.name = "client|no-evict",
       .arity = 3,
       .flags = kAdmin | kNoScript | kLoading | kStale,
       .categories = "@admin @slow @dangerous @connection",
       .handler = ClientNoEvict,
       .summary = "Exempts the connection from eviction",
       .since = "7.0.0",
       .group = "connection",
       .complexity = "O(1)",
       .syntax = "enabled:(ON|OFF)"},
      {.name = "client|no-touch",
       .arity = 3,
       .flags = kNoScript | kLoading | kStale,
       .categories = "@slow @connection",
       .handler = ClientNoTouch,
       .summary = "Keeps reads of this connection from counting as use",
       .since = "7.2.0",
       .group = "connection",
       .complexity = "O(1)",
       .syntax = "enabled:(ON|OFF)"},
      {.name = "client|unblock",
       .arity = -3,
       .flags = kAdmin | kNoScript | kLoading | kStale,
       .categories = "@admin @slow @dangerous @connection",
       .handler = ClientUnblock,
       .summary = "Ends another connection's waiting in a blocking command",
       .since = "5.0.0",
       .group = "connection",
       .complexity = "O(log N) where N is the number of connections that wait",
       .syntax = "client-id:integer timeout_error:(TIMEOUT|ERROR)?"},
      {.name = "client|help",
       .arity = 2,
       .flags = kLoading | kStale,
       .categories = "@slow @connection",
       .handler = ContainerHelp,
       .summary = "Print this help",
       .since = "5.0.0",
       .group = "connection",
       .complexity = "O(1)"},
  };
  // clang-format on
  rows.insert(rows.end(), std::begin(kRows), std::end(kRows));
}

}  // namespace polyarch::command
