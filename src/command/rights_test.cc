// Rights against the command table: what each command does with its keys is what Redis says, and a user without that
// right to one of them is refused.
#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include <gtest/gtest.h>

#include "command/command_test_env.h"
#include "command/rights.h"

namespace polyarch::command {
namespace {

struct Line {
  std::string text;
  std::vector<std::string> words;
  std::vector<std::string> uses;  // "k:RW"

  std::vector<std::string_view> args() const { return {words.begin(), words.end()}; }
};

std::vector<std::string> Split(const std::string& text) {
  std::istringstream in(text);
  std::vector<std::string> words;
  for (std::string word; in >> word;) words.push_back(word);
  return words;
}

const std::vector<Line>& Lines() {
  static const std::vector<Line> lines = [] {
    std::vector<Line> found;
    std::ifstream file(POLYARCH_KEY_USES);
    for (std::string text; std::getline(file, text);) {
      const size_t arrow = text.find("=> ");
      if (text.empty() || text[0] == '#' || arrow == std::string::npos) continue;
      Line line{.text = text, .words = Split(text.substr(0, arrow - (text[arrow - 1] == '!' ? 1 : 0))), .uses = Split(text.substr(arrow + 3))};
      if (line.uses == std::vector<std::string>{"none"}) line.uses.clear();
      found.push_back(std::move(line));
    }
    return found;
  }();
  return lines;
}

TEST(Rights, EachCommandWithKeysIsThere) {
  ASSERT_GT(Lines().size(), 200u);
  std::set<std::string_view> known;
  for (const Line& line : Lines()) {
    const std::vector<std::string_view> args = line.args();
    const Row* row = Table::Instance().Find(args);
    ASSERT_NE(row, nullptr) << line.text;
    known.insert(row->name);
  }
  for (const Row& row : Table::Instance().rows()) {
    if (!row.keys.any() || row.key_access == "not_key") continue;
    EXPECT_TRUE(known.count(row.name) != 0) << row.name << " is missing in key_uses.txt";
  }
}

TEST(Rights, KeysAndWhatIsDoneWithThem) {
  for (const Line& line : Lines()) {
    const std::vector<std::string_view> args = line.args();
    std::vector<acl::KeyUse> uses;
    KeyUsesOf(*Table::Instance().Find(args), args, uses);
    std::vector<std::string> shown;
    for (const acl::KeyUse& use : uses) {
      const std::string what = std::string(use.read ? "R" : "") + (use.write ? "W" : "");
      shown.push_back(std::string(use.key) + ":" + (what.empty() ? "-" : what));
    }
    EXPECT_EQ(shown, line.uses) << line.text;
  }
}

class RightsTest : public testing::Test {
 protected:
  std::string Ask(Client& client, const Line& line) {
    const std::vector<resp::Value> replies = node.Run(client, line.args());
    return replies.empty() ? "" : replies[0].ToString();
  }
  void Set(std::string rules) {
    std::vector<std::string> words = Split("ACL SETUSER tester reset on nopass +@all " + rules);
    ASSERT_EQ(node.Run(*node.server.clients.front(), std::vector<std::string_view>(words.begin(), words.end()))[0].ToString(), "+OK") << rules;
  }
  Client& Connect() {
    Set("~*");
    Client& client = node.Connect();
    EXPECT_EQ(node.Ask(client, {"AUTH", "tester", "any"}), "+OK");
    return client;
  }
  TestNode node;
};

constexpr std::string_view kRefused = "-NOPERM this user has no permissions to access one of the keys used as arguments";

// Each key in each position, with all rights to the others.
TEST_F(RightsTest, NoKeyWithoutTheRightToIt) {
  Client& client = Connect();
  size_t asked = 0;
  for (const Line& line : Lines()) {
    std::map<std::string, std::string> rights;  // a key may be there twice
    for (const std::string& use : line.uses) {
      const size_t colon = use.rfind(':');
      rights[use.substr(0, colon)] += use.substr(colon + 1);
    }
    auto rules_but = [&](const std::string& left_out, const std::string& for_that) {
      std::string rules;
      for (const auto& [key, what] : rights) rules += key == left_out ? for_that + " " : "~" + key + " ";
      return rules;
    };
    for (const auto& [key, what] : rights) {
      const bool reads = what.find('R') != std::string::npos;
      const bool writes = what.find('W') != std::string::npos;
      Set(rules_but(key, ""));
      EXPECT_EQ(Ask(client, line), kRefused) << line.text << ": no right to " << key;
      if (reads) {
        Set(rules_but(key, "%W~" + key));
        EXPECT_EQ(Ask(client, line), kRefused) << line.text << ": may only write " << key;
      }
      if (writes) {
        Set(rules_but(key, "%R~" + key));
        EXPECT_EQ(Ask(client, line), kRefused) << line.text << ": may only read " << key;
      }
      const std::string least = reads && writes ? "~" : writes ? "%W~" : "%R~";
      Set(rules_but(key, least + key));
      if (client.transaction == nullptr) {
        const std::string reply = Ask(client, line);
        // SORT's patterns name keys of their own.
        if (line.words[0] == "SORT" && std::find(line.words.begin(), line.words.end(), "GET") != line.words.end()) {
          EXPECT_EQ(reply, "-ERR GET option of SORT denied due to insufficient ACL permissions.");
        } else {
          EXPECT_FALSE(reply.starts_with("-NOPERM")) << line.text << ": " << reply;
        }
      }
      asked += 4;
    }
  }
  EXPECT_GT(asked, 800u);
}

// Each command, alone denied and alone allowed.
TEST_F(RightsTest, NoCommandWithoutTheRightToIt) {
  const acl::Catalogue& commands = CommandCatalogue();
  size_t judged = 0;
  for (const Row& row : Table::Instance().rows()) {
    if (row.handler == nullptr || (row.flags & kNoAuth) != 0) continue;
    std::vector<std::string> words = Split(std::string(row.name));
    std::vector<std::string> split;
    std::string name(row.name);
    for (size_t bar = name.find('|'); bar != std::string::npos; bar = name.find('|')) {
      split.push_back(name.substr(0, bar));
      name = name.substr(bar + 1);
    }
    split.push_back(name);
    while (static_cast<int>(split.size()) < std::abs(row.arity)) split.emplace_back("1");
    const std::vector<std::string_view> args(split.begin(), split.end());
    acl::User user(commands, "u", 1);
    ASSERT_TRUE(user.ApplyAll({"~*", "&*", "+@all", "-" + std::string(row.name)}).ok()) << row.name;
    EXPECT_EQ(Judge(user, row, args).denied, acl::Denied::kCommand) << row.name;
    ASSERT_TRUE(user.ApplyAll({"-@all", "+" + std::string(row.name)}).ok()) << row.name;
    EXPECT_TRUE(Judge(user, row, args).allowed()) << row.name;
    EXPECT_EQ(user.selectors().front().CommandRules(), "-@all +" + std::string(row.name));
    ++judged;
  }
  EXPECT_GT(judged, 300u);
}

// ---- users, by commands

TEST_F(RightsTest, RightsCountAtOnceAndForConnectionsThatAreThere) {
  Client& client = Connect();
  EXPECT_EQ(node.Ask(client, {"SET", "k", "v"}), "+OK");
  Set("~*");
  EXPECT_TRUE(client.judged);
  Set("~* &*");
  EXPECT_FALSE(client.judged) << "unrestricted: nothing is asked any more";
  EXPECT_EQ(node.Ask({"ACL", "SETUSER", "tester", "-get"}), "+OK");
  EXPECT_EQ(node.Ask(client, {"GET", "k"}), "-NOPERM this user has no permissions to run the 'get' command");
  EXPECT_EQ(node.Ask({"ACL", "SETUSER", "tester", "off"}), "+OK");
  EXPECT_EQ(node.Ask(client, {"SET", "k", "v"}), "+OK") << "as in Redis, who is in stays in";
  EXPECT_EQ(node.Ask(client, {"AUTH", "tester", "any"}), "-WRONGPASS invalid username-password pair or user is disabled.");
}

TEST_F(RightsTest, ConnectionsOfADeletedUserAreClosed) {
  const uint64_t id = Connect().id;
  auto there = [&](uint64_t client) {
    return std::any_of(node.server.clients.begin(), node.server.clients.end(), [&](const auto& c) { return c->id == client; });
  };
  EXPECT_TRUE(there(id));
  EXPECT_EQ(node.Ask({"ACL", "DELUSER", "tester"}), "1");
  EXPECT_FALSE(there(id));
  // Its own, behind the reply.
  Client& own = Connect();
  EXPECT_EQ(node.Ask(own, {"ACL", "DELUSER", "tester"}), "1");
  EXPECT_TRUE(node.last_close);
}

TEST_F(RightsTest, WhoIsMadeAnewIsAnother) {
  Client& client = Connect();
  const uint64_t id = client.id;
  const std::string_view remove[] = {"ACL", "DELUSER", "tester"};
  (void)node.Run(*node.server.clients.front(), remove);
  Set("~*");
  EXPECT_FALSE(std::any_of(node.server.clients.begin(), node.server.clients.end(), [&](const auto& c) { return c->id == id; }));
}

TEST_F(RightsTest, SubscribersLoseWhatTheyMayNotHear) {
  Set("~* &a*");
  Client& hears = Connect();
  Set("~* &a* &b");
  EXPECT_EQ(node.Ask(hears, {"SUBSCRIBE", "a1"}), "[\"subscribe\", \"a1\", 1]");
  const uint64_t id = hears.id;
  auto there = [&] {
    return std::any_of(node.server.clients.begin(), node.server.clients.end(), [&](const auto& c) { return c->id == id; });
  };
  EXPECT_EQ(node.Ask({"ACL", "SETUSER", "tester", "resetchannels", "&a1"}), "+OK");
  EXPECT_TRUE(there());
  EXPECT_EQ(node.Ask({"ACL", "SETUSER", "tester", "resetchannels", "&b"}), "+OK");
  EXPECT_FALSE(there());
}

TEST_F(RightsTest, TheDefaultUserIsOfTheConfigurationUntilItIsSet) {
  node.SetPassword("secret");
  Client& stranger = node.Connect();
  EXPECT_EQ(node.Ask(stranger, {"GET", "k"}), "-NOAUTH Authentication required.");
  EXPECT_EQ(node.Ask(stranger, {"AUTH", "secret"}), "+OK");
  EXPECT_FALSE(node.cluster.users().default_is_shared());
  EXPECT_EQ(node.Ask(stranger, {"ACL", "SETUSER", "default", ">more", "-flushall"}), "+OK");
  EXPECT_TRUE(node.cluster.users().default_is_shared());
  EXPECT_EQ(node.Ask(stranger, {"FLUSHALL"}), "-NOPERM this user has no permissions to run the 'flushall' command");
  EXPECT_EQ(node.Ask(stranger, {"AUTH", "secret"}), "+OK") << "what the configuration said has been taken over";
  EXPECT_EQ(node.Ask(stranger, {"AUTH", "more"}), "+OK");
  node.SetPassword("other");
  EXPECT_EQ(node.Ask(stranger, {"AUTH", "other"}), "-WRONGPASS invalid username-password pair or user is disabled.");
}

TEST_F(RightsTest, ValuesOfUnnamedKeysNeedAllKeys) {
  Client& client = Connect();
  for (std::vector<std::string_view> args : std::vector<std::vector<std::string_view>>{
           {"CONFLICT", "LOG"}, {"CONFLICT", "RESTORE", "1", "eu.1:1"}, {"CONFLICT", "FEED", "PENDING", "f"}}) {
    Set("~a*");
    EXPECT_EQ(node.Run(client, args)[0].ToString(), kRefused) << args[1];
    Set("~*");
    EXPECT_FALSE(node.Run(client, args)[0].ToString().starts_with("-NOPERM")) << args[1];
  }
}

TEST_F(RightsTest, LimitsAndWhatDoesNotFit) {
  EXPECT_TRUE(node.Ask({"ACL", "SETUSER", std::string(1025, 'x')}).starts_with("-LIMIT a user's name"));
  EXPECT_TRUE(node.Ask({"ACL", "SETUSER", "big", "~" + std::string(65'000, 'x') + "a", "~" + std::string(1000, 'y')}).starts_with("-LIMIT the rules"));
  EXPECT_EQ(node.Ask({"ACL", "GETUSER", "big"}), "null");
  node.cluster.write_allowed = {base::Code::kFull, "DISKFULL no space left"};
  EXPECT_EQ(node.Ask({"ACL", "SETUSER", "x"}), "-DISKFULL no space left");
  EXPECT_EQ(node.Ask({"ACL", "GETUSER", "x"}), "null");
}

TEST_F(RightsTest, NewUsersMayHearAllIfSaidSo) {
  node.cluster.users().SetNewUsersHearAll(true);
  node.Ask({"ACL", "SETUSER", "new", "reset", "resetchannels", "&a"});
  EXPECT_EQ(node.cluster.users().Find("new")->selectors().front().ChannelRules(), "&a");
  node.Ask({"ACL", "SETUSER", "new", "RESET"});
  EXPECT_EQ(node.cluster.users().Find("new")->selectors().front().ChannelRules(), "&*");
  node.Ask({"ACL", "SETUSER", "newer"});
  EXPECT_EQ(node.cluster.users().Find("newer")->selectors().front().ChannelRules(), "&*");
  // So may each selector that is made.
  node.Ask({"ACL", "SETUSER", "selects", "on", "nopass", "resetchannels", "(+publish", "~x)", "(resetchannels &a)"});
  const std::vector<acl::Selector>& selectors = node.cluster.users().Find("selects")->selectors();
  ASSERT_EQ(selectors.size(), 3U);
  EXPECT_EQ(selectors[0].ChannelRules(), "");
  EXPECT_EQ(selectors[1].ChannelRules(), "&*");
  EXPECT_EQ(selectors[2].ChannelRules(), "&a");
  Client& client = node.Connect();
  EXPECT_EQ(node.Ask(client, {"AUTH", "selects", "any"}), "+OK");
  EXPECT_EQ(node.Ask(client, {"PUBLISH", "c", "x"}), "0");
  node.cluster.users().SetNewUsersHearAll(false);
  EXPECT_EQ(node.Ask({"ACL", "SETUSER", "selects", "clearselectors", "(+publish)"}), "+OK");
  EXPECT_EQ(node.cluster.users().Find("selects")->selectors()[1].ChannelRules(), "");
}

TEST_F(RightsTest, Genpass) {
  EXPECT_EQ(node.Ask({"ACL", "GENPASS"}).size(), 64u + 2);
  EXPECT_EQ(node.Ask({"ACL", "GENPASS", "5"}).size(), 2u + 2);
}

}  // namespace
}  // namespace polyarch::command
