// LATENCY: spikes by event, and how long commands take. The books: observations.h.
#include <algorithm>
#include <set>

#include "base/number.h"
#include "command/families.h"
#include "command/observations.h"
#include "command/support.h"

namespace polyarch::command {
namespace {

const std::map<std::string, LatencyEvents::Event, std::less<>>& Events(Context& c) {
  return c.server.observations().latency.events();
}

void LatencyLatest(Context& c) {
  c.reply.Array(Events(c).size());
  for (const auto& [name, event] : Events(c)) {
    c.reply.Array(4);
    c.reply.Bulk(name);
    c.reply.Integer(event.samples.back().time_s);
    c.reply.Integer(event.samples.back().millis);
    c.reply.Integer(event.millis_max);
  }
}

void LatencyHistory(Context& c) {
  const auto it = Events(c).find(c.args[2]);
  if (it == Events(c).end()) return c.reply.EmptyArray();
  c.reply.Array(it->second.samples.size());
  for (const LatencyEvents::Sample& sample : it->second.samples) {
    c.reply.Array(2);
    c.reply.Integer(sample.time_s);
    c.reply.Integer(sample.millis);
  }
}

void LatencyReset(Context& c) {
  LatencyEvents& book = c.server.observations().latency;
  std::vector<std::string> names;
  for (std::string_view name : c.args.subspan(2))
    names.emplace_back(name);
  if (c.count() == 2) {
    for (const auto& [name, event] : book.events())
      names.push_back(name);
  }
  int64_t count = 0;
  for (const std::string& name : names)
    count += book.Reset(name) ? 1 : 0;
  c.reply.Integer(count);
}

// ---- a picture of one event, as Redis draws it

constexpr size_t kColumns = 80;
constexpr int kRows = 4;
constexpr std::string_view kLevels = "_o#";  // of one row, from low to high

struct Bar {
  int64_t millis = 0;
  std::string label;
};

std::string AgeText(int64_t seconds) {
  if (seconds < 60) return std::to_string(seconds) + "s";
  if (seconds < 3600) return std::to_string(seconds / 60) + "m";
  if (seconds < 24 * 3600) return std::to_string(seconds / 3600) + "h";
  return std::to_string(seconds / (24 * 3600)) + "d";
}

void Draw(std::string& out, std::span<const Bar> bars, int64_t low, int64_t high) {
  const auto levels = static_cast<int>(kLevels.size());
  const int steps = levels * kRows;
  const double range = high == low ? 1 : static_cast<double>(high - low);
  for (int row = 0; row < kRows; ++row) {
    for (const Bar& bar : bars) {
      const int step = std::clamp(static_cast<int>(static_cast<double>(bar.millis - low) * steps / range), 0, steps - 1);
      const int level = step - (kRows - row - 1) * levels;
      out += level < 0 ? ' ' : level < levels ? kLevels[static_cast<size_t>(level)] : '|';
    }
    out += '\n';
  }
  // Labels from top to bottom, behind an empty row.
  out.append(bars.size(), ' ').append("\n");
  size_t longest = 0;
  for (const Bar& bar : bars)
    longest = std::max(longest, bar.label.size());
  for (size_t i = 0; i < longest; ++i) {
    for (const Bar& bar : bars)
      out += i < bar.label.size() ? bar.label[i] : ' ';
    out += '\n';
  }
}

void LatencyGraph(Context& c) {
  const auto it = Events(c).find(c.args[2]);
  if (it == Events(c).end()) {
    return c.reply.Error("ERR No samples available for event '" + std::string(c.args[2]) + "'");
  }
  const LatencyEvents::Event& event = it->second;
  const int64_t now_s = c.server.WallMicros() / 1'000'000;
  std::vector<Bar> bars;
  int64_t low = INT64_MAX;
  int64_t high = 0;
  for (const LatencyEvents::Sample& sample : event.samples) {
    bars.push_back({sample.millis, AgeText(now_s - sample.time_s)});
    low = std::min(low, sample.millis);
    high = std::max(high, sample.millis);
  }
  std::string text = it->first + " - high " + std::to_string(high) + " ms, low " + std::to_string(low) +
                     " ms (all time high " + std::to_string(event.millis_max) + " ms)\n";
  text.append(kColumns, '-').append("\n");
  for (size_t from = 0; from < bars.size(); from += kColumns) {
    if (from != 0) text += '\n';
    Draw(text, std::span(bars).subspan(from, std::min(kColumns, bars.size() - from)), low, high);
  }
  c.reply.Verbatim(text);
}

// ---- in words

std::string_view AdviceOn(std::string_view event) {
  if (event == "command" || event == "fast-command") {
    return "SLOWLOG GET tells which commands took long (slowlog-log-slower-than): large collections and long "
           "scripts make others wait.";
  }
  if (event == "end-of-turn") {
    return "Writing the log, applying what other leaders wrote, and duties (checkpoints, expiry): look at the disk, and at "
           "INFO persistence and replication.";
  }
  return "";
}

void LatencyDoctor(Context& c) {
  const LatencyEvents& book = c.server.observations().latency;
  std::string text;
  if (book.events().empty() && book.millis_min == 0) {
    text = "Spikes are not noted: CONFIG SET latency-monitor-threshold <milliseconds> begins it.\n";
  } else if (book.events().empty()) {
    text = "Nothing has taken " + std::to_string(book.millis_min) + " ms or more.\n";
  }
  for (const auto& [name, event] : book.events()) {
    int64_t sum = 0;
    for (const LatencyEvents::Sample& sample : event.samples)
      sum += sample.millis;
    const auto count = static_cast<int64_t>(event.samples.size());
    text += name + ": " + std::to_string(count) + " spikes, " + std::to_string(sum / count) +
            " ms on average, the longest " + std::to_string(event.millis_max) + " ms. " +
            std::string(AdviceOn(name)) + "\n";
  }
  c.reply.Verbatim(text);
}

// ---- how long commands take

void ReplyHistogram(Context& c, const Row& row, const CommandStats& stats) {
  std::vector<std::pair<int64_t, uint64_t>> steps;
  stats.histogram->VisitDoubling([&](int64_t micros, uint64_t count) { steps.emplace_back(micros, count); });
  c.reply.Bulk(row.name);
  c.reply.Map(2);
  c.reply.Bulk("calls");
  c.reply.Integer(static_cast<int64_t>(stats.histogram->total()));
  c.reply.Bulk("histogram_usec");
  c.reply.Map(steps.size());
  for (const auto& [micros, count] : steps) {
    c.reply.Integer(micros);
    c.reply.Integer(static_cast<int64_t>(count));
  }
}

void LatencyHistogram(Context& c) {
  const Table& table = Table::Instance();
  std::vector<const Row*> rows;
  auto add = [&](const Row& row) {
    if (c.server.observations().Of(row).histogram != nullptr) rows.push_back(&row);
  };
  for (std::string_view word : c.args.subspan(2)) {
    const Row* row = table.FindName(word);
    if (row == nullptr) continue;
    add(*row);
    for (const Row* sub : table.Subcommands(row->name))
      add(*sub);
  }
  if (c.count() == 2) {
    for (const Row& row : table.rows())
      add(row);
  }
  c.reply.Map(rows.size());
  for (const Row* row : rows)
    ReplyHistogram(c, *row, c.server.observations().Of(*row));
}

}  // namespace

void AddLatencyFamily(std::vector<Row>& rows) {
  // clang-format off: a row as few lines as it needs
  static constexpr uint32_t kOperator = kAdmin | kNoScript | kLoading | kStale;
  static constexpr std::string_view kCategories = "@admin @slow @dangerous";
  static constexpr std::string_view kTips =
      "nondeterministic_output request_policy:all_nodes response_policy:special";
  static constexpr Row kRowsOfLatency[] = {
      {.name = "latency", .arity = -2, .categories = "@slow",
       .summary = "Tells how long commands take, and of spikes", .since = "2.8.13", .group = "server",
       .complexity = "Depends on the subcommand"},
      {.name = "latency|latest", .arity = 2, .flags = kOperator, .categories = kCategories,
       .handler = LatencyLatest, .summary = "Returns the newest spike of each event", .since = "2.8.13",
       .group = "server", .complexity = "O(1)", .tips = kTips},
      {.name = "latency|history", .arity = 3, .flags = kOperator, .categories = kCategories,
       .handler = LatencyHistory, .summary = "Returns the spikes of an event", .since = "2.8.13",
       .group = "server", .complexity = "O(1)", .syntax = "event", .tips = kTips},
      {.name = "latency|reset", .arity = -2, .flags = kOperator, .categories = kCategories,
       .handler = LatencyReset, .summary = "Forgets the spikes of events, or all", .since = "2.8.13",
       .group = "server", .complexity = "O(1)", .syntax = "event?*",
       .tips = "request_policy:all_nodes response_policy:all_succeeded"},
      {.name = "latency|graph", .arity = 3, .flags = kOperator, .categories = kCategories,
       .handler = LatencyGraph, .summary = "Draws the spikes of an event", .since = "2.8.13",
       .group = "server", .complexity = "O(1)", .syntax = "event", .tips = kTips},
      {.name = "latency|doctor", .arity = 2, .flags = kOperator, .categories = kCategories,
       .handler = LatencyDoctor, .summary = "Says in words what the spikes are", .since = "2.8.13",
       .group = "server", .complexity = "O(1)", .tips = kTips},
      {.name = "latency|histogram", .arity = -2, .flags = kOperator, .categories = kCategories,
       .handler = LatencyHistogram, .summary = "Returns how long commands took, by powers of two",
       .since = "7.0.0", .group = "server",
       .complexity = "O(N) where N is the number of commands that have run", .syntax = "command?*",
       .tips = kTips},
      {.name = "latency|help", .arity = 2, .flags = kLoading | kStale, .categories = "@slow",
       .handler = ContainerHelp, .summary = "Print this help", .since = "2.8.13", .group = "server",
       .complexity = "O(1)"},
  };
  // clang-format on
  rows.insert(rows.end(), std::begin(kRowsOfLatency), std::end(kRowsOfLatency));
}

}  // namespace polyarch::command
