#include "conflict/feed.h"

#include <algorithm>
#include <charconv>

#include "base/codec.h"
#include "base/glob.h"
#include "base/hash.h"
#include "base/number.h"
#include "base/planted.h"
#include "conflict/policy.h"

namespace polyarch::conflict {

namespace {

constexpr std::string_view kTextFormat = "1";
constexpr std::string_view kDecidedFormat = "1d";  // a version of before it does not know such a feed
constexpr size_t kMadeDigits = 16;

std::string MadeText(uint64_t made) {
  std::string text(kMadeDigits, '0');
  for (size_t i = kMadeDigits; i-- > 0; made >>= 4)
    text[i] = "0123456789abcdef"[made & 15];
  return text;
}

std::optional<uint64_t> ParseMade(std::string_view text) {
  uint64_t made = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), made, 16);
  if (error != std::errc() || end != text.data() + text.size() || MadeText(made) != text)
    return std::nullopt;
  return made;
}

// The next word, and the space behind it.
std::string_view TakeWord(std::string_view& text) {
  const size_t end = std::min(text.find(' '), text.size());
  const std::string_view word = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return word;
}

}  // namespace

std::string FeedGroup::ToText() const {
  std::string text(decided ? kDecidedFormat : kTextFormat);
  text.append(" ").append(MadeText(made));
  text.append(" ").append(std::to_string(db));
  text.append(" ").append(std::to_string(pattern.size())).append(" ").append(pattern);
  for (const std::string& leader : leaders)
    text.append(" ").append(leader);
  return text;
}

std::optional<FeedGroup> FeedGroup::ParseText(std::string_view name, std::string_view text) {
  const std::string_view format = TakeWord(text);
  if (format != kTextFormat && format != kDecidedFormat) return std::nullopt;
  const auto made = ParseMade(TakeWord(text));
  const auto db = base::ParseInt64(TakeWord(text));
  const auto size = base::ParseInt64(TakeWord(text));
  if (!made || !db || *db < 0 || *db >= crdt::kReservedDatabase || !size || *size < 0)
    return std::nullopt;
  const auto pattern_size = static_cast<uint64_t>(*size);
  if (pattern_size >= text.size() || text[pattern_size] != ' ') return std::nullopt;
  FeedGroup group{.name = std::string(name),
                  .db = static_cast<uint8_t>(*db),
                  .pattern = std::string(text.substr(0, pattern_size)),
                  .leaders = {},
                  .made = *made,
                  .decided = format == kDecidedFormat};
  text.remove_prefix(pattern_size + 1);
  while (!text.empty())
    group.leaders.emplace_back(TakeWord(text));
  if (group.leaders.empty()) return std::nullopt;
  return group;
}

bool FeedGroup::Matches(uint8_t of_db, std::string_view key) const {
  return of_db == db && (pattern == "*" || base::GlobMatch(pattern, key));
}

std::string FeedGroup::AcksKey() const {
  return std::string(kFeedAcksPrefix).append(MadeText(made)).append("/").append(name);
}

std::string FeedGroup::CursorsKey() const {
  return std::string(kFeedCursorsPrefix).append(MadeText(made)).append("/").append(name);
}

std::string_view FeedGroup::NameInAcksKey(std::string_view key) {
  if (key.starts_with(kFeedAcksPrefix)) {
    key.remove_prefix(kFeedAcksPrefix.size());
  } else if (key.starts_with(kFeedCursorsPrefix)) {
    key.remove_prefix(kFeedCursorsPrefix.size());
  } else {
    return {};
  }
  if (key.size() <= kMadeDigits || key[kMadeDigits] != '/') return {};
  return key.substr(kMadeDigits + 1);
}

std::string FeedItemId(uint8_t db,
                       std::string_view key,
                       crdt::Type type,
                       std::string_view element,
                       const crdt::Register& state,
                       const clock::OriginTable& origins) {
  std::vector<std::string> parts;
  auto put = [&](char kind, const clock::Origin& origin, uint64_t sequence, uint32_t index) {
    std::string& part = parts.emplace_back(1, kind);
    base::PutBytes(part, origin.leader);
    base::PutFixed64(part, origin.incarnation);
    base::PutVarint(part, sequence);
    base::PutVarint(part, index);
  };
  for (const crdt::Version& v : state.versions)
    put('v', origins.Get(v.dot.origin()), v.dot.sequence(), 0);
  // Increments that add to a number are no conflict: they do not make another item of one.
  const bool of_versions = IsConflict(state.versions);
  for (const crdt::CounterEntry& e : state.counters) {
    if (!of_versions && e.live()) put('c', origins.Get(e.origin), e.at.sequence, e.at.index);
  }
  std::sort(parts.begin(), parts.end());
  std::string text(1, static_cast<char>(db));
  base::PutBytes(text, key);
  base::PutFixed8(text, static_cast<uint8_t>(type));
  base::PutBytes(text, element);
  if (!PLANTED(kFeedAckByKey)) {
    for (const std::string& part : parts)
      base::PutBytes(text, part);
  }
  return base::HexDigest(base::ContentHash128(text));
}

uint64_t LossAt(uint8_t db, std::string_view key, crdt::Type type, std::string_view element, clock::Dot lost) {
  std::string text(1, static_cast<char>(db));
  base::PutBytes(text, key);
  base::PutFixed8(text, static_cast<uint8_t>(type));
  base::PutBytes(text, element);
  base::PutFixed64(text, lost.bits());
  return base::ContentHash64(text);
}

std::string DecidedItemId(const LedgerEntry& entry) {
  std::string text("decided");
  base::PutFixed8(text, entry.db);
  base::PutBytes(text, entry.key);
  base::PutFixed8(text, static_cast<uint8_t>(entry.type));
  base::PutBytes(text, entry.element);
  base::PutBytes(text, entry.lost.origin.leader);
  base::PutFixed64(text, entry.lost.origin.incarnation);
  base::PutVarint(text, entry.lost.sequence);
  return base::HexDigest(base::ContentHash128(text));
}

void Feeds::SetGroups(std::vector<FeedGroup> groups) {
  std::map<std::string, Group, std::less<>> before = std::move(groups_);
  groups_.clear();
  for (FeedGroup& group : groups) {
    auto same = before.find(group.name);
    if (same != before.end() && same->second.group == group) {
      groups_.insert(before.extract(same));
      continue;
    }
    std::string name = group.name;
    Group& added = groups_[name];
    added.group = std::move(group);
    for (const auto& [id, item] : by_id_)
      AddTo(added, item);
  }
}

const FeedGroup* Feeds::Find(std::string_view group) const {
  auto it = groups_.find(group);
  return it == groups_.end() ? nullptr : &it->second.group;
}

std::vector<const FeedGroup*> Feeds::All() const {
  std::vector<const FeedGroup*> all;
  for (const auto& [name, group] : groups_)
    all.push_back(&group.group);
  return all;
}

void Feeds::AddTo(Group& group, const FeedItem& item) {
  if (!group.group.Matches(item.db, item.key)) return;
  const auto [place, added] = group.places.try_emplace(item.id);
  if (!added) return;
  place->second.arrival = ++arrivals_;
  group.queue.emplace(-1, place->second.arrival, item.id);
}

void Feeds::DropFrom(Group& group, const std::string& id) {
  auto place = group.places.find(id);
  if (place == group.places.end()) return;
  group.queue.erase({place->second.given_us, place->second.arrival, id});
  group.places.erase(place);
  group.given.erase(id);
  group.decided.erase(id);
}

const FeedItem& Feeds::ItemIn(const Group& group, const std::string& id) const {
  const auto decided = group.decided.find(id);
  return decided != group.decided.end() ? decided->second : by_id_.at(id);
}

void Feeds::AddDecided(std::string_view group, FeedItem item) {
  const auto it = groups_.find(group);
  if (it == groups_.end() || it->second.places.count(item.id) != 0) return;
  AddTo(it->second, item);
  std::string id = item.id;
  if (it->second.places.count(id) != 0) it->second.decided.emplace(std::move(id), std::move(item));
}

const FeedItem* Feeds::Decided(std::string_view group, std::string_view id) const {
  const auto it = groups_.find(group);
  if (it == groups_.end()) return nullptr;
  const auto item = it->second.decided.find(id);
  return item == it->second.decided.end() ? nullptr : &item->second;
}

size_t Feeds::DecidedOf(std::string_view group) const {
  const auto it = groups_.find(group);
  return it == groups_.end() ? 0 : it->second.decided.size();
}

void Feeds::ForgetDecided(std::string_view group) {
  const auto it = groups_.find(group);
  if (it == groups_.end()) return;
  std::vector<std::string> ids;
  for (const auto& [id, item] : it->second.decided)
    ids.push_back(id);
  for (const std::string& id : ids)
    DropFrom(it->second, id);
}

void Feeds::NoteTold(std::string_view group, uint64_t loss) {
  const auto it = groups_.find(group);
  if (it == groups_.end() || !it->second.group.decided || !it->second.told.insert(loss).second) return;
  it->second.told_order.push_back(loss);
  if (it->second.told_order.size() <= kFeedToldMax) return;
  it->second.told.erase(it->second.told_order.front());
  it->second.told_order.pop_front();
}

bool Feeds::Told(std::string_view group, uint64_t loss) const {
  const auto it = groups_.find(group);
  return it != groups_.end() && it->second.told.count(loss) != 0;
}

size_t Feeds::SetItems(uint8_t db, const std::string& key, std::vector<FeedItem> items) {
  const auto at = by_key_.find({db, key});
  const std::vector<std::string> before =
      at == by_key_.end() ? std::vector<std::string>() : std::move(at->second);
  if (at != by_key_.end()) by_key_.erase(at);
  std::vector<std::string> ids;
  size_t fresh = 0;
  for (FeedItem& item : items)
    ids.push_back(item.id);
  std::sort(ids.begin(), ids.end());
  for (FeedItem& item : items) {
    auto [place, added] = by_id_.try_emplace(item.id, std::move(item));
    if (!added) continue;
    ++fresh;
    for (auto& [name, group] : groups_)
      AddTo(group, place->second);
  }
  for (const std::string& id : before) {
    if (std::binary_search(ids.begin(), ids.end(), id)) continue;
    for (auto& [name, group] : groups_)
      DropFrom(group, id);
    by_id_.erase(id);
  }
  if (!ids.empty()) by_key_.emplace(std::pair(db, key), std::move(ids));
  return fresh;
}

void Feeds::AddAgain(std::string_view group) {
  auto it = groups_.find(group);
  if (it == groups_.end()) return;
  for (const auto& [id, item] : by_id_)
    AddTo(it->second, item);
}

void Feeds::ClearItems() {
  for (auto& [name, group] : groups_) {
    group.places.clear();
    group.queue.clear();
    group.given.clear();
    group.decided.clear();
  }
  by_key_.clear();
  by_id_.clear();
}

const FeedItem* Feeds::Item(std::string_view id) const {
  auto it = by_id_.find(id);
  return it == by_id_.end() ? nullptr : &it->second;
}

size_t Feeds::ItemsOf(std::string_view group) const {
  auto it = groups_.find(group);
  if (it == groups_.end()) return 0;
  return static_cast<size_t>(std::count_if(by_id_.begin(), by_id_.end(), [&](const auto& entry) {
    return it->second.group.Matches(entry.second.db, entry.second.key);
  }));
}

std::vector<const FeedItem*> Feeds::Take(std::string_view group,
                                         std::string_view consumer,
                                         size_t count,
                                         int64_t now_us,
                                         int64_t again_us,
                                         base::FunctionRef<bool(const FeedItem&)> skip,
                                         base::FunctionRef<bool(const FeedItem&)> hide) {
  std::vector<const FeedItem*> taken;
  auto found = groups_.find(group);
  if (found == groups_.end()) return taken;
  Group& of = found->second;
  auto next = of.queue.begin();
  while (next != of.queue.end() && taken.size() < count) {
    const auto [given_us, arrival, id] = *next;
    if (given_us >= 0 && (given_us > now_us - again_us || PLANTED(kFeedOnce))) break;
    const FeedItem& item = ItemIn(of, id);
    ++next;
    if (skip(item)) {
      DropFrom(of, id);
      continue;
    }
    if (hide(item)) continue;
    taken.push_back(&item);
  }
  for (const FeedItem* item : taken) {
    Group::Place& place = of.places.at(item->id);
    of.queue.erase({place.given_us, place.arrival, item->id});
    place = {now_us, ++arrivals_};
    of.queue.emplace(place.given_us, place.arrival, item->id);
    Delivery& delivery = of.given[item->id];
    delivery.consumer = consumer;
    delivery.given_us = now_us;
    ++delivery.times;
  }
  return taken;
}

const Feeds::Delivery* Feeds::Given(std::string_view group, std::string_view id) const {
  auto it = groups_.find(group);
  if (it == groups_.end()) return nullptr;
  auto given = it->second.given.find(std::string(id));
  return given == it->second.given.end() ? nullptr : &given->second;
}

void Feeds::VisitGiven(std::string_view group,
                       base::FunctionRef<void(const FeedItem&, const Delivery&)> visit) const {
  auto it = groups_.find(group);
  if (it == groups_.end()) return;
  for (const auto& [given_us, arrival, id] : it->second.queue) {
    if (given_us >= 0) visit(ItemIn(it->second, id), it->second.given.at(id));
  }
}

void Feeds::Drop(std::string_view group, std::string_view id) {
  auto it = groups_.find(group);
  if (it != groups_.end()) DropFrom(it->second, std::string(id));
}

void Feeds::ForgetGiven(std::string_view group) {
  auto it = groups_.find(group);
  if (it == groups_.end()) return;
  Group& of = it->second;
  for (const auto& [id, delivery] : of.given) {
    Group::Place& place = of.places.at(id);
    of.queue.erase({place.given_us, place.arrival, id});
    place.given_us = -1;
    of.queue.emplace(place.given_us, place.arrival, id);
  }
  of.given.clear();
}

}  // namespace polyarch::conflict
