// Users among several leaders: what concurrent changes come to, restarts, state transfers.
#include <gtest/gtest.h>

#include "engine/engine_test_util.h"

namespace polyarch::engine {
namespace {

class UsersTest : public testing::Test {
 protected:
  static std::string Rules(TestNode& node, const std::string& name) {
    const acl::User* user = node.engine().users().Find(name);
    return user == nullptr ? "(none)" : user->Describe();
  }
  static void Set(TestNode& node, std::vector<std::string_view> words) {
    words.insert(words.begin(), {"ACL", "SETUSER"});
    EXPECT_EQ(node.AskList(words), "+OK") << words[2];
  }
  // Both do something to "bob", a before b, who cannot hear each other; then they can, and are level.
  std::string Concurrently(const std::function<void(TestNode&)>& first, const std::function<void(TestNode&)>& second) {
    Leaders leaders(2);
    Set(leaders[0], {"bob", "on", ">old", "~a*", "+get"});
    EXPECT_TRUE(leaders.Settle());
    leaders.Cut(leaders[0], leaders[1]);
    leaders.Run(5000);
    first(leaders[0]);
    leaders.Run(100);
    second(leaders[1]);
    leaders.Heal(leaders[0], leaders[1]);
    EXPECT_TRUE(leaders.Settle());
    EXPECT_TRUE(leaders.SameDigest());
    EXPECT_EQ(Rules(leaders[0], "bob"), Rules(leaders[1], "bob"));
    // And from the disk, by the log and by rows.
    const std::string rules = Rules(leaders[0], "bob");
    for (int restart = 0; restart < 2; ++restart) {
      if (restart == 1) {
        const int before = std::stoi(leaders[0].Info("checkpoints_done"));
        leaders[0].Ask({"BGSAVE"});
        EXPECT_TRUE(leaders.RunUntil([&] { return std::stoi(leaders[0].Info("checkpoints_done")) > before; }));
      }
      leaders[0].Kill();
      EXPECT_TRUE(leaders[0].Start().ok());
      EXPECT_EQ(Rules(leaders[0], "bob"), rules);
    }
    return rules;
  }
  static std::function<void(TestNode&)> Sets(std::vector<std::string_view> words) {
    return [words](TestNode& node) { Set(node, words); };
  }
  static void Deletes(TestNode& node) { EXPECT_EQ(node.Ask({"ACL", "DELUSER", "bob"}), "1"); }
  const std::string old_ = "#" + Sha("old");
  static std::string Sha(std::string_view password) {
    acl::User user(command::CommandCatalogue(), "x", 1);
    (void)user.Apply(">" + std::string(password));
    return user.passwords().front();
  }
};

TEST_F(UsersTest, RightsAreReplacedAsAWhole) {
  EXPECT_EQ(Concurrently(Sets({"bob", "+set", "~*"}), Sets({"bob", "+@all"})), "on " + old_ + " ~a* resetchannels +@all");
}

TEST_F(UsersTest, PasswordsAndRightsAreEachForThemselves) {
  const std::string expected = "on #" + Sha("new") + " ~a* resetchannels -@all +get +set";
  EXPECT_EQ(Concurrently(Sets({"bob", "resetpass", ">new"}), Sets({"bob", "+set"})), expected);
  EXPECT_EQ(Concurrently(Sets({"bob", "+set"}), Sets({"bob", "resetpass", ">new"})), expected);
}

TEST_F(UsersTest, OffWins) {
  EXPECT_EQ(Concurrently(Sets({"bob", "off"}), Sets({"bob", "sanitize-payload"})).substr(0, 4), "off ");
  EXPECT_EQ(Concurrently(Sets({"bob", "sanitize-payload"}), Sets({"bob", "off"})).substr(0, 4), "off ");
}

TEST_F(UsersTest, DeletedWins) {
  EXPECT_EQ(Concurrently(Deletes, Sets({"bob", "off", ">new", "+@all"})), "(none)");
  EXPECT_EQ(Concurrently(Sets({"bob", "off", ">new", "+@all"}), Deletes), "(none)");
  EXPECT_EQ(Concurrently(Deletes, Deletes), "(none)");
}

TEST_F(UsersTest, RightsOfTheFirstDoNotReachTheSecondOfThatName) {
  auto anew = [](TestNode& node) {
    Deletes(node);
    Set(node, {"bob", "on", ">new", "+ping"});
  };
  EXPECT_EQ(Concurrently(anew, Sets({"bob", "+@all", "~*", ">other"})), "on #" + Sha("new") + " resetchannels -@all +ping");
}

TEST_F(UsersTest, OfTwoThatAreMadeAtOnceOneIsLeft) {
  Leaders leaders(2);
  leaders.Cut(leaders[0], leaders[1]);
  leaders.Run(5000);
  Set(leaders[0], {"eve", "on", ">a", "~a", "+get"});
  Set(leaders[1], {"eve", "on", ">b", "~b", "+set"});
  leaders.Heal(leaders[0], leaders[1]);
  ASSERT_TRUE(leaders.Settle());
  EXPECT_EQ(Rules(leaders[0], "eve"), Rules(leaders[1], "eve"));
  EXPECT_TRUE(Rules(leaders[0], "eve") == "on #" + Sha("a") + " ~a resetchannels -@all +get" ||
              Rules(leaders[0], "eve") == "on #" + Sha("b") + " ~b resetchannels -@all +set");
}

TEST_F(UsersTest, WhoHasSeenItMayBringItBack) {
  Leaders leaders(2);
  Set(leaders[0], {"bob", "on", "nopass"});
  ASSERT_TRUE(leaders.Settle());
  Deletes(leaders[0]);
  Set(leaders[0], {"eve", "off"});
  ASSERT_TRUE(leaders.Settle());
  EXPECT_EQ(Rules(leaders[1], "bob"), "(none)");
  Set(leaders[1], {"bob", "on"});
  Set(leaders[1], {"eve", "on"});
  ASSERT_TRUE(leaders.Settle());
  EXPECT_EQ(Rules(leaders[0], "bob"), "on resetchannels -@all") << "a new one, without the passwords of the first";
  EXPECT_EQ(Rules(leaders[0], "eve"), "on resetchannels -@all");
}

// What DELUSER leaves is residue, and goes.
TEST_F(UsersTest, NothingIsLeftOfTheDeleted) {
  Leaders leaders(2);
  Set(leaders[0], {"bob", "on", ">x", "+@all"});
  Deletes(leaders[0]);
  ASSERT_TRUE(leaders.Settle());
  EXPECT_TRUE(leaders.RunUntil([&] { return leaders[0].engine().keys().residue_keys().empty(); }, 120'000));
  ASSERT_TRUE(leaders.Settle());
  const keyspace::KeyRef ref = leaders[1].engine().keys().Ref(crdt::kReservedDatabase, "user/state/bob");
  EXPECT_TRUE(leaders[1].engine().keys().State(ref).empty());
}

TEST_F(UsersTest, ComesWithAState) {
  TestCluster cluster;
  TestNode& a = cluster.Add("a");
  ASSERT_TRUE(a.Start().ok());
  ASSERT_TRUE(cluster.RunUntil([&] { return a.engine().may_write(); }));
  Set(a, {"bob", "on", "nopass", "+get"});
  Set(a, {"default", "-flushall"});
  const int before = std::stoi(a.Info("checkpoints_done"));
  a.Ask({"BGSAVE"});
  ASSERT_TRUE(cluster.RunUntil([&] { return std::stoi(a.Info("checkpoints_done")) > before; }));
  TestNode& b = cluster.Add("b");
  ASSERT_TRUE(b.Start().ok());
  EXPECT_TRUE(b.engine().users().Default().unrestricted()) << "nothing has come yet";
  ASSERT_TRUE(cluster.RunUntil([&] { return b.engine().may_write(); }));
  ASSERT_TRUE(cluster.Settle());
  EXPECT_EQ(Rules(b, "bob"), "on nopass resetchannels -@all +get");
  EXPECT_FALSE(b.engine().users().Default().unrestricted());
  EXPECT_TRUE(b.engine().users().default_is_shared());
}

// A transaction that is refused for its size leaves users as they were.
TEST_F(UsersTest, InATransaction) {
  Leaders leaders(1);
  TestNode& a = leaders[0];
  EXPECT_EQ(a.Ask({"MULTI"}), "+OK");
  a.Ask({"ACL", "SETUSER", "bob", "on", "nopass"});
  a.Ask({"ACL", "GETUSER", "bob"});
  a.Ask({"ACL", "DELUSER", "bob"});
  a.Ask({"ACL", "USERS"});
  const std::string reply = a.Ask({"EXEC"});
  EXPECT_EQ(reply, "[+OK, [\"flags\", [\"on\", \"nopass\"], \"passwords\", [], \"commands\", \"-@all\", \"keys\", \"\", \"channels\", \"\", "
                   "\"selectors\", []], 1, [\"default\"]]");
}

}  // namespace
}  // namespace polyarch::engine
