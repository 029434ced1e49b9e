// Open conflicts as items of feeds, and as events for who listens: kept up with what the keyspace
// tells; who delivers; acknowledgements that have outlived their items.
#include <algorithm>

#include "base/planted.h"
#include "command/notify.h"
#include "engine/engine.h"

namespace polyarch::engine {

namespace {

constexpr int64_t kSweepUs = 2'000'000;
constexpr size_t kSweptMax = 1000;  // acknowledgements, in one change
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
  return group && group->AcksKey() != acks_key;  // one of a later format is not known
}

void Engine::TendFeeds() {
  for (const conflict::FeedGroup* group : feeds_.All()) {
    // Whoever waits here may be due something again, or must go elsewhere.
    waiters_.NoteChanged(group->db, group->name);
    if (DelivererOf(*group) != options_.leader_id) {
      feeds_.ForgetGiven(group->name);
      delivers_.erase(group->name);
    } else if (delivers_.insert(group->name).second) {
      feeds_.AddAgain(group->name);
    }
  }
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
      return ceased.size() < kSweptMax;
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
