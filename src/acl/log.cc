#include "acl/log.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

namespace polyarch::acl {
namespace {

constexpr int64_t kAlikeMs = 60'000;
constexpr int kLookedAt = 10;
constexpr size_t kNameBytesMax = 4096;  // of what strangers have sent

bool Alike(const Log::Entry& a, const Log::Entry& b) {
  return a.reason == b.reason && a.context == b.context && std::llabs(a.time_ms - b.time_ms) <= kAlikeMs &&
         a.object == b.object && a.user == b.user;
}

}  // namespace

void Log::Add(Entry entry) {
  // Copied, not cut: what is cut keeps its memory.
  if (entry.object.size() > kNameBytesMax) entry.object = std::string(entry.object, 0, kNameBytesMax);
  if (entry.user.size() > kNameBytesMax) entry.user = std::string(entry.user, 0, kNameBytesMax);
  int looked_at = 0;
  for (auto it = entries_.begin(); it != entries_.end() && looked_at < kLookedAt; ++it, ++looked_at) {
    if (!Alike(*it, entry)) continue;
    it->client = std::move(entry.client);
    it->time_ms = entry.time_ms;
    ++it->count;
    entries_.splice(entries_.begin(), entries_, it);
    return;
  }
  entries_.push_front(std::move(entry));
  while (entries_.size() > size_max_) entries_.pop_back();
}

void Log::SetSize(size_t most) {
  size_max_ = most;
  while (entries_.size() > size_max_) entries_.pop_back();
}

}  // namespace polyarch::acl
