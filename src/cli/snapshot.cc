#include "cli/snapshot.h"

#include <algorithm>
#include <charconv>
#include <time.h>

#include "cli/text.h"

namespace polyarch::cli {

namespace {

int64_t ToNumber(std::string_view text) {
  int64_t number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

// "eu.0123456789abcdef:17 ...": the sum of an origin's leader.
std::map<std::string, uint64_t, std::less<>> ChangesByLeader(std::string_view vv) {
  std::map<std::string, uint64_t, std::less<>> sums;
  while (!vv.empty()) {
    const size_t end = std::min(vv.find(' '), vv.size());
    const std::string_view word = vv.substr(0, end);
    vv.remove_prefix(std::min(end + 1, vv.size()));
    const size_t colon = word.rfind(':');
    if (colon == std::string_view::npos) continue;
    const std::string_view origin = word.substr(0, colon);
    const size_t dot = origin.rfind('.');
    if (dot == std::string_view::npos) continue;
    sums[std::string(origin.substr(0, dot))] +=
        static_cast<uint64_t>(ToNumber(word.substr(colon + 1)));
  }
  return sums;
}

}  // namespace

Fields SplitFields(std::string_view text) {
  Fields fields;
  while (!text.empty()) {
    const size_t end = std::min(text.find(','), text.size());
    const std::string_view pair = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const size_t equal = pair.find('=');
    if (equal != std::string_view::npos)
      fields.emplace(pair.substr(0, equal), pair.substr(equal + 1));
  }
  return fields;
}

std::string Snapshot::Text(std::string_view name) const {
  const auto found = info.find(name);
  return found == info.end() ? "" : found->second;
}

int64_t Snapshot::Number(std::string_view name) const {
  return ToNumber(Text(name));
}

const LeaderRow* Snapshot::self() const {
  for (const LeaderRow& leader : leaders) {
    if (leader.self) return &leader;
  }
  return nullptr;
}

std::vector<const LeaderRow*> Snapshot::HoldingBack() const {
  std::vector<const LeaderRow*> found;
  for (const LeaderRow& leader : leaders) {
    if (leader.unclaimed > 0) found.push_back(&leader);
  }
  std::stable_sort(found.begin(), found.end(), [](const LeaderRow* a, const LeaderRow* b) {
    return a->unclaimed > b->unclaimed;
  });
  return found;
}

Snapshot Read(const resp::Value& leaders, std::string_view info, std::string_view vv) {
  Snapshot out;
  out.raw_leaders = leaders;
  out.vv = vv;
  while (!info.empty()) {
    const size_t end = std::min(info.find('\n'), info.size());
    std::string_view line = info.substr(0, end);
    info.remove_prefix(std::min(end + 1, info.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    const size_t colon = line.find(':');
    if (line.starts_with('#') || colon == std::string_view::npos) continue;
    out.info.emplace(line.substr(0, colon), line.substr(colon + 1));
  }
  const auto changes = ChangesByLeader(vv);
  for (const resp::Value& map : leaders.items) {
    LeaderRow row;
    row.id = TextOf(Find(map, "id"));
    row.address = TextOf(Find(map, "address"));
    row.incarnation = TextOf(Find(map, "incarnation"));
    row.state = TextOf(Find(map, "state"));
    row.link = TextOf(Find(map, "link"));
    row.lag_changes = NumberOf(Find(map, "lag_changes"));
    row.lag_ms = NumberOf(Find(map, "lag_ms"));
    if (const resp::Value* clock = Find(map, "clock_difference_ms");
        clock != nullptr && clock->type != resp::Value::Type::kNull)
      row.clock_difference_ms = NumberOf(clock);
    if (const resp::Value* retained = Find(map, "retained_log_bytes"))
      row.retained_bytes = NumberOf(retained);
    row.self = NumberOf(Find(map, "self")) != 0;
    row.traffic = SplitFields(out.Text("link_" + row.id));
    if (auto since = row.traffic.find("unreachable_ms"); since != row.traffic.end())
      row.unreachable_ms = ToNumber(since->second);
    row.counts = out.Has("claim_" + row.id);
    const Fields claim = SplitFields(out.Text("claim_" + row.id));
    if (auto behind = claim.find("behind"); behind != claim.end())
      row.unclaimed = ToNumber(behind->second);
    if (auto sum = changes.find(row.id); sum != changes.end()) row.changes = sum->second;
    out.leaders.push_back(std::move(row));
  }
  return out;
}

base::Result<Snapshot> Take(Connection& connection) {
  auto leaders = connection.Call({"LEADER", "LIST"});
  if (!leaders.ok()) return leaders.status();
  auto info = connection.Call({"INFO", "all"});
  if (!info.ok()) return info.status();
  auto vv = connection.Call({"POLYARCH", "VV"});
  if (!vv.ok()) return vv.status();
  Snapshot out = Read(*leaders, info->text, vv->text);
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  out.mono_ms = static_cast<int64_t>(t.tv_sec) * 1000 + t.tv_nsec / 1'000'000;
  return out;
}

}  // namespace polyarch::cli
