#include "command/command_timer.h"

#include <algorithm>

#include "command/table.h"

namespace polyarch::command {

bool CommandTimer::IsQuick(const Row& row, Arguments args, std::string_view reply) const {
  if (args.size() > kQuickArguments || reply.size() > kQuickBytes || !row.complexity.starts_with("O(1)")) return false;
  if ((row.flags & (kRunsScript | kBlocking | kAdmin)) != 0) return false;
  for (std::string_view word : args) {
    if (word.size() > kQuickBytes) return false;
  }
  return true;
}

void CommandTimer::Ran(
    const Row& row, Arguments args, const Client* client, std::string_view reply, bool last) {
  Observations& book = server_.observations();
  CommandStats& stats = book.Of(row);
  ++stats.calls;
  if (reply.starts_with('-')) [[unlikely]] {
    ++stats.failed;
    book.NoteError(reply.substr(1));
  }
  const bool quick = IsQuick(row, args, reply);
  group_[size_++] = &stats;
  if (quick && size_ < kGroup && !last && !book.precise()) [[likely]]
    return;
  Settle(&row, quick, args, client);
}

void CommandTimer::Begin() {
  if (size_ != 0) return End();
  since_ns_ = server_.MonotonicNanos();
}

void CommandTimer::End() {
  if (size_ != 0) Settle(nullptr, true, {}, nullptr);
}

void CommandTimer::Settle(const Row* last, bool quick, Arguments args, const Client* client) {
  Observations& book = server_.observations();
  const int64_t now_ns = server_.MonotonicNanos();
  const int64_t all_ns = std::max<int64_t>(0, now_ns - since_ns_);
  since_ns_ = now_ns;
  const auto count = static_cast<int64_t>(size_);
  int64_t each_ns = all_ns / count;
  int64_t last_ns = each_ns;
  if (!quick && count > 1) {
    each_ns = std::min(book.quick_nanos, each_ns);
    last_ns = all_ns - (count - 1) * each_ns;
  }
  if (quick && count == static_cast<int64_t>(kGroup)) book.quick_nanos = each_ns;
  for (size_t i = 0; i + 1 < size_; ++i)
    book.NoteTime(*group_[i], each_ns);
  book.NoteTime(*group_[size_ - 1], last_ns);
  size_ = 0;
  // If eight quick ones were slow together, one of them was: it is told of the last one.
  const int64_t slow_ns = quick ? all_ns : last_ns;
  if (last == nullptr) return;
  const int64_t slow_us = slow_ns / 1000;
  if ((book.slowlog.micros_min < 0 || slow_us < book.slowlog.micros_min) &&
      (book.latency.millis_min == 0 || slow_us / 1000 < book.latency.millis_min)) [[likely]] {
    return;
  }
  book.NoteIfSlow(*last, args, client, slow_ns, server_.WallMicros());
}

}  // namespace polyarch::command
