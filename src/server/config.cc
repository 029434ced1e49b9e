#include "server/config.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstdio>
#include <filesystem>
#include <map>
#include <span>
#include <tuple>

#include <CLI/CLI.hpp>

#include "command/remembered.h"
#include "net/socket.h"
#include "resp/parser.h"
#include "server/config_file.h"

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

// ---- what a value may be; each brings it into the form that its variable takes

struct Unit {
  const char* name;
  uint64_t times;
};
constexpr Unit kSizes[] = {{"b", 1},           {"k", 1ULL << 10},  {"kb", 1ULL << 10}, {"kib", 1ULL << 10},
                           {"m", 1ULL << 20},  {"mb", 1ULL << 20}, {"mib", 1ULL << 20}, {"g", 1ULL << 30},
                           {"gb", 1ULL << 30}, {"gib", 1ULL << 30}, {"t", 1ULL << 40}, {"tb", 1ULL << 40},
                           {"tib", 1ULL << 40}, {"", 1}};
constexpr Unit kTimes[] = {{"ms", 1}, {"s", 1000}, {"m", 60'000}, {"", 1}};

// `text` says what is allowed, for people.
CLI::Validator Measure(std::span<const Unit> units, uint64_t min, uint64_t max, const char* text) {
  return CLI::Validator(
      [=](std::string& value) -> std::string {
        const std::string wrong = std::string(text) + ", not '" + value + "'";
        uint64_t number = 0;
        const char* end = value.data() + value.size();
        const auto [rest, error] = std::from_chars(value.data(), end, number);
        if (error != std::errc()) return wrong;
        std::string unit(rest, end);
        std::transform(unit.begin(), unit.end(), unit.begin(), [](unsigned char c) { return std::tolower(c); });
        while (unit.starts_with(' ')) unit.erase(0, 1);
        const auto known = std::find_if(units.begin(), units.end(), [&](const Unit& u) { return unit == u.name; });
        if (known == units.end() || number > UINT64_MAX / known->times) return wrong;
        number *= known->times;
        if (number < min || number > max) return wrong;
        value = std::to_string(number);
        return {};
      },
      "");
}

CLI::Validator Whole(int64_t min, int64_t max, const char* text) {
  return CLI::Validator(
      [=](std::string& value) -> std::string {
        int64_t number = 0;
        const char* end = value.data() + value.size();
        const auto [rest, error] = std::from_chars(value.data(), end, number);
        if (error == std::errc() && rest == end && number >= min && number <= max) return {};
        return std::string(text) + ", not '" + value + "'";
      },
      "");
}

CLI::Validator OneOf(std::vector<std::string> words, const char* text) {
  return CLI::Validator(
      [=](std::string& value) -> std::string {
        if (std::find(words.begin(), words.end(), value) != words.end()) return {};
        return std::string(text) + ", not '" + value + "'";
      },
      "");
}

// What CONFIG SET takes for the parameter of this name, which is Redis's, units too.
CLI::Validator AsParameter(const char* name) {
  return CLI::Validator(
      [=](std::string& value) -> std::string {
        command::Remembered remembered;
        if (base::Status fits = remembered.Set(name, value); !fits.ok())
          return "the " + fits.message() + ", not '" + value + "'";
        value = remembered.Of(name);
        return {};
      },
      "");
}

// How many letters must be changed to make `b` of `a`.
size_t Distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 0; i < a.size(); ++i) {
    size_t corner = row[0]++;
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t above = row[j + 1];
      row[j + 1] = std::min({above + 1, row[j] + 1, corner + (a[i] == b[j] ? 0 : 1)});
      corner = above;
    }
  }
  return row.back();
}

// What a key of the file may hold.
enum class Holds : uint8_t { kText, kTexts, kWhole, kMeasure, kBoolean };

const char* Named(Holds holds) {
  switch (holds) {
    case Holds::kText:
      return "a text in quotes";
    case Holds::kTexts:
      return "a text in quotes, or a list of them: [\"...\", \"...\"]";
    case Holds::kWhole:
      return "a whole number, without quotes";
    case Holds::kMeasure:
      return "a whole number, or a text with a unit in quotes";
    case Holds::kBoolean:
      return "true or false, without quotes";
  }
  return "";
}

bool Fits(Holds holds, Setting::Kind kind) {
  switch (holds) {
    case Holds::kText:
      return kind == Setting::Kind::kText;
    case Holds::kTexts:
      return kind == Setting::Kind::kText || kind == Setting::Kind::kTexts;
    case Holds::kWhole:
      return kind == Setting::Kind::kWhole;
    case Holds::kMeasure:
      return kind == Setting::Kind::kWhole || kind == Setting::Kind::kText;
    case Holds::kBoolean:
      return kind == Setting::Kind::kBoolean;
  }
  return false;
}

// The flags of `polyarch server`, which are the keys of its file.
struct Flags {
  explicit Flags(Config& config);
  // The file's settings, where no flag was given.
  base::Status ReadFile();
  // What CLI11 found wrong with the command line, in our words.
  std::string Explain(const CLI::ParseError& error) const;
  // " (log-quota?)", if some flag is called nearly so.
  std::string Meant(std::string name) const;

  CLI::App app{"Runs one Polyarch leader.", "polyarch server"};
  std::string file;
  std::map<std::string, Holds, std::less<>> holds;  // by name without dashes

 private:
  template <typename T>
  CLI::Option* Add(Holds what, const char* name, T& into, const char* help) {
    holds.emplace(name, what);
    return app.add_option(std::string("--") + name, into, help);
  }
  void AddFlag(const char* name, bool& into, const char* help) {
    holds.emplace(name, Holds::kBoolean);
    app.add_flag(std::string("--") + name, into, help);
  }
};

Flags::Flags(Config& config) {
  const CLI::Validator port = Whole(0, 65535, "a port is 0 to 65535");
  app.add_option("--config", file, "a TOML file; every option here is a key there");
  Add(Holds::kText, "id", config.id, "the leader's name: letters, digits, '-', '_', '.'; unique in the cluster (required)");
  Add(Holds::kTexts, "bind", config.bind, "addresses to listen on")->capture_default_str();
  Add(Holds::kWhole, "port", config.port, "the port for clients (0: any free one; with --tls-port: none)")->check(port)->capture_default_str();
  Add(Holds::kWhole, "peer-port", config.peer_port, "the port for other leaders (default: port + 1000)")->check(port);
  Add(Holds::kWhole, "http-port", config.http_port,
      "the port for /metrics, /healthz and /readyz (default: port + 2000; 0: off)")->check(port);
  Add(Holds::kTexts, "peer-bind", config.peer_bind, "addresses to listen on for other leaders (default: as --bind where that is loopback, with --tls-peers or with --insecure, else 127.0.0.1)");
  Add(Holds::kText, "advertise", config.advertise, "HOST:PEERPORT under which other leaders reach this one");
  Add(Holds::kText, "dir", config.dir, "where the data is kept")->capture_default_str();
  Add(Holds::kTexts, "join", config.join, "HOST:PEERPORT of any member of the cluster to join");
  AddFlag("rejoin", config.rejoin, "if this leader was retired: join again as a new member, with what it holds");
  Add(Holds::kText, "durability", config.durability,
      "when a write is acknowledged: always (on disk), everysec (synced every second), none")->capture_default_str();
  Add(Holds::kText, "requirepass", config.requirepass, "the password that clients must give");
  Add(Holds::kMeasure, "log-ring", config.log_ring_bytes, "how much of the log is kept in memory for peers")
      ->transform(Measure(kSizes, 64ULL << 10, 16ULL << 30, "64kb to 16gb"))->default_str("64mb");
  Add(Holds::kMeasure, "log-segment", config.log_segment_bytes, "the size of one file of the log")
      ->transform(Measure(kSizes, 64ULL << 10, 16ULL << 30, "64kb to 16gb"))->default_str("64mb");
  Add(Holds::kMeasure, "log-quota", config.log_quota_bytes,
      "how much of the log is kept for leaders that are behind, at least 16mb; one that is further behind comes back "
      "through a transfer of the state")
      ->transform(Measure(kSizes, 16ULL << 20, UINT64_MAX, "at least 16mb"))->default_str("4gb");
  Add(Holds::kWhole, "residue-quota", config.residue_quota,
      "how many keys and elements that nothing shows any more are kept for leaders that are away")
      ->check(Whole(1000, INT64_MAX, "at least 1000"))->capture_default_str();
  Add(Holds::kMeasure, "state-timeout", config.state_timeout_ms,
      "how long the log is kept for a state transfer of which nothing is heard")
      ->transform(Measure(kTimes, 1000, INT64_MAX, "at least 1s"))->default_str("30s");
  Add(Holds::kMeasure, "checkpoint-bytes", config.checkpoint_bytes, "log bytes after which rows are brought up to date")
      ->transform(Measure(kSizes, 64ULL << 10, 1ULL << 50, "64kb to 1024tb"))->default_str("1gb");
  Add(Holds::kMeasure, "max-bulk", config.bulk_bytes_max, "the largest argument of a command (at most 512mb)")
      ->transform(Measure(kSizes, 64ULL << 10, 512ULL << 20, "64kb to 512mb"))->default_str("64mb");
  Add(Holds::kMeasure, "conflict-log-bytes", config.conflict_log_bytes, "how much CONFLICT LOG keeps")
      ->transform(Measure(kSizes, 0, UINT64_MAX, "a size, e.g. 256mb"))->default_str("256mb");
  Add(Holds::kWhole, "conflict-log-entries", config.conflict_log_entries, "how many entries CONFLICT LOG keeps")
      ->check(Whole(0, INT64_MAX, "a number"))->capture_default_str();
  Add(Holds::kWhole, "conflict-log-age", config.conflict_log_age_s, "how long CONFLICT LOG keeps them, seconds")
      ->check(Whole(0, kConflictLogAgeMaxS, "0 to a thousand years, in seconds"))->capture_default_str();
  Add(Holds::kMeasure, "max-clock-skew", config.clock_skew_ms_max, "how far ahead another clock may be")
      ->transform(Measure(kTimes, 0, 365ULL * 24 * 3600 * 1000, "0ms to a year, e.g. 5s"))->default_str("5s");
  Add(Holds::kText, "unix-socket", config.unix_socket,
      "a path: clients of this machine's user may connect there, too");
  Add(Holds::kWhole, "maxclients", config.maxclients, "how many clients at once")
      ->check(Whole(1, 1'000'000, "1 to 1000000"))->capture_default_str();
  Add(Holds::kMeasure, "maxmemory", config.maxmemory,
      "how much keys and values may take, in Redis's units (256mb; 0: no limit)")
      ->transform(AsParameter("maxmemory"))->capture_default_str();
  Add(Holds::kText, "maxmemory-policy", config.maxmemory_policy,
      "beyond that: noeviction (refuse writes), or delete keys, at all leaders: allkeys- or volatile- with lru, lfu, random, "
      "or volatile-ttl")
      ->transform(AsParameter("maxmemory-policy"))->capture_default_str();
  Add(Holds::kWhole, "maxmemory-samples", config.maxmemory_samples, "how many keys are looked at for one that is evicted")
      ->transform(AsParameter("maxmemory-samples"))
      ->type_name("INT")
      ->capture_default_str();
  AddFlag("insecure", config.insecure, "listen beyond this machine without a password or mutual TLS");
  Add(Holds::kWhole, "tls-port", config.tls_port, "the port for clients by TLS (0: none)")->check(port)->capture_default_str();
  Add(Holds::kText, "tls-cert-file", config.tls_cert_file, "this leader's certificate in PEM, and behind it those between it and the CA");
  Add(Holds::kText, "tls-key-file", config.tls_key_file, "the key of that certificate in PEM, without a pass phrase");
  Add(Holds::kText, "tls-ca-cert-file", config.tls_ca_cert_file, "the certificates of the CAs, in PEM, that sign those of clients and leaders");
  Add(Holds::kText, "tls-ca-cert-dir", config.tls_ca_cert_dir, "a directory of such certificates, named by hash (openssl rehash)");
  Add(Holds::kText, "tls-auth-clients", config.tls_auth_clients,
      "must clients show a certificate: yes, no, optional (one that is shown must be good)")
      ->check(OneOf({"yes", "no", "optional"}, "yes, no or optional"))->capture_default_str();
  Add(Holds::kText, "tls-peers", config.tls_peers,
      "yes: leaders talk to each other by TLS alone, and each shows a certificate with its name; the same at all leaders")
      ->check(OneOf({"yes", "no"}, "yes or no"))->capture_default_str();
  Add(Holds::kText, "log-level", config.log_level, "debug, info, warning or error")
      ->check(OneOf({"debug", "info", "warning", "error"}, "debug, info, warning or error"))->capture_default_str();
  Add(Holds::kText, "io", config.io, "for drills: power-cut drops what was not synced when the process dies")
      ->check(OneOf({"posix", "power-cut"}, "posix or power-cut"))->group("Drills and tests");
  Add(Holds::kWhole, "clock-offset-ms", config.clock_offset_ms, "for drills: this leader's clock is off by so much")
      ->check(Whole(INT64_MIN, INT64_MAX, "milliseconds"))->group("Drills and tests");
}

std::string Flags::Meant(std::string name) const {
  for (char& c : name) c = c == '_' ? '-' : static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  const std::string* nearest = nullptr;
  size_t least = 3;
  for (const auto& [flag, what] : holds) {
    if (const size_t distance = Distance(name, flag); distance < least) {
      least = distance;
      nearest = &flag;
    }
  }
  return nearest == nullptr ? "" : " (" + *nearest + "?)";
}

std::string Flags::Explain(const CLI::ParseError& error) const {
  if (error.get_exit_code() == static_cast<int>(CLI::ExitCodes::ExtrasError) && !app.remaining().empty()) {
    const std::string first = app.remaining().front();
    if (!first.starts_with('-')) return "'" + first + "' is not expected: it belongs to no flag";
    const std::string name = first.substr(first.find_first_not_of('-') == std::string::npos ? 1 : first.find_first_not_of('-'));
    return "unknown flag '" + first.substr(0, first.find('=')) + "'" + Meant(name.substr(0, name.find('=')));
  }
  std::string text = error.what();
  if (error.get_name() == "ArgumentMismatch" && text.ends_with("missing"))
    return text.substr(0, text.find(':')) + " needs a value";
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text;
}

base::Status Flags::ReadFile() {
  auto settings = ReadConfigFile(file);
  if (!settings.ok()) return settings.status();
  for (const Setting& setting : *settings) {
    const std::string where = file + ":" + std::to_string(setting.line) + ": ";
    const auto known = holds.find(setting.key);
    if (known == holds.end()) return base::Invalid(where + "unknown key '" + setting.key + "'" + Meant(setting.key) + "; see polyarch server --help");
    if (!Fits(known->second, setting.kind))
      return base::Invalid(where + "'" + setting.key + "' is " + Named(known->second));
    if (setting.values.empty() && setting.key == "bind")
      return base::Invalid(where + "'bind' names no address: leave it out, or name one");
    CLI::Option* option = app.get_option("--" + setting.key);
    if (option->count() > 0 || setting.values.empty()) continue;
    try {
      option->add_result(setting.values);
      option->run_callback();
    } catch (const CLI::ParseError& error) {
      std::string text = error.what();
      if (text.starts_with("--")) text.erase(0, 2);
      return base::Invalid(where + text);
    }
  }
  return {};
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
  auto refuse = [&](const std::string& why) {
    std::fprintf(stderr, "polyarch: %s\n", why.c_str());
    exit_code = 2;
    return false;
  };
  Flags flags(config);
  try {
    flags.app.parse(argc, argv);
  } catch (const CLI::CallForHelp& help) {
    exit_code = flags.app.exit(help);
    return false;
  } catch (const CLI::ParseError& error) {
    return refuse(flags.Explain(error) + "; see polyarch server --help");
  }
  if (!flags.file.empty()) {
    if (base::Status read = flags.ReadFile(); !read.ok()) return refuse(read.message());
    std::error_code none;
    config.file = std::filesystem::absolute(flags.file, none).string();
  }
  if (config.id.empty()) return refuse("--id is missing: the leader's name, unique in the cluster; see polyarch server --help");
  if (!GoodName(config.id))
    return refuse("--id is 1 to 64 letters, digits, '-', '_' or '.', not '" + config.id + "'");
  if (auto durability = ParseDurability(config.durability); !durability.ok())
    return refuse(durability.status().message());
  const int client_port = config.port == 0 ? config.tls_port : config.port;
  if (config.peer_port == 0) config.peer_port = client_port == 0 ? 0 : client_port + 1000;
  if (config.http_port < 0) config.http_port = client_port == 0 ? 0 : client_port + 2000;
  if (config.peer_port > 65535 || config.http_port > 65535) {
    return refuse((config.port == 0 ? "--tls-port " : "--port ") + std::to_string(client_port) +
                  " leaves no room for the peer and HTTP ports: give --peer-port and --http-port");
  }
  for (auto [one, name, other, other_name] : {std::tuple{config.port, "--port", config.peer_port, "--peer-port"},
                                              std::tuple{config.port, "--port", config.http_port, "--http-port"},
                                              std::tuple{config.tls_port, "--tls-port", config.port, "--port"},
                                              std::tuple{config.tls_port, "--tls-port", config.peer_port, "--peer-port"},
                                              std::tuple{config.tls_port, "--tls-port", config.http_port, "--http-port"},
                                              std::tuple{config.peer_port, "--peer-port", config.http_port, "--http-port"}}) {
    if (one != 0 && one == other) {
      return refuse(std::string(name) + " and " + other_name + " are both " + std::to_string(one) +
                    ": give each a port of its own");
    }
  }
  std::vector<std::string> addresses = config.join;
  if (!config.advertise.empty()) addresses.push_back(config.advertise);
  for (const std::string& address : addresses) {
    if (!net::ParseHostPort(address).ok())
      return refuse("'" + address + "' is no address of a peer: give HOST:PEERPORT");
  }
  // Trimming takes whole segments, and nothing that no checkpoint has.
  config.log_segment_bytes = std::min(config.log_segment_bytes, config.log_quota_bytes / 16);
  config.checkpoint_bytes = std::min(config.checkpoint_bytes, config.log_quota_bytes / 4);
  if (base::Status fits = CheckTlsSettings(config); !fits.ok()) return refuse(fits.message());
  // Without TLS peers do not authenticate: their port stays on this machine unless the network is trusted.
  const bool peers_may_leave = config.insecure || config.peers_use_tls();
  if (config.peer_bind.empty()) {
    config.peer_bind = LoopbackOnly(config.bind) || peers_may_leave ? config.bind
                                                                    : std::vector<std::string>{"127.0.0.1"};
  }
  if (!LoopbackOnly(config.peer_bind) && !peers_may_leave) {
    return refuse("--peer-bind beyond this machine needs --tls-peers yes (or --insecure: then peers do not authenticate, so the network between them must be trusted)");
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
  if (password.empty() && !LoopbackOnly(config.bind) && !config.insecure && !config.clients_use_mutual_tls()) {
    return base::Invalid(
        "--bind beyond this machine needs --requirepass (or certificates of clients: --port 0 --tls-port PORT "
        "--tls-auth-clients yes; or --insecure, if the network is trusted)");
  }
  return {};
}

base::Status CheckTlsSettings(const Config& config) {
  if (!config.uses_tls()) return {};
  if (config.tls_cert_file.empty() || config.tls_key_file.empty()) {
    return base::Invalid("--tls-port and --tls-peers need a certificate: give --tls-cert-file and --tls-key-file");
  }
  const bool judges = config.peers_use_tls() || config.tls_auth_clients != "no";
  if (judges && config.tls_ca_cert_file.empty() && config.tls_ca_cert_dir.empty()) {
    return base::Invalid(std::string("certificates of ") + (config.peers_use_tls() ? "leaders" : "clients") +
                         " need a CA to be judged by: give --tls-ca-cert-file or --tls-ca-cert-dir" +
                         (config.peers_use_tls() ? "" : ", or --tls-auth-clients no"));
  }
  return {};
}

}  // namespace polyarch::server
