#include "server/config.h"

#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include "server/config_file.h"

namespace polyarch::server {
namespace {

class ConfigTest : public ::testing::Test {
 protected:
  ConfigTest() : path_(std::string(::testing::TempDir()) + "/polyarch_config_test.toml") {}
  ~ConfigTest() override { std::filesystem::remove(path_); }

  // What is said; empty if all is well.
  std::string Read(const std::string& file, std::vector<std::string> flags = {}) {
    std::ofstream(path_) << file;
    config_ = {};
    flags.insert(flags.begin(), {"server", "--config", path_});
    std::vector<char*> argv;
    for (std::string& flag : flags) argv.push_back(flag.data());
    int exit_code = 0;
    ::testing::internal::CaptureStderr();
    const bool well = ReadConfig(static_cast<int>(argv.size()), argv.data(), config_, exit_code);
    std::string said = ::testing::internal::GetCapturedStderr();
    EXPECT_EQ(well, said.empty()) << said;
    EXPECT_EQ(exit_code, well ? 0 : 2);
    const std::string front = "polyarch: " + path_ + ":";
    return said.starts_with(front) ? said.substr(front.size()) : said;
  }

  std::string path_;
  Config config_;
};

TEST_F(ConfigTest, ValuesAreWhatTomlSays) {
  EXPECT_EQ(Read("id = \"eu\" # a name\n"
                 "requirepass = \"a\\\\b\\\"c,d#e\"\n"
                 "bind = [\"127.0.0.1\", \"::1\"]\n"
                 "join = []\npeer-bind = '127.0.0.1'\n"
                 "port = 7_001\nlog-quota = '64mb'\nlog-ring = 65536\nmax-clock-skew = '2s'\nrejoin = true\ninsecure = false\n"),
            "");
  EXPECT_EQ(config_.id, "eu");
  EXPECT_EQ(config_.file, path_);  // INFO tells it
  EXPECT_EQ(config_.requirepass, "a\\b\"c,d#e");
  EXPECT_EQ(config_.bind, (std::vector<std::string>{"127.0.0.1", "::1"}));
  EXPECT_TRUE(config_.join.empty());
  EXPECT_EQ(config_.peer_bind, std::vector<std::string>{"127.0.0.1"});
  EXPECT_EQ(config_.port, 7001);
  EXPECT_EQ(config_.peer_port, 8001);
  EXPECT_EQ(config_.log_quota_bytes, 64ULL << 20);
  EXPECT_EQ(config_.log_ring_bytes, 65536u);
  EXPECT_EQ(config_.clock_skew_ms_max, 2000);
  EXPECT_TRUE(config_.rejoin);
  EXPECT_FALSE(config_.insecure);
}

TEST_F(ConfigTest, LimitsOfMemoryAreAsRedisHasThem) {
  EXPECT_EQ(Read("id = 'eu'\nmaxmemory = '1k'\nmaxmemory-policy = 'Volatile-TTL'\nmaxmemory-samples = 10\n"), "");
  EXPECT_EQ(config_.maxmemory, "1000");
  EXPECT_EQ(config_.maxmemory_policy, "volatile-ttl");
  EXPECT_EQ(config_.maxmemory_samples, "10");
  EXPECT_EQ(Read("id = 'eu'\nmaxmemory = 4096\n", {"--maxmemory", "256mb", "--maxmemory-policy", "allkeys-lru"}), "");
  EXPECT_EQ(config_.maxmemory, "268435456");
  EXPECT_EQ(config_.maxmemory_policy, "allkeys-lru");
  EXPECT_EQ(Read("maxmemory = 'much'\n"), "1: maxmemory: the argument must be a memory value, not 'much'\n");
  EXPECT_EQ(Read("maxmemory-samples = 0\n"),
            "1: maxmemory-samples: the argument must be between 1 and 2147483647 inclusive, not '0'\n");
}

TEST_F(ConfigTest, TextsStayAsTheyAre) {
  for (const std::string password : {"", "[a,b]", "true", " x ", "{}", "'", "%x"}) {
    EXPECT_EQ(Read("id = 'eu'\nrequirepass = \"" + password + "\"\n"), "") << password;
    EXPECT_EQ(config_.requirepass, password);
  }
}

TEST_F(ConfigTest, FlagsWin) {
  EXPECT_EQ(Read("id = 'eu'\nport = 1\nbind = ['::1']\njoin = ['a:1', 'b:2']\n", {"--port", "7005", "--join", "c:3"}), "");
  EXPECT_EQ(config_.port, 7005);
  EXPECT_EQ(config_.bind, std::vector<std::string>{"::1"});
  EXPECT_EQ(config_.join, std::vector<std::string>{"c:3"});
}

TEST_F(ConfigTest, ErrorsNameTheLine) {
  EXPECT_EQ(Read("id = 'eu'\n\nlog_quota = 1\n"), "3: unknown key 'log_quota' (log-quota?); see polyarch server --help\n");
  EXPECT_EQ(Read("zzzzzzz = 1\n"), "1: unknown key 'zzzzzzz'; see polyarch server --help\n");
  EXPECT_EQ(Read("config = 'x'\n"), "1: unknown key 'config'; see polyarch server --help\n");
  EXPECT_EQ(Read("port = 70000\n"), "1: port: a port is 0 to 65535, not '70000'\n");
  EXPECT_EQ(Read("port = 7001.5\n"), "1: 'port' is neither a text, a whole number, true, false nor a list\n");
  EXPECT_EQ(Read("port = '7001'\n"), "1: 'port' is a whole number, without quotes\n");
  EXPECT_EQ(Read("insecure = 'yes'\n"), "1: 'insecure' is true or false, without quotes\n");
  EXPECT_EQ(Read("id = 7\n"), "1: 'id' is a text in quotes\n");
  EXPECT_EQ(Read("bind = []\n"), "1: 'bind' names no address: leave it out, or name one\n");
  EXPECT_EQ(Read("state-timeout = '10ms'\n"), "1: state-timeout: at least 1s, not '10ms'\n");
  for (const char* broken : {"bind = [\"127.0.0.1\"\n", "id = eu\n", "id = 'eu'\nid = 'us'\n", "id\n", "id = 'eu' port = 1\n"}) {
    const std::string said = Read(broken);
    EXPECT_NE(said.find(": this is no TOML: "), std::string::npos) << broken << " -> " << said;
    EXPECT_EQ(std::count(said.begin(), said.end(), '\n'), 1) << said;
  }
}

TEST_F(ConfigTest, Tls) {
  const std::string files = "tls-cert-file = 'c'\ntls-key-file = 'k'\ntls-ca-cert-file = 'a'\n";
  // It has what it needs.
  EXPECT_NE(Read("id = 'eu'\ntls-port = 7500\n").find("--tls-cert-file"), std::string::npos);
  EXPECT_NE(Read("id = 'eu'\ntls-peers = 'yes'\ntls-cert-file = 'c'\ntls-key-file = 'k'\n").find("--tls-ca-cert-file"),
            std::string::npos);
  EXPECT_EQ(Read("id = 'eu'\ntls-port = 7500\ntls-cert-file = 'c'\ntls-key-file = 'k'\ntls-auth-clients = 'no'\n"), "");
  EXPECT_EQ(Read("tls-peers = 'maybe'\n"), "1: tls-peers: yes or no, not 'maybe'\n");
  EXPECT_NE(Read("id = 'eu'\nport = 7500\ntls-port = 7500\n" + files).find("are both 7500"), std::string::npos);
  // Without a plain port the others count from this one.
  EXPECT_EQ(Read("id = 'eu'\nport = 0\ntls-port = 7500\n" + files), "");
  EXPECT_EQ(config_.peer_port, 8500);
  EXPECT_EQ(config_.http_port, 9500);
  EXPECT_FALSE(config_.has_plain_port());
  // Beyond this machine: mutual TLS without a plain port, or a password.
  const std::string far = "id = 'eu'\nbind = ['10.0.0.1']\n" + files;
  EXPECT_EQ(Read(far + "port = 0\ntls-port = 7500\n"), "");
  EXPECT_EQ(config_.peer_bind, std::vector<std::string>{"127.0.0.1"});
  EXPECT_NE(Read(far + "port = 7501\ntls-port = 7500\n").find("--requirepass"), std::string::npos);
  EXPECT_NE(Read(far + "port = 0\ntls-port = 7500\ntls-auth-clients = 'optional'\n").find("--requirepass"), std::string::npos);
  EXPECT_EQ(Read(far + "requirepass = 'p'\ntls-peers = 'yes'\n"), "");
  EXPECT_EQ(config_.peer_bind, std::vector<std::string>{"10.0.0.1"});
  EXPECT_NE(Read("id = 'eu'\npeer-bind = ['10.0.0.1']\n").find("--tls-peers yes"), std::string::npos);
}

TEST_F(ConfigTest, NoFile) {
  EXPECT_NE(ReadConfigFile("/nowhere/x.toml").status().message().find("there is no such file"), std::string::npos);
  EXPECT_NE(ReadConfigFile("/tmp").status().message().find("this is a directory"), std::string::npos);
}

}  // namespace
}  // namespace polyarch::server
