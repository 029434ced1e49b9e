#include "command/observations.h"

#include <algorithm>
#include <utility>

#include "command/support.h"
#include "command/table.h"

namespace polyarch::command {

void Slowlog::Add(Entry entry) {
  entry.id = next_id_++;
  entries_.push_front(std::move(entry));
  while (entries_.size() > size_max_)
    entries_.pop_back();
}

void Slowlog::SetSize(size_t entries) {
  size_max_ = entries;
  if (entries_.size() > size_max_) entries_.resize(size_max_);
}

void LatencyEvents::Add(std::string_view event, int64_t time_s, int64_t millis) {
  auto it = events_.find(event);
  if (it == events_.end()) it = events_.emplace(event, Event()).first;
  Event& e = it->second;
  e.millis_max = std::max(e.millis_max, millis);
  if (!e.samples.empty() && e.samples.back().time_s == time_s) {
    e.samples.back().millis = std::max(e.samples.back().millis, millis);
    return;
  }
  e.samples.push_back({time_s, millis});
  if (e.samples.size() > kSamplesMax) e.samples.pop_front();
}

bool LatencyEvents::Reset(std::string_view event) {
  auto it = events_.find(event);
  if (it == events_.end()) return false;
  events_.erase(it);
  return true;
}

void Rate::Reset(uint64_t total, int64_t mono_us) {
  samples_.fill(0);
  total_ = total;
  at_us_ = mono_us;
}

void Rate::Sample(uint64_t total, int64_t mono_us) {
  constexpr uint64_t kUsPerSecond = 1'000'000;
  const int64_t passed_us = mono_us - at_us_;
  if (passed_us <= 0) return;
  samples_[next_] = (total - total_) * kUsPerSecond / static_cast<uint64_t>(passed_us);
  next_ = (next_ + 1) % kSamples;
  total_ = total;
  at_us_ = mono_us;
}

uint64_t Rate::per_second() const {
  uint64_t sum = 0;
  for (uint64_t sample : samples_) sum += sample;
  return sum / kSamples;
}

Observations::Observations() : commands_(Table::Instance().rows().size()) {}

CommandStats& Observations::Of(const Row& row) {
  return commands_[static_cast<size_t>(&row - Table::Instance().rows().data())];
}

void Observations::NoteError(std::string_view error) {
  const std::string_view name = error.substr(0, error.find_first_of(" \r\n"));
  auto it = errors_.find(name);
  if (it == errors_.end()) {
    // Scripts may make up as many as they like.
    if (errors_.size() >= kErrorsMax || name.size() > 64) return;
    it = errors_.emplace(name, 0).first;
  }
  ++it->second;
}

void Observations::ResetStatistics() {
  commands_.clear();
  commands_.resize(Table::Instance().rows().size());
  errors_.clear();
}

void Observations::NoteTime(CommandStats& stats, int64_t nanos) {
  stats.nanos += nanos;
  if (!tracks_latency) return;
  if (stats.histogram == nullptr) [[unlikely]] stats.histogram = std::make_unique<Histogram>();
  stats.histogram->Add(nanos);
}

void Observations::NoteIfSlow(
    const Row& row, Arguments args, const Client* client, int64_t nanos, int64_t wall_us) {
  const int64_t micros = nanos / 1000;
  latency.Note((row.flags & kFast) != 0 ? "fast-command" : "command", wall_us / 1'000'000, micros / 1000);
  if (slowlog.micros_min < 0 || micros < slowlog.micros_min || slowlog.size_max() == 0 ||
      (row.flags & kSkipSlowlog) != 0) {
    return;
  }
  Slowlog::Entry entry{.time_s = wall_us / 1'000'000, .micros = micros};
  const std::vector<std::string_view> shown = WithoutSecrets(row, args);
  const size_t count = std::min(shown.size(), Slowlog::kArgumentsMax);
  for (size_t i = 0; i < count; ++i) {
    if (i + 1 == count && shown.size() > count) {
      entry.arguments.push_back("... (" + std::to_string(shown.size() - count + 1) + " more arguments)");
    } else if (shown[i].size() > Slowlog::kArgumentBytesMax) {
      entry.arguments.push_back(std::string(shown[i].substr(0, Slowlog::kArgumentBytesMax)) + "... (" +
                                std::to_string(shown[i].size() - Slowlog::kArgumentBytesMax) + " more bytes)");
    } else {
      entry.arguments.emplace_back(shown[i]);
    }
  }
  entry.address = client == nullptr ? "?:0" : client->address;
  if (client != nullptr) entry.name = client->name;
  slowlog.Add(std::move(entry));
}

std::vector<std::string_view> WithoutSecrets(const Row& row, Arguments args) {
  constexpr std::string_view kRedacted = "(redacted)";
  std::vector<std::string_view> shown(args.begin(), args.end());
  auto hide = [&](size_t from, size_t to) {
    for (size_t i = from; i < std::min(to, shown.size()); ++i)
      shown[i] = kRedacted;
  };
  if (row.name == "auth") hide(1, shown.size());
  if (row.name == "acl|setuser") hide(2, shown.size());
  if (row.name == "hello" || row.name == "migrate") {
    for (size_t i = 2; i < args.size(); ++i) {
      if (EqualsIgnoreCase(args[i], "auth")) hide(i + 1, row.name == "hello" ? i + 3 : i + 2);
      if (EqualsIgnoreCase(args[i], "auth2")) hide(i + 1, i + 3);
    }
  }
  if (row.name == "config|set") {
    for (size_t i = 2; i + 1 < args.size(); i += 2) {
      for (std::string_view secret : {"requirepass", "masterauth", "masteruser", "tls-key-file-pass",
                                      "tls-client-key-file-pass"}) {
        if (EqualsIgnoreCase(args[i], secret)) hide(i + 1, i + 2);
      }
    }
  }
  return shown;
}

}  // namespace polyarch::command
