// A version vector: per origin the highest sequence applied. Since sequences are applied without
// gaps it stands for an exact set of dots. Indexed by this node's OriginIndex; a missing entry is
// 0.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "clock/origin.h"

namespace polyarch::clock {

class VersionVector {
 public:
  uint64_t Get(OriginIndex o) const {
    size_t i = IndexOf(o);
    return i < sequences_.size() ? sequences_[i] : 0;
  }
  void Set(OriginIndex o, uint64_t sequence);
  // Raises the entry of `o` to `sequence` if it is lower.
  void Raise(OriginIndex o, uint64_t sequence) {
    if (Get(o) < sequence) Set(o, sequence);
  }

  bool Covers(Dot dot) const { return dot.sequence() <= Get(dot.origin()); }
  // Is every dot of `other` in this?
  bool Includes(const VersionVector& other) const;
  void Join(const VersionVector& other);
  void Meet(const VersionVector& other);

  // One past the highest index with an entry; entries at and beyond it are 0.
  size_t index_end() const { return sequences_.size(); }
  void clear() { sequences_.clear(); }

  friend bool operator==(const VersionVector& a, const VersionVector& b) {
    return a.Includes(b) && b.Includes(a);
  }

  // "eu.3f2a9c0d11223344:17 us.…:4", in the global order of origins: for people, INFO and equality
  // across nodes.
  std::string ToString(const OriginTable& origins) const;

 private:
  std::vector<uint64_t> sequences_;
};

}  // namespace polyarch::clock
