#include "server/config.h"

#include <algorithm>
#include <cstdio>

#include <CLI/CLI.hpp>

#include "net/socket.h"
#include "resp/parser.h"

namespace polyarch::server {

namespace {

bool LoopbackOnly(const std::vector<std::string>& addresses) {
  for (const std::string& a : addresses) {
    if (a != "localhost" && a != "::1" && a.compare(0, 4, "127.") != 0) return false;
  }
  return true;
}

bool GoodName(const std::string& id) {
  if (id.empty() || id.size() > 64) return false;
  for (char c : id) {
    bool good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                c == '-' || c == '_' || c == '.';
    if (!good) return false;
  }
  return true;
}

}  // namespace

base::Result<engine::Durability> ParseDurability(const std::string& text) {
  if (text == "always") return engine::Durability::kAlways;
  if (text == "everysec") return engine::Durability::kEverySecond;
  if (text == "none" || text == "no") return engine::Durability::kNone;
  return base::Invalid("durability is always, everysec or none, not '" + text + "'");
}

const char* DurabilityName(engine::Durability durability) {
  switch (durability) {
    case engine::Durability::kAlways:
      return "always";
    case engine::Durability::kEverySecond:
      return "everysec";
    case engine::Durability::kNone:
      return "none";
  }
  return "";
}

bool ReadConfig(int argc, char** argv, Config& config, int& exit_code) {
  CLI::App app{"Runs one Polyarch leader.", "polyarch server"};
  app.set_config("--config", "", "a TOML file; every option here is a key there");
  app.allow_config_extras(CLI::config_extras_mode::error);
  app.add_option("--id",
                 config.id,
                 "the leader's name: letters, digits, '-', '_', '.'; unique in the cluster")
      ->required();
  app.add_option("--bind", config.bind, "addresses to listen on")->capture_default_str();
  app.add_option("--port", config.port, "the port for clients (0: any free one)")
      ->capture_default_str();
  app.add_option(
      "--peer-port", config.peer_port, "the port for other leaders (default: port + 1000)");
  app.add_option("--http-port",
                 config.http_port,
                 "the port for /metrics, /healthz and /readyz (default: port + 2000; 0: off)");
  app.add_option("--peer-bind",
                 config.peer_bind,
                 "addresses to listen on for other leaders (default: as --bind)");
  app.add_option(
      "--advertise", config.advertise, "HOST:PEERPORT under which other leaders reach this one");
  app.add_option("--dir", config.dir, "where the data is kept")->capture_default_str();
  app.add_option("--join", config.join, "HOST:PEERPORT of any member of the cluster to join");
  app.add_flag("--rejoin",
               config.rejoin,
               "if this leader was retired: join again as a new member, with what it holds");
  app.add_option(
         "--durability",
         config.durability,
         "when a write is acknowledged: always (on disk), everysec (synced every second), none")
      ->capture_default_str();
  app.add_option("--requirepass", config.requirepass, "the password that clients must give");
  app.add_option(
         "--log-ring", config.log_ring_bytes, "how much of the log is kept in memory for peers")
      ->transform(CLI::AsSizeValue(false));
  app.add_option("--log-segment", config.log_segment_bytes, "the size of one file of the log")
      ->transform(CLI::AsSizeValue(false));
  app.add_option("--log-quota",
                 config.log_quota_bytes,
                 "how much of the log is kept for leaders that are behind, at least 16mb; one that is "
                 "further behind comes back through a transfer of the state")
      ->transform(CLI::AsSizeValue(false));
  app.add_option("--residue-quota",
                 config.residue_quota,
                 "how many keys and elements that nothing shows any more are kept for leaders that are away");
  app.add_option("--state-timeout",
                 config.state_timeout_ms,
                 "how long the log is kept for a state transfer of which nothing is heard, e.g. 30s")
      ->transform(CLI::AsNumberWithUnit(
          std::map<std::string, int64_t>{{"ms", 1}, {"s", 1000}, {"m", 60'000}},
          CLI::AsNumberWithUnit::CASE_INSENSITIVE));
  app.add_option("--checkpoint-bytes",
                 config.checkpoint_bytes,
                 "log bytes after which rows are brought up to date")
      ->transform(CLI::AsSizeValue(false));
  app.add_option(
         "--max-bulk", config.bulk_bytes_max, "the largest argument of a command (at most 512mb)")
      ->transform(CLI::AsSizeValue(false));
  app.add_option("--conflict-log-bytes", config.conflict_log_bytes, "how much CONFLICT LOG keeps")
      ->transform(CLI::AsSizeValue(false));
  app.add_option(
      "--conflict-log-entries", config.conflict_log_entries, "how many entries CONFLICT LOG keeps");
  app.add_option(
      "--conflict-log-age", config.conflict_log_age_s, "how long CONFLICT LOG keeps them, seconds");
  app.add_option("--max-clock-skew",
                 config.clock_skew_ms_max,
                 "how far ahead another clock may be, e.g. 5s")
      ->transform(CLI::AsNumberWithUnit(
          std::map<std::string, int64_t>{{"ms", 1}, {"s", 1000}, {"m", 60'000}},
          CLI::AsNumberWithUnit::CASE_INSENSITIVE));
  app.add_option("--maxclients", config.maxclients, "how many clients at once")
      ->capture_default_str();
  app.add_flag("--insecure", config.insecure, "listen beyond this machine without a password");
  app.add_option("--log-level", config.log_level, "debug, info, warning or error")
      ->check(CLI::IsMember({"debug", "info", "warning", "error"}))
      ->capture_default_str();
  app.add_option(
         "--io", config.io, "for drills: power-cut drops what was not synced when the process dies")
      ->check(CLI::IsMember({"posix", "power-cut"}))
      ->group("Drills and tests");
  app.add_option("--clock-offset-ms",
                 config.clock_offset_ms,
                 "for drills: this leader's clock is off by so much")
      ->group("Drills and tests");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    exit_code = app.exit(error) == 0 ? 0 : 2;
    return false;
  }
  auto refuse = [&](const std::string& why) {
    std::fprintf(stderr, "polyarch: %s\n", why.c_str());
    exit_code = 2;
    return false;
  };
  if (!GoodName(config.id))
    return refuse("--id is 1 to 64 letters, digits, '-', '_' or '.', not '" + config.id + "'");
  if (auto durability = ParseDurability(config.durability); !durability.ok())
    return refuse(durability.status().message());
  if (config.port < 0 || config.port > 65535) return refuse("--port is 0 to 65535");
  if (config.peer_port < 0) return refuse("--peer-port is 1 to 65535, or 0 for --port + 1000");
  if (config.peer_port == 0) config.peer_port = config.port == 0 ? 0 : config.port + 1000;
  if (config.http_port < 0) config.http_port = config.port == 0 ? 0 : config.port + 2000;
  if (config.peer_port > 65535 || config.http_port > 65535) {
    return refuse("--port " + std::to_string(config.port) +
                  " leaves no room for the peer and HTTP ports: give --peer-port and --http-port");
  }
  struct Range {
    const char* option;
    uint64_t value;
    uint64_t min;
    uint64_t max;
    const char* text;
  };
  // A negative number is a huge one here.
  for (const Range& r : {
           Range{"--max-bulk", config.bulk_bytes_max, 64ULL << 10, 512ULL << 20, "64kb to 512mb"},
           Range{"--log-segment", config.log_segment_bytes, 64ULL << 10, 16ULL << 30, "64kb to 16gb"},
           Range{"--log-ring", config.log_ring_bytes, 64ULL << 10, 16ULL << 30, "64kb to 16gb"},
           Range{"--checkpoint-bytes", config.checkpoint_bytes, 64ULL << 10, 1ULL << 50, "64kb to 1pb"},
           Range{"--maxclients", config.maxclients, 1, 1'000'000, "1 to 1000000"},
           Range{"--conflict-log-age",
                 static_cast<uint64_t>(config.conflict_log_age_s),
                 0,
                 static_cast<uint64_t>(kConflictLogAgeMaxS),
                 "0 to a thousand years, in seconds"},
           Range{"--max-clock-skew",
                 static_cast<uint64_t>(config.clock_skew_ms_max),
                 0,
                 365ULL * 24 * 3600 * 1000,
                 "0ms to a year, e.g. 5s"},
       }) {
    if (r.value < r.min || r.value > r.max) return refuse(std::string(r.option) + " is " + r.text);
  }
  std::vector<std::string> addresses = config.join;
  if (!config.advertise.empty()) addresses.push_back(config.advertise);
  for (const std::string& address : addresses) {
    if (!net::ParseHostPort(address).ok())
      return refuse("'" + address + "' is no address of a peer: give HOST:PEERPORT");
  }
  if (config.log_quota_bytes < 16ULL << 20) return refuse("--log-quota is at least 16mb");
  if (config.residue_quota < 1000) return refuse("--residue-quota is at least 1000");
  if (config.state_timeout_ms < 1000) return refuse("--state-timeout is at least 1s");
  // Trimming takes whole segments, and nothing that no checkpoint has.
  config.log_segment_bytes = std::min(config.log_segment_bytes, config.log_quota_bytes / 16);
  config.checkpoint_bytes = std::min(config.checkpoint_bytes, config.log_quota_bytes / 4);
  // Peers do not authenticate yet: their port stays on this machine unless the network is trusted.
  if (config.peer_bind.empty()) {
    config.peer_bind = LoopbackOnly(config.bind) || config.insecure ? config.bind
                                                                    : std::vector<std::string>{"127.0.0.1"};
  }
  if (!LoopbackOnly(config.peer_bind) && !config.insecure) {
    return refuse("--peer-bind beyond this machine needs --insecure: peers do not authenticate in this version, so the network between them must be trusted");
  }
  for (const std::string& address : config.peer_bind) {
    if ((address == "0.0.0.0" || address == "::") && config.advertise.empty()) {
      return refuse("--peer-bind " + address + " needs --advertise HOST:PEERPORT: the address under which other leaders reach this one");
    }
  }
  if (base::Status fits = CheckPasswordSetting(config, config.requirepass); !fits.ok()) return refuse(fits.message());
  return true;
}

base::Status CheckPasswordSetting(const Config& config, std::string_view password) {
  if (password.size() > resp::kPreAuthLimits.bulk_bytes_max) {
    return base::Invalid("a password has at most " + std::to_string(resp::kPreAuthLimits.bulk_bytes_max) +
                         " bytes: of who has not given it yet no longer request is read");
  }
  if (password.empty() && !LoopbackOnly(config.bind) && !config.insecure) {
    return base::Invalid(
        "--bind beyond this machine needs --requirepass (or --insecure, if the network is "
        "trusted)");
  }
  return {};
}

}  // namespace polyarch::server
