#include <algorithm>
#include <utility>

#include "cli/commands.h"
#include "cli/options.h"
#include "cli/text.h"

namespace polyarch::cli {

int RunPolicy(int argc, char** argv) {
  CLI::App app{
      "Shows and sets conflict policies: what a read shows of concurrent writes to the keys that "
      "match a "
      "pattern (docs/conflicts.md).",
      "polyarch policy"};
  TargetOptions target;
  target.AddTo(app, /*keys=*/true);
  bool json = false;
  app.add_flag("--json", json, "the reply as JSON");
  std::string pattern;
  std::string key;
  std::string field;
  std::vector<std::string> policy;
  CLI::App* list =
      app.add_subcommand("list", "every pattern and its policy (also without a subcommand)");
  CLI::App* get = app.add_subcommand("get", "the policy of one key");
  get->add_option("key", key, "a key")->required();
  get->add_option("--field", field, "of this field of a hash");
  CLI::App* set =
      app.add_subcommand("set", "set the policy of all keys that match a pattern, at every leader");
  set->add_option("pattern", pattern, "a glob, such as 'cart:*'; the most specific one wins")
      ->required();
  set->add_option("policy", policy, "[FIELD field] lww | lww DELETES | priority [LEADER...] | siblings | "
                  "merge MIN|MAX|JSON | merge UNION|CONCAT [SEPARATOR] | handler NAME | sync | pop-owner")
      ->required();
  CLI::App* del = app.add_subcommand("del", "forget a pattern");
  del->add_option("pattern", pattern, "as it was set")->required();
  del->add_option("--field", field, "the policy of this field");
  for (CLI::App* sub : {list, get, set, del}) {
    sub->set_help_flag("--help", "print this and end");
    sub->fallthrough();
  }
  if (auto code = Parse(app, argc, argv)) return *code;
  auto connection = target.Connect();
  if (!connection.ok()) return Fail(connection.status());
  std::vector<std::string_view> command = {"POLICY"};
  if (get->parsed()) {
    command.insert(command.end(), {"GET", key});
  } else if (set->parsed()) {
    command.insert(command.end(), {"SET", pattern});
    command.insert(command.end(), policy.begin(), policy.end());
  } else if (del->parsed()) {
    command.insert(command.end(), {"DEL", pattern});
  } else {
    command.emplace_back("LIST");
  }
  if (get->count("--field") + del->count("--field") != 0) {
    command.insert(command.end(), {"FIELD", field});
  }
  auto reply = (*connection)->Call(command, (*connection)->target().timeout_ms);
  if (!reply.ok()) return Fail(reply.status());
  if (del->parsed() && NumberOf(&*reply) == 0) {
    return Fail(base::NotFound("no policy was set for the pattern '" + Printable(pattern) +
                               "': see polyarch policy list"));
  }
  if (json) return Print(Json(*reply));
  if (reply->type != resp::Value::Type::kMap) {
    return Print(del->parsed() ? std::string("removed") : Printable(TextOf(&*reply)));
  }
  if (reply->items.empty()) return Print("no pattern is set: every key has the policy lww");
  Table table({"PATTERN", "POLICY"});
  for (size_t i = 0; i + 1 < reply->items.size(); i += 2)
    table.Add({Printable(reply->items[i].text), Printable(reply->items[i + 1].text)});
  return Print(table.Lines());
}

}  // namespace polyarch::cli
