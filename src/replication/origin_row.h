// What a node knows of one origin: how far it has applied it, the chained hash there, the author's
// dictionary and deps as of its newest frame, and what it claims. One row an origin; checkpointed.
//
// A claim is the deps of the origin's newest frame that is known durable at its author: by a later
// frame's durable mark, or because the frame says itself that everything it covers was durable
// (`solid`). Stability is computed from claims, never from gossiped vectors: a claim rides in a
// frame, behind everything that its author wrote before.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/codec.h"
#include "clock/version_vector.h"
#include "wire/change_codec.h"
#include "wire/frame.h"

namespace polyarch::replication {

struct OriginRow {
  uint64_t last = 0;   // highest sequence applied here
  uint64_t chain = 0;  // chained hash at `last`
  wire::Dictionary dictionary;
  // Of the newest frame, without the origin's own entry. Of a compact row as its author would list
  // them: to be expanded.
  clock::VersionVector deps;
  bool has_claim = false;
  clock::VersionVector claim;                                      // includes the frame itself
  // Frames not known durable yet. None of an origin that has ended: its successor's claims cover more.
  std::vector<std::pair<uint64_t, clock::VersionVector>> waiting;
  int64_t clock_ms = -1;  // the latest that a frame of the author said
  bool ended = false;     // by an `ended` record
  // The origin is folded at `last`: what is kept is what a later frame of it would need.
  bool compact = false;
  // The fold records that the origin itself wrote were looked at up to here; not kept on disk.
  uint64_t followed = 0;

  // By a record. An older claim is as sound, so what waits to become one is dropped.
  void SetEnded() {
    ended = true;
    waiting = {};
  }

  // Takes a frame that has just been applied; `deps` are its full deps.
  void Note(const wire::Frame& frame,
            const clock::VersionVector& frame_deps,
            clock::OriginIndex self);

  // Vectors are written as differences from `base`.
  using Base = std::shared_ptr<const clock::VersionVector::Base>;
  void Encode(std::string& out, const Base& base) const;
  // `base` is null for checkpoint rows before version 3, which have none.
  bool Decode(base::Reader& in, size_t origins, const Base& base, uint8_t version);
};

// VVs as (index, sequence) pairs, for rows of this node.
void EncodeVector(std::string& out, const clock::VersionVector& vv);
bool DecodeVector(base::Reader& in, clock::VersionVector& vv, size_t origins);
// The same as differences from `base`; 0: the base has an entry and this has not.
void EncodeOver(std::string& out, const clock::VersionVector& vv, const OriginRow::Base& base);
bool DecodeOver(base::Reader& in, clock::VersionVector& vv, size_t origins, const OriginRow::Base& base);

}  // namespace polyarch::replication
