#include "history/counter_bounds.h"

#include <algorithm>

#include "base/number.h"

namespace polyarch::history {

void CounterBounds::Add(const Operation& op, bool acknowledged, uint32_t lane, uint32_t at) {
  Sum amount;
  amount.Count(op.amount);
  by_time_.push_back({op.invoked, amount});
  if (!acknowledged) return;
  if (lanes_.empty() || lanes_.back().number != lane) lanes_.push_back({lane, {}});
  auto& until = lanes_.back().until;
  if (!until.empty()) amount += until.back().second;
  until.push_back({at, amount});
}

void CounterBounds::Finish() {
  std::stable_sort(by_time_.begin(), by_time_.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  Sum sum;
  for (auto& entry : by_time_) entry.second = sum += entry.second;
}

CounterBounds::Sum CounterBounds::Before(const Lane& lane, uint32_t count) {
  auto it = std::lower_bound(lane.until.begin(), lane.until.end(), count,
                             [](const auto& entry, uint32_t at) { return entry.first < at; });
  return it == lane.until.begin() ? Sum() : std::prev(it)->second;
}

CounterBounds::Sum CounterBounds::InvokedUntil(uint64_t time) const {
  auto it = std::upper_bound(by_time_.begin(), by_time_.end(), time,
                             [](uint64_t t, const auto& entry) { return t < entry.first; });
  return it == by_time_.begin() ? Sum() : std::prev(it)->second;
}

bool CounterValue(const History& history, uint32_t value, int64_t& number) {
  number = 0;
  if (value == kNil) return true;
  const auto parsed = base::ParseInt64(history.values()[value]);
  if (parsed) number = *parsed;
  return parsed.has_value();
}

std::string Decimal(__int128 number) {
  if (number == 0) return "0";
  std::string digits;
  const bool negative = number < 0;
  for (; number != 0; number /= 10) digits += static_cast<char>('0' + static_cast<int>(negative ? -(number % 10) : number % 10));
  if (negative) digits += '-';
  std::reverse(digits.begin(), digits.end());
  return digits;
}

}  // namespace polyarch::history
