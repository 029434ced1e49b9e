// ACL: users and their rights. A user is set at one leader and known at all of them; ACL LOG is of this process.
#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "base/number.h"
#include "command/families.h"
#include "command/rights.h"
#include "command/support.h"
#include "command/users.h"

namespace polyarch::command {
namespace {

using acl::User;

constexpr int64_t kGenpassBitsMax = 4096;

void ReplyNoFile(Context& c) {
  c.reply.Error(
      "ERR This Redis instance is not configured to use an ACL file. You may want to specify users via the ACL SETUSER command and then issue a "
      "CONFIG REWRITE (assuming you have a Redis configuration file set) in order to store users in the Redis configuration.");
}

// ACL CAT, GENPASS and LOG take one argument more at most.
bool AtMostOne(Context& c) {
  if (c.count() <= 3) return true;
  ReplySubcommandSyntax(c);
  return false;
}

void Cat(Context& c) {
  if (!AtMostOne(c)) return;
  const acl::Catalogue& catalogue = CommandCatalogue();
  if (c.count() == 2) {
    c.reply.Array(catalogue.categories().size());
    for (std::string_view name : catalogue.categories()) c.reply.Bulk(name);
    return;
  }
  if (catalogue.CategoryRule(c.args[2]) == nullptr)
    return c.reply.Error("ERR Unknown category '" + std::string(c.args[2]) + "'");
  const std::vector<acl::CommandId> commands = catalogue.InCategory(c.args[2]);
  c.reply.Array(commands.size());
  for (acl::CommandId id : commands) c.reply.Bulk(catalogue.NameOf(id));
}

// What a user would take that has just been made or changed. False: the error was given.
bool Fits(Context& c, const User& user, bool fresh) {
  if (fresh && c.cluster.users().all().size() >= kUsersMax) {
    c.reply.Error("LIMIT there are " + std::to_string(kUsersMax) + " users already; see ACL DELUSER");
    return false;
  }
  for (const std::string& text : {user.StateText(), user.SecretsText(), user.RightsText()}) {
    if (text.size() <= kUserBytesMax) continue;
    c.reply.Error("LIMIT the rules of a user are larger than " + std::to_string(kUserBytesMax) + " bytes");
    return false;
  }
  return true;
}

// It counts for what follows, in a transaction, too.
void Settle(Context& c) {
  c.cluster.SettleUsers();
  c.close |= c.client.expelled;
}

void Setuser(Context& c) {
  const std::string_view name = c.args[2];
  if (!acl::IsWord(name)) return c.reply.Error("ERR Usernames can't contain spaces or null characters");
  if (name.size() > kUserNameBytesMax)
    return c.reply.Error("LIMIT a user's name is longer than " + std::to_string(kUserNameBytesMax) + " bytes");
  Users& users = c.cluster.users();
  const User* known = users.Find(name);
  // The default user of the configuration becomes everybody's when it is first changed.
  const bool fresh = known == nullptr || (name == kDefaultUser && !users.default_is_shared());
  User user = known != nullptr ? *known : User(CommandCatalogue(), std::string(name), 0);
  if (fresh) user.Begin(c.random == 0 ? 1 : c.random);
  // Rules are compared with each other: far too many are not even looked at.
  size_t bytes = 0;
  for (std::string_view rule : c.args.subspan(3)) bytes += rule.size();
  if (bytes > 3 * kUserBytesMax)
    return c.reply.Error("LIMIT rules of more than " + std::to_string(3 * kUserBytesMax) + " bytes");
  std::vector<std::string_view> rules;
  if (known == nullptr && users.new_users_hear_all()) rules.push_back("allchannels");
  for (std::string_view rule : c.args.subspan(3)) {
    rules.push_back(rule);
    if (users.new_users_hear_all() && EqualsIgnoreCase(rule, "reset")) rules.push_back("allchannels");
  }
  if (const base::Status status = user.ApplyAll(std::move(rules), users.new_users_hear_all()); !status.ok())
    return c.reply.Error("ERR " + status.message());
  if (!Fits(c, user, fresh)) return;
  const std::optional<User> before = fresh ? std::nullopt : std::optional<User>(*known);
  Users::Store(c.keys, c.change, before ? &*before : nullptr, user);
  Settle(c);
  c.reply.Ok();
}

void Deluser(Context& c) {
  const Arguments names = c.args.subspan(2);
  if (std::find(names.begin(), names.end(), kDefaultUser) != names.end())
    return c.reply.Error("ERR The 'default' user cannot be removed");
  int64_t deleted = 0;
  for (size_t i = 0; i < names.size(); ++i) {
    const bool again = std::find(names.begin(), names.begin() + static_cast<std::ptrdiff_t>(i), names[i]) !=
                       names.begin() + static_cast<std::ptrdiff_t>(i);
    if (again || c.cluster.users().Find(names[i]) == nullptr) continue;
    Users::Erase(c.keys, c.change, names[i]);
    ++deleted;
  }
  Settle(c);
  c.reply.Integer(deleted);
}

void ReplySelector(Context& c, const acl::Selector& selector) {
  c.reply.Bulk("commands");
  c.reply.Bulk(selector.CommandRules());
  c.reply.Bulk("keys");
  c.reply.Bulk(selector.KeyRules());
  c.reply.Bulk("channels");
  c.reply.Bulk(selector.ChannelRules());
}

void Getuser(Context& c) {
  const User* user = c.cluster.users().Find(c.args[2]);
  if (user == nullptr) return c.reply.Null();
  c.reply.Map(6);
  c.reply.Bulk("flags");
  const std::vector<std::string_view> flags = user->Flags();
  c.reply.Set(flags.size());
  for (std::string_view flag : flags) c.reply.Bulk(flag);
  c.reply.Bulk("passwords");
  c.reply.Array(user->passwords().size());
  for (const std::string& hash : user->passwords()) c.reply.Bulk(hash);
  ReplySelector(c, user->selectors().front());
  c.reply.Bulk("selectors");
  c.reply.Array(user->selectors().size() - 1);
  for (size_t i = 1; i < user->selectors().size(); ++i) {
    c.reply.Map(3);
    ReplySelector(c, user->selectors()[i]);
  }
}

void List(Context& c) {
  const Users::Map& all = c.cluster.users().all();
  c.reply.Array(all.size());
  for (const auto& [name, user] : all) c.reply.Bulk("user " + name + " " + user.Describe());
}

void Names(Context& c) {
  const Users::Map& all = c.cluster.users().all();
  c.reply.Array(all.size());
  for (const auto& [name, user] : all) c.reply.Bulk(name);
}

void Whoami(Context& c) {
  c.reply.Bulk(c.client.user);
}

void Genpass(Context& c) {
  if (!AtMostOne(c)) return;
  int64_t bits = 256;
  if (c.count() == 3) {
    const std::optional<int64_t> given = ReadInteger(c, c.args[2]);
    if (!given) return;
    bits = *given;
  }
  if (bits <= 0 || bits > kGenpassBitsMax) {
    return c.reply.Error("ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to " +
                         std::to_string(kGenpassBitsMax));
  }
  static constexpr char kHex[] = "0123456789abcdef";
  constexpr size_t kDigitsOfWord = 16;
  std::string password(static_cast<size_t>((bits + 3) / 4), '0');
  uint64_t random = 0;
  for (size_t i = 0; i < password.size(); ++i, random >>= 4) {
    if (i % kDigitsOfWord == 0) random = c.server.Secret();
    password[i] = kHex[random & 15];
  }
  c.reply.Bulk(password);
}

std::string_view NameOf(acl::Log::Context context) {
  switch (context) {
    case acl::Log::Context::kTopLevel:
      return "toplevel";
    case acl::Log::Context::kMulti:
      return "multi";
    case acl::Log::Context::kScript:
      return "lua";
  }
  return "";
}

void ShowLog(Context& c) {
  if (!AtMostOne(c)) return;
  acl::Log& log = c.cluster.users().log();
  size_t count = 10;
  if (c.count() == 3) {
    if (EqualsIgnoreCase(c.args[2], "reset")) {
      log.Clear();
      return c.reply.Ok();
    }
    const std::optional<int64_t> given = ReadInteger(c, c.args[2]);
    if (!given) return;
    count = static_cast<size_t>(std::max<int64_t>(0, *given));
  }
  count = std::min(count, log.entries().size());
  const int64_t now_ms = c.server.WallMicros() / 1000;
  c.reply.Array(count);
  for (auto it = log.entries().begin(); count > 0; ++it, --count) {
    c.reply.Map(7);
    c.reply.Bulk("count");
    c.reply.Integer(static_cast<int64_t>(it->count));
    c.reply.Bulk("reason");
    c.reply.Bulk(it->reason);
    c.reply.Bulk("context");
    c.reply.Bulk(NameOf(it->context));
    c.reply.Bulk("object");
    c.reply.Bulk(it->object);
    c.reply.Bulk("username");
    c.reply.Bulk(it->user);
    c.reply.Bulk("age-seconds");
    c.reply.Double(static_cast<double>(now_ms - it->time_ms) / 1000);
    c.reply.Bulk("client-info");
    c.reply.Bulk(it->client);
  }
}

void Dryrun(Context& c) {
  const User* user = c.cluster.users().Find(c.args[2]);
  if (user == nullptr) return c.reply.Error("ERR User '" + std::string(c.args[2]) + "' not found");
  const Arguments words = c.args.subspan(3);
  const Row* row = Table::Instance().Find(words);
  if (row == nullptr) return c.reply.Error("ERR Command '" + std::string(words[0]) + "' not found");
  const auto count = static_cast<int>(words.size());
  if (row->arity >= 0 ? count != row->arity : count < -row->arity)
    return c.reply.Error("ERR wrong number of arguments for '" + std::string(row->name) + "' command");
  const acl::Verdict verdict = Judge(*user, *row, words);
  if (verdict.allowed()) return c.reply.Ok();
  const std::string_view object = verdict.argument == 0 ? std::string_view("*") : words[verdict.argument];
  std::string text = "This user has no permissions to ";
  if (verdict.denied == acl::Denied::kCommand) {
    text += "run the '" + std::string(row->name) + "' command";
  } else {
    text += "access the '" + std::string(object) + (verdict.denied == acl::Denied::kKey ? "' key" : "' channel");
  }
  c.reply.Bulk(text);
}

}  // namespace

void AddAclFamily(std::vector<Row>& rows) {
  // clang-format off: a row as few lines as it needs
  static constexpr uint32_t kAsk = kNoScript | kLoading | kStale;
  static constexpr uint32_t kLook = kAdmin | kAsk;
  static constexpr uint32_t kSet = kWrite | kAdmin | kNoScript;
  static constexpr std::string_view kOperator = "@admin @slow @dangerous";
  static constexpr Row kRows[] = {
      {.name = "acl", .arity = -2, .categories = "@slow",
       .summary = "Users and their rights", .since = "6.0.0", .group = "server",
       .complexity = "Depends on the subcommand"},
      {.name = "acl|cat", .arity = -2, .flags = kAsk, .categories = "@slow", .handler = Cat,
       .summary = "Lists the categories of commands, or the commands of one", .since = "6.0.0", .group = "server",
       .complexity = "O(N) where N is the number of commands", .syntax = "categoryname?"},
      {.name = "acl|deluser", .arity = -3, .flags = kSet, .categories = kOperator, .handler = Deluser,
       .summary = "Deletes users at every leader and closes their connections", .since = "6.0.0", .group = "server",
       .complexity = "O(N) where N is the number of connections", .syntax = "username*"},
      {.name = "acl|dryrun", .arity = -4, .flags = kLook, .categories = kOperator, .handler = Dryrun,
       .summary = "Tells whether a user may run a command, without running it", .since = "7.0.0", .group = "server",
       .complexity = "O(N) where N is the number of rules of the user", .syntax = "username command arg?*"},
      {.name = "acl|genpass", .arity = -2, .flags = kAsk, .categories = "@slow", .handler = Genpass,
       .summary = "Makes a random password", .since = "6.0.0", .group = "server", .complexity = "O(1)",
       .syntax = "bits:integer?"},
      {.name = "acl|getuser", .arity = 3, .flags = kLook, .categories = kOperator, .handler = Getuser,
       .summary = "Returns the rules of a user", .since = "6.0.0", .group = "server",
       .complexity = "O(N) where N is the number of rules of the user", .syntax = "username"},
      {.name = "acl|list", .arity = 2, .flags = kLook, .categories = kOperator, .handler = List,
       .summary = "Lists all users with their rules", .since = "6.0.0", .group = "server",
       .complexity = "O(N) where N is the number of users"},
      {.name = "acl|load", .arity = 2, .flags = kLook, .categories = kOperator, .handler = ReplyNoFile,
       .summary = "Refused: users are kept in the database, not in a file", .since = "6.0.0", .group = "server",
       .complexity = "O(1)"},
      {.name = "acl|log", .arity = -2, .flags = kLook, .categories = kOperator, .handler = ShowLog,
       .summary = "Lists what this leader has refused of late", .since = "6.0.0", .group = "server",
       .complexity = "O(N) where N is the number of entries shown",
       .syntax = "operation:(count:integer|RESET@6.0.0)?"},
      {.name = "acl|save", .arity = 2, .flags = kLook, .categories = kOperator, .handler = ReplyNoFile,
       .summary = "Refused: users are kept in the database, not in a file", .since = "6.0.0", .group = "server",
       .complexity = "O(1)"},
      {.name = "acl|setuser", .arity = -3, .flags = kSet, .categories = kOperator, .handler = Setuser,
       .summary = "Makes or changes a user at every leader", .since = "6.0.0", .group = "server",
       .complexity = "O(N) where N is the number of rules", .syntax = "username rule?*"},
      {.name = "acl|users", .arity = 2, .flags = kLook, .categories = kOperator, .handler = Names,
       .summary = "Lists the names of all users", .since = "6.0.0", .group = "server",
       .complexity = "O(N) where N is the number of users"},
      {.name = "acl|whoami", .arity = 2, .flags = kAsk, .categories = "@slow", .handler = Whoami,
       .summary = "Returns the name of the connection's user", .since = "6.0.0", .group = "server", .complexity = "O(1)"},
      {.name = "acl|help", .arity = 2, .flags = kLoading | kStale, .categories = "@slow", .handler = ContainerHelp,
       .summary = "Print this help", .since = "6.0.0", .group = "server", .complexity = "O(1)"},
  };
  // clang-format on
  rows.insert(rows.end(), std::begin(kRows), std::end(kRows));
}

}  // namespace polyarch::command
