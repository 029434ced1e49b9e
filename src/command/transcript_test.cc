// Runs the transcripts in tests/transcript: sessions of clients as text, with every reply. Their
// README.md tells the format; record.py there takes the replies from a real Redis 7.0.15.
#include <filesystem>
#include <fstream>
#include <sstream>

#include <gtest/gtest.h>

#include "base/glob.h"
#include "base/number.h"
#include "command/command_test_env.h"
#include "resp/parser.h"

namespace polyarch::command {
namespace {

std::vector<std::string> Transcripts() {
  std::vector<std::string> names;
  for (const auto& file : std::filesystem::directory_iterator(POLYARCH_TRANSCRIPTS)) {
    if (file.path().extension() == ".txt") names.push_back(file.path().stem().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

class Transcript : public ::testing::TestWithParam<std::string> {
 protected:
  // The words of a line, quoted as inline commands are. They live until the next call.
  std::span<const std::string_view> Words(std::string_view line) {
    input_ = std::string(line) + "\r\n";
    parser_ = resp::Parser();
    EXPECT_EQ(parser_.Next(input_, resp::Limits{}), resp::Parser::State::kRequest) << line;
    return parser_.arguments();
  }

  // "@advance 1000", "@policy siblings wiki:*", "@remote key value", "@password secret", "@client
  // 2"
  void Direct(std::string_view line) {
    std::span<const std::string_view> words = Words(line);
    std::string_view what = words[0];
    if (what == "advance") {
      node_.Advance(*base::ParseInt64(words[1]));
    } else if (what == "policy") {
      node_.SetPolicy(words[1], words[2]);
    } else if (what == "remote") {
      node_.Remote(words[1], words[2]);
    } else if (what == "password") {
      node_.SetPassword(words[1]);
    } else if (what == "client") {
      auto index = static_cast<size_t>(*base::ParseInt64(words[1])) - 1;
      while (node_.server.clients.size() <= index)
        node_.Connect();
      client_ = index;
    } else {
      FAIL() << "unknown directive " << what;
    }
  }

  // "*" stands for anything.
  static bool Matches(std::string_view pattern, std::string_view reply) {
    std::string escaped;
    for (char c : pattern) {
      if (c == '[' || c == '?' || c == '\\') escaped += '\\';
      escaped += c;
    }
    return base::GlobMatch(escaped, reply);
  }

  std::string Reply(std::string_view line) {
    auto replies = node_.Run(*node_.server.clients[client_], Words(line));
    return replies.empty() ? "(none)" : replies[0].ToString();
  }

  TestNode node_;

 private:
  size_t client_ = 0;
  std::string input_;
  resp::Parser parser_;
};

TEST_P(Transcript, Replies) {
  std::string path = std::string(POLYARCH_TRANSCRIPTS) + "/" + GetParam() + ".txt";
  std::ifstream file(path);
  ASSERT_TRUE(file) << path;
  std::string line;
  std::string reply;
  bool asked = false;
  for (int number = 1; std::getline(file, line); ++number) {
    SCOPED_TRACE(path + ":" + std::to_string(number));
    if (line.empty() || line[0] == '#') continue;
    if (line[0] == '@') {
      Direct(std::string_view(line).substr(1));
    } else if (line.starts_with("> ") || line.starts_with("!> ")) {
      EXPECT_FALSE(asked) << "no reply is given for the command before";
      reply = Reply(std::string_view(line).substr(line.find('>') + 2));
      asked = true;
    } else {
      EXPECT_TRUE(asked) << "a reply to no command";
      asked = false;
      if (line.starts_with("~ ")) {
        EXPECT_TRUE(Matches(std::string_view(line).substr(2), reply)) << reply;
      } else {
        EXPECT_EQ(reply, line);
      }
    }
  }
  EXPECT_FALSE(asked);
}

INSTANTIATE_TEST_SUITE_P(All,
                         Transcript,
                         ::testing::ValuesIn(Transcripts()),
                         [](const auto& instance) { return instance.param; });

}  // namespace
}  // namespace polyarch::command
