#include <gtest/gtest.h>

#include "acl/judge.h"
#include "acl/log.h"
#include "base/golden_test_util.h"
#include "base/sha256.h"

namespace polyarch::acl {
namespace {

const Catalogue& Commands() {
  static const Catalogue catalogue({{"get", "@read @string @fast"},
                                    {"set", "@write @string @slow"},
                                    {"auth", "@fast @connection"},
                                    {"select", "@fast @connection"},
                                    {"config", "@slow"},
                                    {"config|get", "@admin @slow @dangerous"},
                                    {"config|set", "@admin @slow @dangerous"},
                                    {"conflict", "@slow"},
                                    {"conflict|feed", "@slow"},
                                    {"conflict|feed|read", "@read @slow"},
                                    {"debug", "@admin @slow @dangerous"},
                                    {"debug|sleep", "@admin @slow @dangerous"},
                                    {"publish", "@pubsub @fast"}});
  return catalogue;
}

User Made(std::vector<std::string_view> rules) {
  User user(Commands(), "bob", 7);
  const base::Status status = user.ApplyAll(std::move(rules));
  EXPECT_TRUE(status.ok()) << status.message();
  return user;
}

std::string ErrorOf(std::vector<std::string_view> rules) {
  User user(Commands(), "bob", 7);
  const std::string before = user.Describe();
  const base::Status status = user.ApplyAll(std::move(rules));
  EXPECT_FALSE(status.ok());
  EXPECT_EQ(user.Describe(), before) << "what is refused changes nothing";
  return status.message();
}

std::string Rules(std::vector<std::string_view> rules) { return Made(std::move(rules)).selectors().front().CommandRules(); }

Denied Ask(const User& user, std::string_view command, std::vector<KeyUse> keys = {}, std::vector<ChannelUse> channels = {}) {
  return Judge(user, {.command = *Commands().Find(command), .keys = keys, .channels = channels}).denied;
}

TEST(AclRules, CommandsAndCategories) {
  EXPECT_EQ(Rules({}), "-@all");
  EXPECT_EQ(Rules({"+GET", "+Set"}), "-@all +get +set");
  EXPECT_EQ(Rules({"allcommands"}), "+@all");
  EXPECT_EQ(Rules({"+@all", "-@Dangerous"}), "+@all -@dangerous");
  EXPECT_EQ(Rules({"+@all", "-get", "+get"}), "+@all");
  EXPECT_EQ(Rules({"+get", "-get"}), "-@all");
  EXPECT_EQ(Rules({"+get", "+@read"}), "-@all +@read");
  EXPECT_EQ(Rules({"+@read", "+get"}), "-@all +@read") << "of no effect";
  EXPECT_EQ(Rules({"+@all", "+config|get"}), "+@all");
  EXPECT_EQ(Rules({"+config|get"}), "-@all +config|get");
  EXPECT_EQ(Rules({"+config|get", "+config"}), "-@all +config");
  EXPECT_EQ(Rules({"+config", "-config|set"}), "-@all +config -config|set");
  EXPECT_EQ(Rules({"+@all", "-config|set", "-@all"}), "-@all");
  EXPECT_EQ(Rules({"+conflict|feed"}), "-@all +conflict|feed");
}

TEST(AclRules, FirstArguments) {
  const User user = Made({"+select|0", "+select|1"});
  EXPECT_EQ(user.selectors().front().CommandRules(), "-@all +select|0 +select|1");
  auto may = [&](std::string_view argument) {
    return Judge(user, {.command = *Commands().Find("select"), .first_argument = argument, .has_argument = true}).allowed();
  };
  EXPECT_TRUE(may("0"));
  EXPECT_FALSE(may("2"));
  EXPECT_EQ(Ask(user, "select"), Denied::kCommand);
  EXPECT_EQ(Rules({"+select|0", "+select"}), "-@all +select");
  EXPECT_EQ(Rules({"+select|0", "-select"}), "-@all");
  EXPECT_EQ(Rules({"+debug|object"}), "-@all +debug|object") << "which holds nothing in Redis";
}

TEST(AclRules, Errors) {
  EXPECT_EQ(ErrorOf({"+nosuch"}), "Error in ACL SETUSER modifier '+nosuch': Unknown command or category name in ACL");
  EXPECT_EQ(ErrorOf({"+get", "-@nosuch"}), "Error in ACL SETUSER modifier '-@nosuch': Unknown command or category name in ACL");
  EXPECT_EQ(ErrorOf({"-select|0"}), "Error in ACL SETUSER modifier '-select|0': Unknown command or category name in ACL");
  EXPECT_EQ(ErrorOf({"+config|nosuch"}), "Error in ACL SETUSER modifier '+config|nosuch': Unknown command or category name in ACL");
  EXPECT_EQ(ErrorOf({"+config|get|appendonly"}),
            "Error in ACL SETUSER modifier '+config|get|appendonly': Allowing first-arg of a subcommand is not supported");
  EXPECT_EQ(ErrorOf({"nosuch"}), "Error in ACL SETUSER modifier 'nosuch': Syntax error");
  EXPECT_EQ(ErrorOf({"~a b"}), "Error in ACL SETUSER modifier '~a b': Syntax error");
  EXPECT_EQ(ErrorOf({"%X~a"}), "Error in ACL SETUSER modifier '%X~a': Syntax error");
  EXPECT_EQ(ErrorOf({"%RR~a"}), "Error in ACL SETUSER modifier '%RR~a': Syntax error");
  EXPECT_EQ(ErrorOf({"%~a"}), "Error in ACL SETUSER modifier '%~a': Syntax error");
  EXPECT_EQ(ErrorOf({"#zz"}).find("Error in ACL SETUSER modifier '#zz': The password hash must be exactly 64"), 0u);
  EXPECT_EQ(ErrorOf({"<none"}),
            "Error in ACL SETUSER modifier '<none': The password you are trying to remove from the user does not exist");
  EXPECT_NE(ErrorOf({"allkeys", "~a"}).find("Adding a pattern after the * pattern"), std::string::npos);
  EXPECT_NE(ErrorOf({"allchannels", "&a"}).find("'allchannels' flag"), std::string::npos);
  EXPECT_EQ(ErrorOf({"on", "(+get", "~a"}), "Unmatched parenthesis in acl selector starting at '(+get'.");
  EXPECT_EQ(ErrorOf({"(+get on)"}), "Error in ACL SETUSER modifier '(+get on)': Syntax error");
}

TEST(AclJudge, KeysForReadingAndWriting) {
  const User user = Made({"+@all", "%R~r*", "%W~w*", "~b*", "%R~rw", "%W~rw"});
  EXPECT_EQ(user.selectors().front().KeyRules(), "%R~r* %W~w* ~b* ~rw");
  auto key = [&](std::string_view name, bool read, bool write) {
    return Ask(user, "set", {{.argument = 1, .key = name, .read = read, .write = write}}) == Denied::kNothing;
  };
  EXPECT_TRUE(key("r1", true, false));
  EXPECT_FALSE(key("r1", false, true));
  EXPECT_FALSE(key("r1", true, true));
  EXPECT_TRUE(key("w1", false, true));
  EXPECT_FALSE(key("w1", true, false));
  EXPECT_TRUE(key("b1", true, true));
  EXPECT_TRUE(key("rw", true, true));
  EXPECT_TRUE(key("r1", false, false)) << "to look whether it exists";
  EXPECT_FALSE(key("x", false, false));
  const User by_two = Made({"+@all", "%R~x", "%W~*"});
  EXPECT_EQ(Ask(by_two, "set", {{1, "x", true, true}}), Denied::kKey) << "one pattern must allow all of it";
}

TEST(AclJudge, EverybodyMayRunSomeOfIt) {
  const User user = Made({});
  EXPECT_EQ(Ask(user, "auth"), Denied::kCommand);
  EXPECT_TRUE(Judge(user, {.command = *Commands().Find("auth"), .for_all = true}).allowed());
}

TEST(AclJudge, Selectors) {
  const User user = Made({"+get", "~a*", "(+set ~b*)", "(+set", "~c*)"});
  EXPECT_EQ(user.Describe(), "off ~a* resetchannels -@all +get (~b* resetchannels -@all +set) (~c* resetchannels -@all +set)");
  EXPECT_EQ(Ask(user, "get", {{1, "a1", true, false}}), Denied::kNothing);
  EXPECT_EQ(Ask(user, "get", {{1, "b1", true, false}}), Denied::kKey);
  EXPECT_EQ(Ask(user, "set", {{1, "b1", false, true}}), Denied::kNothing);
  EXPECT_EQ(Ask(user, "set", {{1, "c1", false, true}}), Denied::kNothing);
  EXPECT_EQ(Ask(user, "set", {{1, "b1", false, true}, {2, "c1", false, true}}), Denied::kKey) << "one selector alone must allow it";
  EXPECT_EQ(Ask(user, "publish"), Denied::kCommand);
  const Verdict nearest = Judge(user, {.command = *Commands().Find("set"), .keys = std::vector<KeyUse>{{1, "b1", false, true}, {2, "c1", false, true}}});
  EXPECT_EQ(nearest.argument, 2u) << "the last key that none allows";
  User cleared = user;
  EXPECT_TRUE(cleared.ApplyAll({"clearselectors"}).ok());
  EXPECT_EQ(cleared.Describe(), "off ~a* resetchannels -@all +get");
}

TEST(AclJudge, Channels) {
  const User user = Made({"+publish", "&news:*"});
  EXPECT_EQ(Ask(user, "publish", {}, {{1, "news:a", false}}), Denied::kNothing);
  EXPECT_EQ(Ask(user, "publish", {}, {{1, "other", false}}), Denied::kChannel);
  EXPECT_EQ(Ask(user, "publish", {}, {{1, "news:*", true}}), Denied::kNothing) << "the pattern itself";
  EXPECT_EQ(Ask(user, "publish", {}, {{1, "news:a*", true}}), Denied::kChannel) << "no pattern within it";
}

TEST(AclJudge, KeysThatAreNotNamed) {
  auto any = [](const User& user, bool read, bool write) {
    return Judge(user, {.command = *Commands().Find("get"), .reads_any = read, .writes_any = write}).denied;
  };
  EXPECT_EQ(any(Made({"+get", "~a*"}), true, false), Denied::kKey);
  EXPECT_EQ(any(Made({"+get", "%R~*"}), true, false), Denied::kNothing);
  EXPECT_EQ(any(Made({"+get", "%R~*"}), true, true), Denied::kKey);
  EXPECT_EQ(any(Made({"+get", "~*"}), true, true), Denied::kNothing);
}

TEST(AclUser, Unrestricted) {
  EXPECT_TRUE(User::Default(Commands()).unrestricted());
  EXPECT_TRUE(Made({"(+@all ~* &*)"}).unrestricted());
  EXPECT_FALSE(Made({"+@all", "~*"}).unrestricted());
  EXPECT_FALSE(Made({"+@all", "-get", "~*", "&*"}).unrestricted());
  EXPECT_TRUE(Made({"+@all", "-get", "+get", "~*", "&*"}).unrestricted());
  EXPECT_FALSE(Made({"+@all", "~*", "(&*)"}).unrestricted()) << "no selector alone";
}

TEST(AclUser, Passwords) {
  EXPECT_EQ(base::Sha256Hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(base::Sha256Hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(base::Sha256Hex(std::string(1000, 'a')), "41edece42d63e8d9bf515a9ba6932e1c20cbc9f5a5d134645adb5db1b9737ea3");
  User user = Made({">one", "#" + base::Sha256Hex("two")});
  EXPECT_TRUE(user.Knows("one"));
  EXPECT_TRUE(user.Knows("two"));
  EXPECT_FALSE(user.Knows("three"));
  EXPECT_FALSE(user.Knows(""));
  EXPECT_TRUE(user.ApplyAll({"<one", "!" + base::Sha256Hex("two")}).ok());
  EXPECT_FALSE(user.Knows("one"));
  EXPECT_FALSE(user.Knows("")) << "no password is not any password";
  EXPECT_TRUE(user.ApplyAll({"nopass"}).ok());
  EXPECT_TRUE(user.Knows("anything"));
  EXPECT_TRUE(user.ApplyAll({">again"}).ok());
  EXPECT_FALSE(user.Knows("anything"));
}

TEST(AclUser, Reset) {
  const User user = Made({"on", ">x", "+@all", "~*", "&*", "(+get ~a)", "reset"});
  EXPECT_EQ(user.Describe(), "off sanitize-payload resetchannels -@all");
  EXPECT_EQ(user.born(), 7u);
}

TEST(AclUser, KeptTextsAreReadAgain) {
  for (std::vector<std::string_view> rules : std::vector<std::vector<std::string_view>>{
           {},
           {"on", "nopass", "+@all", "~*", "&*"},
           {"on", ">a", ">b", "+get", "+select|0", "%R~a*", "&c", "skip-sanitize-payload", "(+@read ~x) -config)", "(%W~q +set)"},
           {"+@all", "-@dangerous", "+config|get", "~(a", "~b)"}}) {
    const User user = Made(rules);
    const User again = User::Read(Commands(), "bob", user.StateText(), user.SecretsText(), user.RightsText());
    EXPECT_EQ(again.Describe(), user.Describe());
    EXPECT_EQ(again.born(), 7u);
  }
}

TEST(AclUser, Golden) {
  const User user = Made({"on", "sanitize-payload", ">secret", "%R~a*", "&c", "+@read", "-get", "+select|0", "(~b* +set)"});
  const std::string state = base::CheckGolden("user_1_state", "user 1: bob's state", user.StateText());
  const std::string secrets = base::CheckGolden("user_1_secrets", "user 1: bob's passwords", user.SecretsText());
  const std::string rights = base::CheckGolden("user_1_rights", "user 1: bob's rights", user.RightsText());
  EXPECT_EQ(User::Read(Commands(), "bob", state, secrets, rights).Describe(), user.Describe());
}

TEST(AclUser, WhatCannotBeReadGrantsNothing) {
  const User user = Made({"on", ">a", "+@all", "~*"});
  const User no_rights = User::Read(Commands(), "bob", user.StateText(), user.SecretsText(), "2 0000000000000007 ~* +@all");
  EXPECT_EQ(Ask(no_rights, "get"), Denied::kCommand);
  const User broken = User::Read(Commands(), "bob", user.StateText(), user.SecretsText(), "1 0000000000000007 ~* +@all rubbish");
  EXPECT_EQ(Ask(broken, "get"), Denied::kCommand);
  EXPECT_EQ(User::BornOf("1 000000000000000g on"), 0u);
  EXPECT_EQ(User::BornOf(""), 0u);
}

TEST(AclUser, CommandsOfLaterVersionsAreKept) {
  const User user = User::Read(Commands(), "bob", "1 0000000000000007 on", "1 0000000000000007 nopass",
                               "1 0000000000000007 ~* resetchannels -@all +later +get -@unheard +config|later");
  EXPECT_EQ(user.selectors().front().CommandRules(), "-@all +later +get -@unheard +config|later");
  EXPECT_EQ(Ask(user, "get"), Denied::kNothing);
}

TEST(AclLog, LikeEntriesAreOne) {
  Log log;
  Log::Entry entry{.reason = "command", .object = "get", .user = "bob", .time_ms = 1000, .client = "a"};
  log.Add(entry);
  entry.time_ms = 61'000;
  entry.client = "b";
  log.Add(entry);
  ASSERT_EQ(log.entries().size(), 1u);
  EXPECT_EQ(log.entries().front().count, 2u);
  EXPECT_EQ(log.entries().front().client, "b");
  entry.time_ms = 121'001;
  log.Add(entry);
  EXPECT_EQ(log.entries().size(), 2u);
  entry.object = "set";
  log.Add(entry);
  EXPECT_EQ(log.entries().front().object, "set");
  log.SetSize(1);
  EXPECT_EQ(log.entries().size(), 1u);
  entry.object = std::string(1 << 20, 'x');
  log.Add(entry);
  EXPECT_EQ(log.entries().front().object.size(), 4096u);
}

}  // namespace
}  // namespace polyarch::acl
