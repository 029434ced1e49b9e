// Which clients watch which keys (WATCH), and whose keys have changed since. Changes by this
// leader's clients, by other leaders, by expiry, by a flush and by the merge of another leader's
// state all count; what no read shows (residue that is cleaned, the removal of a key that was
// hidden already) does not.
//
// A book only. Noting a change costs nothing if nobody watches, and one look into a hash table if
// somebody watches another key. Whoever owns it settles it between commands.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "keyspace/keyspace.h"

namespace polyarch::command {

class Watches {
 public:
  // Keys that one client may watch at once.
  static constexpr size_t kKeysMax = 1 << 20;

  // `client` watches the key from now on; again changes nothing. False: it watches kKeysMax
  // already.
  bool Add(uint64_t client, const keyspace::KeyRef& ref, keyspace::Keyspace& keys);
  void Forget(uint64_t client);

  // From the keyspace's observer: does not look into the keyspace.
  void NoteModified(const keyspace::KeyRef& ref, keyspace::Cause cause) {
    if (!by_hash_.empty()) [[unlikely]]
      Touch(ref, cause);
  }
  // What reads show may be something else for all keys (a policy has changed).
  void NoteAll();
  bool unsettled() const { return !touched_.empty(); }
  // Decides who is concerned by what was noted.
  void Settle(keyspace::Keyspace& keys);

  bool watching(uint64_t client) const { return clients_.count(client) != 0; }
  bool IsWatching(uint64_t client, const std::pair<uint8_t, std::string>& key) const {
    auto it = clients_.find(client);
    return it != clients_.end() && it->second.keys.count(key) != 0;
  }
  // Has a key of this client been noted as changed?
  bool Dirty(uint64_t client) const;
  // For EXEC: the same, after looking at each of its keys, so that an expiry or a merge of this
  // moment counts.
  bool Changed(uint64_t client, keyspace::Keyspace& keys);

 private:
  using Key = std::pair<uint8_t, std::string>;
  struct Watched {
    uint64_t hash = 0;
    bool existed = false;  // when the watch began
  };
  struct Watcher {
    std::map<Key, Watched> keys;
    bool dirty = false;
  };

  void Touch(const keyspace::KeyRef& ref, keyspace::Cause cause);

  std::map<uint64_t, Watcher> clients_;
  // By the key's hash, whatever the database: who watches such a key.
  std::unordered_map<uint64_t, std::vector<uint64_t>> by_hash_;
  std::vector<Key> touched_;
};

}  // namespace polyarch::command
