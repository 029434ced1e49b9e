// Folding: why vectors need not list origins that have ended. docs/design/0012-folding.md.
//
// A fold is a fact: whoever has applied the change `record` has applied `origin` up to `sequence`,
// because the record's author had. So a vector that covers the record may leave the entry out
// (Compress), and whoever reads it puts it back (Expand). It is compression and never a cap: an
// origin that went on beyond `sequence` is listed again. Facts are never forgotten: a vector that
// covers one record of an origin need not cover a later one.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "clock/origin.h"
#include "clock/version_vector.h"

namespace polyarch::clock {

struct Fold {
  Dot record;
  OriginIndex origin = kNoOrigin;
  uint64_t sequence = 0;
};

class Folds {
 public:
  // False if it is known.
  bool Add(const Fold& fold);
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  const std::vector<Fold>& all() const { return all_; }

  // Entries of a causally closed vector that have risen: origin, from where.
  using Grown = std::vector<std::pair<OriginIndex, uint64_t>>;
  // Adds what the records say that the vector covers, and what follows from that.
  void Expand(VersionVector& vector) const;
  // As Expand, where all but what has grown is expanded already. Returns whether anything was added.
  bool Expand(VersionVector& vector, Grown grown) const;

  // The entries that must be listed for Expand to give the vector back, by rising index. The choice
  // depends on the set of dots alone, not on the node.
  std::vector<VersionVector::Entry> Compress(const VersionVector& full, const OriginTable& origins) const;

  // How far `origin` is folded by records that `applied` covers; 0: not at all.
  uint64_t FoldedAt(OriginIndex origin, const VersionVector& applied) const;

  // For vectors to share: the highest sequence at which each origin was ever folded. Null: none was.
  const std::shared_ptr<const VersionVector::Base>& base() const;

 private:
  struct ByRecord {
    uint64_t record = 0;  // sequence
    OriginIndex origin = kNoOrigin;
    uint64_t sequence = 0;
  };
  // Raises `at` (by index) by what its growth covers; tells of each raise.
  template <typename Get, typename Raised>
  void Follow(Grown grown, Get get, Raised raised) const;

  size_t size_ = 0;
  std::vector<Fold> all_;                                    // in the order of arrival
  std::map<OriginIndex, std::vector<ByRecord>> by_record_;   // by the record's origin, rising
  std::map<OriginIndex, std::vector<std::pair<uint64_t, Dot>>> by_origin_;  // sequence, record
  VersionVector::Base highest_;
  mutable std::shared_ptr<const VersionVector::Base> base_;  // the same, to be shared; null: to be made
};

}  // namespace polyarch::clock
