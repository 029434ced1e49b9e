// Transactions of which it is known what they must leave: of each, all or nothing, at every node
// and after every frame.
//
// Two counters of which every transaction adds to one what it takes from the other: their sum is 0.
// A string and a hash's field that every transaction sets alike: they are equal, since of
// concurrent transactions the same one wins both. And what WATCH promises: a value that was read
// behind it is still there when EXEC runs.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "command/client.h"
#include "engine/engine.h"
#include "resp/reply.h"

namespace polyarch::sim {

struct Op;

inline constexpr std::string_view kTransferPrefix = "~";
inline constexpr std::string_view kFromCounter = "~from";
inline constexpr std::string_view kToCounter = "~to";
inline constexpr std::string_view kPairString = "~string";
inline constexpr std::string_view kPairHash = "~hash";

// What one process's clients have queued and watch.
class Transactions {
 public:
  // `op` has run, for a client that was in a transaction before it (`queued`), with this reply.
  // Nothing if it is as it must be.
  std::string Note(const Op& op, bool queued, const resp::Value& reply);

 private:
  struct Client {
    std::vector<std::vector<std::string>> queue;
    std::string watched;
    std::optional<std::string> value;  // what a GET of it has shown since
  };
  static std::string JudgeScript(const std::vector<std::string>& args, const resp::Value& reply);
  static std::string Judge(const Client& client, const resp::Value& reply);
  std::map<int, Client> clients_;
};

// Looks at what all transactions leave. Nothing if it is whole.
std::string TornTransaction(engine::Engine& engine);

}  // namespace polyarch::sim
