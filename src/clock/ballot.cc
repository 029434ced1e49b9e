#include "clock/ballot.h"

#include <charconv>

namespace polyarch::clock {

std::string Ballot::ToString() const {
  return std::to_string(counter) + "." + proposer.ToString();
}

std::optional<Ballot> Ballot::Parse(std::string_view text) {
  Ballot ballot;
  const char* end = text.data() + text.size();
  auto [p, error] = std::from_chars(text.data(), end, ballot.counter);
  if (error != std::errc() || p == end || *p != '.' || ballot.counter == 0) return std::nullopt;
  auto proposer = Origin::Parse(text.substr(static_cast<size_t>(p - text.data()) + 1));
  if (!proposer || proposer->leader.empty()) return std::nullopt;
  ballot.proposer = std::move(*proposer);
  return ballot;
}

}  // namespace polyarch::clock
