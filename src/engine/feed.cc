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
constexpr size_t kFeedOpenLooks = 50;
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

bool Engine::IsOpenStill(const conflict::LedgerEntry& entry, clock::Dot lost) {
  if (!feeds_.HasItems(entry.db, entry.key)) return false;
  const crdt::KeyState state = keyspace_.State(keyspace_.Ref(entry.db, entry.key));
  bool open = false;
  keyspace::Keyspace::VisitOpenConflicts(
      state, [&](crdt::Type type, std::string_view element, const crdt::Register& found) {
        if (type != entry.type || element != entry.element) return;
        open = open || std::any_of(found.versions.begin(), found.versions.end(), [&](const crdt::Version& version) {
                 return version.dot == lost;
               });
      });
  return open;
}

// Each leader that has applied both of a pair has it in its ledger. So whoever has given all of its ledger up to a moment
// has given all pairs that its vector of then covers: that is what is replicated, and whoever takes over begins behind it.
void Engine::TendDecided(const conflict::FeedGroup& group) {
  if (keyspace_.merging() || !may_write()) return;
  FollowConflicts();
  DecidedFeed& feed = decided_feeds_[group.name];
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
  auto add = [&](const conflict::LedgerEntry& entry, const std::string& id) {
    feeds_.AddDecided(group.name, {id, entry.db, entry.key, entry.type, entry.element, entry.id});
    waiters_.NoteChanged(group.db, group.name);
  };
  // What was acknowledged, has gone from the ledger, or was told of while it was open.
  size_t looked_at = 0;
  for (auto it = feed.waiting.begin(); it != feed.waiting.end();) {
    const conflict::LedgerEntry* entry = ledger_.Find(it->first);
    bool done = entry == nullptr;
    if (!done && feed.open.count(it->first) != 0) {
      const auto lost = dot_of(entry->lost);
      done = lost && feeds_.Told(group.name, lost->bits());
      // The state of a key with other conflicts may be large.
      const bool looks = !feeds_.HasItems(entry->db, entry->key) || ++looked_at <= kFeedOpenLooks;
      if (!done && lost && looks && !IsOpenStill(*entry, *lost)) {
        feed.open.erase(it->first);
        add(*entry, it->second);
      }
    } else if (!done) {
      done = feeds_.Decided(group.name, it->second) == nullptr;
      // The same value may lose once more, to a later one.
      if (const auto lost = dot_of(entry->lost); done && lost) feeds_.NoteTold(group.name, lost->bits());
    }
    if (!done) {
      ++it;
      continue;
    }
    feeds_.Drop(group.name, it->second);
    feed.open.erase(it->first);
    feed.moved = true;
    it = feed.waiting.erase(it);
  }
  bool to_end = true;
  looked_at = 0;
  std::vector<uint64_t> fresh;
  ledger_.Visit(feed.scanned, [&](const conflict::LedgerEntry& entry) {
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
  // Of one value that has lost twice there is one item.
  std::set<std::string> known;
  for (const auto& [number, id] : feed.waiting) {
    if (!fresh.empty()) known.insert(id);
  }
  for (uint64_t number : fresh) {
    const conflict::LedgerEntry& entry = *ledger_.Find(number);
    const auto lost = dot_of(entry.lost);
    if (lost && feeds_.Told(group.name, lost->bits())) {
      feed.moved = true;
      continue;
    }
    std::string id = conflict::DecidedItemId(entry);
    if (!known.insert(id).second) continue;
    if (lost && IsOpenStill(entry, *lost)) {
      feed.open.insert(number);
    } else {
      add(entry, id);
    }
    feed.waiting.emplace(number, std::move(id));
  }
  const bool reached = feed.target != 0 && (feed.waiting.empty() || feed.waiting.begin()->first > feed.target);
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
