// The state of one client connection, as commands see it. Owned by the server's session.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace polyarch::command {

struct Row;

// Commands between MULTI and EXEC, checked and not run yet. Their words lie one behind the other.
struct Transaction {
  struct Queued {
    const Row* row = nullptr;
    uint32_t words = 0;
  };
  explicit Transaction(std::shared_ptr<size_t> total) : all_bytes(std::move(total)) {}
  ~Transaction() { *all_bytes -= charged; }
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;

  std::vector<Queued> commands;
  std::vector<uint32_t> sizes;  // of the words of all commands
  std::string words;
  bool aborted = false;         // a command was refused: EXEC will be, too
  bool writes = false;
  bool denies_oom = false;  // one of them may not run when memory is full
  bool pauses = false;  // a pause of writes concerns one of them
  bool whole_keyspace = false;  // one of them looks at keys that it does not name
  size_t charged = 0;           // what it takes, at least
  std::shared_ptr<size_t> all_bytes;  // what those of all clients take
};

// How a client tracks keys (CLIENT TRACKING ON).
struct KeyTracking {
  bool broadcast = false;  // tells of all keys with one of the prefixes, instead of what was read
  bool opt_in = false;     // reads count behind CLIENT CACHING YES only
  bool opt_out = false;    // reads do not count behind CLIENT CACHING NO
  bool no_loop = false;    // its own writes are not told
  bool caching = false;    // CLIENT CACHING was said for the command that follows
  bool broken = false;     // who is to be told instead is gone
  uint64_t redirect = 0;   // that client; 0: itself
  std::set<std::string, std::less<>> prefixes;
};

struct Client {
  uint64_t id = 0;
  std::string address;  // "127.0.0.1:50000"
  std::string local_address;
  std::string name;          // CLIENT SETNAME
  std::string library_name;  // CLIENT SETINFO
  std::string library_version;
  std::string user = "default";  // as whom it has authenticated, or is let in
  uint64_t user_born = 0;        // which user of that name (acl/user.h)
  std::string_view last_command;  // "config|get": a row's name, so it lives for ever
  const Row* ran = nullptr;      // what its last request has run; null: nothing, or a part of a transaction
  const Row* refused = nullptr;  // what it asked for, and was refused
  uint8_t db = 0;
  int protocol = 2;
  bool authenticated = false;
  // Its requests are judged: it has not authenticated, or its user may not do everything. All else about users is
  // looked at only then.
  bool judged = false;
  bool expelled = false;  // its user is gone: it is closed behind the reply
  bool gone = false;  // nothing reaches it any more
  bool leaving = false;  // its last reply is on its way (QUIT)
  bool no_evict = false;
  bool no_touch = false;
  bool paused = false;    // its request waits for the end of a pause
  bool monitors = false;  // MONITOR
  enum class ReplyMode : uint8_t { kOn, kOff, kSkipNext } reply_mode = ReplyMode::kOn;
  int64_t created_ms = 0;
  int64_t active_ms = 0;  // of the last command
  uint64_t ticket = 0;    // what a suspended command waits for; 0: none
  // In a command that waits for elements; kAnswered: its reply is there, to be taken by running it
  // again.
  enum class Blocked : uint8_t { kNot, kWaits, kAnswered } blocked = Blocked::kNot;
  uint64_t wrote = 0;  // the dot of its last change; 0: it has written nothing
  std::unique_ptr<Transaction> transaction;  // after MULTI, before EXEC
  std::unique_ptr<KeyTracking> tracking;     // null: it tracks no keys
  size_t subscribed = 0;  // to so many channels, patterns and shard channels
};

}  // namespace polyarch::command
