// Clients that go from leader to leader with what they have seen (SESSION), and clients that wait until
// other leaders hold what they wrote (WAIT).
//
// Checked: whoever a SESSION WAIT has let in finds all that the token's connection had been shown; of the
// leaders that WAIT counts each has had the connection's last write on its disk.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "sim/history.h"
#include "sim/node.h"

namespace polyarch::sim {

class World;

class Travellers {
 public:
  explicit Travellers(World& world) : world_(world) {}

  // Gives the client of this node a command: SESSION TOKEN, SESSION WAIT or WAIT.
  void Step(Node& node, int client);
  // A command has run, of whichever kind.
  void Executed(Node& node, const Op& op);

 private:
  struct Token {
    std::string text;
    Vector seen;       // what clients there had been shown before it was asked for
    std::string from;
  };
  void Take(Node& node, int client);
  void Arrive(Node& node, int client);
  void Wait(Node& node, int client);

  World& world_;
  std::vector<Token> tokens_;
  // What a client of a process wrote last.
  std::map<std::pair<std::string, int>, Dot> wrote_;
  std::map<uint64_t, Dot> waited_for_;  // by the command's number
};

}  // namespace polyarch::sim
