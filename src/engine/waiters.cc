#include "engine/waiters.h"

#include <iterator>

#include "base/check.h"
#include "base/planted.h"

namespace polyarch::engine {

using command::Client;

void Waiters::Add(Waiter waiter) {
  const uint64_t id = waiter.client->id;
  const uint64_t number = next_number_++;
  waiter.client->blocked = Client::Blocked::kWaits;
  for (const Key& key : waiter.keys)
    by_key_[key][{waiter.when_gone, waiter.type, waiter.group}].emplace(number, id);
  if (waiter.group) {
    for (const Key& key : waiter.keys)
      ++by_group_[{key, *waiter.group}];
  }
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
    Lines& lines = place->second;
    auto line = lines.find({waiter.when_gone, waiter.type, waiter.group});
    line->second.erase(number);
    if (line->second.empty()) lines.erase(line);
    if (lines.empty()) by_key_.erase(place);
    if (!waiter.group) continue;
    const auto of = by_group_.find({key, *waiter.group});
    if (--of->second == 0) by_group_.erase(of);
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

std::optional<Waiters::Turn> Waiters::Next(const Key& key,
                                           std::optional<crdt::Type> shown,
                                           uint64_t number,
                                           const Groups& groups) {
  const auto found = by_key_.find(key);
  if (found == by_key_.end()) return std::nullopt;
  std::optional<Turn> next;
  for (const auto& [wanted, line] : found->second) {
    const auto& [when_gone, type, group] = wanted;
    if (!when_gone && shown != type) continue;
    if (group && groups.count(*group) != 0) continue;
    auto place = line.upper_bound(number);
    if (PLANTED(kWaiterNewestFirst)) {
      place = number == 0 ? line.end() : line.lower_bound(number);
      place = place == line.begin() ? line.end() : std::prev(place);
    }
    if (place == line.end()) continue;
    const bool sooner = PLANTED(kWaiterNewestFirst) ? !next || place->first > next->number
                                                    : !next || place->first < next->number;
    if (sooner) next = Turn{place->first, place->second};
  }
  turns_ += next ? 1 : 0;
  return next;
}

size_t Waiters::CountFor(const Key& key, crdt::Type type) const {
  const auto found = by_key_.find(key);
  if (found == by_key_.end()) return 0;
  size_t count = 0;
  for (const auto& [wanted, line] : found->second)
    count += std::get<1>(wanted) == type ? line.size() : 0;
  return count;
}

size_t Waiters::CountForGroup(const Key& key, const std::string& group) const {
  const auto found = by_group_.find({key, group});
  return found == by_group_.end() ? 0 : found->second;
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
