#include "cli/conflicts.h"

#include <algorithm>
#include <cctype>
#include <utility>

#include "base/number.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/text.h"

namespace polyarch::cli {

namespace {

using Value = resp::Value;

int PrintList(const Value& reply) {
  const std::vector<ConflictPlace> places = PlacesOf(reply);
  if (places.empty()) return Print("no open conflicts");
  std::vector<std::string> lines;
  for (const ConflictPlace& place : places)
    lines.push_back(PlaceText(place) + (place.type.empty() ? " (several types)" : ""));
  return Print(lines);
}

// The glob that this key alone matches.
std::string GlobOf(const std::string& key) {
  std::string glob;
  for (char c : key) {
    if (std::string_view("*?[]\\^").find(c) != std::string_view::npos) glob += '\\';
    glob += c;
  }
  return glob;
}

// As a word of a shell.
std::string Quoted(const std::string& text) {
  const bool plain = !text.empty() && std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || std::string_view("_-.:/,+@%=").find(static_cast<char>(c)) != std::string_view::npos;
  });
  if (plain) return text;
  std::string out = "'";
  for (char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

// Of a collection, CONFLICT GET without FIELD says nothing: its elements are in conflict, not the key. They are
// named by CONFLICT LIST ... FIELDS.
int PrintElements(Connection& connection, const std::string& key) {
  const std::string glob = GlobOf(key);
  auto reply = connection.Call({"CONFLICT", "LIST", "COUNT", "1000", "FIELDS", "MATCH", glob});
  if (!reply.ok()) return Fail(reply.status());
  std::vector<std::string> lines;
  for (const ConflictPlace& place : PlacesOf(*reply)) {
    if (place.key != key || !place.of_element()) continue;
    if (lines.empty()) lines.push_back("the key itself is in no conflict; of its elements these are:");
    lines.push_back("  polyarch conflicts show " + Quoted(key) + " --field " + Quoted(place.field));
  }
  if (lines.empty()) return -1;
  return Print(lines);
}

int PrintShow(Connection& connection, const Value& reply, const std::string& key, bool of_field) {
  const ShownConflict conflict = ConflictOf(reply);
  if (!of_field && conflict.versions.size() < 2) {
    if (const int code = PrintElements(connection, key); code >= 0) return code;
  }
  if (conflict.token.empty())
    return Fail(base::NotFound("there is no key '" + Printable(key) + "', or no such field of it"));
  std::vector<std::string> lines = {"token  " + Printable(conflict.token)};
  for (std::string& line : ConflictLines(conflict.versions, false))
    lines.push_back(std::move(line));
  return Print(lines);
}

int PrintLog(const Value& reply) {
  if (reply.items.empty()) return Print("nothing was decided that is still listed");
  std::vector<std::string> lines;
  for (const Value& entry : reply.items) {
    const std::string field = TextOf(Find(entry, "field"));
    lines.push_back(TextOf(Find(entry, "id")) + "  " + When(NumberOf(Find(entry, "time"))) + "  " +
                    Printable(TextOf(Find(entry, "key"))) +
                    (field.empty() ? "" : " field " + Printable(field)) + "  by " +
                    Printable(TextOf(Find(entry, "policy"))));
    if (const Value* shown = Find(entry, "shown"))
      lines.push_back("  shown  " + VersionLine(VersionOf(*shown)));
    if (const Value* lost = Find(entry, "lost")) {
      for (const Value& version : lost->items)
        lines.push_back("  lost   " + VersionLine(VersionOf(version)));
    }
  }
  return Print(lines);
}

// The tag of what lost in an entry of the log.
base::Result<std::string> LostTag(Connection& connection, const std::string& id) {
  const auto number = base::ParseInt64(id);
  if (!number || *number < 1)
    return base::Invalid("'" + Printable(id) + "' is no id; see polyarch conflicts log");
  const std::string before = std::to_string(*number - 1);
  auto reply = connection.Call({"CONFLICT", "LOG", "AFTER", before, "COUNT", "1"});
  if (!reply.ok()) return reply.status();
  if (reply->items.empty() || TextOf(Find(reply->items[0], "id")) != id) {
    return base::NotFound("there is no entry " + id +
                          " in the log of this leader; see polyarch conflicts log");
  }
  const Value* lost = Find(reply->items[0], "lost");
  return lost == nullptr || lost->items.empty() ? std::string() : VersionOf(lost->items[0]).tag;
}

}  // namespace

int RunConflicts(int argc, char** argv) {
  CLI::App app{
      "Lists conflicts that are open and those that a policy decided, and resolves or restores "
      "(docs/conflicts.md).",
      "polyarch conflicts"};
  TargetOptions target;
  target.AddTo(app, /*keys=*/true);
  bool json = false;
  app.add_flag("--json", json, "the reply as JSON");
  std::string match;
  std::string after;
  std::string policy;
  std::string leader;
  std::string since;
  std::string until;
  std::string key;
  std::string field;
  std::string token;
  std::string value;
  std::string id;
  std::string tag;
  int64_t count = 100;
  CLI::App* list = app.add_subcommand("list",
                                      "keys, and fields, with concurrent versions that nobody has "
                                      "resolved (also without a subcommand)");
  CLI::App* log =
      app.add_subcommand("log", "what policies decided, oldest first: shown and lost values");
  CLI::App* show = app.add_subcommand(
      "show", "all versions of a key beside each other, and the token for resolve");
  CLI::App* restore = app.add_subcommand("restore", "write a lost value of the log back");
  CLI::App* resolve =
      app.add_subcommand("resolve",
                         "with a token: replace exactly the versions in it by a value. Without: "
                         "ask what a key, or each key, is to become");
  for (CLI::App* sub : {list, log, resolve}) {
    sub->add_option("--match", match, "only keys that match this glob");
    sub->add_option("--count", count, "at most so many (default: 100)")
        ->check(Number(1, 1'000'000, "1 to 1000000"));
  }
  log->add_option("--after", after, "only what comes after this id");
  log->add_option(
      "--policy", policy, "only what a policy decided that matches this glob (\"merge*\")");
  log->add_option("--leader", leader, "only where the value of this leader lost");
  log->add_option("--since", since, "only what was noted from this time on, in ms since 1970");
  log->add_option("--until", until, "only what was noted up to this time, in ms since 1970");
  show->add_option("key", key, "a key")->required();
  restore->add_option("id", id, "of the entry, from log")->required();
  restore->add_option("tag", tag, "of one of its versions (default: of the one that lost)");
  resolve->add_option("key", key, "a key (default: all that are open)");
  auto* token_option = resolve->add_option("token", token, "from show");
  auto* value_option = resolve->add_option("value", value, "the value that they become");
  token_option->needs(value_option);
  for (CLI::App* sub : {show, resolve})
    sub->add_option(
        "--field", field, "of this element: field, member, position or id, as list shows it");
  for (CLI::App* sub : {list, log, show, restore, resolve}) {
    sub->set_help_flag("--help", "print this and end");
    sub->fallthrough();
  }
  if (auto code = Parse(app, argc, argv)) return *code;
  auto connection = target.Connect();
  if (!connection.ok()) return Fail(connection.status());
  const std::string number = std::to_string(count);
  const int64_t timeout_ms = (*connection)->target().timeout_ms;
  const bool by_hand = resolve->parsed() && value_option->count() == 0;
  std::vector<std::string_view> command = {"CONFLICT"};
  auto add = [&](std::string_view word, const std::string& argument) {
    if (!argument.empty()) command.insert(command.end(), {word, argument});
  };
  if (restore->parsed() && tag.empty()) {
    auto lost = LostTag(**connection, id);
    if (!lost.ok()) return Fail(lost.status());
    tag = *lost;
  }
  if (show->parsed()) {
    command.insert(command.end(), {"GET", key});
  } else if (restore->parsed()) {
    command.insert(command.end(), {"RESTORE", id, tag});
  } else if (resolve->parsed() && !by_hand) {
    command.insert(command.end(), {"RESOLVE", key, token, value});
  } else if (log->parsed()) {
    command.insert(command.end(), {"LOG", "COUNT", number});
    add("MATCH", match);
    add("AFTER", after);
    add("POLICY", policy);
    add("LEADER", leader);
    add("SINCE", since);
    add("UNTIL", until);
  } else {
    command.insert(command.end(), {"LIST", "COUNT", number});
    command.push_back("FIELDS");
    if (by_hand && !key.empty()) match = GlobOf(key);
    add("MATCH", match);
  }
  if (!by_hand && show->count("--field") + resolve->count("--field") > 0) {
    command.insert(command.end(), {"FIELD", field});
  }
  auto reply = (*connection)->Call(command, timeout_ms);
  if (!reply.ok()) return Fail(reply.status());
  if (by_hand) {
    std::vector<ConflictPlace> places = PlacesOf(*reply);
    if (!key.empty()) {
      std::erase_if(places, [&](const ConflictPlace& place) {
        return place.key != key || (resolve->count("--field") > 0 && place.field != field);
      });
    }
    std::erase_if(places, [](const ConflictPlace& place) { return place.type.empty(); });
    if (places.empty()) return Print("no open conflicts");
    return ResolveByHand(**connection, places);
  }
  if (json && !show->parsed() && !log->parsed() && !restore->parsed() && !resolve->parsed())
    return Print(Json(PlacesValue(*reply)));
  if (json) return Print(Json(*reply));
  if (show->parsed()) return PrintShow(**connection, *reply, key, show->count("--field") > 0);
  if (log->parsed()) return PrintLog(*reply);
  if (restore->parsed() || resolve->parsed()) return Print(Printable(TextOf(&*reply)));
  return PrintList(*reply);
}

}  // namespace polyarch::cli
