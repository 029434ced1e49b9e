#include "clock/version_vector.h"

#include <algorithm>

namespace polyarch::clock {

void VersionVector::Set(OriginIndex o, uint64_t sequence) {
  size_t i = IndexOf(o);
  if (i >= sequences_.size()) sequences_.resize(i + 1);
  sequences_[i] = sequence;
}

bool VersionVector::Includes(const VersionVector& other) const {
  for (size_t i = 0; i < other.sequences_.size(); ++i) {
    if (other.sequences_[i] > (i < sequences_.size() ? sequences_[i] : 0)) return false;
  }
  return true;
}

void VersionVector::Join(const VersionVector& other) {
  if (sequences_.size() < other.sequences_.size()) sequences_.resize(other.sequences_.size());
  for (size_t i = 0; i < other.sequences_.size(); ++i) {
    sequences_[i] = std::max(sequences_[i], other.sequences_[i]);
  }
}

void VersionVector::Meet(const VersionVector& other) {
  for (size_t i = 0; i < sequences_.size(); ++i) {
    sequences_[i] = std::min(sequences_[i], i < other.sequences_.size() ? other.sequences_[i] : 0);
  }
}

std::string VersionVector::ToString(const OriginTable& origins) const {
  std::vector<std::pair<Origin, uint64_t>> entries;
  for (size_t i = 0; i < sequences_.size(); ++i) {
    if (sequences_[i] != 0)
      entries.emplace_back(origins.Get(static_cast<OriginIndex>(i)), sequences_[i]);
  }
  std::sort(entries.begin(), entries.end());
  std::string text;
  for (const auto& [origin, sequence] : entries) {
    if (!text.empty()) text += ' ';
    text += origin.ToString() + ':' + std::to_string(sequence);
  }
  return text;
}

}  // namespace polyarch::clock
