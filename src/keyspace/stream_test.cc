// Streams in their small and big form, with entries that come late, against a list of what was added and
// delivered.
#include "keyspace/stream.h"

#include <map>
#include <set>

#include <gtest/gtest.h>

#include "base/random.h"
#include "conflict/policy.h"

namespace polyarch::keyspace {
namespace {

using crdt::StreamId;

// Two groups read a stream to which three origins add, each with rising ids, so that entries of one come
// behind what others' have reached.
class Rig {
 public:
  explicit Rig(uint64_t seed) : random_(seed) {
    for (uint64_t i = 0; i < 3; ++i)
      authors_.push_back(origins_.Intern({"n" + std::to_string(i), 100 + i}));
  }

  void Put(size_t author, const std::string& name, std::string_view value) {
    Apply(author, {.kind = crdt::EffectKind::kPut, .element = name, .value = value});
  }

  void Step() {
    const size_t author = random_.Below(3);
    const uint64_t kind = random_.Below(100);
    if (kind < 55) {
      uint64_t& clock = clocks_[author];
      clock += 1 + random_.Below(3);
      const StreamId id{clock, author};
      Put(author, crdt::StreamEntryName(id), crdt::EncodeStreamEntry(std::vector<std::string_view>{"f", "v"}));
      entries_[id] = 100 + author;
    } else if (kind < 60) {
      clocks_[author] += random_.Below(30);
    } else if (kind < 68) {
      if (entries_.empty()) return;
      auto gone = std::next(entries_.begin(), static_cast<ptrdiff_t>(random_.Below(entries_.size())));
      Apply(author, {.kind = crdt::EffectKind::kWipe, .element = crdt::StreamEntryName(gone->first)});
      entries_.erase(gone);
    } else if (kind < 70) {
      if (entries_.empty()) return;
      const auto kept = std::next(entries_.begin(), static_cast<ptrdiff_t>(random_.Below(entries_.size()) / 3));
      const std::string end = crdt::StreamEntryName(kept->first);
      Apply(author, {.kind = crdt::EffectKind::kWipeRange, .element = crdt::StreamEntryName({}), .value = end});
      entries_.erase(entries_.begin(), kept);
    } else if (kind < 80) {
      Settle(author, random_.Percent(70) ? "g" : "other");
    } else {
      Deliver(author, random_.Percent(70) ? "g" : "other");
    }
  }

  void Check() {
    const Stream stream = Open();
    ASSERT_EQ(stream.length(), entries_.size());
    std::vector<StreamId> ids;
    stream.Walk({}, crdt::kStreamIdMax, false, [&](StreamId id, const crdt::StreamEntry& entry) {
      EXPECT_EQ(entry.fields.size(), 2U);
      ids.push_back(id);
      return true;
    });
    std::vector<StreamId> expected;
    for (const auto& [id, lane] : entries_)
      expected.push_back(id);
    ASSERT_EQ(ids, expected);
    if (!expected.empty()) {
      ASSERT_EQ(stream.top(), expected.back());
      ASSERT_EQ(stream.first(), expected.front());
      const StreamId middle = expected[expected.size() / 2];
      ASSERT_EQ(stream.CountBefore(middle), expected.size() / 2);
      std::vector<StreamId> down;
      stream.Walk({}, middle, true, [&](StreamId id, const crdt::StreamEntry&) {
        down.push_back(id);
        return true;
      });
      ASSERT_EQ(down.size(), expected.size() / 2 + 1);
      ASSERT_EQ(down.front(), middle);
    }
    for (const std::string group : {"g", "other"}) {
      CheckPending(stream, group);
      if (testing::Test::HasFatalFailure()) return;
      const auto state = stream.FindGroup(group);
      if (!state) continue;
      std::vector<StreamId> wanted;
      for (const auto& [id, lane] : entries_) {
        if (delivered_[group].count(id) == 0) wanted.push_back(id);
      }
      std::vector<StreamId> found;
      for (const Stream::Item& item : stream.Undelivered(group, *state, SIZE_MAX))
        found.push_back(item.id);
      ASSERT_EQ(found, wanted) << group;
      ASSERT_EQ(stream.CountUndelivered(group, *state), wanted.size());
    }
  }

  // As after a start: from the states alone.
  void Reload() {
    const KeyRef ref = keys_->Ref(0, "k");
    crdt::KeyState state = keys_->State(ref);
    keys_ = std::make_unique<Keyspace>(origins_, policies_, base::SipKey{3, 4});
    if (!state.empty()) keys_->Load(0, "k", std::move(state));
  }

  size_t size() const { return entries_.size(); }
  size_t late() const { return late_; }
  size_t ranges() const { return ranges_; }

 private:
  Stream Open() { return Stream(keys_->Open(keys_->Ref(0, "k"), crdt::Type::kStream)); }

  void Apply(size_t author, crdt::Effect effect) {
    effect.key = "k";
    effect.type = crdt::Type::kStream;
    const crdt::At at{++sequences_[author], 0};
    // All authors have seen all.
    keys_->Apply(effect, crdt::Seen(applied_, authors_[author], at), {++hlc_ << 16}, Cause::kRemote);
    applied_.Raise(authors_[author], at.sequence);
  }

  void Deliver(size_t author, const std::string& group) {
    const Stream stream = Open();
    crdt::StreamGroup state = stream.FindGroup(group).value_or(crdt::StreamGroup{});
    if (!stream.exists()) return;
    if (random_.Percent(3)) {
      // Back to the beginning.
      state = {.generation = state.generation + 1};
      delivered_[group].clear();
    } else {
      // Some are passed over, as those are that somebody else is to give.
      const uint64_t left_out = random_.Percent(50) ? 0 : 40;
      for (const Stream::Item& item : stream.Undelivered(group, state, 1 + random_.Below(8))) {
        EXPECT_EQ(item.lane, entries_.at(item.id));
        if (random_.Percent(left_out)) continue;
        if (item.id < state.Reach()) ++late_;
        state.Give(item.lane, item.id, item.id);
        EXPECT_TRUE(delivered_[group].insert(item.id).second);
        if (random_.Percent(60)) Pend(author, group, item.id);
      }
    }
    ranges_ += state.given.size();
    if (random_.Percent(50)) stream.Tidy(state);
    if (random_.Percent(80)) {
      stream.JoinGiven(group, state);
      // Between any two of a lane something is left, and before the first.
      for (const crdt::StreamGroup::Given& range : state.given) {
        StreamId before = state.DeliveredUpTo(range.lane);
        for (const crdt::StreamGroup::Given& other : state.given) {
          if (other.lane == range.lane && other.to < range.from) before = std::max(before, other.to);
        }
        bool hole = false;
        for (const auto& [id, lane] : entries_)
          hole = hole || (lane == range.lane && before < id && id < range.from && delivered_[group].count(id) == 0);
        EXPECT_TRUE(hole) << crdt::ToString(range.from);
      }
    }
    Put(author, crdt::StreamGroupName(group), crdt::EncodeStreamGroup(state));
  }

  void Pend(size_t author, const std::string& group, StreamId id) {
    const std::string consumer = "c" + std::to_string(random_.Below(4));
    const auto now = static_cast<int64_t>(hlc_);
    Put(author, crdt::StreamPendingName(group, id), crdt::EncodeStreamPending({consumer, now, 1}));
    pending_[group][id] = consumer;
  }

  // Acknowledged, or given to somebody else.
  void Settle(size_t author, const std::string& group) {
    auto& pending = pending_[group];
    if (pending.empty()) return;
    const auto one = std::next(pending.begin(), static_cast<ptrdiff_t>(random_.Below(pending.size())));
    const StreamId id = one->first;
    if (random_.Percent(30)) return Pend(author, group, id);
    Apply(author, {.kind = crdt::EffectKind::kWipe, .element = crdt::StreamPendingName(group, id)});
    pending.erase(id);
  }

  void CheckPending(const Stream& stream, const std::string& group) {
    const auto& pending = pending_[group];
    ASSERT_EQ(stream.CountPending(group), pending.size());
    ASSERT_EQ(stream.LastPending(group), pending.empty() ? StreamId{} : pending.rbegin()->first);
    std::map<std::string, size_t> counts;
    for (const auto& [id, consumer] : pending)
      ++counts[consumer];
    std::map<std::string, size_t> found;
    for (const Stream::Consumer& consumer : stream.Consumers(group)) {
      found[consumer.name] = consumer.pending;
      ASSERT_GT(consumer.seen_ms, 0);
    }
    ASSERT_EQ(found, counts);
    for (int i = 0; i < 4; ++i) {
      const std::string consumer = "c" + std::to_string(i);
      ASSERT_GE(stream.PendingAtMost(group, consumer), counts[consumer]);
      if (entries_.size() + pending.size() > 2 * Packed::kElementsMax) {
        ASSERT_EQ(stream.PendingAtMost(group, consumer), counts[consumer]);
      }
    }
  }

  base::Random random_;
  clock::OriginTable origins_;
  conflict::PolicyTable policies_;
  std::unique_ptr<Keyspace> keys_ = std::make_unique<Keyspace>(origins_, policies_, base::SipKey{3, 4});
  std::vector<clock::OriginIndex> authors_;
  clock::VersionVector applied_;
  uint64_t sequences_[3] = {0, 0, 0};
  uint64_t clocks_[3] = {1, 1, 1};
  uint64_t hlc_ = 1;
  std::map<StreamId, uint64_t> entries_;  // with the lane
  std::map<std::string, std::set<StreamId>> delivered_;
  std::map<std::string, std::map<StreamId, std::string>> pending_;  // with the consumer
  size_t late_ = 0;
  size_t ranges_ = 0;
};

TEST(Stream, GroupsGetEverythingOnceHoweverLate) {
  size_t biggest = 0;
  size_t late = 0;
  size_t ranges = 0;
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE(seed);
    Rig rig(seed);
    base::Random random(1000 + seed);
    const int steps = seed % 4 == 0 ? 1500 : 300;
    for (int i = 0; i < steps && !testing::Test::HasFailure(); ++i) {
      rig.Step();
      if (i % 7 == 0) rig.Check();
      if (random.Below(100) == 0) rig.Reload();
      biggest = std::max(biggest, rig.size());
    }
    late += rig.late();
    ranges += rig.ranges();
  }
  EXPECT_GT(ranges, 100U);
  EXPECT_GT(biggest, 2 * Packed::kElementsMax) << "the big form was never met";
  EXPECT_GT(late, 1000U);
}

}  // namespace
}  // namespace polyarch::keyspace
