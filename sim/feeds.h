// What is known of conflict feeds from outside: which versions were acknowledged, for whom. So it
// can be told what must still be given.
#pragma once

#include <map>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "resp/reply.h"

namespace polyarch::sim {

class Node;
class World;

class FeedWatch {
 public:
  explicit FeedWatch(World& world) : world_(world) {}

  // The ids of a reply to CONFLICT FEED READ.
  std::vector<std::string> NoteRead(const std::string& group, const resp::Value& reply);
  // An acknowledgement is asked for: from here on it may count.
  void NoteAck(const std::string& group, const std::string& id);
  // In the settled cluster: whoever delivers gives all open conflicts that nobody has acknowledged,
  // and nothing else; no acknowledgement has outlived its item.
  void Check();

 private:
  using Place = std::tuple<std::string, std::string, std::string>;  // feed, key, field
  using Tags = std::set<std::string>;
  struct Seen {
    std::string key;
    std::string field;
    Tags tags;
  };
  static std::vector<std::pair<std::string, Seen>> ItemsIn(const resp::Value& reply);
  void CheckFeed(Node& node, const std::string& group);

  World& world_;
  std::map<std::pair<std::string, std::string>, Seen>
      seen_;  // by feed and id: as it was given last
  std::map<Place, std::vector<Tags>> acknowledged_;
};

}  // namespace polyarch::sim
