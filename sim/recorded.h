// Clients whose operations are written down as a history for polyarch-check (docs/checking.md): what they
// see is judged from outside, by nothing but what they asked and were answered.
//
// They use keys of their own ("h:...") of database 0, through each node's operator client, and go from node to
// node by SESSION TOKEN and SESSION WAIT. Draws come from a generator of their own.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "resp/reply.h"
#include "sim/draw.h"
#include "sim/node.h"

namespace polyarch::sim {

class World;

// Of their keys. No other client may write them, CONFLICT RESTORE included: it is a new write of an old value.
inline constexpr std::string_view kRecordedPrefix = "h:";

class Recorded {
 public:
  Recorded(World& world, uint64_t seed);
  // Each client that waits for nothing does something, or not.
  void Step();
  // The cluster has converged, and is at rest: what is left for good is read at each node.
  void Finish();
  const std::string& text() const { return text_; }

 private:
  struct Client {
    std::string session;
    Node* home = nullptr;    // where it is
    // What it waits for; `operation` is empty while it goes to another node.
    bool busy = false;
    uint64_t number = 0;     // of the command: an answer to an earlier one is void
    Node* asked = nullptr;
    uint32_t boots = 0;      // of the node, when it was asked
    int64_t invoked_us = 0;
    std::string operation;
  };

  void Begin(Client& client);
  void Act(Client& client);
  void Hop(Client& client, Node& to);
  // Gives a command to a node; `answered` is called when the reply is released, if the client still waits for it.
  void Ask(Client& client,
           Node& node,
           std::string operation,
           std::vector<std::string> args,
           std::function<void(Client&, const resp::Value&)> answered);
  void Read(Client& client, Node& node, const std::string& kind, const std::string& key);
  // The process that it asked is gone, or silent for too long.
  bool InVain(const Client& client) const;
  void GiveUp(Client& client);
  void Write(Client& client, const std::string& result);

  World& world_;
  Draw draw_;
  std::vector<Client> clients_;
  uint64_t sessions_ = 0;
  uint64_t values_ = 0;
  std::string text_;
};

}  // namespace polyarch::sim
