#include "command/tracking.h"

#include <algorithm>

#include "resp/writer.h"

namespace polyarch::command {

namespace {

constexpr std::string_view kInvalidateChannel = "__redis__:invalidate";

}  // namespace

size_t Tracking::Message::bytes() const {
  size_t bytes = sizeof(Message);
  for (const std::string& key : keys)
    bytes += sizeof(std::string) + key.size();
  return bytes;
}

void Tracking::Await(Message message) {
  pending_bytes_ += message.bytes();
  pending_.push_back(std::move(message));
}

void Tracking::Enable(Client& client, KeyTracking mode, Client* redirect) {
  std::set<std::string, std::less<>> prefixes;
  prefixes.swap(mode.prefixes);
  if (client.tracking != nullptr) {
    mode.prefixes.swap(client.tracking->prefixes);
    const auto before = targets_.find(client.tracking->redirect);
    if (before != targets_.end() && --before->second.sources == 0) targets_.erase(before);
  }
  client.tracking = std::make_unique<KeyTracking>(std::move(mode));
  clients_[client.id] = &client;
  if (redirect != nullptr) {
    Target& target = targets_[redirect->id];
    target.client = redirect;
    ++target.sources;
  }
  if (!client.tracking->broadcast) return;
  if (prefixes.empty()) AddPrefix(client, "");
  for (const std::string& prefix : prefixes)
    AddPrefix(client, prefix);
}

void Tracking::AddPrefix(Client& client, std::string_view prefix) {
  if (!client.tracking->prefixes.emplace(prefix).second) return;
  auto [it, fresh] = prefixes_.try_emplace(std::string(prefix));
  if (fresh) ++prefix_sizes_[prefix.size()];
  it->second.clients.push_back(&client);
}

void Tracking::Forget(uint64_t client) {
  Stop(client);
  targets_.erase(client);
}

void Tracking::Stop(uint64_t id) {
  auto it = clients_.find(id);
  if (it == clients_.end()) return;
  Client* client = it->second;
  auto target = targets_.find(client->tracking->redirect);
  if (target != targets_.end() && --target->second.sources == 0) targets_.erase(target);
  for (const std::string& name : client->tracking->prefixes) {
    auto prefix = prefixes_.find(name);
    std::erase(prefix->second.clients, client);
    if (!prefix->second.clients.empty()) continue;
    broadcast_keys_ -= prefix->second.keys.size();
    for (const auto& [key, by] : prefix->second.keys)
      broadcast_bytes_ -= key.size();
    prefixes_.erase(prefix);
    auto size = prefix_sizes_.find(name.size());
    if (--size->second == 0) prefix_sizes_.erase(size);
  }
  std::erase_if(pending_, [&](const Message& m) {
    if (m.client != client) return false;
    pending_bytes_ -= m.bytes();
    return true;
  });
  client->tracking.reset();
  clients_.erase(it);
  if (!clients_.empty()) return;
  by_name_.clear();
  entries_.clear();
  items_ = bytes_ = 0;
  flushed_ = false;
}

// Keys
// -------------------------------------------------------------------------------------------

void Tracking::NoteRead(const Client& client, const keyspace::KeyRef& ref) {
  std::unique_ptr<Entry>* found = nullptr;
  if (auto it = by_name_.find({ref.hash, ref.key}); it != by_name_.end()) {
    found = &it->second;
  } else {
    auto entry = std::make_unique<Entry>();
    entry->key = ref.key;
    entry->hash = ref.hash;
    entry->place = entries_.size();
    entries_.push_back(entry.get());
    bytes_ += entry->key.size();
    const Name name{ref.hash, entry->key};
    found = &by_name_.emplace(name, std::move(entry)).first->second;
  }
  Entry& entry = **found;
  std::vector<uint64_t>& readers = entry.readers;
  const auto at = std::lower_bound(readers.begin(), readers.end(), client.id);
  if (at != readers.end() && *at == client.id) return;
  readers.insert(at, client.id);
  ++items_;
  if (readers.size() >= entry.prune_at) Prune(entry);
  Bound();
}

// Clients come and go, and read a key that never changes.
void Tracking::Prune(Entry& entry) {
  const size_t before = entry.readers.size();
  std::erase_if(entry.readers, [&](uint64_t id) { return clients_.count(id) == 0; });
  items_ -= before - entry.readers.size();
  entry.prune_at = std::max<size_t>(64, 2 * entry.readers.size());
}

void Tracking::Bound() {
  while ((keys_max_ != 0 && entries_.size() > keys_max_) || bytes_ > kBytesMax) {
    TellReaders(*entries_[random_.Below(entries_.size())], 0);
  }
}

void Tracking::SetKeysMax(size_t keys) {
  keys_max_ = keys;
  Bound();
}

void Tracking::Remove(Entry& entry) {
  items_ -= entry.readers.size();
  bytes_ -= entry.key.size();
  entries_.back()->place = entry.place;
  entries_[entry.place] = entries_.back();
  entries_.pop_back();
  by_name_.erase({entry.hash, entry.key});
}

void Tracking::TellReaders(Entry& entry, uint64_t by) {
  for (uint64_t id : entry.readers) {
    auto it = clients_.find(id);
    if (it == clients_.end()) continue;
    const KeyTracking& mode = *it->second->tracking;
    // It may have read before it changed to prefixes.
    if (mode.broadcast || (mode.no_loop && id == by)) continue;
    Await({.client = it->second, .keys = {entry.key}});
  }
  Remove(entry);
  if (pending_bytes_ > kWaitingBytesMax) NoteAll();
}

void Tracking::Touch(const keyspace::KeyRef& ref, keyspace::Cause cause, uint64_t by) {
  if (ref.db == crdt::kReservedDatabase) return;
  if (cause == keyspace::Cause::kReverted) return;
  // A version that is cleaned may have been one of several that stood: without it there is no conflict to be shown.
  if (auto it = by_name_.find({ref.hash, ref.key}); it != by_name_.end()) TellReaders(*it->second, by);
  // All are going to be told that anything may have changed.
  if (flushed_) return;
  for (const auto& [size, count] : prefix_sizes_) {
    if (size > ref.key.size()) break;
    auto prefix = prefixes_.find(ref.key.substr(0, size));
    if (prefix == prefixes_.end()) continue;
    auto& keys = prefix->second.keys;
    auto changed = keys.find(ref.key);
    if (changed != keys.end()) {
      // By two clients: then it is news to both.
      if (changed->second != by) changed->second = 0;
      continue;
    }
    keys.emplace(ref.key, by);
    ++broadcast_keys_;
    broadcast_bytes_ += ref.key.size();
  }
  if (broadcast_keys_ > kBroadcastKeysMax || broadcast_bytes_ > kWaitingBytesMax) NoteAll();
}

void Tracking::NoteAll() {
  if (clients_.empty()) return;
  flushed_ = true;
  by_name_.clear();
  entries_.clear();
  items_ = bytes_ = 0;
  // What is to be told of single keys is part of it, and what a client waits for comes later.
  std::erase_if(pending_, [this](const Message& m) {
    if (!m.all) pending_bytes_ -= m.bytes();
    return !m.all;
  });
  for (auto& [name, prefix] : prefixes_)
    prefix.keys.clear();
  broadcast_keys_ = broadcast_bytes_ = 0;
}

// Messages
// ----------------------------------------------------------------------------------------

void Tracking::Settle(Send send) {
  std::vector<Message> messages = std::exchange(pending_, {});
  pending_bytes_ = 0;
  for (Message& message : messages)
    Tell(std::move(message), send);
  if (!std::exchange(flushed_, false)) return;
  for (const auto& [id, client] : clients_)
    Tell({.client = client, .all = true}, send);
}

void Tracking::Broadcast(Send send) {
  if (broadcast_keys_ == 0) return;
  broadcast_keys_ = broadcast_bytes_ = 0;
  for (auto& [name, prefix] : prefixes_) {
    if (prefix.keys.empty()) continue;
    const auto changed = std::exchange(prefix.keys, {});
    for (Client* client : prefix.clients) {
      Message message{.client = client};
      for (const auto& [key, by] : changed) {
        if (!client->tracking->no_loop || by != client->id) message.keys.push_back(key);
      }
      if (!message.keys.empty()) Tell(std::move(message), send);
    }
  }
}

void Tracking::Tell(Message message, Send send) {
  // It has been answered, by what it waited for, and has not taken the answer yet.
  if (message.client->blocked == Client::Blocked::kAnswered) return Await(std::move(message));
  TellNow(message, send);
}

void Tracking::TellNow(const Message& message, Send send) {
  Client* to = message.client;
  KeyTracking& mode = *to->tracking;
  resp::Buffer bytes;
  if (mode.redirect != 0) {
    auto target = targets_.find(mode.redirect);
    // Who is leaving takes no message any more, though its connection may not be closed yet.
    if (target == targets_.end() || target->second.client->leaving) {
      mode.broken = true;
      if (to->protocol < 3) return;
      resp::Writer writer(bytes, to->protocol);
      writer.Push(2);
      writer.Bulk("tracking-redir-broken");
      writer.Integer(static_cast<int64_t>(mode.redirect));
      return send(*to, bytes.view(), /*held=*/false);
    }
    to = target->second.client;
  }
  resp::Writer writer(bytes, to->protocol);
  if (to->protocol >= 3) {
    writer.Push(2);
    writer.Bulk("invalidate");
  } else if (mode.redirect != 0 && to->subscribed != 0) {
    writer.Push(3);
    writer.Bulk("message");
    writer.Bulk(kInvalidateChannel);
  } else {
    return;  // RESP2 has no place for it
  }
  if (message.all) {
    writer.Null();
  } else {
    writer.Array(message.keys.size());
    for (const std::string& key : message.keys)
      writer.Bulk(key);
  }
  send(*to, bytes.view(), /*held=*/to != message.client);
}

}  // namespace polyarch::command
