// Lists of which it is known exactly what they must show, by what the clients asked for: every
// value is put there once (RPUSH, LPUSH, LINSERT) and gone once a pop that returned it is known.
// What two leaders show is in one order; of what one process pushed at one end the order is that of
// its pushes; and between two values that it pushed one directly beside the other stands only what
// was pushed by somebody who had seen the first.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "sim/oracle.h"

namespace polyarch::sim {

class Node;
struct Op;

class TrackedLists {
 public:
  // A command on a list of these has written; before anything else happens.
  void Note(Node& node, const Op& op);
  void Check(Node& node) const;

 private:
  struct Value {
    Dot pushed;
    bool front = false;
    bool inserted = false;  // by LINSERT: its place says nothing of its time
    Vector seen;            // by who pushed it
    std::string beside;  // its own, directly beside which it was pushed at the same end; or nothing
    std::string name;
    std::vector<Dot> pops;
  };
  using Values = std::map<std::string, Value>;
  void NoteInsert(Node& node, const Op& op);
  static std::vector<std::pair<std::string, std::string>> Shown(Node& node, const Key& key);
  static void CheckOrder(const Node& node,
                         const Values& values,
                         const std::vector<std::string>& shown);

  std::map<Key, Values> lists_;
};

}  // namespace polyarch::sim
