#include "clock/version_vector.h"

namespace polyarch::clock {

void VersionVector::Set(OriginIndex o, uint64_t sequence) {
  const auto place = entries_.begin() + (Find(o) - entries_.begin());
  const bool there = place != entries_.end() && place->first == o;
  if (sequence == OfBase(o)) {
    if (there) entries_.erase(place);
  } else if (there) {
    place->second = sequence;
  } else {
    entries_.insert(place, {o, sequence});
  }
}

bool VersionVector::Includes(const VersionVector& other) const {
  bool includes = true;
  other.ForEachAbove(*this, [&](OriginIndex, uint64_t, uint64_t) { return includes = false; });
  return includes;
}

void VersionVector::Join(const VersionVector& other) {
  // Over the larger base: that is the one with more in common.
  const size_t here = base_ == nullptr ? 0 : base_->size();
  const size_t there = other.base_ == nullptr ? 0 : other.base_->size();
  if (base_ != other.base_ && here < there) {
    VersionVector joined = other;
    joined.Join(*this);
    *this = std::move(joined);
    return;
  }
  std::vector<Entry> higher;
  other.ForEachAbove(*this, [&](OriginIndex o, uint64_t more, uint64_t) {
    higher.emplace_back(o, more);
    return true;
  });
  for (const auto& [o, sequence] : higher) Set(o, sequence);
}

void VersionVector::Meet(const VersionVector& other) {
  std::vector<Entry> lower;
  ForEachAbove(other, [&](OriginIndex o, uint64_t, uint64_t less) {
    lower.emplace_back(o, less);
    return true;
  });
  for (const auto& [o, sequence] : lower) Set(o, sequence);
}

size_t VersionVector::index_end() const {
  const size_t of_base = base_ == nullptr ? 0 : base_->size();
  return entries_.empty() ? of_base : std::max(of_base, IndexOf(entries_.back().first) + 1);
}

bool VersionVector::empty() const {
  bool any = false;
  ForEachAbove(VersionVector(), [&](OriginIndex, uint64_t, uint64_t) {
    any = true;
    return false;
  });
  return !any;
}

void VersionVector::Rebase(const std::shared_ptr<const Base>& base) {
  if (base == base_) return;
  *this = [&] {
    VersionVector out;
    out.base_ = base;
    const size_t end = std::max(index_end(), base == nullptr ? 0 : base->size());
    auto it = entries_.begin();
    for (size_t i = 0; i < end; ++i) {
      const auto o = static_cast<OriginIndex>(i);
      const bool own = it != entries_.end() && it->first == o;
      const uint64_t sequence = own ? (it++)->second : OfBase(o);
      if (sequence != out.OfBase(o)) out.entries_.emplace_back(o, sequence);
    }
    return out;
  }();
}

VersionVector VersionVector::Over(std::shared_ptr<const Base> base, const std::vector<Entry>& entries) {
  VersionVector out;
  out.base_ = std::move(base);
  out.entries_.reserve(entries.size());
  for (const auto& [o, sequence] : entries) {
    if (sequence != out.OfBase(o)) out.entries_.emplace_back(o, sequence);
  }
  return out;
}

std::string VersionVector::ToString(const OriginTable& origins) const {
  std::vector<std::pair<Origin, uint64_t>> entries;
  ForEach([&](OriginIndex o, uint64_t sequence) { entries.emplace_back(origins.Get(o), sequence); });
  std::sort(entries.begin(), entries.end());
  std::string text;
  for (const auto& [origin, sequence] : entries) {
    if (!text.empty()) text += ' ';
    text += origin.ToString() + ':' + std::to_string(sequence);
  }
  return text;
}

}  // namespace polyarch::clock
