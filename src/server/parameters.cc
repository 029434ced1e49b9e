// CONFIG, and INFO's sections about the process.
#include <algorithm>
#include <cstdio>
#include <dlfcn.h>
#include <filesystem>
#include <fstream>
#include <limits>
#include <sys/resource.h>
#include <unistd.h>

#include "base/glob.h"
#include "base/number.h"
#include "command/notify.h"
#include "server/logging.h"
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

std::string Fixed(double value) {
  char text[64];
  std::snprintf(text, sizeof text, "%.2f", value);
  return text;
}

// "jemalloc-5.3.0". It is asked for by name: only the program is linked with it, no test is.
std::string Allocator() {
  using Mallctl = int (*)(const char*, void*, size_t*, void*, size_t);
  const auto mallctl = reinterpret_cast<Mallctl>(dlsym(RTLD_DEFAULT, "mallctl"));
  const char* version = nullptr;
  size_t size = sizeof version;
  if (mallctl == nullptr || mallctl("version", &version, &size, nullptr, 0) != 0) return "libc";
  const std::string_view text = version;
  return "jemalloc-" + std::string(text.substr(0, text.find('-')));
}

uint64_t SystemBytes() {
  const long pages = sysconf(_SC_PHYS_PAGES);  // NOLINT: sysconf
  return pages < 0 ? 0 : static_cast<uint64_t>(pages) * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
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
  all["tracking-table-max-keys"] = std::to_string(engine_->tracking().keys_max());
  all["port"] = std::to_string(config_.port);
  all["peer-port"] = std::to_string(config_.peer_port);
  all["http-port"] = std::to_string(config_.http_port);
  all["unixsocket"] = config_.unix_socket;
  all["tls-port"] = std::to_string(config_.tls_port);
  all["tls-cert-file"] = config_.tls_cert_file;
  all["tls-key-file"] = config_.tls_key_file;
  all["tls-ca-cert-file"] = config_.tls_ca_cert_file;
  all["tls-ca-cert-dir"] = config_.tls_ca_cert_dir;
  all["tls-auth-clients"] = config_.tls_auth_clients;
  all["tls-peers"] = config_.tls_peers;
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
    if (base::Status fits = remembered().Set(name, value); !fits.ok()) return fits;
    observed.tracks_latency = remembered().Of(name) == "yes";
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

void Server::SetClientLimits() {
  auto limit = [&](std::string_view of) {
    const std::array<int64_t, 3> words = remembered().OutputLimit(of);
    return net::OutputLimit{
        static_cast<size_t>(words[0]), static_cast<size_t>(words[1]), static_cast<int>(words[2])};
  };
  loop_->SetOutputLimits(limit("normal"), limit("pubsub"));
  loop_->SetTcpKeepalive(static_cast<int>(base::ParseInt64(remembered().Of("tcp-keepalive")).value_or(0)));
  loop_->SetIdleLimit(base::ParseInt64(remembered().Of("timeout")).value_or(0));
}

base::Status Server::ConfigSet(std::string_view name, std::string_view value) {
  if (name == "requirepass") {
    if (engine_->users().default_is_shared()) {
      return base::Invalid("the user 'default' was set by ACL SETUSER, for all leaders: change its password with ACL SETUSER default");
    }
    // Whether it fits depends on tls-auth-clients, which may be set behind it.
    config_.requirepass = value;
    password_changed_ = true;
    return {};
  }
  if (name == "acl-pubsub-default") {
    if (base::Status fits = remembered().Set(name, value); !fits.ok()) return fits;
    engine_->users().SetNewUsersHearAll(remembered().Of(name) == "allchannels");
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
  if (name.starts_with("tls-") && name != "tls-port" && name != "tls-peers") return SetTls(name, value);
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
    const bool as_redis = name == "appendfsync";
    if (as_redis) {
      if (base::Status fits = remembered().Set(name, value); !fits.ok()) return fits;
    }
    auto durability = ParseDurability(as_redis ? remembered().Of(name) : std::string(value));
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
  if (command::Remembered::IsOfMemory(name)) {
    if (base::Status fits = remembered().Set(name, value); !fits.ok()) return fits;
    engine_->SetMemoryLimit(remembered().memory_limit());
    return {};
  }
  if (name == "client-output-buffer-limit" || name == "tcp-keepalive" || name == "timeout") {
    if (base::Status fits = remembered().Set(name, value); !fits.ok()) return fits;
    SetClientLimits();
    return {};
  }
  if (name == "maxclients") {
    constexpr int64_t kClientsMax = std::numeric_limits<int32_t>::max();  // as --maxclients takes files, and Redis
    const std::optional<int64_t> count = base::ParseInt64(value);
    if (!count || *count < 1 || *count > kClientsMax)
      return base::Invalid("argument must be between 1 and " + std::to_string(kClientsMax) + " inclusive");
    const size_t possible = loop_->SetMaxclients(static_cast<size_t>(*count));
    if (possible < static_cast<size_t>(*count)) {
      return base::Invalid("The operating system is not able to handle the specified number of clients, try with " +
                           std::to_string(possible));
    }
    config_.maxclients = static_cast<size_t>(*count);
    return {};
  }
  if (remembered().Has(name)) return remembered().Set(name, value);
  return RefuseFixed(name, value);
}

base::Status Server::ConfigMayChange(std::string_view name, std::string_view value) {
  constexpr std::string_view kFixed[] = {"advertise", "bind", "databases", "dir", "enable-debug-command", "http-port",
                                         "log-quota", "max-bulk", "max-clock-skew", "peer-port", "port",
                                         "proto-max-bulk-len", "residue-quota", "tls-peers", "tls-port"};
  if (std::find(std::begin(kFixed), std::end(kFixed), name) != std::end(kFixed)) return RefuseFixed(name, value);
  return ServerHost::ConfigMayChange(name, value);
}

// To set what cannot be changed to what it is changes nothing.
base::Status Server::RefuseFixed(std::string_view name, std::string_view value) {
  const auto present = ConfigGet(name);
  if (present.size() == 1 && present[0].second == value) return {};
  return base::Invalid(name == "dir" ? "can't set protected config" : "can't set immutable config");
}

// What INFO tells of the last seconds. Each tick; an idle process has ticks, too.
void Server::Measure() {
  memory_peak_ = std::max<uint64_t>(memory_peak_, engine_->keys().used_bytes());
  if (now_.mono_us < rates_.due_us) return;
  rates_.due_us = now_.mono_us + command::Rate::kSampleUs;
  rates_.commands.Sample(commands_, now_.mono_us);
  rates_.input.Sample(loop_->stats().net_input_bytes, now_.mono_us);
  rates_.output.Sample(loop_->stats().net_output_bytes, now_.mono_us);
}

void Server::ResetRates() {
  rates_.due_us = now_.mono_us + command::Rate::kSampleUs;
  rates_.commands.Reset(commands_, now_.mono_us);
  rates_.input.Reset(loop_->stats().net_input_bytes, now_.mono_us);
  rates_.output.Reset(loop_->stats().net_output_bytes, now_.mono_us);
}

void Server::ConfigResetStat() {
  commands_base_ = commands_;
  stats_base_ = loop_->stats();
  ResetRates();
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
    line("tcp_port", std::to_string(config_.has_plain_port() ? config_.port : config_.tls_port));
    line("peer_port", std::to_string(config_.peer_port));
    line("http_port", std::to_string(config_.http_port));
    line("server_time_usec", std::to_string(WallMicros()));
    line("uptime_in_seconds", std::to_string(uptime_s));
    line("uptime_in_days", std::to_string(uptime_s / 86400));
    // What is done on time is looked for at least so often a second.
    line("hz", std::to_string(1000 / loop_->timer_ms()));
    line("configured_hz", remembered().Of("hz"));
    std::error_code none;
    line("executable", std::filesystem::read_symlink("/proc/self/exe", none).string());
    line("config_file", config_.file);
    line("durability", DurabilityName(engine_->durability()));
  } else if (section == "clients") {
    // Those that were killed in this turn are closed at its end.
    line("connected_clients", std::to_string(std::count_if(clients_.begin(), clients_.end(), [](const auto& entry) {
           return !entry.second->client.gone;
         })));
    line("maxclients", std::to_string(loop_->maxclients()));
    line("blocked_clients", std::to_string(engine_->blocked_clients()));
    line("tracking_clients", std::to_string(engine_->tracking().clients()));
    line("pubsub_clients", std::to_string(engine_->subscriptions().clients()));
  } else if (section == "memory") {
    const uint64_t resident = ResidentBytes();
    const uint64_t used = engine_->keys().used_bytes();
    const command::MemoryLimit& limit = engine_->eviction().limit();
    memory_peak_ = std::max(memory_peak_, used);
    const uint64_t system = SystemBytes();
    line("used_memory", std::to_string(used));
    line("used_memory_human", Human(used));
    line("used_memory_rss", std::to_string(resident));
    line("used_memory_rss_human", Human(resident));
    line("used_memory_peak", std::to_string(memory_peak_));
    line("used_memory_peak_human", Human(memory_peak_));
    if (memory_peak_ != 0)
      line("used_memory_peak_perc", Fixed(100 * static_cast<double>(used) / static_cast<double>(memory_peak_)) + "%");
    line("used_memory_overhead", std::to_string(engine_->keys().overhead_bytes()));
    line("used_memory_dataset", std::to_string(engine_->keys().memory_bytes()));
    line("total_system_memory", std::to_string(system));
    line("total_system_memory_human", Human(system));
    line("maxmemory", std::to_string(limit.bytes));
    line("maxmemory_human", Human(limit.bytes));
    line("maxmemory_policy", limit.policy);
    // What the process has beside keys and values is in it: of few keys it is large.
    if (used != 0) line("mem_fragmentation_ratio", Fixed(static_cast<double>(resident) / static_cast<double>(used)));
    line("mem_fragmentation_bytes", std::to_string(static_cast<int64_t>(resident) - static_cast<int64_t>(used)));
    line("mem_allocator", Allocator());
  } else if (section == "stats") {
    // Since the start, or since CONFIG RESETSTAT.
    auto count = [&](const char* name, uint64_t net::LoopStats::* counter) {
      line(name, std::to_string(stats.*counter - stats_base_.*counter));
    };
    count("total_connections_received", &net::LoopStats::clients_received);
    line("log_lines_dropped", std::to_string(LogLinesDropped()));
    line("total_commands_processed", std::to_string(commands_ - commands_base_));
    line("instantaneous_ops_per_sec", std::to_string(rates_.commands.per_second()));
    count("total_net_input_bytes", &net::LoopStats::net_input_bytes);
    count("total_net_output_bytes", &net::LoopStats::net_output_bytes);
    line("instantaneous_input_kbps", Fixed(static_cast<double>(rates_.input.per_second()) / 1024));
    line("instantaneous_output_kbps", Fixed(static_cast<double>(rates_.output.per_second()) / 1024));
    count("total_reads_processed", &net::LoopStats::reads);
    count("total_writes_processed", &net::LoopStats::writes);
    count("rejected_connections", &net::LoopStats::clients_rejected);
    count("protocol_errors", &net::LoopStats::protocol_errors);
    count("client_output_buffer_limit_disconnections", &net::LoopStats::output_limit_closes);
    count("client_query_buffer_limit_disconnections", &net::LoopStats::input_limit_closes);
    line("pubsub_channels", std::to_string(engine_->subscriptions().names(Kind::kChannel)));
    line("pubsub_patterns", std::to_string(engine_->subscriptions().names(Kind::kPattern)));
    line("pubsubshard_channels", std::to_string(engine_->subscriptions().names(Kind::kShard)));
    count("pubsub_limit_disconnections", &net::LoopStats::push_limit_closes);
    line("tracking_total_keys", std::to_string(engine_->tracking().keys()));
    line("tracking_total_items", std::to_string(engine_->tracking().items()));
    line("tracking_total_prefixes", std::to_string(engine_->tracking().prefixes()));
    count("link_errors", &net::LoopStats::link_errors);
    count("tls_handshakes", &net::LoopStats::tls_handshakes);
    count("tls_handshakes_failed", &net::LoopStats::tls_handshakes_failed);
    line("counters_saturated", std::to_string(engine_->keys().stats().saturated));
    count("ticks", &net::LoopStats::ticks);
    line("longest_tick_us", std::to_string(stats.longest_tick_us));
  } else if (section == "persistence") {
    backups_->Info(out);
  } else if (section == "cpu") {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    rusage children{};
    getrusage(RUSAGE_CHILDREN, &children);
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
    line("used_cpu_sys_children", seconds(children.ru_stime));
    line("used_cpu_user_children", seconds(children.ru_utime));
  }
}

}  // namespace polyarch::server
