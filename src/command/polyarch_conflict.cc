// CONFLICT: what concurrent writes left behind. Open conflicts (LIST, COUNT, GET, RESOLVE) are a
// function of the replicated state, the same at every leader; the log of decided ones (LOG,
// RESTORE) is each leader's own. All of them speak of the client's database.
#include <algorithm>
#include <limits>
#include <set>

#include "base/glob.h"
#include "base/number.h"
#include "command/collection.h"
#include "command/families.h"
#include "command/polyarch.h"
#include "command/polyarch_conflict.h"
#include "command/polyarch_element.h"
#include "command/polyarch_token.h"
#include "command/support.h"
#include "conflict/feed.h"

namespace polyarch::command {
namespace {

constexpr uint64_t kLogCountDefault = 100;

constexpr std::string_view kListUsage = "CONFLICT LIST [MATCH pattern] [COUNT n] [FIELDS]";
constexpr std::string_view kLogUsage =
    "CONFLICT LOG [MATCH pattern] [COUNT n] [AFTER id] [POLICY pattern] [LEADER id] [SINCE unix-ms] [UNTIL unix-ms]";
constexpr std::string_view kGetUsage = "CONFLICT GET key [FIELD field]";
constexpr std::string_view kResolveUsage = "CONFLICT RESOLVE key token value [FIELD field]";

// ---- options

struct ListOptions {
  std::string_view pattern = "*";
  uint64_t count = std::numeric_limits<uint64_t>::max();
  bool fields = false;  // of LIST
  // Of LOG.
  uint64_t after = 0;
  std::string_view policy = "*";
  std::string_view leader = {};  // whose value lost; empty: anybody's
  int64_t since_ms = 0;
  int64_t until_ms = std::numeric_limits<int64_t>::max();

  bool Matches(std::string_view key) const {
    return pattern == "*" || base::GlobMatch(pattern, key);
  }
  bool Matches(const conflict::LedgerEntry& e) const {
    return Matches(e.key) && e.noted_ms >= since_ms && e.noted_ms <= until_ms &&
           (leader.empty() || e.lost.origin.leader == leader) &&
           (policy == "*" || base::GlobMatch(policy, e.policy));
  }
};

// A number of at least `least`, else an error.
bool ReadOption(Context& c, std::string_view text, int64_t least, std::string_view error, int64_t& value) {
  const std::optional<int64_t> number = ReadInteger(c, text);
  if (!number) return false;
  value = *number;
  if (*number >= least) return true;
  c.reply.Error(error);
  return false;
}

// One option, at args[i]; false, with the error given. LOG has more of them than LIST.
bool ReadListOption(Context& c, size_t i, bool log, ListOptions& options) {
  const std::string_view name = c.args[i];
  const std::string_view value = c.args[i + 1];
  int64_t number = 0;
  if (EqualsIgnoreCase(name, "match")) {
    options.pattern = value;
    return CheckPatternSize(c, value);
  }
  if (EqualsIgnoreCase(name, "count")) {
    if (!ReadOption(c, value, 1, "ERR COUNT must be at least 1", number)) return false;
    options.count = static_cast<uint64_t>(number);
    return true;
  }
  if (log && EqualsIgnoreCase(name, "after")) {
    if (!ReadOption(c, value, 0, "ERR AFTER must be an id of CONFLICT LOG", number)) return false;
    options.after = static_cast<uint64_t>(number);
    return true;
  }
  constexpr std::string_view kNoTime = "ERR a time is given in milliseconds since 1970";
  if (log && EqualsIgnoreCase(name, "since")) return ReadOption(c, value, 0, kNoTime, options.since_ms);
  if (log && EqualsIgnoreCase(name, "until")) return ReadOption(c, value, 0, kNoTime, options.until_ms);
  if (log && EqualsIgnoreCase(name, "policy")) {
    options.policy = value;
    return CheckPatternSize(c, value);
  }
  if (log && EqualsIgnoreCase(name, "leader")) {
    options.leader = value;
    return true;
  }
  ReplyExpected(c, log ? kLogUsage : kListUsage);
  return false;
}

bool ReadListOptions(Context& c, bool log, ListOptions& options) {
  for (size_t i = 2; i < c.count(); i += 2) {
    if (!log && EqualsIgnoreCase(c.args[i], "fields")) {
      options.fields = true;
      --i;  // it has no value
    } else if (i + 1 == c.count()) {
      ReplyExpected(c, log ? kLogUsage : kListUsage);
      return false;
    } else if (!ReadListOption(c, i, log, options)) {
      return false;
    }
  }
  return true;
}

// Which register of args[2] a subcommand is about: FIELD f may stand behind the arguments that it needs.
bool ReadPlace(Context& c, size_t needed, std::string_view usage, TokenPlace& place) {
  place = {.db = c.client.db, .key = c.args[2]};
  if (c.count() == needed) return true;
  if (c.count() == needed + 2 && EqualsIgnoreCase(c.args[needed], "field")) {
    place.field = c.args[needed + 1];
    return true;
  }
  ReplyExpected(c, usage);
  return false;
}

// That register, of `state`, which must outlive it; of an element that the key does not hold: no
// register, and no name.
FoundElement RegisterAt(Context& c,
                        const keyspace::KeyRef& ref,
                        const crdt::KeyState& state,
                        const TokenPlace& place) {
  if (!place.field) return {crdt::Type::kString, {}, &state};
  const keyspace::Shown shown = c.keys.Read(ref);
  const bool collection = shown.kind == keyspace::Shown::Kind::kCollection;
  auto found = FindElementByText(
      state, collection ? std::optional(shown.type) : std::nullopt, *place.field);
  return found ? std::move(*found) : FoundElement{};
}

// ---- open conflicts

bool IsVisible(Context& c, const crdt::KeyState& state) {
  return state.live() && state.ExpiryTime() >= c.keys.time_ms();
}

// The conflicting keys of the client's database, in order, until false.
template <typename Visit>
void ForEachOpen(Context& c, Visit visit) {
  const auto& open = c.keys.open_conflicts();
  for (auto it = open.lower_bound({c.client.db, std::string()});
       it != open.end() && it->first == c.client.db;
       ++it) {
    if (command::IsVisible(c, std::string_view(it->second)) && !visit(it->second)) return;
  }
}

// What is in conflict, register by register: [key, field, type, versions]; of a key that has several types
// and no such register: versions 0.
void ListFields(Context& c, const ListOptions& options) {
  struct Found {
    std::string key;
    std::string field;
    std::string_view type;
    size_t versions;
  };
  std::vector<Found> found;
  ForEachOpen(c, [&](const std::string& key) {
    if (!options.Matches(key)) return true;
    const size_t before = found.size();
    keyspace::Keyspace::VisitOpenConflicts(
        c.keys.State(c.Ref(key)), [&](crdt::Type type, std::string_view name, const crdt::Register& state) {
          found.push_back({key, ElementText(type, name), TypeName(type), conflict::CountDistinct(state.versions)});
        });
    if (found.size() == before) found.push_back({key, "", "", 0});
    return found.size() < options.count;
  });
  if (found.size() > options.count) found.resize(options.count);
  c.reply.Array(found.size());
  for (const Found& f : found) {
    c.reply.Array(4);
    c.reply.Bulk(f.key);
    c.reply.Bulk(f.field);
    c.reply.Bulk(f.type);
    c.reply.Integer(static_cast<int64_t>(f.versions));
  }
}

void ConflictList(Context& c) {
  ListOptions options;
  if (!ReadListOptions(c, false, options)) return;
  if (options.fields) return ListFields(c, options);
  std::vector<std::string_view> found;
  ForEachOpen(c, [&](const std::string& key) {
    if (options.Matches(key)) found.push_back(key);
    return found.size() < options.count;
  });
  c.reply.Array(found.size());
  for (std::string_view key : found)
    c.reply.Bulk(key);
}

void ConflictCount(Context& c) {
  int64_t count = 0;
  ForEachOpen(c, [&](const std::string&) {
    ++count;
    return true;
  });
  c.reply.Integer(count);
}

// [value, leader, unix-ms, tag], or a map of them.
void ReplyVersion(Context& c,
                  bool as_map,
                  crdt::Type type,
                  bool absent,
                  std::string_view value,
                  const clock::Origin& origin,
                  uint64_t sequence,
                  clock::Hlc hlc) {
  auto name = [&](std::string_view field) {
    if (as_map) c.reply.Bulk(field);
  };
  as_map ? c.reply.Map(4) : c.reply.Array(4);
  name("value");
  absent ? c.reply.Null() : ReplyElementValue(c, type, value);
  name("leader");
  c.reply.Bulk(origin.leader);
  name("time");
  c.reply.Integer(static_cast<int64_t>(hlc.ms()));
  name("tag");
  c.reply.Bulk(conflict::TagText(origin, sequence));
}

std::string SignedText(const crdt::Number& n) {
  std::string text = n.FitsInt64() ? base::FormatInt64(static_cast<int64_t>(n.integer))
                                   : base::FormatLongDouble(n.AsReal());
  return text.starts_with('-') ? text : "+" + text;
}

void ConflictGet(Context& c) {
  TokenPlace place;
  if (!ReadPlace(c, 3, kGetUsage, place)) return;
  const keyspace::KeyRef ref = c.Ref(place.key);
  const crdt::KeyState state = c.keys.State(ref);
  const FoundElement element = RegisterAt(c, ref, state, place);
  if (!IsVisible(c, state) || element.state == nullptr) return c.reply.NullArray();
  const bool as_map = c.client.protocol >= 3;
  as_map ? c.reply.Map(2) : c.reply.Array(2);
  ReplyTokenAndVersions(c, as_map, element.type, *element.state, place);
}

// A token in this node's terms.
struct Resolution {
  std::vector<clock::Dot> seen;
  std::vector<crdt::Clear> clears;
};

// The index of `origin` if its changes up to `sequence` have been applied here.
std::optional<clock::OriginIndex> Covered(Context& c,
                                          const clock::Origin& origin,
                                          uint64_t sequence) {
  std::optional<clock::OriginIndex> index = c.cluster.origins().Find(origin);
  if (!index || c.cluster.applied().Get(*index) < sequence) return std::nullopt;
  return index;
}

// False, with the error given, if this leader cannot tell yet what the token means.
bool Translate(Context& c,
               const Token& token,
               const crdt::Register& state,
               Resolution& resolution) {
  constexpr std::string_view kNotYet =
      "NOTYET this leader has not yet seen all versions in the token; try again, or read them here";
  for (const Token::Version& v : token.versions) {
    auto index = Covered(c, v.origin, v.sequence);
    if (!index) {
      c.reply.Error(kNotYet);
      return false;
    }
    resolution.seen.emplace_back(*index, v.sequence);
  }
  for (const Token::Clear& clear : token.clears) {
    auto index = Covered(c, clear.origin, clear.at.sequence);
    if (!index) {
      c.reply.Error(kNotYet);
      return false;
    }
    auto entry = std::find_if(state.counters.begin(),
                              state.counters.end(),
                              [&](const crdt::CounterEntry& e) { return e.origin == *index; });
    // What has been cleared since, or belongs to an earlier life, needs no clear.
    if (entry == state.counters.end() || entry->life != clear.life ||
        clear.at <= entry->cleared_at) {
      continue;
    }
    if (clear.at > entry->at || (clear.at == entry->at && clear.total != entry->total)) {
      c.reply.Error("ERR invalid token: it names increments that never were");
      return false;
    }
    resolution.clears.push_back({*index, clear.life, clear.at, clear.total});
  }
  return true;
}

// An item of a feed that a consumer has here ends by this: who resolved has seen what lost in it.
void NoteResolved(Context& c, std::string_view key, const FoundElement& element, const std::vector<clock::Dot>& seen) {
  conflict::Feeds& feeds = c.cluster.feeds();
  if (feeds.empty()) return;
  const std::string id =
      conflict::FeedItemId(c.client.db, key, element.type, element.name, *element.state, c.cluster.origins());
  for (const conflict::FeedGroup* group : feeds.All()) {
    if (!group->decided || feeds.Given(group->name, id) == nullptr) continue;
    for (clock::Dot dot : seen)
      feeds.NoteTold(group->name, conflict::LossAt(c.client.db, key, element.type, element.name, dot));
  }
}

void ConflictResolve(Context& c) {
  TokenPlace place;
  if (!ReadPlace(c, 5, kResolveUsage, place)) return;
  base::Result<Token> token = DecodeToken(c.args[3], place);
  if (!token.ok()) return c.reply.Error("ERR " + token.status().message());
  const keyspace::KeyRef ref = c.Ref(place.key);
  const crdt::KeyState state = c.keys.State(ref);
  static const crdt::Register kNothing;
  const FoundElement element = RegisterAt(c, ref, state, place);
  const crdt::Register* found = element.state != nullptr ? element.state : &kNothing;
  Resolution resolution;
  if (!Translate(c, *token, *found, resolution)) return;
  if (!IsVisible(c, state)) return c.reply.Error(kNoSuchKey);
  if (place.field && c.keys.Open(ref, element.type).status == keyspace::Collection::Status::kOtherType) {
    return c.reply.Error(kWrongType);
  }
  // A key that is a collection and no string besides has no version that a value could replace: it would be one of
  // its own, in conflict with the elements.
  if (!place.field && !found->live() && c.keys.Read(ref).kind == keyspace::Shown::Kind::kCollection) {
    return c.reply.Error(kWrongType);
  }
  if (element.state == nullptr) return c.reply.Error("ERR no such field");
  const std::optional<std::string> value = ReadElementValue(c, element.type, c.args[4]);
  if (!value) return;
  const std::set<clock::Dot> named(resolution.seen.begin(), resolution.seen.end());
  size_t kept = 0;
  for (const crdt::Version& v : found->versions)
    kept += named.contains(v.dot) ? 0 : 1;
  if (kept >= conflict::kVersionsMax) {
    return c.reply.Error("LIMIT key holds " + base::FormatInt64(static_cast<int64_t>(kept)) +
                         " versions that the token does not name; resolve with a new token");
  }
  // Origins, places and totals of what was seen travel with the value.
  constexpr size_t kSeenBytesMax = 64;
  const size_t seen_bytes = kSeenBytesMax * (resolution.seen.size() + resolution.clears.size());
  if (!FitsChange(c, place.key.size() + element.name.size() + value->size() + seen_bytes)) return;
  NoteResolved(c, place.key, element, resolution.seen);
  if (place.field) {
    c.change.ResolveElement(
        ref, element.type, element.name, *value, resolution.seen, resolution.clears);
  } else {
    c.change.Resolve(ref, *value, false, resolution.seen, resolution.clears);
  }
  c.reply.Ok();
}

// ---- decided conflicts

void ReplyVersion(Context& c, crdt::Type type, const conflict::LedgerVersion& v) {
  ReplyVersion(c, false, type, v.absent, v.value, v.origin, v.sequence, v.hlc);
}

void ConflictLog(Context& c) {
  ListOptions options{.count = kLogCountDefault};
  if (!ReadListOptions(c, true, options)) return;
  std::vector<const conflict::LedgerEntry*> found;
  c.cluster.ledger().Visit(options.after, [&](const conflict::LedgerEntry& e) {
    if (e.db == c.client.db && options.Matches(e)) found.push_back(&e);
    return found.size() < options.count;
  });
  c.reply.Array(found.size());
  for (const conflict::LedgerEntry* e : found) {
    c.reply.Map(7);
    c.reply.Bulk("id");
    c.reply.Integer(static_cast<int64_t>(e->id));
    c.reply.Bulk("time");
    c.reply.Integer(e->noted_ms);
    c.reply.Bulk("key");
    c.reply.Bulk(e->key);
    c.reply.Bulk("field");
    c.reply.Bulk(ElementText(e->type, e->element));
    c.reply.Bulk("policy");
    c.reply.Bulk(e->policy);
    c.reply.Bulk("shown");
    ReplyVersion(c, e->type, e->shown);
    c.reply.Bulk("lost");
    c.reply.Array(1);
    ReplyVersion(c, e->type, e->lost);
  }
}

void ConflictRestore(Context& c) {
  std::optional<int64_t> id =
      ReadInteger(c, c.args[2], "ERR invalid id: it must be one of CONFLICT LOG");
  if (!id) return;
  const conflict::LedgerEntry* found =
      *id > 0 ? c.cluster.ledger().Find(static_cast<uint64_t>(*id)) : nullptr;
  if (found == nullptr || found->db != c.client.db) {
    return c.reply.Error("ERR no conflict " + base::FormatInt64(*id) +
                         " in the log of this leader, for this database");
  }
  // A copy: to look at the key may merge it with another leader's state, which may put a newer entry in this one's place.
  const conflict::LedgerEntry entry = *found;
  auto is_named = [&](const conflict::LedgerVersion& v) {
    return c.args[3] == conflict::TagText(v.origin, v.sequence);
  };
  if (!is_named(entry.lost) && !is_named(entry.shown)) {
    return c.reply.Error("ERR wrong tag: what lost in conflict " + base::FormatInt64(*id) + " is " +
                         conflict::TagText(entry.lost.origin, entry.lost.sequence));
  }
  // The other one, too: under a policy that came later it may be the one that lost.
  const conflict::LedgerVersion& lost = is_named(entry.lost) ? entry.lost : entry.shown;
  const keyspace::KeyRef ref = c.Ref(entry.key);
  if (!FitsChange(c, entry.key.size() + entry.element.size() + lost.value.size())) return;
  if (entry.type != crdt::Type::kString) {
    const keyspace::Collection now = c.keys.Open(ref, entry.type);
    if (now.status == keyspace::Collection::Status::kOtherType) return c.reply.Error(kWrongType);
    if (!lost.absent) {
      c.change.PutElement(ref, entry.type, entry.element, lost.value);
    } else if (now.Contains(entry.element) || c.keys.HoldsLiveElement(ref, entry.type, entry.element)) {
      c.change.RemoveElement(ref, entry.type, entry.element);
    }
    return c.reply.Ok();
  }
  if (lost.absent) {
    DeleteSeen(c, ref);
    return c.reply.Ok();
  }
  c.change.Put(ref, lost.value, keyspace::Change::Ttl::kNone);
  c.reply.Ok();
}

}  // namespace

bool IsVisible(Context& c, std::string_view key) {
  const keyspace::KeyRef ref = c.Ref(key);
  return c.keys.Exists(ref) || IsVisible(c, c.keys.State(ref));
}

void ReplyTokenAndVersions(Context& c,
                           bool named,
                           crdt::Type type,
                           const crdt::Register& state,
                           const TokenPlace& place) {
  const bool as_map = c.client.protocol >= 3;
  const clock::OriginTable& origins = c.cluster.origins();
  const Token token = MakeToken(state, origins);
  if (named) c.reply.Bulk("token");
  c.reply.Bulk(EncodeToken(token, place));
  if (named) c.reply.Bulk("versions");
  c.reply.Array(token.versions.size() + token.clears.size());
  for (size_t i : conflict::CanonicalOrder(state.versions, origins)) {
    const crdt::Version& v = state.versions[i];
    const clock::Origin& origin = origins.Get(v.dot.origin());
    ReplyVersion(c, as_map, type, v.absent, v.value, origin, v.dot.sequence(), v.hlc);
  }
  for (const Token::Clear& clear : token.clears) {
    for (const crdt::CounterEntry& e : state.counters) {
      if (origins.Get(e.origin) != clear.origin) continue;
      auto sum = crdt::Subtract(e.total, e.cleared_total).value_or(e.total);
      ReplyVersion(c, as_map, crdt::Type::kString, false, SignedText(sum), clear.origin, e.at.sequence, e.hlc);
    }
  }
}

void ReplyLedgerVersion(Context& c, bool as_map, crdt::Type type, const conflict::LedgerVersion& version) {
  ReplyVersion(
      c, as_map, type, version.absent, version.value, version.origin, version.sequence, version.hlc);
}

void AddConflictRows(std::vector<Row>& rows) {
  static constexpr Row kRows[] = {
      {.name = "conflict", .arity = -2, .categories = "@slow",
       .summary = "Concurrent writes: what is open, and what was decided",
       .since = "polyarch 0.1.0", .group = "polyarch", .complexity = "Depends on the subcommand"},
      {.name = "conflict|list", .arity = -2, .flags = kReadonly | kWholeKeyspace,
       .categories = "@read @slow", .handler = ConflictList,
       .summary = "Returns the keys that hold concurrent versions nobody has resolved",
       .since = "polyarch 0.1.0", .group = "polyarch",
       .complexity = "O(N) where N is the number of such keys",
       .syntax = "MATCH pattern:pattern? COUNT count:integer? FIELDS?"},
      {.name = "conflict|count", .arity = 2, .flags = kReadonly | kWholeKeyspace,
       .categories = "@read @slow", .handler = ConflictCount,
       .summary = "Returns how many keys hold concurrent versions nobody has resolved",
       .since = "polyarch 0.1.0", .group = "polyarch",
       .complexity = "O(N) where N is the number of such keys"},
      {.name = "conflict|get", .arity = -3, .flags = kReadonly, .keys = {2, 2, 1},
       .categories = "@read @slow", .handler = ConflictGet,
       .summary = "Returns a token and all versions of a key or field: value, leader, Unix time in ms, tag",
       .since = "polyarch 0.1.0", .group = "polyarch",
       .complexity = "O(N) where N is the number of versions", .syntax = "key:key FIELD field?",
       .key_access = "RO access"},
      {.name = "conflict|resolve", .arity = -5, .flags = kWrite | kDenyOom, .keys = {2, 2, 1},
       .categories = "@write @slow", .handler = ConflictResolve,
       .summary = "Replaces exactly the versions that a token names by a value",
       .since = "polyarch 0.1.0", .group = "polyarch",
       .complexity = "O(N) where N is the number of versions", .syntax = "key:key token value FIELD field?",
       .key_access = "RW update"},
      {.name = "conflict|log", .arity = -2, .flags = kReadonly | kWholeKeyspace | kReadsAnyValue,
       .categories = "@read @slow", .handler = ConflictLog,
       .summary = "Returns conflicts that a rule decided here, oldest first, with what lost",
       .since = "polyarch 0.1.0", .group = "polyarch",
       .complexity = "O(N) where N is the number of entries in the log",
       .syntax = "MATCH pattern:pattern? COUNT count:integer? AFTER id:integer? POLICY policy:pattern? LEADER leader? "
                 "SINCE unix-time-milliseconds:unix-time? UNTIL unix-time-milliseconds:unix-time?"},
      {.name = "conflict|restore", .arity = 4, .flags = kWrite | kDenyOom | kWritesAnyKey,
       .categories = "@write @slow", .handler = ConflictRestore,
       .summary = "Writes a value that lost back to its key", .since = "polyarch 0.1.0",
       .group = "polyarch", .complexity = "O(1)", .syntax = "id:integer tag"},
      {.name = "conflict|help", .arity = 2, .flags = kLoading | kStale, .categories = "@slow",
       .handler = ContainerHelp, .summary = "Print this help", .since = "polyarch 0.1.0",
       .group = "polyarch", .complexity = "O(1)"},
  };
  rows.insert(rows.end(), std::begin(kRows), std::end(kRows));
}

}  // namespace polyarch::command
