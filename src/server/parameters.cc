// CONFIG, and INFO's sections about the process.
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <sys/resource.h>
#include <unistd.h>

#include "base/glob.h"
#include "base/number.h"
#include "command/notify.h"
#include "server/server.h"

namespace polyarch::server {

namespace {

uint64_t ResidentBytes() {
  std::ifstream statm("/proc/self/statm");
  uint64_t size = 0;
  uint64_t resident = 0;
  statm >> size >> resident;
  return resident * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

std::string Human(uint64_t bytes) {
  char text[32];
  const double b = static_cast<double>(bytes);
  if (bytes < 1024) {
    std::snprintf(text, sizeof text, "%luB", static_cast<unsigned long>(bytes));  // NOLINT: printf
  } else if (bytes < 1024 * 1024) {
    std::snprintf(text, sizeof text, "%.2fK", b / 1024);
  } else if (bytes < 1024ULL * 1024 * 1024) {
    std::snprintf(text, sizeof text, "%.2fM", b / (1024 * 1024));
  } else {
    std::snprintf(text, sizeof text, "%.2fG", b / (1024 * 1024 * 1024));
  }
  return text;
}

}  // namespace

std::vector<std::pair<std::string, std::string>> Server::ConfigGet(std::string_view pattern) {
  std::string bind;
  for (const std::string& address : config_.bind)
    bind += (bind.empty() ? "" : " ") + address;
  std::map<std::string, std::string> all;
  // A hidden one is found by its name, not by a pattern.
  for (auto& [name, value] : remembered().All(pattern.find_first_of("*?[") == std::string_view::npos))
    all[name] = std::move(value);
  const engine::Durability durability = engine_->durability();
  all["appendfsync"] = durability == engine::Durability::kNone ? "no" : DurabilityName(durability);
  all["durability"] = DurabilityName(durability);
  all["bind"] = bind;
  all["notify-keyspace-events"] = command::FormatNotices(engine_->notices());
  command::Observations& observed = observations();
  all["slowlog-log-slower-than"] = std::to_string(observed.slowlog.micros_min);
  all["aclfile"] = "";
  all["acl-pubsub-default"] = engine_->users().new_users_hear_all() ? "allchannels" : "resetchannels";
  all["acllog-max-len"] = std::to_string(engine_->users().log().size_max());
  all["slowlog-max-len"] = std::to_string(observed.slowlog.size_max());
  all["latency-monitor-threshold"] = std::to_string(observed.latency.millis_min);
  all["latency-tracking"] = observed.tracks_latency ? "yes" : "no";
  all["latency-tracking-info-percentiles"] = "50 99 99.9";
  all["tracking-table-max-keys"] = std::to_string(engine_->tracking().keys_max());
  all["port"] = std::to_string(config_.port);
  all["peer-port"] = std::to_string(config_.peer_port);
  all["http-port"] = std::to_string(config_.http_port);
  all["unixsocket"] = config_.unix_socket;
  all["advertise"] = config_.advertise;
  all["dir"] = config_.dir;
  all["databases"] = "16";
  all["maxclients"] = std::to_string(loop_->maxclients());
  all["requirepass"] = config_.requirepass;
  all["max-clock-skew"] = std::to_string(config_.clock_skew_ms_max) + "ms";
  all["proto-max-bulk-len"] = std::to_string(config_.bulk_bytes_max);
  all["enable-debug-command"] = "local";
  all["busy-reply-threshold"] = all["lua-time-limit"] = std::to_string(script_ms_max_);
  all["max-bulk"] = std::to_string(config_.bulk_bytes_max);
  all["log-quota"] = std::to_string(config_.log_quota_bytes);
  all["residue-quota"] = std::to_string(config_.residue_quota);
  all["conflict-log-bytes"] = std::to_string(engine_->ledger().limits().bytes_max);
  all["conflict-log-entries"] = std::to_string(engine_->ledger().limits().entries_max);
  all["conflict-log-age"] = std::to_string(engine_->ledger().limits().age_ms_max / 1000);
  std::vector<std::pair<std::string, std::string>> out;
  for (const auto& [name, value] : all) {
    if (base::GlobMatch(pattern, name, true)) out.emplace_back(name, value);
  }
  return out;
}

namespace {

constexpr size_t kSlowlogMax = 1'000'000;  // each may take 5 KB

bool IsObservation(std::string_view name) {
  constexpr std::string_view kNames[] = {"slowlog-log-slower-than", "slowlog-max-len", "acllog-max-len",
                                         "latency-monitor-threshold", "latency-tracking",
                                         "tracking-table-max-keys"};
  return std::find(std::begin(kNames), std::end(kNames), name) != std::end(kNames);
}

}  // namespace

// What is noted of commands and keys for clients and operators.
base::Status Server::SetObservation(std::string_view name, std::string_view value) {
  command::Observations& observed = observations();
  if (name == "latency-tracking") {
    if (value != "yes" && value != "no") return base::Invalid("argument must be 'yes' or 'no'");
    observed.tracks_latency = value == "yes";
    return {};
  }
  const int64_t low = name == "slowlog-log-slower-than" ? -1 : 0;
  const auto high = name == "slowlog-max-len" || name == "acllog-max-len" ? static_cast<int64_t>(kSlowlogMax) : INT64_MAX;
  const std::optional<int64_t> number = base::ParseInt64(value);
  if (!number) return base::Invalid("argument couldn't be parsed into an integer");
  if (*number < low || *number > high) {
    return base::Invalid("argument must be between " + std::to_string(low) + " and " + std::to_string(high) +
                         " inclusive");
  }
  if (name == "slowlog-log-slower-than") observed.slowlog.micros_min = *number;
  if (name == "acllog-max-len") engine_->users().log().SetSize(static_cast<size_t>(*number));
  if (name == "slowlog-max-len") observed.slowlog.SetSize(static_cast<size_t>(*number));
  if (name == "latency-monitor-threshold") observed.latency.millis_min = *number;
  if (name == "tracking-table-max-keys") engine_->tracking().SetKeysMax(static_cast<size_t>(*number));
  return {};
}

base::Status Server::ConfigSet(std::string_view name, std::string_view value) {
  if (name == "requirepass") {
    if (base::Status fits = CheckPasswordSetting(config_, value); !fits.ok()) return fits;
    if (engine_->users().default_is_shared()) {
      return base::Invalid("the user 'default' was set by ACL SETUSER, for all leaders: change its password with ACL SETUSER default");
    }
    config_.requirepass = value;
    engine_->users().SetLocalPassword(value);
    return {};
  }
  if (name == "acl-pubsub-default") {
    if (value != "allchannels" && value != "resetchannels")
      return base::Invalid("argument(s) must be one of the following: allchannels, resetchannels");
    engine_->users().SetNewUsersHearAll(value == "allchannels");
    return {};
  }
  if (name == "notify-keyspace-events") {
    const std::optional<uint32_t> notices = command::ParseNotices(value);
    if (!notices) {
      return base::Invalid("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.");
    }
    engine_->SetNotices(*notices);
    return {};
  }
  if (IsObservation(name)) return SetObservation(name, value);
  if (name == "busy-reply-threshold" || name == "lua-time-limit") {
    constexpr int64_t kMsMax = 60'000;
    const std::optional<int64_t> ms = base::ParseInt64(value);
    if (!ms || *ms < 1 || *ms > kMsMax) {
      return base::Invalid("argument must be a number of milliseconds from 1 to " + std::to_string(kMsMax) +
                           ": longer scripts are ended");
    }
    script_ms_max_ = *ms;
    return {};
  }
  if (name == "appendfsync" || name == "durability") {
    auto durability = ParseDurability(std::string(value));
    if (!durability.ok()) return durability.status();
    engine_->SetDurability(*durability);
    return {};
  }
  if (name == "conflict-log-bytes" || name == "conflict-log-entries" ||
      name == "conflict-log-age") {
    auto number = base::ParseInt64(value);
    if (!number || *number < 0) return base::Invalid("argument must be a number of 0 or more");
    if (name == "conflict-log-age" && *number > kConflictLogAgeMaxS) {
      return base::Invalid("argument must be a number of seconds, at most " +
                           std::to_string(kConflictLogAgeMaxS));
    }
    conflict::Ledger::Limits limits = engine_->ledger().limits();
    if (name == "conflict-log-bytes") limits.bytes_max = static_cast<size_t>(*number);
    if (name == "conflict-log-entries") limits.entries_max = static_cast<size_t>(*number);
    if (name == "conflict-log-age") limits.age_ms_max = *number * 1000;
    engine_->ledger().SetLimits(limits);
    return {};
  }
  if (remembered().Has(name)) return remembered().Set(name, value);
  // To set what cannot be changed to what it is changes nothing.
  const auto present = ConfigGet(name);
  if (present.size() == 1 && present[0].second == value) return {};
  return base::Invalid("can't set immutable config");
}

void Server::ConfigResetStat() {
  commands_base_ = commands_;
  connections_base_ = loop_->stats().clients_received;
  loop_->ForgetLongestTick();
  observations().ResetStatistics();
}

void Server::InfoSection(std::string_view section, std::string& out) {
  auto line = [&](const char* name, const std::string& value) {
    out += std::string(name) + ":" + value + "\n";
  };
  using Kind = command::Subscriptions::Kind;
  const net::LoopStats& stats = loop_->stats();
  if (section == "server") {
    const int64_t uptime_s = (WallMicros() / 1000 - config_.clock_offset_ms - started_ms_) / 1000;
    line("redis_git_sha1", "00000000");  // as of a release's sources
    line("redis_git_dirty", "0");
    line("os", "Linux");
    line("multiplexing_api", "epoll");
    line("arch_bits", "64");
    line("process_id", std::to_string(getpid()));
    line("run_id",
         clock::Origin{"", engine_->replica().nonce()}.ToString().substr(1) +
             clock::Origin{"", engine_->replica().incarnation()}.ToString().substr(1) + "00000000");
    line("tcp_port", std::to_string(config_.port));
    line("peer_port", std::to_string(config_.peer_port));
    line("http_port", std::to_string(config_.http_port));
    line("server_time_usec", std::to_string(WallMicros()));
    line("uptime_in_seconds", std::to_string(uptime_s));
    line("uptime_in_days", std::to_string(uptime_s / 86400));
    line("durability", DurabilityName(engine_->durability()));
  } else if (section == "clients") {
    line("connected_clients", std::to_string(clients_.size()));
    line("maxclients", std::to_string(loop_->maxclients()));
    line("blocked_clients", std::to_string(engine_->blocked_clients()));
    line("tracking_clients", std::to_string(engine_->tracking().clients()));
    line("pubsub_clients", std::to_string(engine_->subscriptions().clients()));
  } else if (section == "memory") {
    const uint64_t resident = ResidentBytes();
    const uint64_t used = engine_->keys().memory_bytes();
    line("used_memory", std::to_string(used));
    line("used_memory_human", Human(used));
    line("used_memory_rss", std::to_string(resident));
    line("used_memory_rss_human", Human(resident));
    line("used_memory_dataset", std::to_string(used));
    line("maxmemory", "0");
    line("maxmemory_human", "0B");
    line("maxmemory_policy", "noeviction");
  } else if (section == "stats") {
    line("total_connections_received", std::to_string(stats.clients_received - connections_base_));
    line("total_commands_processed", std::to_string(commands_ - commands_base_));
    line("total_net_input_bytes", std::to_string(stats.net_input_bytes));
    line("total_net_output_bytes", std::to_string(stats.net_output_bytes));
    line("rejected_connections", std::to_string(stats.clients_rejected));
    line("protocol_errors", std::to_string(stats.protocol_errors));
    line("client_output_buffer_limit_disconnections", std::to_string(stats.output_limit_closes));
    line("client_query_buffer_limit_disconnections", std::to_string(stats.input_limit_closes));
    line("pubsub_channels", std::to_string(engine_->subscriptions().names(Kind::kChannel)));
    line("pubsub_patterns", std::to_string(engine_->subscriptions().names(Kind::kPattern)));
    line("pubsubshard_channels", std::to_string(engine_->subscriptions().names(Kind::kShard)));
    line("pubsub_limit_disconnections", std::to_string(stats.push_limit_closes));
    line("tracking_total_keys", std::to_string(engine_->tracking().keys()));
    line("tracking_total_items", std::to_string(engine_->tracking().items()));
    line("tracking_total_prefixes", std::to_string(engine_->tracking().prefixes()));
    line("link_errors", std::to_string(stats.link_errors));
    line("counters_saturated", std::to_string(engine_->keys().stats().saturated));
    line("ticks", std::to_string(stats.ticks));
    line("longest_tick_us", std::to_string(stats.longest_tick_us));
  } else if (section == "persistence") {
    backups_->Info(out);
  } else if (section == "cpu") {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    auto seconds = [](const timeval& t) {
      char text[32];
      std::snprintf(text,
                    sizeof text,
                    "%lld.%06lld",
                    static_cast<long long>(t.tv_sec),    // NOLINT
                    static_cast<long long>(t.tv_usec));  // NOLINT
      return std::string(text);
    };
    line("used_cpu_sys", seconds(usage.ru_stime));
    line("used_cpu_user", seconds(usage.ru_utime));
  }
}

}  // namespace polyarch::server
