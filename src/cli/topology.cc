#include "cli/topology.h"

#include <algorithm>
#include <set>
#include <utility>

#include "cli/options.h"
#include "cli/status.h"
#include "cli/text.h"

namespace polyarch::cli {

namespace {

using Value = resp::Value;

bool IsAggregate(const Value& value) {
  return value.type == Value::Type::kMap || value.type == Value::Type::kArray ||
         value.type == Value::Type::kSet;
}

// "a", "[a, b]" as "a b", a map as "k=v".
std::string Flat(const Value& value) {
  if (!IsAggregate(value)) return Printable(TextOf(&value));
  std::string out;
  const bool map = value.type == Value::Type::kMap;
  for (size_t i = 0; i < value.items.size(); i += map ? 2 : 1) {
    if (!out.empty()) out += map ? ", " : " ";
    out += Flat(value.items[i]);
    if (map && i + 1 < value.items.size()) out += "=" + Flat(value.items[i + 1]);
  }
  return out;
}

std::vector<std::string> Words(const std::string& text) {
  std::vector<std::string> words;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find(' ', at), text.size());
    if (end > at) words.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return words;
}

// The configured shape, for the eye. `shape` as TOPOLOGY SET takes it.
std::vector<std::string> Draw(const std::vector<std::string>& shape,
                              const std::vector<std::string>& leaders) {
  std::vector<std::string> out;
  if (shape.empty()) return out;
  const std::vector<std::string> named(shape.begin() + 1, shape.end());
  if (shape[0] == "ring" && !named.empty()) {
    std::string line = "  ";
    for (const std::string& name : named)
      line += name + " --- ";
    out.push_back(line + "(" + named.front() + ")");
  } else if (shape[0] == "star" && !named.empty()) {
    std::vector<std::string> spokes;
    for (const std::string& name : leaders) {
      if (std::find(named.begin(), named.end(), name) == named.end()) spokes.push_back(name);
    }
    std::string hubs = named.front();
    for (size_t i = 1; i < named.size(); ++i)
      hubs += ", then " + named[i];
    const std::string space(hubs.size(), ' ');
    if (spokes.empty()) out.push_back("  " + hubs);
    for (size_t i = 0; i < spokes.size(); ++i)
      out.push_back("  " + (i == 0 ? hubs : space) + (i == 0 ? " -+- " : "  +- ") + spokes[i]);
  } else if (shape[0] == "links") {
    for (const std::string& name : leaders) {
      std::string line;
      for (const std::string& link : named) {
        // Names may hold '-': the ends are those that fit.
        if (link.starts_with(name + "-"))
          line += (line.empty() ? " --- " : ", ") + link.substr(name.size() + 1);
        if (link.ends_with("-" + name))
          line += (line.empty() ? " --- " : ", ") + link.substr(0, link.size() - name.size() - 1);
      }
      if (!line.empty()) out.push_back("  " + name + line);
    }
  } else if (shape[0] == "mesh") {
    std::string line = "  each with each:";
    for (const std::string& name : leaders)
      line += " " + name;
    out.push_back(line);
  }
  return out;
}

// A map of leaders to anything, or a list of pairs or names, as rows.
std::vector<std::pair<std::string, std::string>> Rows(const Value& value) {
  std::vector<std::pair<std::string, std::string>> rows;
  if (value.type == Value::Type::kMap) {
    for (size_t i = 0; i + 1 < value.items.size(); i += 2)
      rows.emplace_back(Flat(value.items[i]), Flat(value.items[i + 1]));
  } else {
    for (const Value& item : value.items)
      rows.emplace_back(Flat(item), "");
  }
  return rows;
}

}  // namespace

std::vector<std::string> TopologyLines(const Value& topology, const Snapshot& s, bool all) {
  std::vector<std::string> leaders;
  for (const LeaderRow& leader : s.leaders)
    leaders.push_back(Printable(leader.id));
  const std::string self = Printable(s.Text("leader_id"));
  std::vector<std::string> out;
  std::set<const Value*> shown;

  const Value* shape = Find(topology, "topology");
  if (shape != nullptr && !IsAggregate(*shape)) {
    shown.insert(shape);
    const std::string text = Flat(*shape);
    out.push_back("topology    " + text);
    for (std::string& line : Draw(Words(text), leaders))
      out.push_back(std::move(line));
    out.emplace_back();
  }

  // The graph: what is configured, of that what is not there, and what is there besides.
  const Value* configured = Find(topology, "configured");
  const Value* live = Find(topology, "live");
  const Value* bypasses = Find(topology, "bypasses");
  if (configured != nullptr && live != nullptr) {
    shown.insert({configured, live});
    std::string missing;
    for (const Value& link : configured->items) {
      const bool there = std::any_of(live->items.begin(),
                                     live->items.end(),
                                     [&](const Value& other) { return other.text == link.text; });
      if (!there) missing += " " + Flat(link);
    }
    out.push_back("configured  " +
                  (configured->items.empty() ? std::string("none") : Flat(*configured)));
    out.push_back("live        " + (live->items.empty() ? std::string("none") : Flat(*live)));
    out.push_back("down       " + (missing.empty() ? std::string(" none") : missing));
  }
  if (bypasses != nullptr) {
    shown.insert(bypasses);
    out.push_back("bypasses    " +
                  (bypasses->items.empty() ? std::string("none") : Flat(*bypasses)));
    out.emplace_back();
  }

  // Links of this leader: what TOPOLOGY says, and what INFO and LEADER LIST know of each.
  const Value* links = Find(topology, "links");
  if (links != nullptr) shown.insert(links);
  std::vector<std::pair<std::string, std::string>> rows;
  if (links != nullptr && links->type == Value::Type::kMap) rows = Rows(*links);
  if (links == nullptr) {
    for (const LeaderRow& leader : s.leaders) {
      if (!leader.self) rows.emplace_back(Printable(leader.id), LinkWord(leader));
    }
  }
  if (links != nullptr && links->type != Value::Type::kMap) {
    out.push_back("links       " + (links->items.empty() ? std::string("none") : Flat(*links)));
  } else {
    out.push_back("links of " + self);
    Table table({"  TO", "LINK", "STATE", "LAG", "IN", "OUT"}, {3, 4, 5});
    for (const auto& [name, state] : rows) {
      const auto row =
          std::find_if(s.leaders.begin(), s.leaders.end(), [&](const LeaderRow& leader) {
            return Printable(leader.id) == name;
          });
      const auto bytes = [&](const char* field) {
        if (row == s.leaders.end()) return std::string("-");
        const auto found = row->traffic.find(field);
        if (found == row->traffic.end()) return std::string("-");
        return HumanBytes(std::strtoull(found->second.c_str(), nullptr, 10));
      };
      table.Add({"  " + name,
                 state,
                 row == s.leaders.end() ? "-" : Printable(row->state),
                 row == s.leaders.end() ? "-" : LagWord(*row),
                 bytes("bytes_in"),
                 bytes("bytes_out")});
    }
    for (std::string& line : table.Lines())
      out.push_back(std::move(line));
    if (rows.empty()) out.back() = "  none";
  }

  if (const Value* routes = Find(topology, "routes")) {
    shown.insert(routes);
    out.emplace_back();
    out.emplace_back("routes");
    if (routes->items.empty()) out.emplace_back("  none");
    for (size_t i = 0; i + 1 < routes->items.size(); i += 2) {
      const std::string to = Flat(routes->items[i]);
      const Value& route = routes->items[i + 1];
      const Value* next = IsAggregate(route) ? Find(route, "next") : &route;
      const std::string via = next == nullptr ? Flat(route) : Flat(*next);
      const int64_t hops = NumberOf(Find(route, "hops"));
      out.push_back("  " + to + " <- " +
                    (via == to     ? "itself"
                     : via.empty() ? "nobody in reach"
                                   : via) +
                    (hops > 1 ? ", " + std::to_string(hops) + " hops" : ""));
    }
  }
  if (const Value* origins = Find(topology, "origins")) {
    shown.insert(origins);
    out.emplace_back();
    out.emplace_back("changes of each origin come from");
    // Each process has an origin of its own: nothing comes any more of those that have ended.
    std::set<std::string> living;
    for (const LeaderRow& leader : s.leaders) {
      if (!leader.incarnation.empty()) living.insert(Printable(leader.id + "." + leader.incarnation));
    }
    size_t ended = 0;
    for (const auto& [origin, source] : Rows(*origins)) {
      if (!all && !living.empty() && living.count(origin) == 0) {
        ++ended;
      } else {
        out.push_back("  " + origin + " <- " + (source.empty() ? "nobody" : source));
      }
    }
    if (ended > 0)
      out.push_back("  and " + std::to_string(ended) + " of processes that are not there (--all shows them)");
    if (origins->items.empty()) out.emplace_back("  none");
  }
  for (size_t i = 0; i + 1 < topology.items.size(); i += 2) {
    const Value& value = topology.items[i + 1];
    if (shown.count(&value) != 0) continue;
    std::string name = Flat(topology.items[i]);
    name.resize(std::max<size_t>(name.size(), 10), ' ');
    out.push_back(name + "  " + (IsAggregate(value) && value.items.empty() ? "none" : Flat(value)));
  }
  return out;
}

int RunTopology(int argc, char** argv) {
  CLI::App app{
      "Shows the graph of links between leaders as one leader sees it, or changes the configured "
      "one.",
      "polyarch topology"};
  TargetOptions target;
  target.AddTo(app);
  bool json = false;
  app.add_flag("--json", json, "the reply of TOPOLOGY GET as JSON");
  bool all = false;
  app.add_flag("--all", all, "origins of processes that have ended, too");
  CLI::App* get = app.add_subcommand("get", "show it (also without a subcommand)");
  CLI::App* set = app.add_subcommand(
      "set",
      "set it, for the whole cluster:\n  mesh | ring A B C... | star HUB | links A-B B-C...");
  for (CLI::App* sub : {get, set}) {
    sub->set_help_flag("--help", "print this and end");
    sub->fallthrough();
  }
  std::vector<std::string> words;
  set->add_option("shape", words, "mesh | ring A B C... | star HUB | links A-B B-C...")
      ->required();
  if (auto code = Parse(app, argc, argv)) return *code;
  auto connection = target.Connect();
  if (!connection.ok()) return Fail(connection.status());
  if (set->parsed()) {
    std::vector<std::string_view> command = {"TOPOLOGY", "SET"};
    command.insert(command.end(), words.begin(), words.end());
    auto reply = (*connection)->Call(command, (*connection)->target().timeout_ms);
    if (!reply.ok()) return Fail(reply.status());
    return Print(json ? Json(*reply) : "set: polyarch topology shows how links follow");
  }
  auto topology = (*connection)->Ask({"TOPOLOGY", "GET"});
  if (!topology.ok()) return Fail(topology.status());
  if (topology->is_error() && !topology->text.starts_with("ERR unknown"))
    return Fail(base::Invalid(Printable(topology->text)));
  if (json && !topology->is_error()) return Print(Json(*topology));
  auto snapshot = Take(**connection);
  if (!snapshot.ok()) return Fail(snapshot.status());
  if (topology->is_error()) *topology = Map();
  if (json) return Print(Json(*topology));
  return Print(TopologyLines(*topology, *snapshot, all));
}

}  // namespace polyarch::cli
