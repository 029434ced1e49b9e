// Three leaders that agree on keys, and clients of theirs, for tests.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "engine/agreed.h"
#include "engine/engine_test_util.h"

namespace polyarch::engine {

// A client that has sent a command and takes its reply when it is there.
class Asking {
 public:
  Asking(TestNode& node, std::vector<std::string> words) : node_(node), words_(std::move(words)) {
    static uint64_t next = 1000;
    client_.id = next++;
    client_.authenticated = true;
    Take();
  }
  ~Asking() {
    if (!left_ && node_.up()) node_.engine().ForgetClient(client_.id);
  }
  Asking(const Asking&) = delete;
  Asking& operator=(const Asking&) = delete;

  bool done() {
    if (suspended_ && std::erase(node_.resumed, client_.id) != 0) Take();
    return !suspended_;
  }
  const std::string& reply() const { return reply_; }
  // Its process is gone.
  void Leave() { left_ = true; }
  bool held() const { return held_; }

 private:
  void Take() {
    const std::vector<std::string_view> args(words_.begin(), words_.end());
    reply_ = node_.AskAs(client_, args);
    suspended_ = node_.last_outcome == Outcome::kSuspended;
    held_ = node_.last_outcome == Outcome::kHeld;
  }
  TestNode& node_;
  std::vector<std::string> words_;
  command::Client client_;
  std::string reply_;
  bool suspended_ = false;
  bool held_ = false;
  bool left_ = false;
};

// A client that says one thing after another.
class Session {
 public:
  explicit Session(TestNode& node) : node_(node) {
    static uint64_t next = 1'000'000;
    client_.id = next++;
    client_.authenticated = true;
  }
  ~Session() { node_.engine().ForgetClient(client_.id); }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  std::string Ask(std::vector<std::string_view> words) {
    words_.assign(words.begin(), words.end());
    reply_ = node_.AskAs(client_, words);
    suspended_ = node_.last_outcome == Outcome::kSuspended;
    return reply_;
  }
  bool done() {
    if (!suspended_ || std::erase(node_.resumed, client_.id) == 0) return !suspended_;
    Ask(std::vector<std::string_view>(words_.begin(), words_.end()));
    return !suspended_;
  }
  const std::string& reply() const { return reply_; }

 private:
  TestNode& node_;
  command::Client client_;
  std::vector<std::string> words_;
  std::string reply_;
  bool suspended_ = false;
};

class Agreed : public testing::Test {
 protected:
  void Begin(const std::string& pattern = "s:*") {
    EXPECT_EQ(a.Ask({"POLICY", "SET", pattern, "sync"}), "+OK");
    ASSERT_TRUE(cluster.RunUntil([&] { return InForce("a,b,c"); })) << a.Info("electors");
  }
  void End(const std::vector<TestNode*>& heard) {
    EXPECT_EQ(heard[0]->Ask({"POLICY", "DEL", "s:*"}), "1");
    ASSERT_TRUE(cluster.RunUntil([&] {
      for (TestNode* node : heard) {
        if (!node->engine().policies().empty() || node->Info("sync_in_force") != "1") return false;
      }
      return true;
    }));
  }
  bool InForce(const std::string& electors) {
    for (size_t i = 0; i < cluster.size(); ++i) {
      if (!cluster[i].up()) continue;
      if (cluster[i].Info("sync_in_force") != "1" || cluster[i].Info("electors") != electors ||
          cluster[i].Info("electors_changing") != "0")
        return false;
    }
    return true;
  }
  static uint64_t Epoch(TestNode& node) {
    return static_cast<AgreedKeys*>(node.engine().agreed())->agreement().electorate().epoch;
  }
  // The reply, when all have had time to agree.
  std::string Do(TestNode& node, std::vector<std::string> words, int64_t ms = 5000) {
    Asking asking(node, std::move(words));
    if (!cluster.RunUntil([&] { return asking.done(); }, ms)) return "(no reply)";
    held = asking.held();
    return asking.reply();
  }
  static size_t Count(const std::string& text, const std::string& part) {
    size_t n = 0;
    for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1))
      ++n;
    return n;
  }
  Leaders cluster{3};
  TestNode& a = cluster[0];
  TestNode& b = cluster[1];
  TestNode& c = cluster[2];
  bool held = false;
};

}  // namespace polyarch::engine
