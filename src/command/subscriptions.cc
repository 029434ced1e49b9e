#include "command/subscriptions.h"

#include <algorithm>

#include "base/glob.h"
#include "resp/writer.h"

namespace polyarch::command {

namespace {

// The bytes of one message, made once for each protocol that is asked for.
class Message {
 public:
  Message(std::string_view word,
          const std::string_view* pattern,
          std::string_view channel,
          std::string_view text)
      : word_(word), pattern_(pattern), channel_(channel), text_(text) {}

  std::string_view For(const Client& client) {
    resp::Buffer& bytes = client.protocol >= 3 ? resp3_ : resp2_;
    if (!bytes.empty()) return bytes.view();
    resp::Writer writer(bytes, client.protocol);
    writer.Push(pattern_ == nullptr ? 3 : 4);
    writer.Bulk(word_);
    if (pattern_ != nullptr) writer.Bulk(*pattern_);
    writer.Bulk(channel_);
    writer.Bulk(text_);
    return bytes.view();
  }

 private:
  std::string_view word_;
  const std::string_view* pattern_;
  std::string_view channel_;
  std::string_view text_;
  resp::Buffer resp2_;
  resp::Buffer resp3_;
};

}  // namespace

bool Subscriptions::Add(Client& client, Kind kind, std::string_view name) {
  Subscriber& subscriber = clients_[client.id];
  subscriber.client = &client;
  if (!subscriber.names[Index(kind)].emplace(name).second) return false;
  auto& by_name = by_name_[Index(kind)];
  auto it = by_name.find(name);
  if (it == by_name.end()) it = by_name.emplace(name, std::vector<Client*>()).first;
  it->second.push_back(&client);
  ++client.subscribed;
  return true;
}

void Subscriptions::Unlist(Subscriber& subscriber, Kind kind, std::string_view name) {
  auto& by_name = by_name_[Index(kind)];
  auto it = by_name.find(name);
  std::erase(it->second, subscriber.client);
  if (it->second.empty()) by_name.erase(it);
}

bool Subscriptions::Remove(Client& client, Kind kind, std::string_view name) {
  auto it = clients_.find(client.id);
  if (it == clients_.end()) return false;
  Names& names = it->second.names[Index(kind)];
  auto found = names.find(name);
  if (found == names.end()) return false;
  Unlist(it->second, kind, name);
  names.erase(found);
  if (--client.subscribed == 0) clients_.erase(it);
  return true;
}

void Subscriptions::Clear(Client& client) {
  Forget(client.id);
  client.subscribed = 0;
}

void Subscriptions::Forget(uint64_t client) {
  auto it = clients_.find(client);
  if (it == clients_.end()) return;
  for (Kind kind : {Kind::kChannel, Kind::kPattern, Kind::kShard}) {
    for (const std::string& name : it->second.names[Index(kind)])
      Unlist(it->second, kind, name);
  }
  clients_.erase(it);
}

const Subscriptions::Names& Subscriptions::Of(const Client& client, Kind kind) const {
  static const Names kNone;
  auto it = clients_.find(client.id);
  return it == clients_.end() ? kNone : it->second.names[Index(kind)];
}

size_t Subscriptions::CountOf(const Client& client) const {
  return Of(client, Kind::kChannel).size() + Of(client, Kind::kPattern).size();
}

size_t Subscriptions::Receivers(bool shard, std::string_view channel) const {
  size_t count = Subscribers(shard ? Kind::kShard : Kind::kChannel, channel);
  if (shard) return count;
  for (const auto& [pattern, clients] : by_name_[Index(Kind::kPattern)]) {
    if (base::GlobMatch(pattern, channel)) count += clients.size();
  }
  return count;
}

size_t Subscriptions::Deliver(bool shard,
                              std::string_view channel,
                              std::string_view message,
                              Send send) const {
  size_t count = 0;
  auto to_all = [&](const std::vector<Client*>& clients, Message& bytes) {
    for (Client* client : clients)
      send(*client, bytes.For(*client));
    count += clients.size();
  };
  const auto& by_name = by_name_[Index(shard ? Kind::kShard : Kind::kChannel)];
  if (auto it = by_name.find(channel); it != by_name.end()) {
    Message bytes(shard ? "smessage" : "message", nullptr, channel, message);
    to_all(it->second, bytes);
  }
  if (shard) return count;
  for (const auto& [pattern, clients] : by_name_[Index(Kind::kPattern)]) {
    if (!base::GlobMatch(pattern, channel)) continue;
    const std::string_view name = pattern;
    Message bytes("pmessage", &name, channel, message);
    to_all(clients, bytes);
  }
  return count;
}

size_t Subscriptions::Subscribers(Kind kind, std::string_view name) const {
  auto it = by_name_[Index(kind)].find(name);
  return it == by_name_[Index(kind)].end() ? 0 : it->second.size();
}

void Subscriptions::ForEachName(Kind kind,
                                base::FunctionRef<void(std::string_view name)> visit) const {
  for (const auto& [name, clients] : by_name_[Index(kind)])
    visit(name);
}

}  // namespace polyarch::command
