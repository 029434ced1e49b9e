// A version vector: per origin the highest sequence applied. Since sequences are applied without
// gaps it stands for an exact set of dots. Indexed by this node's OriginIndex; a missing entry is
// 0.
//
// Most origins of an old cluster have ended, and nearly all vectors agree about them. So a vector is
// a base, which many vectors share, and the few entries in which it differs from it: its size is
// that of the differences. The base is a matter of representation only: two vectors are equal if
// they stand for the same dots, whatever their bases. Vectors with the same base are compared and
// copied at the cost of their differences; with different ones at the cost of all origins.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "clock/origin.h"

namespace polyarch::clock {

class VersionVector {
 public:
  // By index; what lies beyond the end is 0. Never changed once it is shared.
  using Base = std::vector<uint64_t>;
  using Entry = std::pair<OriginIndex, uint64_t>;

  uint64_t Get(OriginIndex o) const {
    const auto it = Find(o);
    return it != entries_.end() && it->first == o ? it->second : OfBase(o);
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
  size_t index_end() const;
  bool empty() const;
  void clear() {
    base_.reset();
    entries_.clear();
  }

  // Calls visit(origin, sequence) for each entry that is not 0, by rising index.
  template <typename Visit>
  void ForEach(Visit visit) const {
    auto it = entries_.begin();
    const size_t base_end = base_ == nullptr ? 0 : base_->size();
    for (size_t i = 0; i < base_end; ++i) {
      uint64_t sequence = (*base_)[i];
      if (it != entries_.end() && IndexOf(it->first) == i) sequence = (it++)->second;
      if (sequence != 0) visit(static_cast<OriginIndex>(i), sequence);
    }
    for (; it != entries_.end(); ++it) visit(it->first, it->second);
  }
  // Calls visit(origin, here, there) where this has more than `other`, by rising index, until it
  // returns false.
  template <typename Visit>
  void ForEachAbove(const VersionVector& other, Visit visit) const {
    if (base_ == nullptr) {
      for (const auto& [o, here] : entries_) {
        const uint64_t there = other.Get(o);
        if (here > there && !visit(o, here, there)) return;
      }
      return;
    }
    if (base_ != other.base_) {
      const size_t end = index_end();
      for (size_t i = 0; i < end; ++i) {
        const auto o = static_cast<OriginIndex>(i);
        const uint64_t here = Get(o);
        const uint64_t there = other.Get(o);
        if (here > there && !visit(o, here, there)) return;
      }
      return;
    }
    auto a = entries_.begin();
    auto b = other.entries_.begin();
    while (a != entries_.end() || b != other.entries_.end()) {
      const bool from_a = b == other.entries_.end() || (a != entries_.end() && a->first <= b->first);
      const bool from_b = a == entries_.end() || (b != other.entries_.end() && b->first <= a->first);
      const OriginIndex o = from_a ? a->first : b->first;
      const uint64_t here = from_a ? (a++)->second : OfBase(o);
      const uint64_t there = from_b ? (b++)->second : OfBase(o);
      if (here > there && !visit(o, here, there)) return;
    }
  }

  friend bool operator==(const VersionVector& a, const VersionVector& b) {
    if (a.base_ == b.base_) return a.entries_ == b.entries_;
    return a.Includes(b) && b.Includes(a);
  }

  // The same set of dots over another base.
  void Rebase(const std::shared_ptr<const Base>& base);
  const std::shared_ptr<const Base>& base() const { return base_; }
  // Where it differs from its base, by rising index; 0: the base has an entry and this has not.
  const std::vector<Entry>& entries() const { return entries_; }
  // From the parts of another vector's, for codecs: `entries` by rising index.
  static VersionVector Over(std::shared_ptr<const Base> base, const std::vector<Entry>& entries);

  // "eu.3f2a9c0d11223344:17 us.…:4", in the global order of origins: for people, INFO and equality
  // across nodes.
  std::string ToString(const OriginTable& origins) const;

 private:
  std::vector<Entry>::const_iterator Find(OriginIndex o) const {
    return std::lower_bound(entries_.begin(), entries_.end(), o, [](const Entry& e, OriginIndex x) {
      return e.first < x;
    });
  }
  uint64_t OfBase(OriginIndex o) const {
    return base_ != nullptr && IndexOf(o) < base_->size() ? (*base_)[IndexOf(o)] : 0;
  }

  std::shared_ptr<const Base> base_;
  std::vector<Entry> entries_;  // never one that equals the base's
};

}  // namespace polyarch::clock
