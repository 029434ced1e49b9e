// A client at each node that keeps what it has read until it is told that it has changed (CLIENT
// TRACKING): whatever it keeps is what the leader shows.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "command/client.h"
#include "engine/engine.h"
#include "resp/reply.h"
#include "sim/draw.h"

namespace polyarch::sim {

// Of one process.
class Caches {
 public:
  // `broadcast`: it is told of all keys, else of those that it has read.
  Caches(uint64_t id, bool broadcast);

  // Within a tick, before anything else has happened in it: compares what is kept with what is shown, then reads
  // one key more. Nothing if it is as it must be.
  std::string Check(engine::Engine& engine, command::ServerHost& server, Draw& draw);
  // What it was told. Nothing if it may be told that.
  std::string Note(const resp::Value& message);
  uint64_t id() const { return client_.id; }

 private:
  static constexpr size_t kKeysMax = 6;

  void Begin(engine::Engine& engine, command::ServerHost& server);
  static std::string Ask(engine::Engine& engine,
                         command::ServerHost& server,
                         command::Client& client,
                         std::string_view word,
                         std::string_view key);

  bool broadcast_;
  command::Client client_;
  command::Client looker_;  // reads without being tracked
  std::map<std::string, std::string> kept_;
  std::string last_;  // a key that was read before: it may be gone by now
};

}  // namespace polyarch::sim
