#include "clock/origin.h"

#include <charconv>

namespace polyarch::clock {

std::string Origin::ToString() const {
  char hex[17];
  static constexpr char kDigits[] = "0123456789abcdef";
  for (int i = 0; i < 16; ++i)
    hex[i] = kDigits[(incarnation >> (60 - 4 * i)) & 15];
  return leader + "." + std::string(hex, 16);
}

std::optional<Origin> Origin::Parse(std::string_view text) {
  size_t dot = text.rfind('.');
  if (dot == std::string_view::npos || text.size() - dot - 1 != 16) return std::nullopt;
  Origin origin;
  origin.leader = text.substr(0, dot);
  const char* end = text.data() + text.size();
  auto [p, error] = std::from_chars(text.data() + dot + 1, end, origin.incarnation, 16);
  if (error != std::errc() || p != end) return std::nullopt;
  return origin;
}

OriginIndex OriginTable::Intern(const Origin& origin) {
  auto it = index_.find(origin);
  if (it != index_.end()) return it->second;
  if (origins_.size() >= kOriginsMax) return kNoOrigin;
  auto index = static_cast<OriginIndex>(origins_.size());
  origins_.push_back(origin);
  index_.emplace(origin, index);
  return index;
}

std::optional<OriginIndex> OriginTable::Find(const Origin& origin) const {
  auto it = index_.find(origin);
  if (it == index_.end()) return std::nullopt;
  return it->second;
}

}  // namespace polyarch::clock
