// Everything that was ever written, as its authors wrote it: the registry of origins, frames and
// changes of one simulated cluster. Feeds the oracle and checks, at every frame that any node appends,
// that no dot has two contents and that nothing comes from nowhere.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "clock/origin.h"
#include "clock/version_vector.h"
#include "engine/rows.h"
#include "log/memory_log.h"
#include "sim/oracle.h"
#include "wire/change_codec.h"
#include "wire/frame.h"

namespace polyarch::sim {

// A promise was broken: ends the run of this seed.
class Violation : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// What one frame touches, so that a reply that depends on it can be told.
struct FrameFacts {
  uint64_t last = 0;
  uint64_t hash = 0;
  bool empty = true;                 // no effects: a claim
  std::vector<Key> keys;
  std::vector<uint8_t> flushed;      // databases, kAllDatabases
  // New versions in it, for conflicts: the register and its change.
  struct Put {
    Key key;
    Place place;
    uint64_t sequence = 0;
    uint64_t hlc = 0;
    bool absent = false;
    std::string value;
    std::vector<Dot> named;          // kResolve: what it replaces
    bool resolve = false;
  };
  std::vector<Put> puts;
  Vector deps;
  uint64_t hlc_last = 0;             // the highest stamp
};

class History {
 public:
  uint32_t Ordinal(const clock::Origin& origin);
  const clock::Origin& OriginOf(uint32_t ordinal) const { return origins_[ordinal]; }
  size_t origins() const { return origins_.size(); }

  // A node wrote a frame. `table` maps the indices of `deps` and `dictionary`.
  const FrameFacts& AddOwn(const wire::Frame& frame,
                           std::string_view bytes,
                           const wire::Dictionary& dictionary,
                           const clock::VersionVector& deps,
                           const clock::OriginTable& table);
  // A node appended somebody's frame: it must be the very one, and be read as its author meant it.
  const FrameFacts& CheckForeign(const wire::Frame& frame,
                                 std::string_view bytes,
                                 const clock::VersionVector& deps,
                                 const clock::OriginTable& table);

  const Oracle& oracle() const { return oracle_; }
  uint64_t frames() const { return frames_count_; }
  uint64_t nonempty_frames() const { return nonempty_; }
  uint64_t HighestOf(uint32_t ordinal) const;
  std::string Name(Dot dot) const;
  std::string Text(const Vector& v) const;

  // The vector without what comes after each origin's last change that says anything: claims oblige
  // nobody.
  Vector WithoutClaims(Vector v) const;
  // Had the writer of `later` seen `earlier`?
  bool Saw(Dot later, Dot earlier) const;
  // Was the change a CONFLICT RESOLVE? It replaces what its token names, not what its writer had seen.
  bool IsResolve(Dot dot) const { return resolves_.count(dot) != 0; }
  // The changes in the log of a disk, up to a position.
  Vector DiskVector(const log::MemoryLogDisk& disk, log::Position end);
  Vector Convert(const clock::VersionVector& vv, const clock::OriginTable& table);
  // Adds to a vector what fold records say that it covers. They are found in what was written.
  void Expand(Vector& v) const;
  // A node took over a state of these changes.
  void NoteCutOver(const engine::CutOverRecord& record, const Vector& state) {
    cut_overs_[{record.transfer, record.position}] = state;
  }

 private:
  std::vector<clock::Origin> origins_;
  std::map<clock::Origin, uint32_t> ordinals_;
  std::vector<std::map<uint64_t, FrameFacts>> frames_;  // by ordinal, by first sequence
  std::set<Dot> resolves_;
  // By transfer and its position: copies of a directory go on with one transfer, each by itself.
  std::map<std::pair<uint64_t, log::Position>, Vector> cut_overs_;
  struct Fold {
    Dot record;
    Dot folded;
  };
  std::vector<Fold> folds_;
  Oracle oracle_;
  uint64_t frames_count_ = 0;
  uint64_t nonempty_ = 0;
};

}  // namespace polyarch::sim
