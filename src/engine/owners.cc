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
constexpr size_t kAskedKeysMax = 100'000;

// Elements of the list that this leader owns, up to so many.
uint64_t CountOwned(keyspace::Keyspace& keys, Owners& owners, const std::pair<uint8_t, std::string>& key, bool front, uint64_t most) {
  const keyspace::KeyRef ref = keys.Ref(key.first, key.second);
  uint64_t count = 0;
  owners.VisitOwned(
      ref, keys.Open(ref, crdt::Type::kList), front, most, [&](const keyspace::ElementView&) { ++count; });
  return count;
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

std::string Owners::RecordsKey(const Key& key) {
  std::string out(kOwnerPrefix);
  out.push_back(static_cast<char>(key.first));
  return out + key.second;
}

std::optional<Owners::Key> Owners::KeyOfRecords(std::string_view reserved_key) {
  if (reserved_key.size() <= kOwnerPrefix.size()) return std::nullopt;
  reserved_key.remove_prefix(kOwnerPrefix.size());
  const auto db = static_cast<uint8_t>(reserved_key[0]);
  if (db >= crdt::kDatabases) return std::nullopt;
  return Key(db, reserved_key.substr(1));
}

keyspace::Collection Owners::Records(const Key& key, std::string& name) {
  if (records_.count(key) == 0) return {};
  name = RecordsKey(key);
  return engine_.keyspace_.Open(engine_.keyspace_.Ref(crdt::kReservedDatabase, name), crdt::Type::kHash);
}

Owners::Owner Owners::OwnerOf(const keyspace::Collection& records, std::string_view name) {
  for (; runs_known_ < engine_.origins_.size(); ++runs_known_) {
    const auto index = static_cast<clock::OriginIndex>(runs_known_);
    runs_.emplace(engine_.origins_.Get(index).incarnation, index);
  }
  Owner owner;
  const auto run = runs_.find(crdt::PositionRun(name));
  if (run != runs_.end()) owner.leader = engine_.origins_.Get(run->second).leader;
  if (PLANTED(kOwnerKeepsGranted) && owner.leader == engine_.options_.leader_id) return owner;
  if (records.found() && records.Contains(name)) owner = {std::string(records.Get(name).value), true};
  return owner;
}

bool Owners::Covers(std::string_view key) const {
  return key.size() <= kOwnedKeyBytesMax && engine_.policies_.IsPopOwner(key);
}

void Owners::VisitOwned(const keyspace::KeyRef& key,
                        const keyspace::Collection& list,
                        bool front,
                        uint64_t count,
                        base::FunctionRef<void(const keyspace::ElementView&)> visit) {
  if (count == 0 || !ready_) return;
  std::string text;
  const keyspace::Collection records = Records(Key(key.db, key.key), text);
  VisitEnd(list, front, [&](const keyspace::ElementView& element) {
    if (OwnerOf(records, element.key()).leader != engine_.options_.leader_id) return true;
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

void Owners::NotePopped(keyspace::Change& change, const keyspace::KeyRef& key, std::string_view name) {
  std::string text;
  const keyspace::Collection records = Records(Key(key.db, key.key), text);
  if (!records.found() || !records.Contains(name)) return;
  change.RemoveElement(engine_.keyspace_.Ref(crdt::kReservedDatabase, text), crdt::Type::kHash, name);
  // One of those that were asked for.
  const auto wanted = wanted_.find(Key(key.db, key.key));
  if (wanted != wanted_.end() && wanted->second.told > 0) --wanted->second.told;
}

void Owners::PoliciesChanged() {
  in_use_ = engine_.policies_.has_pop_owner();
  // Who waits for elements of others may have them now.
  for (const auto& [key, wanted] : wanted_)
    engine_.waiters_.NoteChanged(key.first, key.second);
  std::erase_if(wanted_, [this](const auto& entry) { return !Covers(entry.first.second); });
  std::erase_if(asked_, [this](const auto& entry) { return !Covers(entry.first.second); });
  std::erase_if(touched_, [this](const Key& key) { return asked_.count(key) == 0; });
}

// ---- what happens

void Owners::Touched(const keyspace::KeyRef& key) {
  Key name(key.db, key.key);
  if (asked_.count(name) != 0) touched_.insert(std::move(name));
}

void Owners::NoteRecords(std::string_view reserved_key) {
  if (auto key = KeyOfRecords(reserved_key)) records_.insert(std::move(*key));
}

void Owners::RecordsChanged(std::string_view reserved_key) {
  auto key = KeyOfRecords(reserved_key);
  if (!key) return;
  records_.insert(*key);
  if (engine_.replaying_) return;
  engine_.waiters_.NoteChanged(key->first, key->second);
  if (asked_.count(*key) != 0) touched_.insert(std::move(*key));
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
  Wanted& wanted = wanted_[Key(key.db, key.key)];
  wanted.front = front;
  wanted.fresh = any_fresh_ = true;
  if (waits) return;
  const int64_t now = engine_.now_.mono_us;
  if (now >= wanted.polled_until_us) wanted.polled = 0;
  wanted.polled = std::max(wanted.polled, std::min(count, kGrantMax));
  wanted.polled_until_us = now + kPolledUs;
}

void Owners::TakeInbox() {
  for (; !inbox_.empty(); inbox_.pop_front()) {
    wire::Want want;
    if (!wire::Decode(inbox_.front(), want)) continue;
    if (want.leader == engine_.options_.leader_id || engine_.replica_.members().count(want.leader) == 0) continue;
    Key key(want.db, std::move(want.key));
    auto asked = asked_.find(key);
    if (want.count == 0) {
      if (asked == asked_.end()) continue;
      asked->second.erase(want.leader);
      if (asked->second.empty()) asked_.erase(asked);
      continue;
    }
    if (asked == asked_.end()) {
      if (asked_.size() >= kAskedKeysMax) continue;
      asked = asked_.emplace(key, std::map<std::string, Asked>()).first;
    }
    Asked& by = asked->second[want.leader];
    const int64_t now = engine_.now_.mono_us;
    if (by.until_us < now) by.since_us = now;
    by.until_us = now + kAskedUs;
    by.front = want.front;
    by.count = want.count;
    touched_.insert(std::move(key));
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
  target_.reset();
}

std::optional<clock::VersionVector> Owners::Told(bool last_words) const {
  std::optional<clock::VersionVector> told = engine_.replica_.Heard();
  // Who is in reach, but no neighbour any more, has what it told as one.
  if (told && last_words) told->Join(engine_.replica_.LastWords(&reach_));
  return told;
}

// A disk may lack what left it: what the others have comes first.
void Owners::FollowStart() {
  if (!engine_.may_write()) return;
  const int64_t now = engine_.now_.mono_us;
  if (started_us_ < 0) started_us_ = now;
  const auto told = Told(true);
  if (!told) return;
  // Also of who is gone again: it may be back before it is acted for.
  if (!target_) {
    if (!told_) told_ = clock::VersionVector();
    told_->Join(*told);
    told_->Join(engine_.replica_.LastWords());
  }
  if (!target_ || now - target_us_ >= kOwnerGoneUs) {
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
    if (!target_) waits_us_ = now;
    target_ = target_ ? Told(now - waits_us_ < kLastWordsUs) : std::exchange(told_, {});
    target_us_ = now;
  }
  if (!target_ || !engine_.replica_.applied().Includes(*target_)) return;
  ready_ = true;
  target_.reset();
  for (const auto& [key, wanted] : wanted_)
    engine_.waiters_.NoteChanged(key.first, key.second);
}

// Before it acts for who is gone it has all that those in reach have: they may have heard more of what that one popped and
// granted, or of who acted before.
void Owners::FollowActing() {
  const int64_t now = engine_.now_.mono_us;
  if (!first_ || now - std::max(reach_since_us_, first_since_us_) < kOwnerGoneUs) {
    may_act_ = false;
    act_target_.reset();
    return;
  }
  if (may_act_) return;
  if (!act_target_ || now - act_target_us_ >= kOwnerGoneUs) {
    if (!act_target_) act_waits_us_ = now;
    act_target_ = Told(now - act_waits_us_ < kLastWordsUs);
    act_target_us_ = now;
  }
  may_act_ = act_target_ && engine_.replica_.applied().Includes(*act_target_);
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
void Owners::Tell(const Key& key, const Wanted& wanted, uint64_t count) {
  keyspace::Keyspace& keys = engine_.keyspace_;
  const std::string& self = engine_.options_.leader_id;
  std::map<std::string, uint64_t> of;
  uint64_t left = count;
  if (wanted.fresh && count > 0) {
    std::string text;
    const keyspace::Collection records = Records(key, text);
    const std::string first = FirstOf(reach_, engine_.policies_.default_order());
    const keyspace::Collection list = keys.Open(keys.Ref(key.first, key.second), crdt::Type::kList);
    VisitEnd(list, wanted.front, [&](const keyspace::ElementView& element) {
      const std::string owner = OwnerOf(records, element.key()).leader;
      if (owner != self) {
        ++of[reach_.count(owner) != 0 ? owner : first];
        --left;
      }
      return left > 0;
    });
  }
  for (const std::string& leader : reach_) {
    if (leader == self) continue;
    const uint64_t wants = of[leader] + left;
    if (wants == 0 && count != 0) continue;
    engine_.replica_.SendRouted(
        leader,
        wire::Encode(wire::Want{
            .leader = self, .db = key.first, .key = key.second, .front = wanted.front, .count = wants}));
  }
}

uint64_t Owners::Waiting(const Key& key) const {
  return engine_.waiters_.CountFor(key, crdt::Type::kList);
}

void Owners::TellWants(bool all) {
  if (!any_fresh_ && !all) return;
  any_fresh_ = false;
  const int64_t now = engine_.now_.mono_us;
  for (auto it = wanted_.begin(); it != wanted_.end();) {
    auto& [key, wanted] = *it;
    if (!wanted.fresh && !all) {
      ++it;
      continue;
    }
    uint64_t need = Waiting(key);
    const bool polled = now < wanted.polled_until_us;
    if (polled) need += wanted.polled - std::min(wanted.polled, CountOwned(engine_.keyspace_, *this, key, wanted.front, wanted.polled));
    if (need == 0 && polled) {
      wanted.fresh = false;
      ++it;
      continue;
    }
    if (need == 0) {
      if (wanted.told != 0) Tell(key, wanted, 0);
      it = wanted_.erase(it);
      continue;
    }
    if (all) Grant(key, engine_.options_.leader_id, need, wanted.front);
    // Not again for what is on its way.
    if (!wanted.fresh || need <= wanted.told) wanted.fresh = false;
    if (wanted.fresh || now - wanted.told_us >= kTellUs) {
      Tell(key, wanted, need);
      wanted.told = need;
      // Who was asked may have nothing any more.
      wanted.told_us = wanted.fresh ? now - kTellUs + kAgainUs : now;
      wanted.fresh = false;
    }
    ++it;
  }
}

uint64_t Owners::Grant(const Key& key, const std::string& to, uint64_t count, bool front) {
  keyspace::Keyspace& keys = engine_.keyspace_;
  const std::string& self = engine_.options_.leader_id;
  if (!ready_ || !Covers(key.second)) return 0;
  const keyspace::Collection list = keys.Open(keys.Ref(key.first, key.second), crdt::Type::kList);
  if (list.size() == 0) return 0;
  std::string text;
  const keyspace::Collection records = Records(key, text);
  // What others have granted to this leader is for who waits here.
  const auto wanted = wanted_.find(key);
  const bool keeps = Waiting(key) != 0 ||
                     (wanted != wanted_.end() && engine_.now_.mono_us < wanted->second.polled_until_us);
  count = std::min(count, kGrantMax);
  std::vector<std::string> names;
  uint64_t acted = 0;
  VisitEnd(list, front, [&](const keyspace::ElementView& element) {
    const Owner owner = OwnerOf(records, element.key());
    const bool own = owner.leader == self;
    if (own ? to != self && !(owner.by_record && keeps) : owner.leader != to && ActsFor(owner.leader)) {
      acted += own ? 0 : 1;
      names.emplace_back(element.key());
    }
    return names.size() < count;
  });
  if (names.empty()) return 0;
  text = RecordsKey(key);
  keyspace::Change change(engine_, keys);
  for (const std::string& name : names) {
    change.PutElement(keys.Ref(crdt::kReservedDatabase, text), crdt::Type::kHash, name, to);
    if (change.bytes() > kServeInChangeBytesMax) change.Finish();  // the key's name, which may be long, is in each
  }
  change.Finish();
  granted_ += names.size();
  acted_ += acted;
  return names.size();
}

void Owners::ServeAsked() {
  const int64_t now = engine_.now_.mono_us;
  for (const Key& key : std::exchange(touched_, {})) {
    const auto found = asked_.find(key);
    if (found == asked_.end()) continue;
    auto& by_leader = found->second;
    std::erase_if(by_leader, [&](const auto& entry) { return entry.second.until_us < now || entry.second.count == 0; });
    std::vector<std::pair<int64_t, std::string>> longest;
    for (const auto& [leader, asked] : by_leader)
      longest.emplace_back(asked.since_us, leader);
    std::sort(longest.begin(), longest.end());
    for (const auto& [since, leader] : longest) {
      Asked& asked = by_leader.at(leader);
      asked.count -= Grant(key, leader, asked.count, asked.front);
      if (asked.count == 0) by_leader.erase(leader);
    }
    if (by_leader.empty()) asked_.erase(found);
  }
}

// ---- duties

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
  const Key key = *at;
  swept_ = key;
  std::string text;
  const keyspace::Collection records = Records(key, text);
  if (!records.found()) {
    if (!keys.Exists(keys.Ref(crdt::kReservedDatabase, text))) records_.erase(key);
    swept_.second.push_back('\0');  // the next one
    return;
  }
  std::vector<std::string> gone;
  const keyspace::KeyRef list = keys.Ref(key.first, key.second);
  sweep_cursor_ = records.elements->Scan(sweep_cursor_, kSweptAtOnce, [&](const keyspace::ElementView& record) {
    if (keys.HasElement(list, crdt::Type::kList, record.key())) return;
    const std::string owner = OwnerOf(records, record.key()).leader;
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
  if (sweep_cursor_ == 0) swept_.second.push_back('\0');
}

void Owners::Tick() {
  const int64_t now = engine_.now_.mono_us;
  if (!in_use_ && records_.empty() && ready_) {
    inbox_.clear();
    wanted_.clear();
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
    for (const auto& [key, by] : asked_)
      touched_.insert(key);
  }
  if (!may_write()) return;
  TellWants(duty);
  if (!touched_.empty()) ServeAsked();
  Sweep();
}

size_t Owners::CountRecords() {
  size_t count = 0;
  for (const Key& key : records_) {
    std::string text;
    count += Records(key, text).size();
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
