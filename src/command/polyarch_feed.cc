// CONFLICT FEED: open conflicts as items for applications to handle. A feed is a replicated
// register in the reserved database, its acknowledgements a set there; who has which item is known
// to the leader that delivers, only (conflict/feed.h).
#include <algorithm>
#include <string>
#include <vector>

#include "base/number.h"
#include "clock/session_token.h"
#include "command/families.h"
#include "command/polyarch.h"
#include "command/polyarch_conflict.h"
#include "command/polyarch_element.h"
#include "command/support.h"
#include "conflict/feed.h"

namespace polyarch::command {
namespace {

constexpr int64_t kReadCount = 10;
constexpr int64_t kReadCountMax = 1000;
constexpr int64_t kPendingCount = 100;
constexpr int64_t kAgainMs = 30'000;
constexpr int64_t kMillisMax = 1LL << 40;

std::string FeedKey(std::string_view group) {
  return std::string(conflict::kFeedPrefix).append(group);
}

keyspace::KeyRef Reserved(Context& c, std::string_view key) {
  return c.keys.Ref(crdt::kReservedDatabase, key);
}

keyspace::Collection AcksOf(Context& c, std::string_view acks_key) {
  return c.keys.Open(Reserved(c, acks_key), crdt::Type::kSet);
}

// Null, with the error given, if there is none of args[3] in the client's database.
const conflict::FeedGroup* NamedGroup(Context& c) {
  const conflict::FeedGroup* group = c.cluster.feeds().Find(c.args[3]);
  if (group != nullptr && group->db == c.client.db) return group;
  c.reply.Error("NOGROUP there is no conflict feed '" + std::string(c.args[3]) +
                "' in this database; make it with CONFLICT FEED CREATE");
  return nullptr;
}

// A number in the argument behind `word`; nothing, with the error given.
std::optional<int64_t> ReadNumber(
    Context& c, size_t at, std::string_view word, int64_t least, int64_t most) {
  const auto number = base::ParseInt64(c.args[at]);
  if (number && *number >= least && *number <= most) return number;
  c.reply.Error("ERR " + std::string(word) + " must be a number from " + std::to_string(least) +
                " to " + std::to_string(most));
  return std::nullopt;
}

void FeedCreate(Context& c) {
  conflict::FeedGroup group{.name = std::string(c.args[3]),
                            .db = c.client.db,
                            .pattern = std::string(c.args[4]),
                            .leaders = {},
                            .made = c.random};
  const bool is_name = !group.name.empty() && group.name.size() <= conflict::kFeedNameBytesMax &&
                       std::all_of(group.name.begin(), group.name.end(), [](char ch) {
                         return ch > ' ' && ch < 127;
                       });
  if (!is_name) {
    return c.reply.Error("ERR a feed's name has 1 to " +
                         std::to_string(conflict::kFeedNameBytesMax) +
                         " printable characters and no space");
  }
  if (group.pattern.empty())
    return c.reply.Error("ERR a pattern must not be empty; '*' is for all keys");
  if (!CheckPatternSize(c, group.pattern)) return;
  group.decided = EqualsIgnoreCase(c.args[5], "decided");
  const size_t leaders_at = group.decided ? 6 : 5;
  if (c.count() < leaders_at + 2 || !EqualsIgnoreCase(c.args[leaders_at], "leaders"))
    return ReplyExpected(c, "CONFLICT FEED CREATE group pattern [DECIDED] LEADERS leader...");
  const std::vector<LeaderInfo> leaders = c.cluster.Leaders();
  for (std::string_view name : c.args.subspan(leaders_at + 1)) {
    const bool known = std::any_of(
        leaders.begin(), leaders.end(), [&](const LeaderInfo& l) { return l.id == name; });
    if (!known) {
      return c.reply.Error("ERR no leader '" + std::string(name.substr(0, 64)) +
                           "'; see LEADER LIST");
    }
    if (std::find(group.leaders.begin(), group.leaders.end(), name) != group.leaders.end()) {
      return c.reply.Error("ERR leader '" + std::string(name) + "' is named twice");
    }
    group.leaders.emplace_back(name);
  }
  if (group.leaders.size() > conflict::kFeedLeadersMax) {
    return c.reply.Error("LIMIT a feed names at most " + std::to_string(conflict::kFeedLeadersMax) +
                         " leaders");
  }
  const std::string key = FeedKey(group.name);
  if (c.keys.Exists(Reserved(c, key))) {
    return c.reply.Error("BUSYGROUP there is a conflict feed '" + group.name +
                         "' already; CONFLICT FEED DEL takes it away");
  }
  size_t& unread = c.cluster.unread_configuration();
  if (c.cluster.feeds().All().size() + unread >= conflict::kFeedsMax) {
    return c.reply.Error("LIMIT there are " + std::to_string(conflict::kFeedsMax) +
                         " conflict feeds already");
  }
  ++unread;
  c.change.Put(Reserved(c, key), group.ToText(), keyspace::Change::Ttl::kNone);
  if (group.decided) {
    // What was decided until now is none of its items.
    clock::SessionToken token;
    c.cluster.applied().ForEach([&](clock::OriginIndex origin, uint64_t sequence) {
      token.entries.emplace_back(c.cluster.origins().Get(origin), sequence);
    });
    const std::string cursors = group.CursorsKey();
    c.change.PutElement(
        Reserved(c, cursors), crdt::Type::kHash, c.cluster.leader_id(), clock::EncodeSessionToken(token));
  }
  c.reply.Ok();
}

void FeedDel(Context& c) {
  // By its record: of more than there may be, made at several leaders at once, not all are feeds.
  const std::string made = FeedKey(c.args[3]);
  const keyspace::Shown record = c.keys.Read(Reserved(c, made));
  if (!record.exists()) return c.reply.Integer(0);
  const auto group = conflict::FeedGroup::ParseText(c.args[3], record.value);
  if (group) {
    const std::string acks = group->AcksKey();
    if (c.keys.Exists(Reserved(c, acks))) c.change.Delete(Reserved(c, acks));
    const std::string cursors = group->CursorsKey();
    if (c.keys.Exists(Reserved(c, cursors))) c.change.Delete(Reserved(c, cursors));
  }
  c.change.Delete(Reserved(c, made));
  c.reply.Integer(1);
}

void FeedList(Context& c) {
  const conflict::Feeds& feeds = c.cluster.feeds();
  const auto all = feeds.All();
  c.reply.Array(all.size());
  for (const conflict::FeedGroup* group : all) {
    c.reply.Map(group->decided ? 9 : 8);
    c.reply.Bulk("group");
    c.reply.Bulk(group->name);
    c.reply.Bulk("pattern");
    c.reply.Bulk(group->pattern);
    c.reply.Bulk("db");
    c.reply.Integer(group->db);
    c.reply.Bulk("leaders");
    c.reply.Array(group->leaders.size());
    for (const std::string& leader : group->leaders)
      c.reply.Bulk(leader);
    c.reply.Bulk("deliverer");
    c.reply.Bulk(c.cluster.DelivererOf(*group));
    c.reply.Bulk("items");
    c.reply.Integer(static_cast<int64_t>(feeds.ItemsOf(group->name)));
    size_t given = 0;
    feeds.VisitGiven(group->name,
                     [&](const conflict::FeedItem&, const conflict::Feeds::Delivery&) { ++given; });
    c.reply.Bulk("given");
    c.reply.Integer(static_cast<int64_t>(given));
    c.reply.Bulk("acknowledged");
    c.reply.Integer(static_cast<int64_t>(AcksOf(c, group->AcksKey()).size()));
    if (!group->decided) continue;
    c.reply.Bulk("decided");
    c.reply.Integer(static_cast<int64_t>(feeds.DecidedOf(group->name)));
  }
}

struct ReadOptions {
  int64_t count = kReadCount;
  int64_t again_ms = kAgainMs;
  std::optional<int64_t> block_ms;
};

bool ReadReadOptions(Context& c, ReadOptions& options) {
  constexpr std::string_view kUsage = "CONFLICT FEED READ group consumer [COUNT n] [AGAIN ms] [BLOCK ms]";
  for (size_t i = 5; i < c.count(); i += 2) {
    if (i + 1 == c.count()) return ReplyExpected(c, kUsage), false;
    std::optional<int64_t> number;
    if (EqualsIgnoreCase(c.args[i], "count")) {
      if (!(number = ReadNumber(c, i + 1, "COUNT", 1, kReadCountMax))) return false;
      options.count = *number;
    } else if (EqualsIgnoreCase(c.args[i], "again")) {
      if (!(number = ReadNumber(c, i + 1, "AGAIN", 0, kMillisMax))) return false;
      options.again_ms = *number;
    } else if (EqualsIgnoreCase(c.args[i], "block")) {
      if (!(number = ReadNumber(c, i + 1, "BLOCK", 0, kMillisMax))) return false;
      options.block_ms = *number;
    } else {
      return ReplyExpected(c, kUsage), false;
    }
  }
  return true;
}

void ReplyElsewhere(Context& c, const conflict::FeedGroup& group, const std::string& deliverer) {
  std::string names;
  for (const std::string& leader : group.leaders)
    names += (names.empty() ? "" : ", ") + leader;
  if (deliverer.empty()) {
    return c.reply.Error("ELSEWHERE none of the leaders of feed '" + group.name + "' (" + names +
                         ") can be reached from here; read at one of them");
  }
  c.reply.Error("ELSEWHERE leader " + deliverer + " delivers feed '" + group.name +
                "'; read there (LEADER LIST tells where it is)");
}

// `state`: of the item's key.
void ReplyItem(Context& c,
               const conflict::FeedItem& item,
               const crdt::KeyState& state,
               uint32_t times) {
  const crdt::Register* found = &state;
  if (item.type != crdt::Type::kString) {
    const auto element =
        std::find_if(state.elements.begin(), state.elements.end(), [&](const crdt::Element& e) {
          return e.type == item.type && e.name == item.element;
        });
    static const crdt::Register kNothing;
    found = element == state.elements.end() ? &kNothing : &*element;
  }
  const std::string field = ElementText(item.type, item.element);
  TokenPlace place{.db = item.db, .key = item.key};
  if (item.type != crdt::Type::kString) place.field = field;
  c.reply.Map(6);
  c.reply.Bulk("id");
  c.reply.Bulk(item.id);
  c.reply.Bulk("key");
  c.reply.Bulk(item.key);
  c.reply.Bulk("field");
  c.reply.Bulk(field);
  c.reply.Bulk("times");
  c.reply.Integer(times);
  ReplyTokenAndVersions(c, true, item.type, *found, place);
}

void ReplyDecided(Context& c, const conflict::FeedItem& item, const conflict::LedgerEntry& entry, uint32_t times) {
  const bool as_map = c.client.protocol >= 3;
  c.reply.Map(8);
  c.reply.Bulk("id");
  c.reply.Bulk(item.id);
  c.reply.Bulk("key");
  c.reply.Bulk(item.key);
  c.reply.Bulk("field");
  c.reply.Bulk(ElementText(item.type, item.element));
  c.reply.Bulk("times");
  c.reply.Integer(times);
  c.reply.Bulk("decided");  // what CONFLICT RESTORE takes, here
  c.reply.Integer(static_cast<int64_t>(entry.id));
  c.reply.Bulk("policy");
  c.reply.Bulk(entry.policy);
  c.reply.Bulk("shown");
  ReplyLedgerVersion(c, as_map, item.type, entry.shown);
  c.reply.Bulk("lost");
  ReplyLedgerVersion(c, as_map, item.type, entry.lost);
}

// Each is a change of what is known here, and of nothing else.
void FeedRead(Context& c) {
  const conflict::FeedGroup* group = NamedGroup(c);
  ReadOptions options;
  if (group == nullptr || !ReadReadOptions(c, options)) return;
  const std::string deliverer = c.cluster.DelivererOf(*group);
  conflict::Feeds& feeds = c.cluster.feeds();
  if (deliverer != c.cluster.leader_id()) {
    feeds.ForgetGiven(group->name);
    return ReplyElsewhere(c, *group, deliverer);
  }
  const std::string acks_key = group->AcksKey();
  auto items = feeds.Take(
      group->name,
      c.args[4],
      static_cast<size_t>(options.count),
      c.cluster.mono_us(),
      options.again_ms * 1000,
      [&](const conflict::FeedItem& item) { return AcksOf(c, acks_key).Contains(item.id); },
      [&](const conflict::FeedItem& item) {
        // What lost is to be seen, too, if the key has gone since.
        if (item.entry != 0) return c.cluster.ledger().Find(item.entry) == nullptr;
        return !IsVisible(c, item.key);
      });
  if (items.empty() && options.block_ms && c.may_wait) {
    // Whoever waits for items waits for the key of the feed's name: the engine tells of both.
    c.suspended = true;
    c.wait.keys = c.args.subspan(3, 1);
    c.wait.timeout_ms = *options.block_ms;
    c.wait.when_gone = true;
    return;
  }
  if (items.empty() && options.block_ms) return c.reply.NullArray();
  c.reply.Array(items.size());
  // A key's items mostly come one behind the other, and its state may be large.
  const std::string* key = nullptr;
  crdt::KeyState state;
  for (const conflict::FeedItem* item : items) {
    if (item->entry != 0) {
      ReplyDecided(
          c, *item, *c.cluster.ledger().Find(item->entry), feeds.Given(group->name, item->id)->times);
      continue;
    }
    if (key == nullptr || *key != item->key) state = c.keys.State(c.Ref(item->key));
    key = &item->key;
    ReplyItem(c, *item, state, feeds.Given(group->name, item->id)->times);
  }
}

// The item is acknowledged: what loses in it was told.
void NoteLosses(Context& c, const conflict::FeedGroup& group, const conflict::FeedItem& item) {
  const keyspace::KeyRef ref = c.Ref(item.key);
  if (!c.keys.Exists(ref)) return;
  const crdt::Register state =
      item.type == crdt::Type::kString ? c.keys.OwnState(ref) : c.keys.ElementState(ref, item.type, item.element);
  for (clock::Dot lost :
       conflict::Losers(c.cluster.policies(), item.key, item.type, item.element, state.versions, c.cluster.origins()))
    c.cluster.feeds().NoteTold(group.name, conflict::LossAt(item.db, item.key, item.type, item.element, lost));
}

void FeedAck(Context& c) {
  const conflict::FeedGroup* group = NamedGroup(c);
  if (group == nullptr) return;
  conflict::Feeds& feeds = c.cluster.feeds();
  const std::string key = group->AcksKey();
  const keyspace::KeyRef ref = Reserved(c, key);
  // Each effect names the key again.
  size_t bytes = 0;
  for (std::string_view id : c.args.subspan(4))
    bytes += key.size() + id.size();
  if (!FitsChange(c, bytes, c.count() - 4)) return;
  int64_t acknowledged = 0;
  for (std::string_view id : c.args.subspan(4)) {
    // Only where the item is: so an acknowledgement comes nowhere before its item, and whoever
    // finds one without an item knows that this has ceased.
    if (feeds.Decided(group->name, id) != nullptr) {  // how far these are is replicated as a whole
      feeds.Drop(group->name, id);
      ++acknowledged;
      continue;
    }
    const conflict::FeedItem* item = feeds.Item(id);
    if (item == nullptr || !group->Matches(item->db, item->key) || AcksOf(c, key).Contains(id))
      continue;
    c.change.PutElement(ref, crdt::Type::kSet, id, {});
    // Before the item goes: when the conflict has ended, what lost in it is not told once more.
    if (group->decided) NoteLosses(c, *group, *item);
    feeds.Drop(group->name, id);
    ++acknowledged;
  }
  c.reply.Integer(acknowledged);
}

void FeedPending(Context& c) {
  const conflict::FeedGroup* group = NamedGroup(c);
  if (group == nullptr) return;
  int64_t count = kPendingCount;
  if (c.count() > 4) {
    if (c.count() != 6 || !EqualsIgnoreCase(c.args[4], "count"))
      return ReplyExpected(c, "CONFLICT FEED PENDING group [COUNT n]");
    const auto number = ReadNumber(c, 5, "COUNT", 1, INT64_MAX);
    if (!number) return;
    count = *number;
  }
  const std::string acks_key = group->AcksKey();
  struct Pending {
    const conflict::FeedItem* item;
    const conflict::Feeds::Delivery* delivery;
  };
  std::vector<Pending> found;
  c.cluster.feeds().VisitGiven(
      group->name, [&](const conflict::FeedItem& item, const conflict::Feeds::Delivery& delivery) {
        const bool acknowledged = AcksOf(c, acks_key).Contains(item.id);
        if (static_cast<int64_t>(found.size()) < count && !acknowledged)
          found.push_back({&item, &delivery});
      });
  c.reply.Array(found.size());
  for (const auto& [item, delivery] : found) {
    c.reply.Map(6);
    c.reply.Bulk("id");
    c.reply.Bulk(item->id);
    c.reply.Bulk("key");
    c.reply.Bulk(item->key);
    c.reply.Bulk("field");
    c.reply.Bulk(ElementText(item->type, item->element));
    c.reply.Bulk("consumer");
    c.reply.Bulk(delivery->consumer);
    c.reply.Bulk("idle");
    c.reply.Integer((c.cluster.mono_us() - delivery->given_us) / 1000);
    c.reply.Bulk("times");
    c.reply.Integer(delivery->times);
  }
}

}  // namespace

void AddFeedRows(std::vector<Row>& rows) {
  static constexpr Row kRows[] = {
      {.name = "conflict|feed",
       .arity = -3,
       .categories = "@slow",
       .summary = "Open conflicts as items for applications to handle, each given at least once",
       .since = "polyarch 0.1.0",
       .group = "polyarch",
       .complexity = "Depends on the subcommand",
       .syntax = "subcommand argument?*"},
      {.name = "conflict|feed|create",
       .arity = -7,
       .flags = kWrite | kAdmin | kNoScript | kNoMulti,
       .categories = "@admin @write @slow @dangerous",
       .handler = FeedCreate,
       .summary = "Makes a feed of the conflicts of keys that match a pattern; the first of the "
                  "leaders in reach delivers",
       .since = "polyarch 0.1.0",
       .group = "polyarch",
       .complexity = "O(N) where N is the number of open conflicts",
       .syntax = "group pattern:pattern DECIDED? LEADERS leader*"},
      {.name = "conflict|feed|del",
       .arity = 4,
       .flags = kWrite | kAdmin | kNoScript | kNoMulti,
       .categories = "@admin @write @slow @dangerous",
       .handler = FeedDel,
       .summary = "Deletes a feed and its acknowledgements, at every leader",
       .since = "polyarch 0.1.0",
       .group = "polyarch",
       .complexity = "O(1)",
       .syntax = "group"},
      {.name = "conflict|feed|list",
       .arity = 3,
       .flags = kReadonly | kNoScript | kWholeKeyspace,
       .categories = "@read @slow",
       .handler = FeedList,
       .summary = "Returns all feeds: what they are about, who delivers, how many items there are",
       .since = "polyarch 0.1.0",
       .group = "polyarch",
       .complexity = "O(N*F) where N is the number of open conflicts and F that of feeds"},
      {.name = "conflict|feed|read",
       .arity = -5,
       .flags = kReadonly | kNoScript | kNoMulti | kBlocking | kWholeKeyspace | kReadsAnyValue,
       .categories = "@read @slow @blocking",
       .handler = FeedRead,
       .summary = "Gives items that nobody has, or that were given long ago and not acknowledged, "
                  "to a consumer",
       .since = "polyarch 0.1.0",
       .group = "polyarch",
       .complexity = "O(N log M) where N is the number of items given and M that of open conflicts",
       .syntax = "group consumer COUNT count:integer? AGAIN milliseconds:integer? BLOCK "
                 "milliseconds:integer?"},
      {.name = "conflict|feed|ack",
       .arity = -5,
       .flags = kWrite | kNoScript | kNoMulti | kWholeKeyspace,
       .categories = "@write @slow",
       .handler = FeedAck,
       .summary = "Acknowledges items: they are not given again",
       .since = "polyarch 0.1.0",
       .group = "polyarch",
       .complexity = "O(N) where N is the number of ids",
       .syntax = "group id*"},
      {.name = "conflict|feed|pending",
       .arity = -4,
       .flags = kReadonly | kNoScript | kWholeKeyspace | kReadsAnyValue,
       .categories = "@read @slow",
       .handler = FeedPending,
       .summary = "Returns who was given which items here and has not acknowledged them",
       .since = "polyarch 0.1.0",
       .group = "polyarch",
       .complexity = "O(N) where N is the number of items given",
       .syntax = "group COUNT count:integer?"},
      {.name = "conflict|feed|help",
       .arity = 3,
       .flags = kLoading | kStale,
       .categories = "@slow",
       .handler = ContainerHelp,
       .summary = "Print this help",
       .since = "polyarch 0.1.0",
       .group = "polyarch",
       .complexity = "O(1)"},
  };
  rows.insert(rows.end(), std::begin(kRows), std::end(kRows));
}

}  // namespace polyarch::command
