#include "conflict/loaded_handler.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/codec.h"
#include "base/hash.h"
#include "base/planted.h"
#include "conflict/policy.h"

namespace polyarch::conflict {

namespace {

// Names all that the function is given.
std::string ViewKey(std::string_view key,
                    std::optional<std::string_view> field,
                    std::span<const HandlerVersion> versions) {
  std::string text;
  base::PutBytes(text, key);
  base::PutFixed8(text, field ? 1 : 0);
  base::PutBytes(text, field.value_or(std::string_view()));
  for (const HandlerVersion& v : versions) {
    base::PutBytes(text, v.leader);
    base::PutFixed64(text, v.time_ms);
    base::PutFixed8(text, v.value ? 1 : 0);
    if (PLANTED(kHandlerViewByWriters)) continue;
    const base::Digest128 digest = base::ContentHash128(v.value.value_or(std::string_view()));
    base::PutFixed64(text, digest.low);
    base::PutFixed64(text, digest.high);
  }
  return base::HexDigest(base::ContentHash128(text));
}

// What makes of a trial's values one; the trial's error ends it.
class Trial {
 public:
  Trial(std::string_view source, const HandlerLimits& limits, HandlerTrial& trial)
      : source_(source), limits_(limits), trial_(trial) {}

  // "\1" and the text, or "\0" for nil; nothing once something has failed.
  std::optional<std::string> Run(std::span<const std::string> values) {
    if (failed_) return std::nullopt;
    if (limits_.expired && limits_.expired()) return GiveUp("there was no time to try all orders and groups of these values");
    std::vector<std::string> leaders;
    for (size_t i = 0; i < values.size(); ++i) leaders.push_back("leader-" + std::to_string(i + 1));
    std::vector<HandlerVersion> versions;
    for (size_t i = 0; i < values.size(); ++i) versions.push_back({values[i], leaders[i], 1'000 * (i + 1)});
    auto view = RunHandler(source_, "key", {}, versions, limits_);
    if (!view.ok()) return GiveUp("it fails with some orders or groups of these values: " + view.status().message());
    return view->value ? "\1" + *view->value : std::string(1, '\0');
  }

 private:
  std::optional<std::string> GiveUp(std::string warning) {
    failed_ = true;
    trial_.warnings.push_back(std::move(warning));
    return std::nullopt;
  }

  std::string_view source_;
  const HandlerLimits& limits_;
  HandlerTrial& trial_;
  bool failed_ = false;
};

}  // namespace

LoadedHandler::LoadedHandler(std::string name, std::string source)
    : name_(std::move(name)),
      source_(std::move(source)),
      version_(base::HexDigest(base::ContentHash128(source_)).substr(0, 16)) {}

std::optional<std::string> LoadedHandler::View(std::string_view key,
                                               std::optional<std::string_view> field,
                                               std::span<const crdt::Version> versions,
                                               const clock::OriginTable& origins) const {
  std::vector<size_t> order = CanonicalOrder(versions, origins);
  if (PLANTED(kHandlerByNumbering)) std::iota(order.begin(), order.end(), size_t{0});
  std::vector<HandlerVersion> given;
  given.reserve(order.size());
  for (size_t i : order) {
    const crdt::Version& v = versions[i];
    HandlerVersion& version = given.emplace_back();
    if (!v.absent) version.value = v.value;
    version.leader = origins.Get(v.dot.origin()).leader;
    version.time_ms = static_cast<uint64_t>(v.hlc.ms());
  }
  std::string view_key = ViewKey(key, field, given);
  if (auto seen = views_.find(view_key); seen != views_.end()) return seen->second;
  auto view = RunHandler(source_, key, field, given);
  ++stats_.runs;
  std::optional<std::string> value;
  if (view.ok()) value = std::move(view->value);
  if (!value) {
    ++stats_.fallbacks;
    stats_.last_error = view.ok() ? "" : view.status().message();
  }
  const size_t bytes = view_key.size() + (value ? value->size() : 0);
  if (views_.size() >= kViewsMax || view_bytes_ + bytes > kViewBytesMax) {
    views_.clear();
    view_bytes_ = 0;
  }
  view_bytes_ += bytes;
  views_.emplace(std::move(view_key), value);
  return value;
}

bool IsHandlerName(std::string_view name) {
  return !name.empty() && name.size() <= kHandlerNameBytesMax &&
         std::all_of(name.begin(), name.end(), [](char c) { return c > ' ' && c < 127; });
}

HandlerTrial TryHandler(std::string_view source,
                        std::span<const std::string_view> values,
                        const HandlerLimits& limits) {
  std::vector<HandlerVersion> versions;
  std::vector<std::string> leaders;
  for (size_t i = 0; i < values.size(); ++i) leaders.push_back("leader-" + std::to_string(i + 1));
  for (size_t i = 0; i < values.size(); ++i) versions.push_back({values[i], leaders[i], 1'000 * (i + 1)});
  HandlerTrial trial{RunHandler(source, "key", {}, versions, limits), {}};
  if (!trial.view.ok()) return trial;
  Trial run(source, limits, trial);
  const std::string whole = trial.view->value ? "\1" + *trial.view->value : std::string(1, '\0');
  auto differs = [&](const std::optional<std::string>& other) { return other && *other != whole; };

  std::vector<std::string> sorted(values.begin(), values.end());
  const std::vector<std::string> given = sorted;
  std::sort(sorted.begin(), sorted.end());
  do {
    if (!differs(run.Run(sorted))) continue;
    trial.warnings.emplace_back("the view depends on which leader wrote which value");
    break;
  } while (std::next_permutation(sorted.begin(), sorted.end()));

  // A view that the next write makes permanent meets the other versions as one value.
  for (size_t split = 2; split < given.size(); ++split) {
    auto first = run.Run(std::span(given).first(split));
    if (!first || (*first)[0] == '\0') continue;
    std::vector<std::string> rest{first->substr(1)};
    rest.insert(rest.end(), given.begin() + static_cast<std::ptrdiff_t>(split), given.end());
    if (!differs(run.Run(rest))) continue;
    trial.warnings.emplace_back("to merge some of the values first and the others later gives another view");
    break;
  }
  for (const std::string& value : given) {
    std::vector<std::string> twice = given;
    twice.push_back(value);
    if (!differs(run.Run(twice))) continue;
    trial.warnings.emplace_back("a value that two leaders have written counts twice");
    break;
  }
  return trial;
}

}  // namespace polyarch::conflict
