#include "command/rights.h"

#include <algorithm>

#include "base/check.h"
#include "command/support.h"
#include "command/users.h"

namespace polyarch::command {
namespace {

acl::CommandId IdOf(const Row& row) {
  const std::span<const Row> rows = Table::Instance().rows();
  return static_cast<acl::CommandId>(&row - rows.data());
}

// "RW access update variable_flags": what the words of a key specification say.
acl::KeyUse UseOf(std::string_view access) {
  acl::KeyUse use;
  while (!access.empty()) {
    const std::string_view word = access.substr(0, access.find(' '));
    use.read |= word == "access";
    use.write |= word == "insert" || word == "delete" || word == "update";
    access.remove_prefix(std::min(access.size(), word.size() + 1));
  }
  return use;
}

std::string_view ReasonOf(acl::Denied denied) {
  switch (denied) {
    case acl::Denied::kCommand:
      return "command";
    case acl::Denied::kKey:
      return "key";
    case acl::Denied::kChannel:
      return "channel";
    case acl::Denied::kNothing:
      break;
  }
  return "";
}

void Note(Context& c, const Row& row, const acl::Verdict& verdict, acl::Log::Context where) {
  std::string_view object = row.name;
  if (verdict.denied != acl::Denied::kCommand) object = verdict.argument == 0 ? "*" : c.args[verdict.argument];
  std::string line = ClientLine(c, c.client);
  line.pop_back();
  c.cluster.users().log().Add({.reason = ReasonOf(verdict.denied),
                               .context = where,
                               .object = std::string(object),
                               .user = c.client.user,
                               .time_ms = c.server.WallMicros() / 1000,
                               .client = std::move(line)});
}

// Not allowed if there is no user any more.
acl::Verdict JudgeClient(const Context& c, const Row& row, Arguments args) {
  const acl::User* user = c.cluster.users().UserOf(c.client);
  if (user == nullptr) return {acl::Denied::kCommand, 0};
  return Judge(*user, row, args);
}

}  // namespace

acl::KeyUse UseBy(const Row& row, Arguments args) {
  const Arguments options = args.subspan(std::min<size_t>(args.size(), row.name == "set" ? 3 : 2));
  if (row.name == "set") {
    // It tells the old value if asked to.
    const bool gets = std::any_of(options.begin(), options.end(), [](std::string_view word) { return EqualsIgnoreCase(word, "get"); });
    return {.read = gets, .write = true};
  }
  // BITFIELD: GET alone reads. As Redis: what is none of its words may write.
  CHECK(row.name == "bitfield");
  bool writes = false;
  for (size_t i = 0; i < options.size() && !writes;) {
    const size_t left = options.size() - i - 1;
    if (EqualsIgnoreCase(options[i], "get") && left >= 2) {
      i += 3;
    } else if (EqualsIgnoreCase(options[i], "overflow") && left >= 1) {
      i += 2;
    } else {
      writes = true;
    }
  }
  return {.read = true, .write = writes};
}

void KeyUsesOf(const Row& row, Arguments args, std::vector<acl::KeyUse>& out) {
  out.clear();
  if (!row.keys.any() || row.key_access == "not_key") return;
  std::vector<size_t> places;
  KeyIndices(row, args, places);
  const size_t bar = row.key_access.find('|');
  acl::KeyUse first = UseOf(row.key_access.substr(0, bar));
  if (row.key_access.find("variable_flags") != std::string_view::npos) first = UseBy(row, args);
  acl::KeyUse rest = bar == std::string_view::npos ? first : UseOf(row.key_access.substr(bar + 1));
  // SORT's STORE.
  const bool stores = bar == std::string_view::npos && row.keys.first > 0 && !row.keys.options.empty();
  if (stores) rest = {.write = true};
  for (size_t place : places) {
    acl::KeyUse use = place == static_cast<size_t>(row.keys.first) || (bar == std::string_view::npos && !stores) ? first : rest;
    use.argument = place;
    use.key = args[place];
    out.push_back(use);
  }
}

void ChannelUsesOf(const Row& row, Arguments args, std::vector<acl::ChannelUse>& out) {
  out.clear();
  const bool publishes = row.name == "publish" || row.name == "spublish";
  const bool pattern = row.name == "psubscribe";
  if (!publishes && !pattern && row.name != "subscribe" && row.name != "ssubscribe") return;
  const size_t end = publishes ? std::min<size_t>(2, args.size()) : args.size();
  for (size_t i = 1; i < end; ++i) out.push_back({i, args[i], pattern});
}

acl::Verdict Judge(const acl::User& user, const Row& row, Arguments args) {
  std::vector<acl::KeyUse> keys;
  std::vector<acl::ChannelUse> channels;
  KeyUsesOf(row, args, keys);
  if ((row.flags & kPubsub) != 0) ChannelUsesOf(row, args, channels);
  return acl::Judge(user,
                    {.command = IdOf(row),
                     .for_all = (row.flags & kNoAuth) != 0,
                     .first_argument = args.size() > 1 ? args[1] : std::string_view(),
                     .has_argument = args.size() > 1,
                     .keys = keys,
                     .channels = channels,
                     .reads_any = (row.flags & kReadsAnyValue) != 0,
                     .writes_any = (row.flags & kWritesAnyKey) != 0});
}

bool AllowUser(Context& c, const Row& row) {
  if (c.cluster.users().UserOf(c.client) == nullptr) {
    if ((row.flags & kNoAuth) != 0) return true;
    c.reply.Error("NOAUTH Authentication required.");
    return false;
  }
  const acl::Verdict verdict = JudgeClient(c, row, c.args);
  if (verdict.allowed()) return true;
  Note(c, row, verdict, c.client.transaction != nullptr ? acl::Log::Context::kMulti : acl::Log::Context::kTopLevel);
  switch (verdict.denied) {
    case acl::Denied::kCommand:
      c.reply.Error("NOPERM this user has no permissions to run the '" + std::string(row.name) + "' command");
      break;
    case acl::Denied::kKey:
      c.reply.Error("NOPERM this user has no permissions to access one of the keys used as arguments");
      break;
    default:
      c.reply.Error("NOPERM this user has no permissions to access one of the channels used as arguments");
  }
  return false;
}

std::string RefusalInExec(Context& c, const Row& row) {
  const acl::Verdict verdict = JudgeClient(c, row, c.args);
  if (verdict.allowed()) return {};
  Note(c, row, verdict, acl::Log::Context::kMulti);
  std::string_view reason = "no permission to execute the command or subcommand";
  if (verdict.denied == acl::Denied::kKey) reason = "no permission to touch the specified keys";
  if (verdict.denied == acl::Denied::kChannel)
    reason = "no permission to access one of the channels used as arguments";
  return "NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. This command is no "
         "longer allowed for the following reason: " + std::string(reason);
}

std::string RefusalInScript(Context& c, const Row& row) {
  const acl::Verdict verdict = JudgeClient(c, row, c.args);
  if (verdict.allowed()) return {};
  Note(c, row, verdict, acl::Log::Context::kScript);
  std::string_view reason = "can't run this command or subcommand";
  if (verdict.denied == acl::Denied::kKey) reason = "can't access at least one of the keys mentioned in the command arguments";
  if (verdict.denied == acl::Denied::kChannel) reason = "can't publish to the channel mentioned in the command";
  return "ERR The user executing the script " + std::string(reason);
}

bool MayReadAnyKey(const Context& c, const Row& row) {
  if (!c.client.judged) return true;
  const acl::User* user = c.cluster.users().UserOf(c.client);
  if (user == nullptr) return false;
  std::vector<acl::KeyUse> keys;
  KeyUsesOf(row, c.args, keys);
  return acl::Judge(*user, {.command = IdOf(row), .keys = keys, .reads_any = true}).allowed();
}

bool MayStillListen(const Users& users, const Subscriptions& subscriptions, const Client& client) {
  if (client.subscribed == 0 || !client.judged) return true;
  const acl::User* user = users.UserOf(client);
  if (user == nullptr) return false;
  using Kind = Subscriptions::Kind;
  for (Kind kind : {Kind::kChannel, Kind::kPattern, Kind::kShard}) {
    for (const std::string& name : subscriptions.Of(client, kind)) {
      const bool may = std::any_of(user->selectors().begin(), user->selectors().end(), [&](const acl::Selector& s) {
        return s.MayUseChannel(name, kind == Kind::kPattern);
      });
      if (!may) return false;
    }
  }
  return true;
}

void NoteWrongPassword(Context& c, std::string_view user) {
  std::string line = ClientLine(c, c.client);
  line.pop_back();
  c.cluster.users().log().Add({.reason = "auth",
                               .context = c.client.transaction != nullptr ? acl::Log::Context::kMulti : acl::Log::Context::kTopLevel,
                               .object = std::string(c.args[0]),
                               .user = std::string(user),
                               .time_ms = c.server.WallMicros() / 1000,
                               .client = std::move(line)});
}

}  // namespace polyarch::command
