// CONFIG and INFO: the process's parameters and numbers. The host knows them; here they get their
// form.
#include <algorithm>
#include <array>
#include <cstdio>
#include <map>
#include <vector>

#include "base/number.h"
#include "command/families.h"
#include "command/info.h"
#include "command/support.h"
#include "command/version.h"

namespace polyarch::command {
namespace {

// ---- CONFIG

using Parameters = std::vector<std::pair<std::string, std::string>>;

void ConfigGet(Context& c) {
  std::map<std::string, std::pair<std::string, std::string>> found;  // by name: as it is shown, and its value
  for (std::string_view pattern : c.args.subspan(2)) {
    const bool is_glob = pattern.find_first_of("*?[") != std::string_view::npos;
    const std::string lower = ToLower(pattern);
    for (auto& [name, value] : c.server.ConfigGet(lower)) {
      // A plain name is that one only, and is answered as it was spelled first.
      if (!is_glob && name != lower) continue;
      found.try_emplace(name, is_glob ? name : std::string(pattern), std::move(value));
    }
  }
  c.reply.Map(found.size());
  for (const auto& [name, parameter] : found) {
    c.reply.Bulk(parameter.first);
    c.reply.Bulk(parameter.second);
  }
}

void ReplySetFailed(Context& c, std::string_view name, std::string_view reason) {
  std::string text = "ERR CONFIG SET failed (possibly related to argument '";
  text.append(name).append("') - ").append(reason);
  c.reply.Error(text);
}

void ReplyUnknownParameter(Context& c, std::string_view name) {
  c.reply.Error("ERR Unknown option or number of arguments for CONFIG SET - '" +
                std::string(name) + "'");
}

// The present values of the parameters to set. False if a name is unknown or given twice, or may not be changed: Redis
// looks at all names before the first value.
bool ReadPresent(Context& c, Parameters& present) {
  for (size_t i = 2; i < c.count(); i += 2) {
    std::string name = ToLower(c.args[i]);
    Parameters found = c.server.ConfigGet(name);
    // A name with glob characters would find others.
    if (found.size() != 1 || found[0].first != name) {
      ReplyUnknownParameter(c, c.args[i]);
      return false;
    }
    if (base::Status may = c.server.ConfigMayChange(name, c.args[i + 1]); !may.ok()) {
      ReplySetFailed(c, c.args[i], may.message());
      return false;
    }
    bool twice = std::any_of(present.begin(), present.end(), [&](const auto& parameter) {
      return parameter.first == name;
    });
    if (twice) {
      ReplySetFailed(c, c.args[i], "duplicate parameter");
      return false;
    }
    present.push_back(std::move(found[0]));
  }
  return true;
}

// All or nothing: what was set before the first bad value is set back, the last one first.
void ConfigSet(Context& c) {
  if (c.count() % 2 != 0) return ReplySyntaxError(c);
  Parameters present;
  if (!ReadPresent(c, present)) return;
  // What could not be set back is told as well.
  const auto set_back = [&](size_t count) {
    std::string kept;
    while (count-- > 0) {
      const base::Status status = c.server.ConfigSet(present[count].first, present[count].second);
      if (!status.ok()) kept += "; " + present[count].first + " stays changed: " + status.message();
    }
    if (base::Status status = c.server.ConfigSettle(false); !status.ok()) kept += "; " + status.message();
    return kept;
  };
  for (size_t i = 0; i < present.size(); ++i) {
    base::Status status = c.server.ConfigSet(present[i].first, c.args[2 * i + 3]);
    if (status.ok()) continue;
    return ReplySetFailed(c, present[i].first, status.message() + set_back(i));
  }
  if (base::Status status = c.server.ConfigSettle(true); !status.ok()) {
    return ReplySetFailed(c, present.back().first, status.message() + set_back(present.size()));
  }
  c.reply.Ok();
}

void ConfigResetstat(Context& c) {
  c.server.ConfigResetStat();
  c.server.observations().expired_keys_base = c.cluster.expired_keys();
  c.server.observations().evicted_keys_base = c.cluster.evicted_keys();
  c.server.observations().memory_exceeded_base_ms = c.cluster.memory_exceeded().total_ms;
  c.server.observations().lookups_base = c.keys.lookups();
  c.reply.Ok();
}

void ConfigRewrite(Context& c) {
  c.reply.Error(
      "ERR CONFIG REWRITE is not supported; write the parameter into the configuration file");
}

// ---- INFO

// Appends lines as a host writes them ("\n" or "\r\n") with the line ends of the protocol.
void AppendLines(std::string& out, std::string_view lines) {
  while (!lines.empty()) {
    std::string_view line = lines.substr(0, lines.find('\n'));
    lines.remove_prefix(std::min(lines.size(), line.size() + 1));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (!line.empty()) out.append(line).append("\r\n");
  }
}

void InfoServer(const InfoSource& c, std::string& out) {
  out.append("redis_version:").append(kRedisVersion).append("\n");
  out.append("polyarch_version:").append(kPolyarchVersion).append("\n");
  out.append("redis_mode:standalone\n");
  c.server.InfoSection("server", out);
}
void InfoClients(const InfoSource& c, std::string& out) {
  c.server.InfoSection("clients", out);
}
void InfoMemory(const InfoSource& c, std::string& out) {
  c.server.InfoSection("memory", out);
  const Scripts& scripts = c.cluster.scripts();
  out.append("number_of_cached_scripts:").append(std::to_string(scripts.size())).append("\n");
  out.append("number_of_functions:").append(std::to_string(scripts.functions())).append("\n");
  out.append("number_of_libraries:").append(std::to_string(scripts.libraries())).append("\n");
}
void InfoPersistence(const InfoSource& c, std::string& out) {
  c.cluster.InfoPersistence(out);
  c.server.InfoSection("persistence", out);
}
void InfoStats(const InfoSource& c, std::string& out) {
  c.server.InfoSection("stats", out);
  uint64_t errors = 0;
  for (const auto& [name, count] : c.server.observations().errors())
    errors += count;
  out.append("expired_keys:").append(std::to_string(c.cluster.expired_keys() - c.server.observations().expired_keys_base));
  out.append("\nevicted_keys:").append(std::to_string(c.cluster.evicted_keys() - c.server.observations().evicted_keys_base));
  // No client is evicted; errors that Redis does not expect are those of links between its servers and of loading.
  const auto exceeded = c.cluster.memory_exceeded();
  const int64_t exceeded_ms = exceeded.total_ms - c.server.observations().memory_exceeded_base_ms;
  out.append("\nevicted_clients:0\ntotal_eviction_exceeded_time:").append(std::to_string(exceeded_ms));
  out.append("\ncurrent_eviction_exceeded_time:").append(std::to_string(std::min(exceeded.now_ms, exceeded_ms)));
  out.append("\nunexpected_error_replies:0\ntotal_error_replies:");
  out.append(std::to_string(errors)).append("\n");
  const keyspace::Keyspace::Lookups& now = c.keys.lookups();
  const keyspace::Keyspace::Lookups& base = c.server.observations().lookups_base;
  out.append("keyspace_hits:").append(std::to_string(now.hits - base.hits));
  out.append("\nkeyspace_misses:").append(std::to_string(now.misses - base.misses)).append("\n");
}
void InfoReplication(const InfoSource& c, std::string& out) {
  c.cluster.InfoReplication(out);
  out.append("master_repl_offset:").append(std::to_string(CountChanges(c.cluster.applied()))).append("\n");
}
void InfoCpu(const InfoSource& c, std::string& out) {
  c.server.InfoSection("cpu", out);
}
void InfoCluster(const InfoSource&, std::string& out) {
  out.append("cluster_enabled:0\n");
}
void InfoCommandstats(const InfoSource& c, std::string& out) {
  const auto& all = c.server.observations().commands();
  const auto rows = Table::Instance().rows();
  for (size_t i = 0; i < all.size(); ++i) {
    const CommandStats& stats = all[i];
    if (stats.calls + stats.rejected == 0) continue;
    char per_call[32];
    const double micros = static_cast<double>(stats.nanos) / 1000;
    std::snprintf(per_call, sizeof per_call, "%.2f", stats.calls == 0 ? 0 : micros / static_cast<double>(stats.calls));
    out.append("cmdstat_").append(rows[i].name);
    out.append(":calls=").append(std::to_string(stats.calls));
    out.append(",usec=").append(std::to_string(stats.nanos / 1000));
    out.append(",usec_per_call=").append(per_call);
    out.append(",rejected_calls=").append(std::to_string(stats.rejected));
    out.append(",failed_calls=").append(std::to_string(stats.failed)).append("\n");
  }
}
void InfoErrorstats(const InfoSource& c, std::string& out) {
  for (const auto& [name, count] : c.server.observations().errors())
    out.append("errorstat_").append(name).append(":count=").append(std::to_string(count)).append("\n");
}
void InfoLatencystats(const InfoSource& c, std::string& out) {
  if (!c.server.observations().tracks_latency) return;
  const auto& all = c.server.observations().commands();
  const auto rows = Table::Instance().rows();
  for (size_t i = 0; i < all.size(); ++i) {
    if (all[i].histogram == nullptr) continue;
    const Histogram& histogram = *all[i].histogram;
    out.append("latency_percentiles_usec_").append(rows[i].name);
    char separator = ':';
    for (const auto& [name, percent] : c.server.remembered().percentiles()) {
      char micros[32];
      std::snprintf(micros, sizeof micros, "%.3f", static_cast<double>(histogram.AtPercentile(percent)) / 1000);
      out.append(1, separator).append("p").append(name).append("=").append(micros);
      separator = ',';
    }
    out.append(separator == ':' ? ":\n" : "\n");
  }
}
void InfoKeyspace(const InfoSource& c, std::string& out) {
  for (uint8_t db = 0; db < kDatabases; ++db) {
    size_t keys = c.keys.Size(db);
    if (keys == 0) continue;
    out.append("db").append(base::FormatInt64(db));
    out.append(":keys=").append(base::FormatInt64(static_cast<int64_t>(keys)));
    out.append(",expires=0,avg_ttl=0\n");
  }
}

struct Section {
  std::string_view name;   // as asked for
  std::string_view title;  // as shown
  void (*write)(const InfoSource&, std::string&);
  bool always = true;  // also if nothing is asked for
};
constexpr std::array<Section, 12> kSections = {{
    {"server", "Server", InfoServer},
    {"clients", "Clients", InfoClients},
    {"memory", "Memory", InfoMemory},
    {"persistence", "Persistence", InfoPersistence},
    {"stats", "Stats", InfoStats},
    {"replication", "Replication", InfoReplication},
    {"cpu", "CPU", InfoCpu},
    {"commandstats", "Commandstats", InfoCommandstats, false},
    {"errorstats", "Errorstats", InfoErrorstats},
    {"latencystats", "Latencystats", InfoLatencystats, false},
    {"cluster", "Cluster", InfoCluster},
    {"keyspace", "Keyspace", InfoKeyspace},
}};

bool IsAsked(Context& c, const Section& section) {
  if (c.count() == 1) return section.always;
  return std::any_of(c.args.begin() + 1, c.args.end(), [&section](std::string_view word) {
    return EqualsIgnoreCase(word, section.name) || EqualsIgnoreCase(word, "all") ||
           EqualsIgnoreCase(word, "everything") || (section.always && EqualsIgnoreCase(word, "default"));
  });
}

void Info(Context& c) {
  const InfoSource from{c.cluster, c.server, c.keys};
  std::string text;
  for (const Section& section : kSections) {
    if (!IsAsked(c, section)) continue;
    if (!text.empty()) text.append("\r\n");
    text.append("# ").append(section.title).append("\r\n");
    std::string lines;
    section.write(from, lines);
    AppendLines(text, lines);
  }
  c.reply.Verbatim(text);
}

}  // namespace

void AppendInfo(std::string_view section, const InfoSource& from, std::string& out) {
  for (const Section& s : kSections) {
    if (s.name == section) s.write(from, out);
  }
}

void AddConfigFamily(std::vector<Row>& rows) {
  // clang-format off: a row as few lines as it needs
  static constexpr Row kRows[] = {
      {.name = "config",
       .arity = -2,
       .categories = "@slow",
       .summary = "Reads and changes parameters of the server",
       .since = "2.0.0",
       .group = "server",
       .complexity = "Depends on the subcommand"},
      {.name = "config|get",
       .arity = -3,
       .flags = kAdmin | kNoScript | kLoading | kStale,
       .categories = "@admin @slow @dangerous",
       .handler = ConfigGet,
       .summary = "Returns parameters whose names match",
       .since = "2.0.0",
       .group = "server",
       .complexity = "O(N) where N is the number of parameters",
       .syntax = "parameter:{parameter}*"},
      {.name = "config|set",
       .arity = -4,
       .flags = kAdmin | kNoScript | kLoading | kStale,
       .categories = "@admin @slow @dangerous",
       .handler = ConfigSet,
       .summary = "Sets parameters, all of them or none",
       .since = "2.0.0",
       .group = "server",
       .complexity = "O(N) where N is the number of parameters",
       .syntax = "parameter_value:{parameter value}*",
       .tips = "request_policy:all_nodes response_policy:all_succeeded"},
      {.name = "config|resetstat",
       .arity = 2,
       .flags = kAdmin | kNoScript | kLoading | kStale,
       .categories = "@admin @slow @dangerous",
       .handler = ConfigResetstat,
       .summary = "Sets the statistics of INFO to zero",
       .since = "2.0.0",
       .group = "server",
       .complexity = "O(1)"},
      {.name = "config|rewrite",
       .arity = 2,
       .flags = kAdmin | kNoScript | kLoading | kStale,
       .categories = "@admin @slow @dangerous",
       .handler = ConfigRewrite,
       .summary = "Not supported",
       .since = "2.8.0",
       .group = "server",
       .complexity = "O(1)"},
      {.name = "config|help",
       .arity = 2,
       .flags = kLoading | kStale,
       .categories = "@slow",
       .handler = ContainerHelp,
       .summary = "Print this help",
       .since = "5.0.0",
       .group = "server",
       .complexity = "O(1)"},
      {.name = "info",
       .arity = -1,
       .flags = kLoading | kStale,
       .categories = "@slow @dangerous",
       .handler = Info,
       .summary = "Returns numbers about the server, in sections",
       .since = "1.0.0",
       .group = "server",
       .complexity = "O(1)",
       .syntax = "section?*",
       .tips = "nondeterministic_output request_policy:all_shards response_policy:special"},
  };
  // clang-format on
  rows.insert(rows.end(), std::begin(kRows), std::end(kRows));
}

}  // namespace polyarch::command
