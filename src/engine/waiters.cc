#include "engine/waiters.h"

#include <iterator>
#include <utility>

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

void Waiters::Enter(Pass& pass, const LineName& name, const Line& line, uint64_t number) {
  ++lines_visited_;
  auto place = line.upper_bound(number);
  if (PLANTED(kWaiterNewestFirst)) {
    place = number == 0 ? line.end() : line.lower_bound(number);
    place = place == line.begin() ? line.end() : std::prev(place);
  }
  if (place == line.end()) return;
  const auto& [when_gone, type, group] = name;
  pass.heads_[{when_gone, type}].emplace(place->first, group);
}

std::optional<uint64_t> Waiters::Next(const Key& key, std::optional<crdt::Type> shown, Pass& pass) {
  const auto found = by_key_.find(key);
  if (found == by_key_.end()) return std::nullopt;
  const Lines& lines = found->second;
  if (!std::exchange(pass.begun_, true)) {
    for (const auto& [name, line] : lines)
      Enter(pass, name, line, 0);
  } else if (pass.last_) {
    const auto line = lines.find(*pass.last_);
    const auto& group = std::get<2>(*pass.last_);
    if (line != lines.end() && !(group && pass.skipped_.count(*group) != 0))
      Enter(pass, line->first, line->second, pass.last_number_);
    pass.last_.reset();
  }
  while (true) {
    auto next = pass.heads_.end();
    for (auto of = pass.heads_.begin(); of != pass.heads_.end(); ++of) {
      if (of->second.empty() || (!of->first.first && shown != of->first.second)) continue;
      const bool sooner = next == pass.heads_.end() ||
                          (PLANTED(kWaiterNewestFirst)
                               ? of->second.rbegin()->first > next->second.rbegin()->first
                               : of->second.begin()->first < next->second.begin()->first);
      if (sooner) next = of;
    }
    if (next == pass.heads_.end()) return std::nullopt;
    Pass::Heads& heads = next->second;
    const auto head = PLANTED(kWaiterNewestFirst) ? std::prev(heads.end()) : heads.begin();
    const uint64_t number = head->first;
    LineName name(next->first.first, next->first.second, std::move(head->second));
    heads.erase(head);
    const auto& group = std::get<2>(name);
    if (group && pass.skipped_.count(*group) != 0) continue;
    const auto line = lines.find(name);
    if (line == lines.end()) continue;
    const auto place = line->second.find(number);
    if (place == line->second.end()) {  // served by another key, or gone
      Enter(pass, name, line->second, number);
      continue;
    }
    ++turns_;
    pass.last_ = std::move(name);
    pass.last_number_ = number;
    return place->second;
  }
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
