#include <ctime>
#include <utility>

#include "cli/commands.h"
#include "cli/options.h"
#include "cli/text.h"

namespace polyarch::cli {

namespace {

using Value = resp::Value;

std::string When(int64_t ms) {
  const auto seconds = static_cast<time_t>(ms / 1000);
  tm parts{};
  gmtime_r(&seconds, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%SZ", &parts);
  return text;
}

// A version as [value, leader, unix-ms, tag]; a value that is null was deleted.
std::string Version(const Value& version) {
  if (version.items.size() < 4) return Printable(version.ToString());
  const Value& value = version.items[0];
  constexpr size_t kShownBytes = 200;
  // An entry of a stream is an array: its fields and values.
  std::string text = value.items.empty() ? TextOf(&value) : TextOf(&value.items[0]);
  for (size_t i = 1; i < value.items.size(); ++i)
    text += " " + TextOf(&value.items[i]);
  std::string shown = value.is_null() ? "(deleted)" : Printable(text.substr(0, kShownBytes));
  if (text.size() > kShownBytes) shown += "... (" + HumanBytes(text.size()) + ")";
  return shown + "   by " + Printable(TextOf(&version.items[1])) + " at " +
         When(NumberOf(&version.items[2])) + "   " + Printable(TextOf(&version.items[3]));
}

int PrintList(const Value& reply) {
  if (reply.items.empty()) return Print("no open conflicts");
  std::vector<std::string> lines;
  for (const Value& key : reply.items)
    lines.push_back(Printable(TextOf(&key)));
  return Print(lines);
}

int PrintShow(const Value& reply, const std::string& key) {
  if (reply.items.size() < 2)
    return Fail(base::NotFound("there is no key '" + Printable(key) + "', or no such field of it"));
  std::vector<std::string> lines = {"token  " + Printable(TextOf(&reply.items[0]))};
  for (const Value& version : reply.items[1].items)
    lines.push_back("  " + Version(version));
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
    if (const Value* shown = Find(entry, "shown")) lines.push_back("  shown  " + Version(*shown));
    if (const Value* lost = Find(entry, "lost")) {
      for (const Value& version : lost->items)
        lines.push_back("  lost   " + Version(version));
    }
  }
  return Print(lines);
}

}  // namespace

int RunConflicts(int argc, char** argv) {
  CLI::App app{
      "Lists conflicts that are open and those that a policy decided, and resolves or restores "
      "(docs/conflicts.md).",
      "polyarch conflicts"};
  TargetOptions target;
  target.AddTo(app);
  bool json = false;
  app.add_flag("--json", json, "the reply as JSON");
  std::string match;
  std::string after;
  std::string key;
  std::string field;
  std::string token;
  std::string value;
  std::string id;
  std::string tag;
  int64_t count = 100;
  CLI::App* list = app.add_subcommand(
      "list", "keys with concurrent versions that nobody has resolved (also without a subcommand)");
  CLI::App* log =
      app.add_subcommand("log", "what policies decided, oldest first: shown and lost values");
  for (CLI::App* sub : {list, log}) {
    sub->add_option("--match", match, "only keys that match this glob");
    sub->add_option("--count", count, "at most so many (default: 100)")
        ->check(CLI::Range(INT64_C(1), INT64_C(1000000)));
  }
  log->add_option("--after", after, "only what comes after this id");
  CLI::App* show = app.add_subcommand("show", "all versions of a key, and the token for resolve");
  show->add_option("key", key, "a key")->required();
  CLI::App* restore = app.add_subcommand("restore", "write a lost value of the log back");
  restore->add_option("id", id, "of the entry, from log")->required();
  restore->add_option("tag", tag, "of the lost version, from log")->required();
  CLI::App* resolve =
      app.add_subcommand("resolve", "replace exactly the versions in the token by a value");
  resolve->add_option("key", key, "a key")->required();
  resolve->add_option("token", token, "from show")->required();
  resolve->add_option("value", value, "the value that they become")->required();
  for (CLI::App* sub : {show, resolve})
    sub->add_option("--field", field, "of this element: field, member, position or id, as log shows it");
  for (CLI::App* sub : {list, log, show, restore, resolve}) {
    sub->set_help_flag("--help", "print this and end");
    sub->fallthrough();
  }
  if (auto code = Parse(app, argc, argv)) return *code;
  auto connection = target.Connect();
  if (!connection.ok()) return Fail(connection.status());
  const std::string number = std::to_string(count);
  std::vector<std::string_view> command = {"CONFLICT"};
  if (show->parsed()) {
    command.insert(command.end(), {"GET", key});
  } else if (restore->parsed()) {
    command.insert(command.end(), {"RESTORE", id, tag});
  } else if (resolve->parsed()) {
    command.insert(command.end(), {"RESOLVE", key, token, value});
  } else {
    command.insert(command.end(), {log->parsed() ? "LOG" : "LIST", "COUNT", number});
    if (!match.empty()) command.insert(command.end(), {"MATCH", match});
    if (!after.empty()) command.insert(command.end(), {"AFTER", after});
  }
  if (show->count("--field") + resolve->count("--field") > 0) {
    command.insert(command.end(), {"FIELD", field});
  }
  auto reply = (*connection)->Call(command, (*connection)->target().timeout_ms);
  if (!reply.ok()) return Fail(reply.status());
  if (json) return Print(Json(*reply));
  if (show->parsed()) return PrintShow(*reply, key);
  if (log->parsed()) return PrintLog(*reply);
  if (restore->parsed() || resolve->parsed()) return Print(Printable(TextOf(&*reply)));
  return PrintList(*reply);
}

}  // namespace polyarch::cli
