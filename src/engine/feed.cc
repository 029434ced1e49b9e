// Open conflicts as items of feeds, and as events for who listens: kept up with what the keyspace
// tells; who delivers; acknowledgements that have outlived their items.
#include <algorithm>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/planted.h"
#include "clock/session_token.h"
#include "command/notify.h"
#include "engine/engine.h"

namespace polyarch::engine {

namespace {

constexpr int64_t kSweepUs = 2'000'000;
// Of one feed in a second: entries of the ledger, and keys whose conflict may have ended.
constexpr size_t kFeedEntryLooks = 20'000;
constexpr size_t kFeedOpenLooks = 2'000;
constexpr int64_t kSweepUsEach =
    100;  // of all there are: looking at them takes less than 1 % of the time

}  // namespace

conflict::Feeds& Engine::feeds() {
  FollowConflicts();
  return feeds_;
}

std::string Engine::DelivererOf(const conflict::FeedGroup& group) {
  const std::vector<replication::LinkStats> links = replica_.Links();
  for (const std::string& leader : group.leaders) {
    if (leader == options_.leader_id) {
      if (may_write()) return leader;
      continue;
    }
    const bool member = replica_.members().count(leader) != 0;
    const bool in_reach =
        std::any_of(links.begin(), links.end(), [&](const replication::LinkStats& link) {
          return link.leader == leader && !link.joining && (link.state == "up" || link.hops > 0);
        });
    if (member && in_reach) return leader;
  }
  return "";
}

void Engine::FollowConflicts() {
  const bool wanted = !feeds_.empty() || (notifies() && (notices_ & command::kNoticeConflict) != 0);
  if (wanted != keyspace_.watches_conflicts()) {
    keyspace_.WatchConflicts(wanted);
    feeds_.ClearItems();
    if (!wanted) return;
    const auto open = keyspace_.open_conflicts();
    for (const auto& [db, key] : open)
      RefreshItems(db, key, false);
    return;
  }
  if (!keyspace_.conflicts_changed()) return;
  for (const auto& [db, key] : keyspace_.TakeConflictChanges())
    RefreshItems(db, key, true);
}

void Engine::RefreshItems(uint8_t db, const std::string& key, bool tell) {
  std::vector<conflict::FeedItem> items;
  keyspace::Keyspace::VisitOpenConflicts(
      keyspace_.State(keyspace_.Ref(db, key)),
      [&](crdt::Type type, std::string_view element, const crdt::Register& state) {
        std::string id = conflict::FeedItemId(db, key, type, element, state, origins_);
        items.push_back({std::move(id), db, key, type, std::string(element)});
      });
  const bool had = feeds_.HasItems(db, key);
  const bool has = !items.empty();
  const size_t fresh = feeds_.SetItems(db, key, std::move(items));
  if (!tell) return;
  if (notifies() && (notices_ & command::kNoticeConflict) != 0) {
    if (fresh > 0) Notify(command::kNoticeConflict, "conflict", db, key);
    if (had && !has) Notify(command::kNoticeConflict, "resolved", db, key);
  }
  if (fresh == 0) return;
  for (const conflict::FeedGroup* group : feeds_.All()) {
    if (group->Matches(db, key)) waiters_.NoteChanged(group->db, group->name);
  }
}

bool Engine::AreOfNoFeed(std::string_view acks_key) {
  const std::string_view name = conflict::FeedGroup::NameInAcksKey(acks_key);
  if (name.empty()) return false;
  const auto text = Reserved(std::string(conflict::kFeedPrefix).append(name));
  if (!text) return true;
  const auto group = conflict::FeedGroup::ParseText(name, *text);
  return group && group->AcksKey() != acks_key && group->CursorsKey() != acks_key;  // one of a later format is not known
}

std::optional<crdt::Register> Engine::OpenStill(const conflict::LedgerEntry& entry, clock::Dot lost) {
  if (!feeds_.HasItems(entry.db, entry.key)) return std::nullopt;
  // This register alone: the state of a key with other conflicts may be large.
  const keyspace::KeyRef ref = keyspace_.Ref(entry.db, entry.key);
  crdt::KeyState state;
  if (entry.type == crdt::Type::kString) {
    static_cast<crdt::Register&>(state) = keyspace_.OwnState(ref);
  } else {
    crdt::Element& element = state.elements.emplace_back();
    static_cast<crdt::Register&>(element) = keyspace_.ElementState(ref, entry.type, entry.element);
    element.type = entry.type;
    element.name = entry.element;
  }
  std::optional<crdt::Register> open;
  keyspace::Keyspace::VisitOpenConflicts(state, [&](crdt::Type, std::string_view, const crdt::Register& found) {
    const bool stands = std::any_of(
        found.versions.begin(), found.versions.end(), [&](const crdt::Version& version) { return version.dot == lost; });
    if (stands) open = found;
  });
  return open;
}

// Each leader that has applied both of a pair has it in its ledger. So whoever has given all of its ledger up to a moment
// has given all pairs that its vector of then covers: that is what is replicated, and whoever takes over begins behind it.
void Engine::TendDecided(const conflict::FeedGroup& group) {
  if (keyspace_.merging() || !may_write()) return;
  FollowConflicts();
  DecidedFeed& feed = decided_feeds_[group.name];
  const std::string acks_key = group.AcksKey();
  const std::string cursors_key = group.CursorsKey();
  const keyspace::KeyRef cursors = keyspace_.Ref(crdt::kReservedDatabase, cursors_key);
  if (feed.made != group.made) {
    feed = {};
    feed.made = group.made;
    const keyspace::Collection all = keyspace_.Open(cursors, crdt::Type::kHash);
    all.ForEach([&](const keyspace::ElementView& cursor) {
      const auto token = clock::ParseSessionToken(all.Show(cursor).value);
      if (!token) return true;
      clock::VersionVector& given = feed.given.emplace_back();
      for (const auto& [origin, sequence] : token->entries) {
        if (const auto index = origins_.Find(origin)) given.Raise(*index, sequence);
      }
      replica_.Expand(given);
      return true;
    });
  }
  auto dot_of = [&](const conflict::LedgerVersion& version) -> std::optional<clock::Dot> {
    const auto index = origins_.Find(version.origin);
    if (!index) return std::nullopt;
    return clock::Dot(*index, version.sequence);
  };
  auto loss_at = [](const conflict::LedgerEntry& entry, clock::Dot lost) {
    return conflict::LossAt(entry.db, entry.key, entry.type, entry.element, lost);
  };
  auto add = [&](const conflict::LedgerEntry& entry, const std::string& id) {
    feeds_.AddDecided(group.name, {id, entry.db, entry.key, entry.type, entry.element, entry.id});
    waiters_.NoteChanged(group.db, group.name);
  };
  // What was acknowledged, or has gone from the ledger.
  for (auto it = feed.waiting.begin(); it != feed.waiting.end();) {
    const conflict::LedgerEntry* entry = ledger_.Find(it->first);
    if (entry != nullptr && feeds_.Decided(group.name, it->second) != nullptr) {
      ++it;
      continue;
    }
    if (entry != nullptr) {
      // The same value may lose once more, to a later one.
      if (const auto lost = dot_of(entry->lost)) feeds_.NoteTold(group.name, loss_at(*entry, *lost));
    }
    feeds_.Drop(group.name, it->second);
    feed.ids.erase(it->second);
    feed.moved = true;
    it = feed.waiting.erase(it);
  }
  // Open ones: told of as such, by whoever delivered then, or open no more. A part of them, in turn.
  const keyspace::Collection acks =
      keyspace_.Open(keyspace_.Ref(crdt::kReservedDatabase, acks_key), crdt::Type::kSet);
  size_t looked_at = 0;
  for (size_t left = std::min(feed.open.size(), kFeedOpenLooks); left > 0; --left) {
    auto it = feed.open.upper_bound(feed.looked_at);
    if (it == feed.open.end()) it = feed.open.begin();
    feed.looked_at = it->first;
    const conflict::LedgerEntry* entry = ledger_.Find(it->first);
    const std::optional<clock::Dot> lost = entry != nullptr ? dot_of(entry->lost) : std::nullopt;
    bool done = entry == nullptr || (lost && feeds_.Told(group.name, loss_at(*entry, *lost)));
    bool gives = false;
    if (!done && lost) {
      const std::optional<crdt::Register> open = OpenStill(*entry, *lost);
      gives = !open;
      if (open && acks.Contains(conflict::FeedItemId(entry->db, entry->key, entry->type, entry->element, *open, origins_))) {
        const std::vector<clock::Dot> losers =
            conflict::Losers(policies_, entry->key, entry->type, entry->element, open->versions, origins_);
        // What is shown again had lost to something else, which nobody was told.
        done = std::find(losers.begin(), losers.end(), *lost) != losers.end();
        gives = !done;
      }
    }
    if (!done && (!gives || feed.waiting.size() >= conflict::kFeedDecidedMax)) continue;
    if (gives) {
      add(*entry, it->second);
      feed.waiting.emplace(it->first, it->second);
    } else {
      feed.ids.erase(it->second);
      feed.moved = true;
    }
    feed.open.erase(it);
  }
  bool to_end = true;
  std::vector<uint64_t> fresh;
  ledger_.Visit(feed.scanned, [&](const conflict::LedgerEntry& entry) {
    // Those that stand open are given as such: they take no place from the others.
    if (feed.waiting.size() + fresh.size() >= conflict::kFeedDecidedMax || ++looked_at > kFeedEntryLooks) {
      to_end = false;
      return false;
    }
    feed.scanned = entry.id;
    if (!group.Matches(entry.db, entry.key)) return true;
    const auto shown = dot_of(entry.shown);
    const auto lost = dot_of(entry.lost);
    const bool given = shown && lost && std::any_of(feed.given.begin(), feed.given.end(), [&](const auto& vector) {
                         return vector.Covers(*shown) && vector.Covers(*lost);
                       });
    if (!given) fresh.push_back(entry.id);
    return true;
  });
  for (uint64_t number : fresh) {
    const conflict::LedgerEntry& entry = *ledger_.Find(number);
    const auto lost = dot_of(entry.lost);
    if (lost && feeds_.Told(group.name, loss_at(entry, *lost))) {
      feed.moved = true;
      continue;
    }
    std::string id = conflict::DecidedItemId(entry);
    // Of one value that has lost twice there is one item.
    if (!feed.ids.insert(id).second) continue;
    if (lost && OpenStill(entry, *lost)) {
      feed.open.emplace(number, std::move(id));
    } else {
      add(entry, id);
      feed.waiting.emplace(number, std::move(id));
    }
  }
  auto is_behind = [&](const std::map<uint64_t, std::string>& entries) {
    return entries.empty() || entries.begin()->first > feed.target;
  };
  const bool reached = feed.target != 0 && is_behind(feed.waiting) && is_behind(feed.open);
  if (reached && feed.moved) {
    keyspace::Change change(*this, keyspace_);
    change.PutElement(cursors, crdt::Type::kHash, options_.leader_id, feed.target_token);
    feed.moved = feed.scanned > feed.target;  // what is behind it may have been given meanwhile
  }
  if (to_end && (feed.target == 0 || reached)) {
    feed.target = feed.scanned;
    feed.target_token = MarkSession().token;
  }
}

void Engine::TendFeeds() {
  for (const conflict::FeedGroup* group : feeds_.All()) {
    // Whoever waits here may be due something again, or must go elsewhere.
    waiters_.NoteChanged(group->db, group->name);
    if (DelivererOf(*group) != options_.leader_id) {
      feeds_.ForgetGiven(group->name);
      feeds_.ForgetDecided(group->name);
      decided_feeds_.erase(group->name);
      delivers_.erase(group->name);
    } else if (delivers_.insert(group->name).second) {
      feeds_.AddAgain(group->name);
    }
    if (group->decided && delivers_.count(group->name) != 0) TendDecided(*group);
  }
  std::erase_if(decided_feeds_, [this](const auto& entry) { return feeds_.Find(entry.first) == nullptr; });
  if (PLANTED(kFeedAckStays) || feed_acks_.empty() || now_.mono_us < next_feed_sweep_us_) return;
  if (!may_write() || !status_.ok() || keyspace_.merging()) return;
  FollowConflicts();
  size_t looked_at = 0;
  keyspace::Change change(*this, keyspace_);
  for (const conflict::FeedGroup* group : feeds_.All()) {
    if (DelivererOf(*group) != options_.leader_id) continue;
    const std::string key = group->AcksKey();
    const keyspace::KeyRef ref = keyspace_.Ref(crdt::kReservedDatabase, key);
    // An acknowledgement was given where its item was. So whoever has it, and not the item, has
    // what ended that; and so has whoever is told that it goes.
    std::vector<std::string> ceased;
    keyspace_.Open(ref, crdt::Type::kSet).ForEach([&](const keyspace::ElementView& ack) {
      ++looked_at;
      if (feeds_.Item(ack.key()) == nullptr) ceased.emplace_back(ack.key());
      return ceased.size() < options_.feed_slice;
    });
    for (const std::string& id : ceased)
      change.RemoveElement(ref, crdt::Type::kSet, id);
    if (change.bytes() > kServeInChangeBytesMax) change.Finish();
  }
  // Given while the feed was deleted elsewhere. They name the feed that was made then: whoever has
  // them has had it, and any other one of its name has acknowledgements of its own.
  for (const std::string& key : std::vector<std::string>(feed_acks_.begin(), feed_acks_.end())) {
    const keyspace::KeyRef ref = keyspace_.Ref(crdt::kReservedDatabase, key);
    if (!keyspace_.Exists(ref)) {
      feed_acks_.erase(key);
    } else if (AreOfNoFeed(key)) {
      change.Delete(ref);
    }
  }
  change.Finish();
  next_feed_sweep_us_ = now_.mono_us + kSweepUs + static_cast<int64_t>(looked_at) * kSweepUsEach;
}

}  // namespace polyarch::engine
