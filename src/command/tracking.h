// Client-side caching: which clients of this leader have read which keys, or want to hear of which
// prefixes, and what they are told when those keys show something else (CLIENT TRACKING).
// docs/design/0025-tracking.md.
//
// A book: sending is the caller's. It costs nothing if nobody tracks. Noting a change only decides who
// is told; messages leave when they are asked for (Settle, Broadcast), between commands, so that what a
// client is told of its own command comes behind the reply.
//
// Bounds: `keys_max` keys and kBytesMax bytes of names. Beyond, keys are forgotten, and who has read them
// is told that they have changed: that is always safe.
//
// Clients are the caller's; one must be forgotten before it goes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/function_ref.h"
#include "base/random.h"
#include "command/client.h"
#include "keyspace/keyspace.h"

namespace polyarch::command {

class Tracking {
 public:
  // Prefixes of one client, together at most so many.
  static constexpr size_t kPrefixesMax = 1024;
  // Of the names of all keys in the table.
  static constexpr size_t kBytesMax = size_t{256} << 20;
  // Names that may wait for the end of a tick; beyond, clients are told that anything may have changed.
  static constexpr size_t kBroadcastKeysMax = 65'536;
  // Bytes of messages that wait for the end of a command; and of those names. Beyond, the same.
  static constexpr size_t kWaitingBytesMax = size_t{64} << 20;
  static constexpr size_t kKeysMax = 1'000'000;  // Redis's default for tracking-table-max-keys

  // `mode` takes the place of what the client had, but for prefixes, which add up. `redirect`: who is told
  // instead (mode.redirect is its id), or null.
  void Enable(Client& client, KeyTracking mode, Client* redirect);
  void Disable(Client& client) { Stop(client.id); }
  // It is gone: as a client that tracks, and as one that is told for others.
  void Forget(uint64_t client);
  bool active() const { return !clients_.empty(); }

  // `client`, which tracks by reading, has read the key.
  void NoteRead(const Client& client, const keyspace::KeyRef& ref);
  // From the keyspace's observer: does not look into the keyspace. `by`: the client whose command it was,
  // or 0.
  void NoteModified(const keyspace::KeyRef& ref, keyspace::Cause cause, uint64_t by) {
    if (!clients_.empty()) [[unlikely]]
      Touch(ref, cause, by);
  }
  // What reads show may be something else for all keys: a flush, or a policy that has changed.
  void NoteAll();

  // `held`: not before all that has been executed until now is durable. The replies to what the
  // client has read may still be waiting for the disk, on another connection than the one that is told.
  using Send = base::FunctionRef<void(Client& client, std::string_view bytes, bool held)>;
  bool unsettled() const { return !pending_.empty() || flushed_; }
  // What has been noted for those who have read keys. Between commands.
  void Settle(Send send);
  // What has been noted for prefixes: at the end of a tick, each key once.
  void Broadcast(Send send);

  // 0: no limit but that of bytes.
  void SetKeysMax(size_t keys);
  size_t keys_max() const { return keys_max_; }
  size_t clients() const { return clients_.size(); }
  size_t keys() const { return entries_.size(); }
  size_t items() const { return items_; }  // pairs of a key and a client that has read it
  size_t prefixes() const { return prefixes_.size(); }

 private:
  struct Name {
    uint64_t hash = 0;
    std::string_view key;
    friend bool operator==(const Name&, const Name&) = default;
  };
  struct NameHash {
    size_t operator()(const Name& name) const { return name.hash; }
  };
  struct Entry {
    std::string key;
    uint64_t hash = 0;
    size_t place = 0;             // in entries_
    std::vector<uint64_t> readers;  // rising ids; some may be gone
    size_t prune_at = 64;         // those are looked for when there are so many
  };
  struct Prefix {
    std::vector<Client*> clients;
    std::map<std::string, uint64_t, std::less<>> keys;  // changed, and by whom last
  };
  // To be told to this client: that these keys have changed; or that all have.
  struct Message {
    Client* client = nullptr;
    std::vector<std::string> keys;
    bool all = false;

    size_t bytes() const;
  };

  // Until the next Settle.
  void Await(Message message);
  void Stop(uint64_t client);
  void Touch(const keyspace::KeyRef& ref, keyspace::Cause cause, uint64_t by);
  void TellReaders(Entry& entry, uint64_t by);
  void Remove(Entry& entry);
  void Bound();
  void Prune(Entry& entry);
  void AddPrefix(Client& client, std::string_view prefix);
  // At once, or behind the answer that the client is going to take.
  void Tell(Message message, Send send);
  void TellNow(const Message& message, Send send);

  std::map<uint64_t, Client*> clients_;  // that track
  // Who is told for others, as far as they are there; and for how many.
  struct Target {
    Client* client = nullptr;
    size_t sources = 0;
  };
  std::map<uint64_t, Target> targets_;
  std::unordered_map<Name, std::unique_ptr<Entry>, NameHash> by_name_;
  std::vector<Entry*> entries_;
  std::map<std::string, Prefix, std::less<>> prefixes_;
  std::map<size_t, size_t> prefix_sizes_;  // how many there are of each size
  size_t broadcast_keys_ = 0;
  size_t broadcast_bytes_ = 0;  // of their names
  std::vector<Message> pending_;
  size_t pending_bytes_ = 0;
  bool flushed_ = false;
  size_t items_ = 0;
  size_t bytes_ = 0;
  size_t keys_max_ = kKeysMax;
  base::Random random_{1};
};

}  // namespace polyarch::command
