#include "command/remembered.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <climits>
#include <cstdio>
#include <optional>

#include "base/check.h"
#include "base/number.h"
#include "command/support.h"

namespace polyarch::command {
namespace {

enum class Kind : unsigned char {
  kText,
  kYesNo,
  kNumber,
  kOctal,
  kBytes,           // "100mb" is 104857600
  kBytesOrPercent,  // or "5%"
  kChoice,
  kChoices,         // one or more words
  kSave,
  kOutputLimits,
  kScores,
  kPercentiles,
};

struct Parameter {
  std::string_view name;
  std::string_view other;  // the name that it had once
  std::string_view initial;
  Kind kind = Kind::kText;
  int64_t low = 0;
  int64_t high = 0;
  std::string_view choices;  // words
  bool fixed = false;        // may not be changed
  bool guarded = false;      // may be changed under `enable-protected-configs` alone, which is fixed to "no"
  bool hidden = false;       // shown to those only who know its name
};

constexpr int64_t kIntMin = INT_MIN;
constexpr int64_t kIntMax = INT_MAX;

// As of Redis 7.0.15, initial values included: but there are no snapshots by time (save), and there is a log
// (appendonly).
// clang-format off: a row is a line
constexpr Parameter kParameters[] = {
    {.name = "acl-pubsub-default", .initial = "resetchannels", .kind = Kind::kChoice, .choices = "allchannels resetchannels"},
    {.name = "aclfile", .initial = "", .kind = Kind::kText, .fixed = true},
    {.name = "acllog-max-len", .initial = "128", .kind = Kind::kNumber, .high = INT64_MAX},
    {.name = "active-defrag-cycle-max", .initial = "25", .kind = Kind::kNumber, .low = 1, .high = 99},
    {.name = "active-defrag-cycle-min", .initial = "1", .kind = Kind::kNumber, .low = 1, .high = 99},
    {.name = "active-defrag-ignore-bytes", .initial = "104857600", .kind = Kind::kBytes, .low = 1, .high = INT64_MAX},
    {.name = "active-defrag-max-scan-fields", .initial = "1000", .kind = Kind::kNumber, .low = 1, .high = INT64_MAX},
    {.name = "active-defrag-threshold-lower", .initial = "10", .kind = Kind::kNumber, .high = 1000},
    {.name = "active-defrag-threshold-upper", .initial = "100", .kind = Kind::kNumber, .high = 1000},
    {.name = "active-expire-effort", .initial = "1", .kind = Kind::kNumber, .low = 1, .high = 10},
    {.name = "activedefrag", .initial = "no", .kind = Kind::kYesNo},
    {.name = "activerehashing", .initial = "yes", .kind = Kind::kYesNo},
    {.name = "always-show-logo", .initial = "no", .kind = Kind::kYesNo, .fixed = true},
    {.name = "aof-disable-auto-gc", .initial = "no", .kind = Kind::kYesNo},
    {.name = "aof-load-truncated", .initial = "yes", .kind = Kind::kYesNo},
    {.name = "aof-rewrite-incremental-fsync", .initial = "yes", .kind = Kind::kYesNo},
    {.name = "aof-timestamp-enabled", .initial = "no", .kind = Kind::kYesNo},
    {.name = "aof-use-rdb-preamble", .initial = "yes", .kind = Kind::kYesNo},
    {.name = "aof_rewrite_cpulist", .initial = "", .kind = Kind::kText, .fixed = true},
    {.name = "appenddirname", .initial = "appendonlydir", .kind = Kind::kText, .fixed = true},
    {.name = "appendfilename", .initial = "appendonly.aof", .kind = Kind::kText, .fixed = true},
    {.name = "appendfsync", .initial = "everysec", .kind = Kind::kChoice, .choices = "everysec always no"},
    {.name = "appendonly", .initial = "yes", .kind = Kind::kYesNo},
    {.name = "auto-aof-rewrite-min-size", .initial = "67108864", .kind = Kind::kBytes, .high = INT64_MAX},
    {.name = "auto-aof-rewrite-percentage", .initial = "100", .kind = Kind::kNumber, .high = kIntMax},
    {.name = "bgsave_cpulist", .initial = "", .kind = Kind::kText, .fixed = true},
    {.name = "bind-source-addr", .initial = "", .kind = Kind::kText},
    {.name = "bio_cpulist", .initial = "", .kind = Kind::kText, .fixed = true},
    {.name = "client-output-buffer-limit", .initial = "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60", .kind = Kind::kOutputLimits},
    {.name = "client-query-buffer-limit", .initial = "1073741824", .kind = Kind::kBytes, .low = 1 << 20, .high = INT64_MAX},
    {.name = "cluster-allow-pubsubshard-when-down", .initial = "yes", .kind = Kind::kYesNo},
    {.name = "cluster-allow-reads-when-down", .initial = "no", .kind = Kind::kYesNo},
    {.name = "cluster-allow-replica-migration", .initial = "yes", .kind = Kind::kYesNo},
    {.name = "cluster-announce-bus-port", .initial = "0", .kind = Kind::kNumber, .high = 65535},
    {.name = "cluster-announce-hostname", .initial = "", .kind = Kind::kText},
    {.name = "cluster-announce-ip", .initial = "", .kind = Kind::kText},
    {.name = "cluster-announce-port", .initial = "0", .kind = Kind::kNumber, .high = 65535},
    {.name = "cluster-announce-tls-port", .initial = "0", .kind = Kind::kNumber, .high = 65535},
    {.name = "cluster-config-file", .initial = "nodes.conf", .kind = Kind::kText, .fixed = true},
    {.name = "cluster-enabled", .initial = "no", .kind = Kind::kYesNo, .fixed = true},
    {.name = "cluster-link-sendbuf-limit", .initial = "0", .kind = Kind::kBytes, .high = INT64_MAX},
    {.name = "cluster-migration-barrier", .initial = "1", .kind = Kind::kNumber, .high = kIntMax},
    {.name = "cluster-node-timeout", .initial = "15000", .kind = Kind::kNumber, .high = INT64_MAX},
    {.name = "cluster-port", .initial = "0", .kind = Kind::kNumber, .high = 65535, .fixed = true},
    {.name = "cluster-preferred-endpoint-type", .initial = "ip", .kind = Kind::kChoice, .choices = "ip hostname unknown-endpoint"},
    {.name = "cluster-replica-no-failover", .other = "cluster-slave-no-failover", .initial = "no", .kind = Kind::kYesNo},
    {.name = "cluster-replica-validity-factor", .other = "cluster-slave-validity-factor", .initial = "10", .kind = Kind::kNumber, .high = kIntMax},
    {.name = "cluster-require-full-coverage", .initial = "yes", .kind = Kind::kYesNo},
    {.name = "crash-log-enabled", .initial = "yes", .kind = Kind::kYesNo},
    {.name = "crash-memcheck-enabled", .initial = "yes", .kind = Kind::kYesNo},
    {.name = "daemonize", .initial = "no", .kind = Kind::kYesNo, .fixed = true},
    {.name = "dbfilename", .initial = "dump.rdb", .kind = Kind::kText, .guarded = true},
    {.name = "disable-thp", .initial = "yes", .kind = Kind::kYesNo, .fixed = true},
    {.name = "dynamic-hz", .initial = "yes", .kind = Kind::kYesNo},
    {.name = "enable-module-command", .initial = "no", .kind = Kind::kChoice, .choices = "no yes local", .fixed = true},
    {.name = "enable-protected-configs", .initial = "no", .kind = Kind::kChoice, .choices = "no yes local", .fixed = true},
    {.name = "hash-max-listpack-entries", .other = "hash-max-ziplist-entries", .initial = "512", .kind = Kind::kNumber, .high = INT64_MAX},
    {.name = "hash-max-listpack-value", .other = "hash-max-ziplist-value", .initial = "64", .kind = Kind::kBytes, .high = INT64_MAX},
    {.name = "hll-sparse-max-bytes", .initial = "3000", .kind = Kind::kBytes, .high = INT64_MAX},
    {.name = "hz", .initial = "10", .kind = Kind::kNumber, .high = kIntMax},
    {.name = "ignore-warnings", .initial = "", .kind = Kind::kText},
    {.name = "io-threads", .initial = "1", .kind = Kind::kNumber, .low = 1, .high = 128, .fixed = true},
    {.name = "io-threads-do-reads", .initial = "no", .kind = Kind::kYesNo, .fixed = true},
    {.name = "jemalloc-bg-thread", .initial = "yes", .kind = Kind::kYesNo},
    {.name = "key-load-delay", .initial = "0", .kind = Kind::kNumber, .low = kIntMin, .high = kIntMax, .hidden = true},
    {.name = "latency-tracking", .initial = "yes", .kind = Kind::kYesNo},
    {.name = "latency-tracking-info-percentiles", .initial = "50 99 99.9", .kind = Kind::kPercentiles},
    {.name = "lazyfree-lazy-eviction", .initial = "no", .kind = Kind::kYesNo},
    {.name = "lazyfree-lazy-expire", .initial = "no", .kind = Kind::kYesNo},
    {.name = "lazyfree-lazy-server-del", .initial = "no", .kind = Kind::kYesNo},
    {.name = "lazyfree-lazy-user-del", .initial = "no", .kind = Kind::kYesNo},
    {.name = "lazyfree-lazy-user-flush", .initial = "no", .kind = Kind::kYesNo},
    {.name = "lfu-decay-time", .initial = "1", .kind = Kind::kNumber, .high = kIntMax},
    {.name = "lfu-log-factor", .initial = "10", .kind = Kind::kNumber, .high = kIntMax},
    {.name = "list-compress-depth", .initial = "0", .kind = Kind::kNumber, .high = kIntMax},
    {.name = "list-max-listpack-size", .other = "list-max-ziplist-size", .initial = "-2", .kind = Kind::kNumber, .low = kIntMin, .high = kIntMax},
    {.name = "loading-process-events-interval-bytes", .initial = "2097152", .kind = Kind::kNumber, .low = 1024, .high = kIntMax, .hidden = true},
    {.name = "logfile", .initial = "", .kind = Kind::kText, .fixed = true},
    {.name = "loglevel", .initial = "notice", .kind = Kind::kChoice, .choices = "debug verbose notice warning"},
    {.name = "masterauth", .initial = "", .kind = Kind::kText},
    {.name = "masteruser", .initial = "", .kind = Kind::kText},
    {.name = "maxmemory", .initial = "0", .kind = Kind::kBytes, .high = INT64_MAX},
    {.name = "maxmemory-clients", .initial = "0", .kind = Kind::kBytesOrPercent, .low = -100, .high = INT64_MAX},
    {.name = "maxmemory-eviction-tenacity", .initial = "10", .kind = Kind::kNumber, .high = 100},
    {.name = "maxmemory-policy", .initial = "noeviction", .kind = Kind::kChoice, .choices = "volatile-lru volatile-lfu volatile-random volatile-ttl allkeys-lru allkeys-lfu allkeys-random noeviction"},
    {.name = "maxmemory-samples", .initial = "5", .kind = Kind::kNumber, .low = 1, .high = kIntMax},
    {.name = "min-replicas-max-lag", .other = "min-slaves-max-lag", .initial = "10", .kind = Kind::kNumber, .high = kIntMax},
    {.name = "min-replicas-to-write", .other = "min-slaves-to-write", .initial = "0", .kind = Kind::kNumber, .high = kIntMax},
    {.name = "no-appendfsync-on-rewrite", .initial = "no", .kind = Kind::kYesNo},
    {.name = "oom-score-adj", .initial = "no", .kind = Kind::kChoice, .choices = "no yes relative absolute"},
    {.name = "oom-score-adj-values", .initial = "0 200 800", .kind = Kind::kScores},
    {.name = "pidfile", .initial = "", .kind = Kind::kText, .fixed = true},
    {.name = "proc-title-template", .initial = "{title} {listen-addr} {server-mode}", .kind = Kind::kText},
    {.name = "propagation-error-behavior", .initial = "ignore", .kind = Kind::kChoice, .choices = "ignore panic panic-on-replicas"},
    {.name = "protected-mode", .initial = "yes", .kind = Kind::kYesNo},
    {.name = "rdb-del-sync-files", .initial = "no", .kind = Kind::kYesNo},
    {.name = "rdb-key-save-delay", .initial = "0", .kind = Kind::kNumber, .low = kIntMin, .high = kIntMax, .hidden = true},
    {.name = "rdb-save-incremental-fsync", .initial = "yes", .kind = Kind::kYesNo},
    {.name = "rdbchecksum", .initial = "yes", .kind = Kind::kYesNo, .fixed = true},
    {.name = "rdbcompression", .initial = "yes", .kind = Kind::kYesNo},
    {.name = "repl-backlog-size", .initial = "1048576", .kind = Kind::kBytes, .low = 1, .high = INT64_MAX},
    {.name = "repl-backlog-ttl", .initial = "3600", .kind = Kind::kNumber, .high = INT64_MAX},
    {.name = "repl-disable-tcp-nodelay", .initial = "no", .kind = Kind::kYesNo},
    {.name = "repl-diskless-load", .initial = "disabled", .kind = Kind::kChoice, .choices = "disabled on-empty-db swapdb"},
    {.name = "repl-diskless-sync", .initial = "yes", .kind = Kind::kYesNo},
    {.name = "repl-diskless-sync-delay", .initial = "5", .kind = Kind::kNumber, .high = kIntMax},
    {.name = "repl-diskless-sync-max-replicas", .initial = "0", .kind = Kind::kNumber, .high = kIntMax},
    {.name = "repl-ping-replica-period", .other = "repl-ping-slave-period", .initial = "10", .kind = Kind::kNumber, .low = 1, .high = kIntMax},
    {.name = "repl-timeout", .initial = "60", .kind = Kind::kNumber, .low = 1, .high = kIntMax},
    {.name = "replica-announce-ip", .other = "slave-announce-ip", .initial = "", .kind = Kind::kText},
    {.name = "replica-announce-port", .other = "slave-announce-port", .initial = "0", .kind = Kind::kNumber, .high = 65535},
    {.name = "replica-announced", .initial = "yes", .kind = Kind::kYesNo},
    {.name = "replica-ignore-disk-write-errors", .initial = "no", .kind = Kind::kYesNo},
    {.name = "replica-ignore-maxmemory", .other = "slave-ignore-maxmemory", .initial = "yes", .kind = Kind::kYesNo},
    {.name = "replica-lazy-flush", .other = "slave-lazy-flush", .initial = "no", .kind = Kind::kYesNo},
    {.name = "replica-priority", .other = "slave-priority", .initial = "100", .kind = Kind::kNumber, .high = kIntMax},
    {.name = "replica-read-only", .other = "slave-read-only", .initial = "yes", .kind = Kind::kYesNo},
    {.name = "replica-serve-stale-data", .other = "slave-serve-stale-data", .initial = "yes", .kind = Kind::kYesNo},
    {.name = "replicaof", .other = "slaveof", .initial = "", .kind = Kind::kText, .fixed = true},
    {.name = "sanitize-dump-payload", .initial = "no", .kind = Kind::kChoice, .choices = "no yes clients"},
    {.name = "save", .initial = "", .kind = Kind::kSave},
    {.name = "server_cpulist", .initial = "", .kind = Kind::kText, .fixed = true},
    {.name = "set-max-intset-entries", .initial = "512", .kind = Kind::kNumber, .high = INT64_MAX},
    {.name = "set-proc-title", .initial = "yes", .kind = Kind::kYesNo, .fixed = true},
    {.name = "shutdown-on-sigint", .initial = "default", .kind = Kind::kChoices, .choices = "default save nosave now force"},
    {.name = "shutdown-on-sigterm", .initial = "default", .kind = Kind::kChoices, .choices = "default save nosave now force"},
    {.name = "shutdown-timeout", .initial = "10", .kind = Kind::kNumber, .high = kIntMax},
    {.name = "socket-mark-id", .initial = "0", .kind = Kind::kNumber, .high = UINT32_MAX, .fixed = true},
    {.name = "stop-writes-on-bgsave-error", .initial = "yes", .kind = Kind::kYesNo},
    {.name = "stream-node-max-bytes", .initial = "4096", .kind = Kind::kBytes, .high = INT64_MAX},
    {.name = "stream-node-max-entries", .initial = "100", .kind = Kind::kNumber, .high = INT64_MAX},
    {.name = "supervised", .initial = "no", .kind = Kind::kChoice, .choices = "upstart systemd auto no", .fixed = true},
    {.name = "syslog-enabled", .initial = "no", .kind = Kind::kYesNo, .fixed = true},
    {.name = "syslog-facility", .initial = "local0", .kind = Kind::kChoice, .choices = "user local0 local1 local2 local3 local4 local5 local6 local7", .fixed = true},
    {.name = "syslog-ident", .initial = "redis", .kind = Kind::kText, .fixed = true},
    {.name = "tcp-backlog", .initial = "511", .kind = Kind::kNumber, .high = kIntMax, .fixed = true},
    {.name = "tcp-keepalive", .initial = "300", .kind = Kind::kNumber, .high = kIntMax},
    {.name = "timeout", .initial = "0", .kind = Kind::kNumber, .high = kIntMax},
    {.name = "unixsocket", .initial = "", .kind = Kind::kText, .fixed = true},
    {.name = "unixsocketperm", .initial = "0", .kind = Kind::kOctal, .high = 0777, .fixed = true},
    {.name = "use-exit-on-panic", .initial = "no", .kind = Kind::kYesNo, .hidden = true},
    {.name = "watchdog-period", .initial = "0", .kind = Kind::kNumber, .high = kIntMax, .hidden = true},
    {.name = "zset-max-listpack-entries", .other = "zset-max-ziplist-entries", .initial = "128", .kind = Kind::kNumber, .high = INT64_MAX},
    {.name = "zset-max-listpack-value", .other = "zset-max-ziplist-value", .initial = "64", .kind = Kind::kBytes, .high = INT64_MAX},
};
// clang-format on

const Parameter* Find(std::string_view name) {
  const auto* found = std::find_if(std::begin(kParameters), std::end(kParameters), [name](const Parameter& p) {
    return p.name == name || (!p.other.empty() && p.other == name);
  });
  return found == std::end(kParameters) ? nullptr : found;
}

std::vector<std::string_view> Words(std::string_view text) {
  std::vector<std::string_view> words;
  while (true) {
    const size_t begin = text.find_first_not_of(' ');
    if (begin == std::string_view::npos) return words;
    text.remove_prefix(begin);
    const std::string_view word = text.substr(0, text.find(' '));
    words.push_back(word);
    text.remove_prefix(word.size());
  }
}

// "12", "12b", "12k" (thousands), "12kb" (1024 each), and so on.
std::optional<int64_t> ParseBytes(std::string_view text) {
  constexpr std::array<std::pair<std::string_view, int64_t>, 8> kUnits = {{{"", 1},
                                                                           {"b", 1},
                                                                           {"k", 1000},
                                                                           {"kb", 1 << 10},
                                                                           {"m", 1'000'000},
                                                                           {"mb", 1 << 20},
                                                                           {"g", 1'000'000'000},
                                                                           {"gb", 1 << 30}}};
  size_t digits = 0;
  while (digits < text.size() && text[digits] >= '0' && text[digits] <= '9')
    ++digits;
  const std::string_view unit = text.substr(digits);
  const auto* found = std::find_if(kUnits.begin(), kUnits.end(), [unit](const auto& known) {
    return EqualsIgnoreCase(unit, known.first);
  });
  if (digits == 0 || found == kUnits.end()) return std::nullopt;
  const std::optional<int64_t> number = base::ParseInt64(text.substr(0, digits));
  if (!number || *number > INT64_MAX / found->second) return std::nullopt;
  return *number * found->second;
}

base::Result<std::string> InRange(const Parameter& p, int64_t value) {
  if (value >= p.low && value <= p.high) return base::FormatInt64(value);
  return base::Invalid("argument must be between " + base::FormatInt64(p.low) + " and " + base::FormatInt64(p.high) +
                       " inclusive");
}

base::Result<std::string> CheckNumber(const Parameter& p, std::string_view value) {
  const std::optional<int64_t> number = base::ParseInt64(value);
  if (!number) return base::Invalid("argument couldn't be parsed into an integer");
  return InRange(p, *number);
}

base::Result<std::string> CheckBytes(const Parameter& p, std::string_view value) {
  if (p.kind == Kind::kBytesOrPercent && value.ends_with('%')) {
    const std::optional<int64_t> percent = base::ParseInt64(value.substr(0, value.size() - 1));
    if (percent && *percent > 100) return base::Invalid("percentage argument must be less or equal to 100");
    if (percent && *percent >= 0) return base::FormatInt64(*percent) + "%";
  }
  if (const std::optional<int64_t> bytes = ParseBytes(value)) return InRange(p, *bytes);
  return base::Invalid(p.kind == Kind::kBytes ? "argument must be a memory value"
                                              : "argument must be a memory or percent value");
}

base::Result<std::string> CheckChoice(const Parameter& p, std::string_view value) {
  const std::vector<std::string_view> choices = Words(p.choices);
  const std::vector<std::string_view> given = Words(value);
  std::string chosen;
  for (std::string_view word : given) {
    const auto found = std::find_if(choices.begin(), choices.end(), [word](std::string_view choice) {
      return EqualsIgnoreCase(word, choice);
    });
    if (found == choices.end() || (p.kind == Kind::kChoice && given.size() > 1)) {
      chosen.clear();
      break;
    }
    chosen.append(chosen.empty() ? "" : " ").append(*found);
  }
  if (!chosen.empty()) return chosen;
  std::string line = "argument(s) must be one of the following: ";
  for (size_t i = 0; i < choices.size(); ++i)
    line.append(i == 0 ? "" : ", ").append(choices[i]);
  return base::Invalid(line);
}

// Pairs of seconds and changes; Redis does not let two spaces stand between them.
base::Result<std::string> CheckSave(std::string_view value) {
  const std::vector<std::string_view> words = Words(value);
  bool good = words.size() % 2 == 0 && value.find("  ") == std::string_view::npos;
  std::string text;
  for (size_t i = 0; good && i < words.size(); ++i) {
    const std::optional<int64_t> number = base::ParseInt64(words[i]);
    good = number && *number >= (i % 2 == 0 ? 1 : 0);
    text.append(i == 0 ? "" : " ").append(words[i]);
  }
  if (!good) return base::Invalid("Invalid save parameters");
  return text;
}

// Of each class hard and soft limit in bytes, and seconds. Classes that are not given stay as they are.
base::Result<std::string> CheckOutputLimits(std::string_view before, std::string_view value) {
  const std::vector<std::string_view> words = Words(value);
  if (words.size() % 4 != 0) return base::Invalid("Wrong number of arguments in buffer limit configuration.");
  const std::vector<std::string_view> present = Words(before);
  std::vector<std::string> next(present.begin(), present.end());
  for (size_t i = 0; i < words.size(); i += 4) {
    const std::string name = EqualsIgnoreCase(words[i], "replica") ? "slave" : ToLower(words[i]);
    const auto found = std::find(next.begin(), next.end(), name);
    // A limit is no class, whatever its text.
    if (found == next.end() || (found - next.begin()) % 4 != 0) return base::Invalid("Invalid client class specified in buffer limit configuration.");
    const std::optional<int64_t> hard = ParseBytes(words[i + 1]);
    const std::optional<int64_t> soft = ParseBytes(words[i + 2]);
    const std::optional<int64_t> seconds = base::ParseInt64(words[i + 3]);
    if (!hard || !soft || !seconds || *seconds < 0 || *seconds > kIntMax) {
      return base::Invalid("Error in hard, soft or soft_seconds setting in buffer limit configuration.");
    }
    found[1] = base::FormatInt64(*hard);
    found[2] = base::FormatInt64(*soft);
    found[3] = base::FormatInt64(*seconds);
  }
  std::string text;
  for (const std::string& word : next)
    text.append(text.empty() ? "" : " ").append(word);
  return text;
}

}  // namespace

std::array<int64_t, 3> Remembered::OutputLimit(std::string_view name) const {
  const std::vector<std::string_view> words = Words(Of("client-output-buffer-limit"));
  std::array<int64_t, 3> limit{};
  for (size_t i = 0; i + 3 < words.size(); i += 4) {
    if (words[i] != name) continue;
    for (size_t k = 0; k < limit.size(); ++k) limit[k] = base::ParseInt64(words[i + 1 + k]).value_or(0);
  }
  return limit;
}

namespace {

base::Result<std::string> CheckScores(std::string_view value) {
  constexpr int64_t kMax = 2000;
  const std::vector<std::string_view> words = Words(value);
  if (words.size() != 3) return base::Invalid("wrong number of arguments");
  std::string text;
  for (std::string_view word : words) {
    const std::optional<int64_t> number = base::ParseInt64(word);
    if (!number || *number < -kMax || *number > kMax) {
      return base::Invalid("Invalid oom-score-adj-values, elements must be between -2000 and 2000.");
    }
    text.append(text.empty() ? "" : " ").append(word);
  }
  return text;
}

// One space stands between two; nothing at all is none.
base::Result<std::string> CheckPercentiles(std::string_view value) {
  std::string text;
  for (bool more = !value.empty(); more;) {
    const size_t space = value.find(' ');
    const std::optional<long double> percent = base::ParseLongDouble(value.substr(0, space));
    if (!percent) return base::Invalid("Invalid latency-tracking-info-percentiles parameters");
    if (*percent < 0 || *percent > 100)
      return base::Invalid("latency-tracking-info-percentiles parameters should sit between [0.0,100.0]");
    char number[32];
    std::snprintf(number, sizeof number, "%f", static_cast<double>(*percent));
    std::string_view shown = number;
    shown = shown.substr(0, shown.find_last_not_of('0') + 1);
    if (shown.ends_with('.')) shown.remove_suffix(1);
    text.append(text.empty() ? "" : " ").append(shown);
    more = space != std::string_view::npos;
    if (more) value.remove_prefix(space + 1);
  }
  return text;
}

// `value` as it is remembered.
base::Result<std::string> Check(const Parameter& p, std::string_view before, std::string_view value) {
  switch (p.kind) {
    case Kind::kText:
      return std::string(value);
    case Kind::kYesNo:
      if (EqualsIgnoreCase(value, "yes") || EqualsIgnoreCase(value, "no")) return ToLower(value);
      return base::Invalid("argument must be 'yes' or 'no'");
    case Kind::kNumber:
    case Kind::kOctal:  // none that can be set
      return CheckNumber(p, value);
    case Kind::kBytes:
    case Kind::kBytesOrPercent:
      return CheckBytes(p, value);
    case Kind::kChoice:
    case Kind::kChoices:
      return CheckChoice(p, value);
    case Kind::kSave:
      return CheckSave(value);
    case Kind::kOutputLimits:
      return CheckOutputLimits(before, value);
    case Kind::kScores:
      return CheckScores(value);
    case Kind::kPercentiles:
      return CheckPercentiles(value);
  }
  return base::Invalid("cannot be set");
}

std::vector<std::pair<std::string, double>> Percentiles(std::string_view text) {
  std::vector<std::pair<std::string, double>> percentiles;
  for (std::string_view word : Words(text))
    percentiles.emplace_back(word, static_cast<double>(*base::ParseLongDouble(word)));
  return percentiles;
}

MemoryLimit MemoryLimitOf(const Remembered& values) {
  using Order = MemoryLimit::Order;
  auto number = [&values](std::string_view name) { return static_cast<uint64_t>(*base::ParseInt64(values.Of(name))); };
  constexpr std::pair<std::string_view, Order> kOrders[] = {
      {"-random", Order::kRandom}, {"-lru", Order::kLru}, {"-lfu", Order::kLfu}, {"-ttl", Order::kTtl}};
  MemoryLimit limit;
  limit.bytes = number("maxmemory");
  limit.policy = values.Of("maxmemory-policy");
  for (const auto& [end, order] : kOrders) {
    if (limit.policy.ends_with(end)) limit.order = order;
  }
  limit.with_expiry = limit.policy.starts_with("volatile");
  limit.samples = number("maxmemory-samples");
  limit.lfu_log_factor = static_cast<uint32_t>(number("lfu-log-factor"));
  limit.lfu_decay_minutes = static_cast<uint32_t>(number("lfu-decay-time"));
  return limit;
}

}  // namespace

bool Remembered::IsOfMemory(std::string_view name) {
  constexpr std::string_view kNames[] = {"maxmemory", "maxmemory-policy", "maxmemory-samples", "lfu-log-factor",
                                         "lfu-decay-time"};
  return std::find(std::begin(kNames), std::end(kNames), name) != std::end(kNames);
}

Remembered::Remembered() {
  for (const Parameter& p : kParameters)
    values_.emplace(p.name, p.initial);
  percentiles_ = Percentiles(Of("latency-tracking-info-percentiles"));
}

std::vector<std::pair<std::string, std::string>> Remembered::All(bool hidden_too) const {
  std::vector<std::pair<std::string, std::string>> all;
  for (const Parameter& p : kParameters) {
    if (p.hidden && !hidden_too) continue;
    const std::string& value = values_.find(p.name)->second;
    all.emplace_back(p.name, value);
    if (!p.other.empty()) all.emplace_back(p.other, value);
  }
  std::sort(all.begin(), all.end());
  return all;
}

bool Remembered::Has(std::string_view name) const {
  return Find(name) != nullptr;
}

const std::string& Remembered::Of(std::string_view name) const {
  const Parameter* p = Find(name);
  CHECK(p != nullptr);
  return values_.find(p->name)->second;
}

base::Status Remembered::MayChange(std::string_view name) const {
  const Parameter* p = Find(name);
  if (p == nullptr) return base::NotFound("there is no such parameter");
  if (p->fixed) return base::Invalid("can't set immutable config");
  if (p->guarded) return base::Invalid("can't set protected config");
  return {};
}

base::Status Remembered::Set(std::string_view name, std::string_view value) {
  if (base::Status may = MayChange(name); !may.ok()) return may;
  const Parameter* p = Find(name);
  std::string& remembered = values_.find(p->name)->second;
  base::Result<std::string> checked = Check(*p, remembered, value);
  if (!checked.ok()) return checked.status();
  remembered = std::move(*checked);
  const std::pair<std::string_view, size_t*> encodings[] = {
      {"hash-max-listpack-entries", &encodings_.hash_entries},
      {"hash-max-listpack-value", &encodings_.hash_value},
      {"set-max-intset-entries", &encodings_.set_integers},
      {"zset-max-listpack-entries", &encodings_.sorted_set_entries},
      {"zset-max-listpack-value", &encodings_.sorted_set_value},
      {"stream-node-max-entries", &encodings_.stream_node_entries}};
  for (const auto& [encoding, limit] : encodings) {
    if (p->name == encoding) *limit = static_cast<size_t>(*base::ParseInt64(remembered));
  }
  if (p->kind == Kind::kPercentiles) percentiles_ = Percentiles(remembered);
  if (IsOfMemory(p->name)) memory_limit_ = MemoryLimitOf(*this);
  return {};
}

}  // namespace polyarch::command
