// The handlers of examples/handlers: each shows what its own comment says ("  A | B -> view"), and
// all of them show the same of the same versions, in any order of arrival, at leaders that number
// origins as they please.
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/random.h"
#include "conflict/handler.h"
#include "conflict/loaded_handler.h"
#include "conflict/policy.h"

namespace polyarch::conflict {
namespace {

std::map<std::string, std::string> Examples() {
  std::map<std::string, std::string> sources;
  for (const auto& entry : std::filesystem::directory_iterator(POLYARCH_EXAMPLES_DIR "/handlers")) {
    if (entry.path().extension() != ".lua") continue;
    std::ifstream in(entry.path());
    sources[entry.path().stem()] = std::string(std::istreambuf_iterator<char>(in), {});
  }
  return sources;
}

std::string Trimmed(std::string text) {
  text.erase(0, text.find_first_not_of(' '));
  text.erase(text.find_last_not_of(' ') + 1);
  return text;
}

struct Case {
  std::vector<std::string> values;  // "(deleted)"
  std::string view;                 // or "(lww)"
};

std::vector<Case> CasesIn(const std::string& source) {
  std::vector<Case> cases;
  std::istringstream lines(source);
  for (std::string line; std::getline(lines, line);) {
    const size_t arrow = line.find(" -> ");
    if (!line.starts_with("--   ") || arrow == std::string::npos) continue;
    Case& c = cases.emplace_back();
    c.view = Trimmed(line.substr(arrow + 4));
    std::string left = line.substr(5, arrow - 5);
    for (size_t bar; (bar = left.find(" | ")) != std::string::npos; left.erase(0, bar + 3)) {
      c.values.push_back(Trimmed(left.substr(0, bar)));
    }
    c.values.push_back(Trimmed(left));
  }
  return cases;
}

TEST(HandlerExamples, ShowWhatTheySay) {
  const auto examples = Examples();
  EXPECT_GE(examples.size(), 5U);
  for (const auto& [name, source] : examples) {
    const std::vector<Case> cases = CasesIn(source);
    EXPECT_GE(cases.size(), 2U) << name;
    for (const Case& c : cases) {
      const char* leaders[] = {"asia", "eu", "us"};
      std::vector<HandlerVersion> versions;
      for (const std::string& value : c.values) {
        HandlerVersion& v = versions.emplace_back();
        if (value != "(deleted)") v.value = value;
        v.leader = leaders[versions.size() - 1];
        v.time_ms = 1'000 * versions.size();
      }
      auto view = RunHandler(source, "key", {}, versions);
      ASSERT_TRUE(view.ok()) << name << ": " << view.status().message();
      EXPECT_EQ(view->value.value_or("(lww)"), c.view) << name;
    }
  }
}

TEST(HandlerExamples, DependOnNothingButTheValues) {
  for (const auto& [name, source] : Examples()) {
    if (name == "calendar_entry") continue;  // the latest counts
    for (const Case& c : CasesIn(source)) {
      std::vector<std::string_view> values;
      for (const std::string& value : c.values) {
        if (value != "(deleted)") values.emplace_back(value);
      }
      const HandlerTrial trial = TryHandler(source, values);
      EXPECT_TRUE(trial.view.ok()) << name;
      for (const std::string& warning : trial.warnings)
        ADD_FAILURE() << name << ": " << warning;
    }
  }
}

// ---- one view

std::string DrawValue(base::Random& random, const std::string& example) {
  auto word = [&] {
    return std::string(1, static_cast<char>('a' + random.Below(5)));
  };
  const std::string number = std::to_string(random.Below(30));
  if (random.Percent(3)) return "other";
  if (example == "inventory") return number;
  std::string out;
  if (example == "tags" || example == "text") {
    for (uint64_t n = random.Below(4); n > 0; --n)
      out += (out.empty() ? "" : example == "tags" ? "," : "/") + word();
    return out;
  }
  out = "{";
  auto put = [&](const std::string& key, const std::string& value) {
    out.append(out.size() > 1 ? "," : "").append("\"").append(key).append("\":").append(value);
  };
  for (uint64_t n = random.Below(4); n > 0; --n)
    put(word(), number);
  if (example == "calendar_entry") {
    if (random.Percent(40)) put("people", "[\"" + word() + "\",\"" + word() + "\"]");
    if (random.Percent(20)) put("cancelled", random.Percent(50) ? "true" : "false");
    if (random.Percent(20)) put("title", "\"" + word() + "\"");
  }
  return out + "}";
}

struct Wanted {
  clock::Origin origin;
  crdt::Version version;
};

void Shuffle(base::Random& random, std::vector<Wanted>& all) {
  for (size_t i = all.size(); i > 1; --i)
    std::swap(all[i - 1], all[random.Below(i)]);
}

std::vector<Wanted> DrawVersions(base::Random& random, const std::string& example) {
  std::vector<Wanted> all;
  for (uint64_t i = 0, n = 2 + random.Below(5); i < n; ++i) {
    Wanted& w = all.emplace_back();
    w.origin = {std::string(1, static_cast<char>('a' + random.Below(3))), i};
    w.version.hlc = clock::Hlc::FromMs(random.Below(3));
    w.version.absent = random.Percent(12);
    if (!w.version.absent) w.version.value = DrawValue(random, example);
  }
  return all;
}

// Each leader has its own handlers, with what they remember, and its own numbering of origins. The
// versions come to it one by one in an order of its own; of each fifth set it is read each time.
TEST(HandlerLaws, AnyOrderOfArrivalAtAnyLeaderShowsTheSame) {
  const bool is_long = std::getenv("POLYARCH_TEST_LONG") != nullptr;
  const uint64_t sets = is_long ? 10'000 : 1'000;
  const int orders = is_long ? 50 : 10;
  const auto examples = Examples();
  std::vector<std::string> names;
  for (const auto& [name, source] : examples)
    names.push_back(name);
  struct Leader {
    std::map<std::string, Policy> policies;
  };
  std::vector<Leader> leaders(3);
  for (Leader& leader : leaders) {
    for (const auto& [name, source] : examples) {
      Policy& policy = leader.policies[name];
      policy.kind = PolicyKind::kHandler;
      policy.handler = name;
      policy.loaded = std::make_shared<const LoadedHandler>(name, source);
    }
  }
  std::set<std::string> seen;
  size_t merged = 0;
  for (uint64_t seed = 1; seed <= sets; ++seed) {
    base::Random random(seed);
    const std::string& name = names[seed % names.size()];
    const std::string key = "key:" + std::to_string(seed % 7);
    std::vector<Wanted> all = DrawVersions(random, name);
    std::optional<std::string> first;
    for (Leader& leader : leaders) {
      for (int order = 0; order < orders; ++order) {
        clock::OriginTable origins;
        Shuffle(random, all);
        for (const Wanted& w : all)
          origins.Intern(w.origin);
        Shuffle(random, all);
        std::vector<crdt::Version> versions;
        View view;
        for (const Wanted& w : all) {
          versions.push_back(w.version);
          versions.back().dot = clock::Dot(*origins.Find(w.origin), seed);
          if (versions.size() == all.size() || (order == 0 && seed % 5 == 0)) {
            view = Resolve(leader.policies[name], {}, versions, origins, {key, std::nullopt});
          }
        }
        std::string text = "nothing";
        if (view.kind == View::Kind::kMerged) text = "merged " + view.merged;
        if (view.kind == View::Kind::kValue) text = "value " + versions[view.index].value;
        if (!first) {
          first = text;
          merged += view.kind == View::Kind::kMerged ? 1 : 0;
        }
        ASSERT_EQ(text, *first) << name << ", seed " << seed;
      }
    }
    seen.insert(*first);
  }
  EXPECT_GT(merged, sets / 2);
  EXPECT_GT(seen.size(), sets / 20);
  for (const Leader& leader : leaders) {
    for (const auto& [name, policy] : leader.policies) {
      EXPECT_GT(policy.loaded->stats().runs, sets / names.size() / 2)
          << "what it remembers does not hide everything";
    }
  }
}

}  // namespace
}  // namespace polyarch::conflict
