#include "engine/waiters.h"

#include <algorithm>

#include "base/check.h"
#include "base/planted.h"

namespace polyarch::engine {

using command::Client;

void Waiters::Add(Waiter waiter) {
  const uint64_t id = waiter.client->id;
  const uint64_t number = next_number_++;
  waiter.client->blocked = Client::Blocked::kWaits;
  for (const Key& key : waiter.keys)
    by_key_[key].emplace(number, id);
  deadlines_.emplace(waiter.deadline_us, id);
  if (waiter.poll) polled_.insert(id);
  CHECK(waiters_.emplace(id, std::pair(number, std::move(waiter))).second);
}

const Waiters::Waiter* Waiters::Find(uint64_t client) const {
  auto found = waiters_.find(client);
  return found == waiters_.end() ? nullptr : &found->second.second;
}

void Waiters::Remove(uint64_t client) {
  auto found = waiters_.find(client);
  if (found == waiters_.end()) return;
  const auto& [number, waiter] = found->second;
  for (const Key& key : waiter.keys) {
    auto place = by_key_.find(key);
    place->second.erase(number);
    if (place->second.empty()) by_key_.erase(place);
  }
  deadlines_.erase({waiter.deadline_us, client});
  polled_.erase(client);
  waiters_.erase(found);
}

void Waiters::SetAnswer(uint64_t client, std::string reply, uint64_t wrote) {
  waiters_.at(client).second.client->blocked = Client::Blocked::kAnswered;
  Remove(client);
  answers_[client] = {std::move(reply), wrote};
}

std::string Waiters::TakeAnswer(Client& client) {
  client.blocked = Client::Blocked::kNot;
  auto found = answers_.find(client.id);
  CHECK(found != answers_.end());
  std::string reply = std::move(found->second.reply);
  if (found->second.wrote != 0) client.wrote = found->second.wrote;
  answers_.erase(found);
  return reply;
}

void Waiters::Forget(uint64_t client) {
  Remove(client);
  answers_.erase(client);
}

void Waiters::MarkReady(uint8_t db, std::string_view key) {
  Key name(db, key);
  if (by_key_.count(name) != 0 && is_ready_.insert(name).second) ready_.push_back(std::move(name));
}

std::vector<Waiters::Key> Waiters::TakeReady() {
  is_ready_.clear();
  return std::exchange(ready_, {});
}

std::vector<uint64_t> Waiters::WaitingFor(const Key& key) const {
  std::vector<uint64_t> clients;
  auto found = by_key_.find(key);
  if (found == by_key_.end()) return clients;
  for (const auto& [number, client] : found->second)
    clients.push_back(client);
  if (PLANTED(kWaiterNewestFirst)) std::reverse(clients.begin(), clients.end());
  return clients;
}

std::vector<uint64_t> Waiters::All() const {
  std::vector<uint64_t> clients;
  for (const auto& [client, waiter] : waiters_) {
    if (!waiter.second.for_others) clients.push_back(client);
  }
  return clients;
}

std::vector<uint64_t> Waiters::Expired(int64_t now_us) const {
  std::vector<uint64_t> clients;
  for (const auto& [deadline_us, client] : deadlines_) {
    if (deadline_us > now_us) break;
    clients.push_back(client);
  }
  return clients;
}

}  // namespace polyarch::engine
