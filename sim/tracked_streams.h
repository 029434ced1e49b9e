// A stream and its group of which it is known exactly what they must show, by what the clients asked for: an entry is
// there once its XADD is known and as long as nothing that had seen it removed it; the group was given it if, and only
// if, a delivery of it is known, so that none is lost; and it is pending as long as some delivery was not seen by an
// XACK of it.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "crdt/stream.h"
#include "sim/oracle.h"

namespace polyarch::sim {

class Node;
struct Op;

class TrackedStreams {
 public:
  // A command on a stream of these has written; before anything else happens.
  void Note(Node& node, const Op& op);
  void Check(Node& node) const;

 private:
  // What somebody did who had seen this.
  struct Act {
    Dot dot;
    Vector seen;
  };
  struct Entry {
    Dot added;
    std::vector<Act> removes;
    std::vector<Act> spared;  // trims that would have removed it, had they seen it
    std::vector<Act> deliveries;
    std::vector<Act> acks;
  };
  using Entries = std::map<crdt::StreamId, Entry>;

  static bool Gone(const Entry& entry, const Vector& applied);

  std::map<Key, Entries> streams_;
};

}  // namespace polyarch::sim
