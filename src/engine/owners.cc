#include "engine/owners.h"

#include <algorithm>

#include "base/planted.h"
#include "conflict/policy.h"
#include "crdt/position.h"
#include "engine/engine.h"
#include "wire/owner_message.h"

namespace polyarch::engine {

namespace {

constexpr int64_t kDutyUs = 100'000;
constexpr int64_t kTellUs = 2'000'000;    // who waits is told of again
constexpr int64_t kAgainUs = 300'000;    // first; then all are
constexpr int64_t kAskedUs = 5'000'000;   // and forgotten, if it is not
constexpr int64_t kPolledUs = 1'000'000;  // what was granted for who cannot wait is kept for so long
constexpr int64_t kOnItsWayUs = 1'000'000;
constexpr int64_t kLastWordsUs = 30'000'000;  // what who is no neighbour had may have been lost with its power since
constexpr int64_t kApartUs = kOwnerGoneUs - 1'000'000;  // somebody else's clock may have run for longer
constexpr int64_t kSweepUs = 10'000'000;
constexpr size_t kSweptAtOnce = 2000;     // records that are looked at in a tick
constexpr uint64_t kGrantMax = 200;       // elements, in one change
constexpr uint64_t kGroupGrantsMax = 1000;  // entries of a group that were granted and not given
constexpr int64_t kClaimedUs = 10'000'000;  // pending entries are asked for again for so long
constexpr size_t kTargetsMax = 12;         // a minute of them
constexpr uint8_t kOfGroup = 128;         // beside the database
constexpr size_t kAskedKeysMax = 100'000;

// The first one stays, and the newest ones.
void AddTarget(std::deque<clock::VersionVector>& targets, std::optional<clock::VersionVector> target) {
  if (!target) return;
  if (targets.size() == kTargetsMax) targets.erase(targets.begin() + 1);
  targets.push_back(std::move(*target));
}

// The first one by precedence, then by name; empty: there is none.
std::string FirstOf(const std::set<std::string>& leaders, const std::vector<std::string>& order) {
  auto rank = [&](const std::string& name) { return std::find(order.begin(), order.end(), name) - order.begin(); };
  const auto first = std::min_element(leaders.begin(), leaders.end(), [&](const auto& a, const auto& b) {
    return std::pair(rank(a), std::string_view(a)) < std::pair(rank(b), std::string_view(b));
  });
  return first == leaders.end() ? std::string() : *first;
}

}  // namespace

// ---- who owns what

std::string Owners::RecordsKey(const Queue& queue) {
  std::string out(kOwnerPrefix);
  if (!queue.group) {
    out.push_back(static_cast<char>(queue.db));
    return out + queue.key;
  }
  const size_t size = queue.group->size();
  out.push_back(static_cast<char>(queue.db | kOfGroup));
  out.push_back(static_cast<char>(size >> 8));
  out.push_back(static_cast<char>(size));
  return out + *queue.group + queue.key;
}

std::optional<Owners::Queue> Owners::QueueOfRecords(std::string_view reserved_key) {
  if (reserved_key.size() <= kOwnerPrefix.size()) return std::nullopt;
  reserved_key.remove_prefix(kOwnerPrefix.size());
  const auto kind = static_cast<uint8_t>(reserved_key[0]);
  reserved_key.remove_prefix(1);
  Queue queue{.db = static_cast<uint8_t>(kind & ~kOfGroup), .key = {}};
  if (queue.db >= crdt::kDatabases) return std::nullopt;
  if ((kind & kOfGroup) != 0) {
    if (reserved_key.size() < 2) return std::nullopt;
    const size_t size = static_cast<size_t>(static_cast<uint8_t>(reserved_key[0])) << 8 | static_cast<uint8_t>(reserved_key[1]);
    reserved_key.remove_prefix(2);
    if (reserved_key.size() < size) return std::nullopt;
    queue.group = reserved_key.substr(0, size);
    reserved_key.remove_prefix(size);
  }
  queue.key = reserved_key;
  return queue;
}

keyspace::Collection Owners::Records(const Queue& queue, std::string& name) {
  if (records_.count(queue) == 0) return {};
  name = RecordsKey(queue);
  return engine_.keyspace_.Open(engine_.keyspace_.Ref(crdt::kReservedDatabase, name), crdt::Type::kHash);
}

std::string Owners::LeaderOfRun(uint64_t incarnation) {
  for (; runs_known_ < engine_.origins_.size(); ++runs_known_) {
    const auto index = static_cast<clock::OriginIndex>(runs_known_);
    runs_.emplace(engine_.origins_.Get(index).incarnation, index);
  }
  const auto run = runs_.find(incarnation);
  return run == runs_.end() ? std::string() : engine_.origins_.Get(run->second).leader;
}

Owners::Owner Owners::OwnerOf(const keyspace::Collection& records, std::string_view name, std::string_view maker) {
  Owner owner{.leader = std::string(maker)};
  if (PLANTED(kOwnerKeepsGranted) && owner.leader == engine_.options_.leader_id) return owner;
  if (records.found() && records.Contains(name)) owner = {std::string(records.Get(name).value), true};
  return owner;
}

Owners::Owner Owners::OwnerOfElement(const keyspace::Collection& records, std::string_view name) {
  return OwnerOf(records, name, LeaderOfRun(crdt::PositionRun(name)));
}

// Whoever gave it last wrote it.
Owners::Owner Owners::OwnerOfPending(const keyspace::Collection& records,
                                     const keyspace::Stream& stream,
                                     std::string_view group,
                                     crdt::StreamId id) {
  const std::optional<clock::Origin> writer = stream.WriterOf(crdt::StreamPendingName(group, id));
  return OwnerOf(records, crdt::StreamEntryName(id), writer ? writer->leader : std::string());
}

bool Owners::Covers(std::string_view key) const {
  return key.size() <= kOwnedKeyBytesMax && engine_.policies_.IsPopOwner(key);
}

bool Owners::CoversGroup(std::string_view key, std::string_view group) const {
  return key.size() + group.size() <= kOwnedKeyBytesMax && engine_.policies_.IsPopOwner(key);
}

void Owners::VisitOwned(const keyspace::KeyRef& key,
                        const keyspace::Collection& list,
                        bool front,
                        uint64_t count,
                        base::FunctionRef<void(const keyspace::ElementView&)> visit) {
  if (count == 0 || !ready_) return;
  std::string text;
  const keyspace::Collection records = Records({key.db, std::string(key.key)}, text);
  VisitEnd(list, front, [&](const keyspace::ElementView& element) {
    if (OwnerOfElement(records, element.key()).leader != engine_.options_.leader_id) return true;
    visit(element);
    return --count > 0;
  });
}

void Owners::VisitEnd(const keyspace::Collection& list,
                      bool front,
                      base::FunctionRef<bool(const keyspace::ElementView&)> visit) {
  if (list.size() == 0) return;
  size_t looked_at = 0;
  list.elements->Walk(
      front ? 0 : list.size() - 1,
      !front,
      [&](const keyspace::RankedElement& item) { return visit(item.element) && ++looked_at < kLookMax; },
      list.viewer());
}

void Owners::VisitNew(const keyspace::Stream& stream,
                      std::string_view group,
                      const crdt::StreamGroup& state,
                      const keyspace::Collection& records,
                      base::FunctionRef<bool(const keyspace::Stream::Item&, const Owner&)> visit) {
  // As many as are needed: mostly the first ones do.
  size_t seen = 0;
  for (size_t most : {size_t{16}, size_t{128}, kLookMax}) {
    const std::vector<keyspace::Stream::Item> items = stream.Undelivered(group, state, most);
    for (; seen < items.size(); ++seen) {
      const keyspace::Stream::Item& item = items[seen];
      std::string maker = LeaderOfRun(item.lane);
      const std::string name = crdt::StreamEntryName(item.id);
      // One that was copied has a lane that is no process's: it is of who made the copy.
      if (maker.empty()) {
        const std::optional<clock::Origin> writer = stream.WriterOf(name);
        if (writer) maker = writer->leader;
      }
      if (!visit(item, OwnerOf(records, name, maker))) return;
    }
    if (items.size() < most) return;
  }
}

keyspace::Stream Owners::StreamOf(const Queue& queue) {
  return keyspace::Stream(engine_.keyspace_.Open(engine_.keyspace_.Ref(queue.db, queue.key), crdt::Type::kStream));
}

void Owners::VisitFirst(const Queue& queue,
                        bool front,
                        base::FunctionRef<bool(std::string_view name, const Owner&)> visit) {
  keyspace::Keyspace& keys = engine_.keyspace_;
  std::string text;
  const keyspace::Collection records = Records(queue, text);
  if (!queue.group) {
    const keyspace::Collection list = keys.Open(keys.Ref(queue.db, queue.key), crdt::Type::kList);
    return VisitEnd(list, front, [&](const keyspace::ElementView& element) {
      return visit(element.key(), OwnerOfElement(records, element.key()));
    });
  }
  const keyspace::Stream stream = StreamOf(queue);
  const std::optional<crdt::StreamGroup> state = stream.exists() ? stream.FindGroup(*queue.group) : std::nullopt;
  if (!state) return;
  VisitNew(stream, *queue.group, *state, records, [&](const keyspace::Stream::Item& item, const Owner& owner) {
    return visit(crdt::StreamEntryName(item.id), owner);
  });
}

// Elements that this leader owns, up to so many.
uint64_t Owners::CountOwned(const Queue& queue, bool front, uint64_t most) {
  uint64_t count = 0;
  if (!ready_ || most == 0) return 0;
  VisitFirst(queue, front, [&](std::string_view, const Owner& owner) {
    count += owner.leader == engine_.options_.leader_id ? 1 : 0;
    return count < most;
  });
  return count;
}

// Quicker than a look at all that is others', which each client that waits would take.
bool Owners::MayOwnNew(const keyspace::Stream& stream,
                       const crdt::StreamGroup& state,
                       const keyspace::Collection& records) {
  const std::string& self = engine_.options_.leader_id;
  for (const keyspace::StreamIndex::Lane& lane : stream.lanes()) {
    const std::string leader = LeaderOfRun(lane.lane);
    if ((leader.empty() || leader == self) && lane.newest > state.DeliveredUpTo(lane.lane)) return true;
  }
  bool granted = false;
  if (records.found()) {
    records.ForEach([&](const keyspace::ElementView& record) {
      granted = records.Show(record).value == self;
      return !granted;
    });
  }
  return granted;
}

std::vector<keyspace::Stream::Item> Owners::OwnedEntries(const keyspace::KeyRef& key,
                                                         const keyspace::Stream& stream,
                                                         std::string_view group,
                                                         const crdt::StreamGroup& state,
                                                         size_t count,
                                                         bool& others) {
  std::vector<keyspace::Stream::Item> owned;
  if (count == 0) return owned;
  std::string text;
  const keyspace::Collection records = Records({key.db, std::string(key.key), std::string(group)}, text);
  if (!MayOwnNew(stream, state, records)) {
    others = others || !stream.Undelivered(group, state, 1).empty();
    return owned;
  }
  VisitNew(stream, group, state, records, [&](const keyspace::Stream::Item& item, const Owner& owner) {
    if (ready_ && owner.leader == engine_.options_.leader_id) {
      owned.push_back(item);
    } else {
      others = true;
    }
    return owned.size() < count;
  });
  return owned;
}

bool Owners::OwnsPending(const keyspace::KeyRef& key,
                         const keyspace::Stream& stream,
                         std::string_view group,
                         crdt::StreamId id) {
  if (!ready_) return false;
  std::string text;
  const keyspace::Collection records = Records({key.db, std::string(key.key), std::string(group)}, text);
  return OwnerOfPending(records, stream, group, id).leader == engine_.options_.leader_id;
}

void Owners::NoteGiven(keyspace::Change& change,
                       const keyspace::KeyRef& key,
                       std::string_view group,
                       crdt::StreamId id) {
  Forget(change, {key.db, std::string(key.key), std::string(group)}, crdt::StreamEntryName(id));
}

void Owners::NotePopped(keyspace::Change& change, const keyspace::KeyRef& key, std::string_view name) {
  Forget(change, {key.db, std::string(key.key)}, name);
}

void Owners::Forget(keyspace::Change& change, const Queue& queue, std::string_view name) {
  std::string text;
  const keyspace::Collection records = Records(queue, text);
  if (!records.found() || !records.Contains(name)) return;
  change.RemoveElement(engine_.keyspace_.Ref(crdt::kReservedDatabase, text), crdt::Type::kHash, name);
  // One of those that were asked for.
  const auto wanted = wanted_.find(queue);
  if (wanted != wanted_.end() && wanted->second.told > 0) --wanted->second.told;
}

void Owners::PoliciesChanged() {
  in_use_ = engine_.policies_.has_pop_owner();
  // Who waits for elements of others may have them now.
  NoteWanted();
  std::erase_if(wanted_, [this](const auto& entry) { return !Covers(entry.first.key); });
  std::erase_if(claims_, [this](const auto& entry) { return !Covers(entry.first.key); });
  std::erase_if(asked_, [this](const auto& entry) { return !Covers(entry.first.key); });
  std::erase_if(touched_, [this](const Queue& queue) { return asked_.count(queue) == 0; });
}

// ---- what happens

// Whoever waits for elements of others looks again.
void Owners::NoteWanted() {
  for (const auto& [queue, wanted] : wanted_)
    engine_.waiters_.NoteChanged(queue.db, queue.key);
  for (const auto& [queue, claims] : claims_)
    engine_.waiters_.NoteChanged(queue.db, queue.key);
}

void Owners::Touched(const keyspace::KeyRef& key) {
  // The list of that name, and all groups of the stream.
  auto asked = asked_.lower_bound({key.db, std::string(key.key)});
  for (; asked != asked_.end() && asked->first.db == key.db && asked->first.key == key.key; ++asked)
    touched_.insert(asked->first);
}

void Owners::NoteRecords(std::string_view reserved_key) {
  if (auto queue = QueueOfRecords(reserved_key)) records_.insert(std::move(*queue));
}

void Owners::RecordsChanged(std::string_view reserved_key) {
  auto queue = QueueOfRecords(reserved_key);
  if (!queue) return;
  records_.insert(*queue);
  if (engine_.replaying_) return;
  engine_.waiters_.NoteChanged(queue->db, queue->key);
  if (asked_.count(*queue) != 0) touched_.insert(std::move(*queue));
}

void Owners::NoteRemote(const crdt::Effect& effect) {
  if (effect.kind != crdt::EffectKind::kWipe || effect.type != crdt::Type::kList || effect.element.empty()) return;
  if (effect.db >= crdt::kDatabases || !Covers(effect.key)) return;
  const keyspace::KeyRef key = engine_.keyspace_.Ref(effect.db, effect.key);
  if (engine_.keyspace_.HasElement(key, crdt::Type::kList, effect.element)) return;
  ++removed_twice_;
  const int64_t now = engine_.now_.mono_us;
  if (twice_told_us_ >= 0 && now - twice_told_us_ < 10'000'000) return;
  twice_told_us_ = now;
  engine_.Report(1,
                 "an element of a list under policy pop-owner was taken out at two leaders: its owner was out of reach "
                 "of one of them, or a disk was put back (pop_owner_removed_twice in INFO counts them)");
}

void Owners::Want(const keyspace::KeyRef& key, bool front, uint64_t count, bool waits) {
  Want({key.db, std::string(key.key)}, count, waits).front = front;
}

void Owners::WantEntries(const keyspace::KeyRef& key, std::string_view group, uint64_t count, bool waits) {
  Wanted& wanted = Want({key.db, std::string(key.key), std::string(group)}, count, waits);
  if (waits) wanted.batch = count;
}

Owners::Wanted& Owners::Want(const Queue& queue, uint64_t count, bool waits) {
  Wanted& wanted = wanted_[queue];
  wanted.fresh = any_fresh_ = true;
  if (waits) return wanted;
  const int64_t now = engine_.now_.mono_us;
  if (now >= wanted.polled_until_us) wanted.polled = 0;
  wanted.polled = std::max(wanted.polled, std::min(count, kGrantMax));
  wanted.polled_until_us = now + kPolledUs;
  return wanted;
}

void Owners::WantPending(const keyspace::KeyRef& key,
                         std::string_view group,
                         const std::vector<crdt::StreamId>& ids) {
  const Queue queue{key.db, std::string(key.key), std::string(group)};
  const keyspace::Stream stream = StreamOf(queue);
  Claims& claims = claims_[queue];
  for (crdt::StreamId id : ids) {
    const auto pending = stream.FindPending(group, id);
    if (!pending || claims.ids.size() >= wire::kWantedPendingMax) continue;
    if (claims.ids.emplace(id, pending->delivered_ms).second) claims.told_us = -1;
  }
  claims.until_us = engine_.now_.mono_us + kClaimedUs;
}

void Owners::TakeInbox() {
  for (; !inbox_.empty(); inbox_.pop_front()) {
    wire::Want want;
    if (!wire::Decode(inbox_.front(), want)) continue;
    if (want.leader == engine_.options_.leader_id || engine_.replica_.members().count(want.leader) == 0) continue;
    const Queue queue{want.db, std::move(want.key), std::move(want.group)};
    if (!want.pending.empty()) {
      if (may_write()) GrantPending(queue, want.leader, want.pending);
      continue;
    }
    auto asked = asked_.find(queue);
    if (want.count == 0) {
      if (asked == asked_.end()) continue;
      asked->second.erase(want.leader);
      if (asked->second.empty()) asked_.erase(asked);
      continue;
    }
    if (asked == asked_.end()) {
      if (asked_.size() >= kAskedKeysMax) continue;
      asked = asked_.emplace(queue, std::map<std::string, Asked>()).first;
    }
    Asked& by = asked->second[want.leader];
    const int64_t now = engine_.now_.mono_us;
    if (by.until_us < now) by.since_us = now;
    by.until_us = now + kAskedUs;
    by.front = want.front;
    by.count = want.count;
    touched_.insert(queue);
  }
}

// ---- who is there

bool Owners::may_write() const {
  return engine_.WriteAllowed().ok();
}

void Owners::FollowReach() {
  const int64_t now = engine_.now_.mono_us;
  const std::string& self = engine_.options_.leader_id;
  std::set<std::string> reach;
  for (const auto& [name, member] : engine_.replica_.members()) {
    const auto admitted = engine_.admissions_.find(name);
    if (admitted != engine_.admissions_.end() && admitted->second.all_retired()) continue;
    if (name == self || engine_.replica_.InReach(name)) {
      reach.insert(name);
    } else {
      missed_us_.emplace(name, now);
    }
  }
  if (reach != reach_) {
    reach_ = std::move(reach);
    reach_since_us_ = now;
    bool apart = false;
    std::erase_if(missed_us_, [&](const auto& entry) {
      if (reach_.count(entry.first) == 0) return false;
      apart = apart || now - entry.second >= kApartUs;
      return true;
    });
    if (apart) BeApart();
  }
  // It may change by LEADER PRIORITY, too, and others hear of that later.
  std::string first = FirstOf(reach_, engine_.policies_.default_order());
  if (first != first_of_reach_) {
    first_of_reach_ = std::move(first);
    first_since_us_ = now;
  }
  first_ = first_of_reach_ == self;
}

// One that was out of reach for long is back. On each side somebody may have acted for who was on the other: what was
// granted and popped there comes first. Whoever acted for it until now has to notice that it is there, too.
void Owners::BeApart() {
  ready_ = false;
  started_us_ = -1;
  told_.reset();
  targets_.clear();
}

std::optional<clock::VersionVector> Owners::Told(bool last_words) const {
  std::optional<clock::VersionVector> told = engine_.replica_.Heard();
  // Who is in reach, but no neighbour any more, has what it told as one.
  if (told && last_words) told->Join(engine_.replica_.LastWords(&reach_));
  return told;
}

bool Owners::Reaches(const std::deque<clock::VersionVector>& targets) const {
  return std::any_of(targets.begin(), targets.end(), [this](const clock::VersionVector& target) {
    return engine_.replica_.applied().Includes(target);
  });
}

// A disk may lack what left it: what the others have comes first.
void Owners::FollowStart() {
  if (!engine_.may_write()) return;
  const int64_t now = engine_.now_.mono_us;
  if (started_us_ < 0) started_us_ = now;
  const auto told = Told(true);
  if (!told) return;
  // Also of who is gone again: it may be back before it is acted for.
  if (targets_.empty()) {
    if (!told_) told_ = clock::VersionVector();
    told_->Join(*told);
    told_->Join(engine_.replica_.LastWords());
  }
  // Whoever is out of reach for a moment is to be back before it is gone: what it told still counts.
  const bool flaps = std::any_of(missed_us_.begin(), missed_us_.end(), [&](const auto& entry) {
    return now - entry.second < kOwnerGoneUs;
  });
  if (targets_.empty() || (now - target_us_ >= kOwnerGoneUs && !flaps)) {
    // What a neighbour had may be lost for good: then what it has now counts.
    const auto& members = engine_.replica_.members();
    const bool all = std::all_of(members.begin(), members.end(), [&](const auto& entry) {
      const auto admitted = engine_.admissions_.find(entry.first);
      const bool retired = admitted != engine_.admissions_.end() && admitted->second.all_retired();
      return retired || reach_.count(entry.first) != 0;
    });
    // What the process before sent last may be on its way still.
    const int64_t since_us = all ? std::max(started_us_, reach_since_us_) : started_us_;
    if (now - since_us < (all ? kOnItsWayUs : kOwnerGoneUs)) {
      if (!members.empty() && (members.size() > 1 || members.count(engine_.options_.leader_id) == 0)) return;
    }
    if (targets_.empty()) waits_us_ = now;
    AddTarget(targets_, targets_.empty() ? std::exchange(told_, {}) : Told(now - waits_us_ < kLastWordsUs));
    target_us_ = now;
  }
  if (!Reaches(targets_)) return;
  ready_ = true;
  targets_.clear();
  NoteWanted();
}

// Before it acts for who is gone it has all that those in reach have: they may have heard more of what that one popped and
// granted, or of who acted before.
void Owners::FollowActing() {
  const int64_t now = engine_.now_.mono_us;
  if (!first_ || now - std::max(reach_since_us_, first_since_us_) < kOwnerGoneUs) {
    may_act_ = false;
    act_targets_.clear();
    return;
  }
  if (may_act_) return;
  if (act_targets_.empty() || now - act_target_us_ >= kOwnerGoneUs) {
    if (act_targets_.empty()) act_waits_us_ = now;
    AddTarget(act_targets_, Told(now - act_waits_us_ < kLastWordsUs));
    act_target_us_ = now;
  }
  may_act_ = Reaches(act_targets_);
}

bool Owners::ActsFor(const std::string& owner) {
  if (reach_.count(owner) != 0 || owner == engine_.options_.leader_id) return false;
  const int64_t now = engine_.now_.mono_us;
  const int64_t since = missed_us_.emplace(owner, now).first->second;
  return may_act_ && first_ && now - std::max({since, reach_since_us_, first_since_us_}) >= kOwnerGoneUs;
}

// ---- asking and granting

// Whoever owns the first elements that are there is asked for those; as to what is not there yet, and when nobody has
// answered for a while, all are told.
void Owners::Tell(const Queue& queue, const Wanted& wanted, uint64_t count) {
  const std::string& self = engine_.options_.leader_id;
  std::map<std::string, uint64_t> of;
  uint64_t left = count;
  if (wanted.fresh && count > 0) {
    const std::string first = FirstOf(reach_, engine_.policies_.default_order());
    VisitFirst(queue, wanted.front, [&](std::string_view, const Owner& owner) {
      if (owner.leader != self) {
        ++of[reach_.count(owner.leader) != 0 ? owner.leader : first];
        --left;
      }
      return left > 0;
    });
  }
  for (const std::string& leader : reach_) {
    if (leader == self) continue;
    const uint64_t wants = of[leader] + left;
    if (wants == 0 && count != 0) continue;
    engine_.replica_.SendRouted(leader,
                                wire::Encode(wire::Want{.leader = self,
                                                        .db = queue.db,
                                                        .key = queue.key,
                                                        .front = wanted.front,
                                                        .count = wants,
                                                        .group = queue.group}));
  }
}

uint64_t Owners::Waiting(const Queue& queue) const {
  return queue.group ? engine_.waiters_.CountForGroup(queue.Place(), *queue.group)
                     : engine_.waiters_.CountFor(queue.Place(), crdt::Type::kList);
}

void Owners::TellWants(bool all) {
  if (!any_fresh_ && !all) return;
  any_fresh_ = false;
  const int64_t now = engine_.now_.mono_us;
  for (auto it = wanted_.begin(); it != wanted_.end();) {
    auto& [queue, wanted] = *it;
    if (!wanted.fresh && !all) {
      ++it;
      continue;
    }
    uint64_t need = Waiting(queue) * wanted.batch;
    const bool polled = now < wanted.polled_until_us;
    if (polled) need += wanted.polled - std::min(wanted.polled, CountOwned(queue, wanted.front, wanted.polled));
    if (need == 0 && polled) {
      wanted.fresh = false;
      ++it;
      continue;
    }
    if (need == 0) {
      if (wanted.told != 0) Tell(queue, wanted, 0);
      it = wanted_.erase(it);
      continue;
    }
    if (all) Grant(queue, engine_.options_.leader_id, need, wanted.front);
    // Not again for what is on its way.
    if (!wanted.fresh || need <= wanted.told) wanted.fresh = false;
    if (wanted.fresh || now - wanted.told_us >= kTellUs) {
      Tell(queue, wanted, need);
      wanted.told = need;
      // Who was asked may have nothing any more.
      wanted.told_us = wanted.fresh ? now - kTellUs + kAgainUs : now;
      wanted.fresh = false;
    }
    ++it;
  }
}

// Whoever gave them is asked for them, or who acts for it; again until they have come.
void Owners::TellClaims() {
  const int64_t now = engine_.now_.mono_us;
  const std::string& self = engine_.options_.leader_id;
  for (auto it = claims_.begin(); it != claims_.end();) {
    auto& [queue, claims] = *it;
    if (now >= claims.until_us) {
      it = claims_.erase(it);
      continue;
    }
    if (claims.told_us >= 0 && now - claims.told_us < kAgainUs) {
      ++it;
      continue;
    }
    claims.told_us = now;
    std::vector<crdt::StreamId> ids;
    for (const auto& [id, given_ms] : claims.ids)
      ids.push_back(id);
    GrantPending(queue, self, ids);
    std::string text;
    const keyspace::Collection records = Records(queue, text);
    const keyspace::Stream stream = StreamOf(queue);
    const std::string first = FirstOf(reach_, engine_.policies_.default_order());
    std::map<std::string, std::vector<crdt::StreamId>> of;
    std::erase_if(claims.ids, [&](const auto& entry) {
      const crdt::StreamId id = entry.first;
      const auto pending = stream.exists() ? stream.FindPending(*queue.group, id) : std::nullopt;
      // Somebody else has claimed it meanwhile.
      if (!pending || pending->delivered_ms != entry.second) return true;
      const std::string owner = OwnerOfPending(records, stream, *queue.group, id).leader;
      if (owner == self) return true;
      of[reach_.count(owner) != 0 ? owner : first].push_back(id);
      return false;
    });
    for (auto& [leader, theirs] : of) {
      if (leader == self || leader.empty()) continue;
      engine_.replica_.SendRouted(leader,
                                  wire::Encode(wire::Want{.leader = self,
                                                          .db = queue.db,
                                                          .key = queue.key,
                                                          .group = queue.group,
                                                          .pending = std::move(theirs)}));
    }
    it = claims.ids.empty() ? claims_.erase(it) : std::next(it);
  }
}

void Owners::WriteGrants(const Queue& queue, const std::string& to, const std::vector<std::string>& names) {
  keyspace::Keyspace& keys = engine_.keyspace_;
  const std::string text = RecordsKey(queue);
  keyspace::Change change(engine_, keys);
  for (const std::string& name : names) {
    change.PutElement(keys.Ref(crdt::kReservedDatabase, text), crdt::Type::kHash, name, to);
    if (change.bytes() > kServeInChangeBytesMax) change.Finish();  // the key's name, which may be long, is in each
  }
  change.Finish();
  granted_ += names.size();
}

uint64_t Owners::Grant(const Queue& queue, const std::string& to, uint64_t count, bool front) {
  const std::string& self = engine_.options_.leader_id;
  if (!ready_ || !CoversGroup(queue.key, queue.group.value_or(std::string()))) return 0;
  // What others have granted to this leader is for who waits here.
  const auto wanted = wanted_.find(queue);
  const bool keeps = Waiting(queue) != 0 ||
                     (wanted != wanted_.end() && engine_.now_.mono_us < wanted->second.polled_until_us);
  count = std::min(count, kGrantMax);
  std::string text;
  const size_t recorded = queue.group ? Records(queue, text).size() : 0;
  std::vector<std::string> names;
  uint64_t acted = 0;
  uint64_t added = 0;
  VisitFirst(queue, front, [&](std::string_view name, const Owner& owner) {
    const bool own = owner.leader == self;
    if (!(own ? to != self && !(owner.by_record && keeps) : owner.leader != to && ActsFor(owner.leader))) return true;
    // Of a group so much may be granted and not given: the group's state tells of the holes.
    if (queue.group && !owner.by_record && recorded + ++added > kGroupGrantsMax) return false;
    acted += own ? 0 : 1;
    names.emplace_back(name);
    return names.size() < count;
  });
  if (names.empty()) return 0;
  WriteGrants(queue, to, names);
  acted_ += acted;
  return names.size();
}

void Owners::GrantPending(const Queue& queue, const std::string& to, const std::vector<crdt::StreamId>& ids) {
  if (!ready_ || !queue.group || !CoversGroup(queue.key, *queue.group)) return;
  const std::string& self = engine_.options_.leader_id;
  const keyspace::Stream stream = StreamOf(queue);
  if (!stream.exists()) return;
  std::string text;
  const keyspace::Collection records = Records(queue, text);
  std::vector<std::string> names;
  uint64_t acted = 0;
  for (crdt::StreamId id : ids) {
    if (!stream.FindPending(*queue.group, id)) continue;
    const std::string owner = OwnerOfPending(records, stream, *queue.group, id).leader;
    if (owner == to || (owner != self && !ActsFor(owner))) continue;
    acted += owner == self ? 0 : 1;
    names.push_back(crdt::StreamEntryName(id));
  }
  if (names.empty()) return;
  WriteGrants(queue, to, names);
  acted_ += acted;
}

void Owners::ServeAsked() {
  const int64_t now = engine_.now_.mono_us;
  for (const Queue& queue : std::exchange(touched_, {})) {
    const auto found = asked_.find(queue);
    if (found == asked_.end()) continue;
    auto& by_leader = found->second;
    std::erase_if(by_leader, [&](const auto& entry) { return entry.second.until_us < now || entry.second.count == 0; });
    std::vector<std::pair<int64_t, std::string>> longest;
    for (const auto& [leader, asked] : by_leader)
      longest.emplace_back(asked.since_us, leader);
    std::sort(longest.begin(), longest.end());
    for (const auto& [since, leader] : longest) {
      Asked& asked = by_leader.at(leader);
      asked.count -= Grant(queue, leader, asked.count, asked.front);
      if (asked.count == 0) by_leader.erase(leader);
    }
    if (by_leader.empty()) asked_.erase(found);
  }
}

// ---- duties

bool Owners::IsThere(const Queue& queue, std::string_view name) {
  keyspace::Keyspace& keys = engine_.keyspace_;
  if (!queue.group) return keys.HasElement(keys.Ref(queue.db, queue.key), crdt::Type::kList, name);
  const crdt::StreamId id = crdt::ReadStreamName(name).id;
  const keyspace::Stream stream = StreamOf(queue);
  const std::optional<crdt::StreamGroup> state = stream.exists() ? stream.FindGroup(*queue.group) : std::nullopt;
  if (!state) return false;
  const std::optional<uint64_t> lane = stream.LaneOf(id);
  return (lane && !state->Delivered(*lane, id)) || stream.FindPending(*queue.group, id).has_value();
}

// Elements that went otherwise (DEL, LTRIM ...) leave their records. Who is named there removes them: for the others
// that is a change of the owner like a grant.
void Owners::Sweep() {
  const int64_t now = engine_.now_.mono_us;
  keyspace::Keyspace& keys = engine_.keyspace_;
  if (records_.empty() || now < next_sweep_us_ || keys.merging()) return;
  const auto at = records_.lower_bound(swept_);
  if (at == records_.end()) {
    swept_ = {};
    sweep_cursor_ = 0;
    next_sweep_us_ = now + kSweepUs;
    return;
  }
  if (*at != swept_) sweep_cursor_ = 0;
  const Queue queue = *at;
  swept_ = queue;
  auto next = [this] { swept_.group = swept_.group ? *swept_.group + '\0' : std::string(); };
  std::string text;
  const keyspace::Collection records = Records(queue, text);
  if (!records.found()) {
    if (!keys.Exists(keys.Ref(crdt::kReservedDatabase, text))) records_.erase(queue);
    return next();
  }
  std::vector<std::string> gone;
  sweep_cursor_ = records.elements->Scan(sweep_cursor_, kSweptAtOnce, [&](const keyspace::ElementView& record) {
    if (IsThere(queue, record.key())) return;
    const std::string owner(records.Get(record.key()).value);
    if (owner == engine_.options_.leader_id || ActsFor(owner))
      gone.emplace_back(record.key());
  });
  if (!gone.empty()) {
    keyspace::Change change(engine_, keys);
    for (const std::string& name : gone) {
      change.RemoveElement(keys.Ref(crdt::kReservedDatabase, text), crdt::Type::kHash, name);
      if (change.bytes() > kServeInChangeBytesMax) change.Finish();
    }
  }
  if (sweep_cursor_ == 0) next();
}

void Owners::Tick() {
  const int64_t now = engine_.now_.mono_us;
  if (!in_use_ && records_.empty() && ready_) {
    inbox_.clear();
    wanted_.clear();
    claims_.clear();
    asked_.clear();
    touched_.clear();
    return;
  }
  TakeInbox();
  const bool duty = now >= next_duty_us_;
  if (duty) {
    next_duty_us_ = now + kDutyUs;
    FollowReach();
    if (!ready_) FollowStart();
    FollowActing();
    for (const auto& [queue, by] : asked_)
      touched_.insert(queue);
  }
  if (!may_write()) return;
  TellWants(duty);
  if (!claims_.empty()) TellClaims();
  if (!touched_.empty()) ServeAsked();
  Sweep();
}

size_t Owners::CountRecords() {
  size_t count = 0;
  for (const Queue& queue : records_) {
    std::string text;
    count += Records(queue, text).size();
  }
  return count;
}

void Owners::Info(std::string& out) const {
  auto line = [&](const char* name, uint64_t value) {
    out += std::string(name) + ":" + std::to_string(value) + "\r\n";
  };
  line("pop_owner_ready", ready_ ? 1 : 0);
  line("pop_owner_granted", granted_);
  line("pop_owner_acted", acted_);
  line("pop_owner_asked", asked_.size());
  line("pop_owner_removed_twice", removed_twice_);
}

}  // namespace polyarch::engine
