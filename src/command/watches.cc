#include "command/watches.h"

#include <algorithm>
#include <utility>

namespace polyarch::command {

bool Watches::Add(uint64_t client, const keyspace::KeyRef& ref, keyspace::Keyspace& keys) {
  Watcher& watcher = clients_[client];
  if (watcher.keys.size() >= kKeysMax) return false;
  const bool existed = keys.Exists(ref);
  // What happened before this watch, a merge by this very look too, is none of its business.
  Settle(keys);
  if (!watcher.keys.try_emplace(Key(ref.db, ref.key), Watched{ref.hash, existed}).second)
    return true;
  by_hash_[ref.hash].push_back(client);
  return true;
}

void Watches::Forget(uint64_t client) {
  auto it = clients_.find(client);
  if (it == clients_.end()) return;
  for (const auto& [key, watched] : it->second.keys) {
    auto watching = by_hash_.find(watched.hash);
    if (watching == by_hash_.end()) continue;  // its key of another database had the same hash
    std::erase(watching->second, client);
    if (watching->second.empty()) by_hash_.erase(watching);
  }
  clients_.erase(it);
  if (by_hash_.empty()) touched_.clear();
}

void Watches::Touch(const keyspace::KeyRef& ref, keyspace::Cause cause) {
  if (cause == keyspace::Cause::kCleaned || cause == keyspace::Cause::kReverted) return;
  if (by_hash_.count(ref.hash) != 0) touched_.emplace_back(ref.db, ref.key);
}

void Watches::NoteAll() {
  for (auto& [id, watcher] : clients_)
    watcher.dirty = true;
}

void Watches::Settle(keyspace::Keyspace& keys) {
  // A look may merge a key, which is noted in turn.
  while (!touched_.empty()) {
    const std::vector<Key> touched = std::exchange(touched_, {});
    for (const Key& key : touched) {
      const keyspace::KeyRef ref = keys.Ref(key.first, key.second);
      auto it = by_hash_.find(ref.hash);
      if (it == by_hash_.end()) continue;
      const bool exists = keys.Exists(ref);
      for (uint64_t client : it->second) {
        Watcher& watcher = clients_.at(client);
        auto watched = watcher.keys.find(key);
        if (watched != watcher.keys.end() && (watched->second.existed || exists))
          watcher.dirty = true;
      }
    }
  }
}

bool Watches::Dirty(uint64_t client) const {
  auto it = clients_.find(client);
  return it != clients_.end() && it->second.dirty;
}

bool Watches::Changed(uint64_t client, keyspace::Keyspace& keys) {
  auto it = clients_.find(client);
  if (it == clients_.end()) return false;
  bool differs = false;
  for (const auto& [key, watched] : it->second.keys) {
    const bool exists = keys.Exists({key.first, key.second, watched.hash});
    differs |= watched.existed != exists;
  }
  Settle(keys);
  return differs || it->second.dirty;
}

}  // namespace polyarch::command
