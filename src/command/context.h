// What a command's handler gets: the client, its arguments, the reply, the keyspace and the change under
// way. A handler checks everything first, then writes (there is no rollback); it gives exactly one
// reply, or asks to be suspended.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "command/client.h"
#include "command/host.h"
#include "keyspace/change.h"
#include "keyspace/keyspace.h"
#include "resp/writer.h"

namespace polyarch::command {

struct Publication;

// What a suspended command waits for. Views are of its arguments.
struct Wait {
  crdt::Type type = crdt::Type::kString;
  Arguments keys;          // one of them must show elements of `type`; empty: for something else
  std::optional<std::string_view> group = {};  // of a stream: entries that are new to it
  int64_t timeout_ms = 0;  // from now on; 0: for ever
  bool when_gone = false;  // or a key must show nothing or another type, once it has changed
  std::vector<std::string> arguments;  // to be run again, instead of those that were given; or none
  std::string late;        // an error that is given when the time is over, instead of a null
  // Instead of keys: asked at the end of each tick, no change being under way, until it gives the reply
  // and returns true; when the time is over (`over`) it must.
  std::function<bool(resp::Writer& reply, bool over)> poll;
};

struct Context {
  Client& client;
  Arguments args;  // args[0] is the command's name
  resp::Writer& reply;
  keyspace::Keyspace& keys;
  keyspace::Change& change;
  ClusterHost& cluster;
  ServerHost& server;
  int64_t now_ms;       // the node's time (what hides expired keys)
  uint64_t random;      // a fresh random number
  bool suspended = false;  // run the same command again later; nothing was replied
  Wait wait = {};          // with `suspended`
  bool may_wait = true;    // if not, what would wait answers as if its time were over
  // Run by EXEC: where PUBLISH leaves what goes out when all of it has run. Else null.
  std::vector<Publication>* publications = nullptr;
  bool made_consumer = false;  // of a stream's group: there was none of this name
  bool trimmed = false;        // XADD has removed entries
  bool scripted = false;   // run by a script
  // There was more than `maxmemory`, and nothing to evict, when it began (or the EXEC or script that it is part of).
  bool out_of_memory = false;
  bool notify = false;     // somebody may listen to what happens to keys
  AgreedHost* agreed = nullptr;  // if there are keys on which leaders agree: it is asked before a write
  bool again = false;  // it was suspended, and is run again: MONITOR has shown it
  bool waits_for_others = false;  // with `suspended`: it is answered when they have agreed
  bool pushed = false;     // what it wrote stays, whatever CLIENT REPLY says (pushes)
  // The command has waited and is run again because this key has elements: no other is to be looked at.
  const std::string_view* ready = nullptr;
  // Not empty: what was run must be taken back, and the transaction that it is part of, for this reason.
  std::string abandon = {};
  bool close = false;      // close the connection after the reply
  // When what scripts may take is over, by ServerHost's clock; 0: none has begun. One for all scripts of an EXEC, and for
  // all that is read and run for one command: neighbours do not wait for the sum.
  int64_t own_script_until_us = 0;
  int64_t* shared_script_until_us = nullptr;
  int64_t& script_until_us() { return shared_script_until_us != nullptr ? *shared_script_until_us : own_script_until_us; }
  // Bytes of what scripts have left in `publications`; one sum for all scripts of an EXEC.
  size_t own_published_bytes = 0;
  size_t* shared_published_bytes = nullptr;
  size_t& published_bytes() { return shared_published_bytes != nullptr ? *shared_published_bytes : own_published_bytes; }

  size_t count() const { return args.size(); }
  keyspace::KeyRef Ref(std::string_view key) const { return keys.Ref(client.db, key); }
};

using Handler = void (*)(Context&);

}  // namespace polyarch::command
