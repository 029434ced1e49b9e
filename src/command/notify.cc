#include "command/notify.h"

#include <algorithm>
#include <set>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "base/number.h"
#include "command/pubsub.h"
#include "command/rights.h"
#include "command/support.h"

namespace polyarch::command {
namespace {

struct Letter {
  char letter;
  uint32_t notice;
};
// In the order in which Redis shows them.
constexpr Letter kClasses[] = {
    {'g', kNoticeGeneric}, {'$', kNoticeString},  {'l', kNoticeList},    {'s', kNoticeSet},
    {'h', kNoticeHash},    {'z', kNoticeSortedSet}, {'x', kNoticeExpired}, {'e', kNoticeEvicted},
    {'t', kNoticeStream},  {'d', kNoticeModule},  {'n', kNoticeNew}};
constexpr Letter kOthers[] = {
    {'K', kNoticeKeyspace}, {'E', kNoticeKeyevent}, {'m', kNoticeMissed}, {'C', kNoticeConflict}};

constexpr Event kDel{kNoticeGeneric, "del"};
constexpr Event kExpire{kNoticeGeneric, "expire"};
constexpr Event kPersist{kNoticeGeneric, "persist"};

// What the keys of a command are told, in the order in which it writes them. A key that is gone afterwards
// is told `del` besides, or instead.
enum class Gone : uint8_t { kBesides, kInstead };
struct Told {
  std::string_view command;
  Event first;          // of the first key
  Event second = {};    // of a second one, if there is one
  Gone gone = Gone::kBesides;
};

constexpr uint32_t kS = kNoticeString;
constexpr uint32_t kL = kNoticeList;
constexpr uint32_t kM = kNoticeSet;
constexpr uint32_t kH = kNoticeHash;
constexpr uint32_t kZ = kNoticeSortedSet;
constexpr uint32_t kG = kNoticeGeneric;

// Sorted by name. Commands whose words decide (SET EX, LMOVE, ZMPOP ...) are looked at below; one that is
// not here is told by its own name.
constexpr Told kTold[] = {
    {"bitfield", {kS, "setbit"}},
    {"bitop", {kS, "set"}, {}, Gone::kInstead},
    {"blpop", {kL, "lpop"}},
    {"brpop", {kL, "rpop"}},
    {"brpoplpush", {kL, "rpop"}, {kL, "lpush"}},
    {"bzpopmax", {kZ, "zpopmax"}},
    {"bzpopmin", {kZ, "zpopmin"}},
    {"copy", {kG, "copy_to"}},
    {"decr", {kS, "incrby"}},
    {"decrby", {kS, "incrby"}},
    {"del", kDel, kDel, Gone::kInstead},
    {"expire", kExpire, {}, Gone::kInstead},
    {"expireat", kExpire, {}, Gone::kInstead},
    {"geoadd", {kZ, "zadd"}},
    {"georadius", {kZ, "georadiusstore"}, {}, Gone::kInstead},
    {"georadiusbymember", {kZ, "georadiusstore"}, {}, Gone::kInstead},
    {"getdel", kDel, {}, Gone::kInstead},
    {"getset", {kS, "set"}},
    {"hmset", {kH, "hset"}},
    {"hsetnx", {kH, "hset"}},
    {"incr", {kS, "incrby"}},
    {"lpushx", {kL, "lpush"}},
    {"mset", {kS, "set"}, {kS, "set"}},
    {"msetnx", {kS, "set"}, {kS, "set"}},
    {"pexpire", kExpire, {}, Gone::kInstead},
    {"pexpireat", kExpire, {}, Gone::kInstead},
    {"pfmerge", {kS, "pfadd"}},
    {"renamenx", {kG, "rename_from"}, {kG, "rename_to"}, Gone::kInstead},
    {"restore", {kG, "restore"}, {}, Gone::kInstead},
    {"rpoplpush", {kL, "rpop"}, {kL, "lpush"}},
    {"rpushx", {kL, "rpush"}},
    {"setnx", {kS, "set"}},
    {"smove", {kM, "srem"}, {kM, "sadd"}},
    {"sort", {kL, "sortstore"}, {}, Gone::kInstead},
    {"unlink", kDel, kDel, Gone::kInstead},
    {"xack", {}},  // Redis says nothing of it
    {"xgroup|create", {kNoticeStream, "xgroup-create"}},
    {"xgroup|createconsumer", {kNoticeStream, "xgroup-createconsumer"}},
    {"xgroup|delconsumer", {kNoticeStream, "xgroup-delconsumer"}},
    {"xgroup|destroy", {kNoticeStream, "xgroup-destroy"}},
    {"xgroup|setid", {kNoticeStream, "xgroup-setid"}},
    {"zincrby", {kZ, "zincr"}},
};

// Commands that write, and look some of their keys up for reading: a miss is told as of any read.
enum class Looked : uint8_t { kNone, kFirst, kAllButFirst, kAll };
struct LookedUp {
  std::string_view command;
  Looked keys;
};
constexpr LookedUp kLookedUp[] = {
    {"bitop", Looked::kAllButFirst},       {"copy", Looked::kFirst},
    {"georadius", Looked::kFirst},         {"georadiusbymember", Looked::kFirst},
    {"geosearchstore", Looked::kAllButFirst}, {"getdel", Looked::kFirst},
    {"getex", Looked::kFirst},             {"getset", Looked::kFirst},
    {"pfmerge", Looked::kAll},             {"sdiffstore", Looked::kAllButFirst},
    {"sinterstore", Looked::kAllButFirst}, {"sort", Looked::kFirst},
    {"sunionstore", Looked::kAllButFirst}, {"xack", Looked::kFirst},
    {"xautoclaim", Looked::kFirst},        {"xclaim", Looked::kFirst},
    {"xreadgroup", Looked::kAll},          {"zdiffstore", Looked::kAllButFirst},
    {"zinterstore", Looked::kAllButFirst}, {"zrangestore", Looked::kAllButFirst},
    {"zunionstore", Looked::kAllButFirst}};

// For reading, which of its keys.
Looked LookedUpBy(const Context& c, const Row& row) {
  if (row.name == "set") return UseBy(row, c.args).read ? Looked::kFirst : Looked::kNone;
  if (row.name == "bitfield") return UseBy(row, c.args).write ? Looked::kNone : Looked::kFirst;
  for (const LookedUp& l : kLookedUp) {
    if (l.command == row.name) return l.keys;
  }
  return Looked::kNone;
}

uint32_t NoticeOf(const Row& row) {
  if (row.group == "string" || row.group == "bitmap" || row.group == "hyperloglog") return kS;
  if (row.group == "list") return kL;
  if (row.group == "set") return kM;
  if (row.group == "hash") return kH;
  if (row.group == "sorted-set" || row.group == "geo") return kZ;
  if (row.group == "stream") return kNoticeStream;
  return kG;
}

// The word behind the keys of LMPOP and ZMPOP, which have succeeded.
std::string_view WordBehindKeys(const Context& c, const Row& row) {
  const auto place = static_cast<size_t>(row.keys.numkeys);
  return c.args[place + 1 + static_cast<size_t>(base::ParseInt64(c.args[place]).value_or(0))];
}

// ZADD INCR: options stand before the first score.
bool AsksToIncrement(const Context& c) {
  for (std::string_view word : c.args.subspan(2)) {
    if (EqualsIgnoreCase(word, "incr")) return true;
    const bool option = EqualsIgnoreCase(word, "nx") || EqualsIgnoreCase(word, "xx") || EqualsIgnoreCase(word, "gt") ||
                        EqualsIgnoreCase(word, "lt") || EqualsIgnoreCase(word, "ch");
    if (!option) return false;
  }
  return false;
}

Told ToldOf(const Context& c, const Row& row) {
  const std::string_view name = row.name;
  const auto* found =
      std::lower_bound(std::begin(kTold), std::end(kTold), name,
                       [](const Told& t, std::string_view n) { return t.command < n; });
  if (found != std::end(kTold) && found->command == name) return *found;
  Told told{name, {NoticeOf(row), name}};
  told.second = told.first;
  if (name.ends_with("store")) told.gone = Gone::kInstead;
  auto ends = [&](size_t from, size_t to) {
    told.first = {kL, EqualsIgnoreCase(c.args[from], "left") ? "lpop" : "rpop"};
    told.second = {kL, EqualsIgnoreCase(c.args[to], "left") ? "lpush" : "rpush"};
  };
  if (name == "lmove" || name == "blmove") ends(3, 4);
  if (name == "lmpop" || name == "blmpop") told.first = {kL, EqualsIgnoreCase(WordBehindKeys(c, row), "left") ? "lpop" : "rpop"};
  if (name == "zmpop" || name == "bzmpop") {
    told.first = {kZ, EqualsIgnoreCase(WordBehindKeys(c, row), "min") ? "zpopmin" : "zpopmax"};
  }
  if (name == "getex") {
    told.first = EqualsIgnoreCase(c.args[2], "persist") ? kPersist : kExpire;
    told.gone = Gone::kInstead;
  }
  if (name == "setex" || name == "psetex") told.first = {kS, "set"};
  if (name == "zadd" && AsksToIncrement(c)) told.first = {kZ, "zincr"};
  if (name == "xreadgroup" || name == "xclaim" || name == "xautoclaim") {
    told.first = c.made_consumer ? Event{kNoticeStream, "xgroup-createconsumer"} : Event{};
  }
  if (name == "rename") {
    told = {name, {kG, "rename_from"}, {kG, "rename_to"}, Gone::kInstead};
  }
  if (name == "move") told = {name, {kG, "move_from"}, {kG, "move_to"}, Gone::kInstead};
  return told;
}

bool SetsExpiry(const Context& c, std::string_view name) {
  if (name == "setex" || name == "psetex") return true;
  if (name != "set") return false;
  for (size_t i = 3; i < c.count(); ++i) {
    for (std::string_view word : {"ex", "px", "exat", "pxat"}) {
      if (EqualsIgnoreCase(c.args[i], word)) return true;
    }
  }
  return false;
}

using Key = std::pair<uint8_t, std::string>;

void Tell(Context& c, const Event& event, const Key& key) {
  if (event.name.empty()) return;
  if (c.publications != nullptr) {
    PublishLater(c,
                 {.channel = std::string(event.name),
                  .message = key.second,
                  .notice = event.notice,
                  .db = key.first});
  } else {
    c.cluster.Notify(event.notice, event.name, key.first, key.second);
  }
}

// Which of its two keys a command that moves something has written first is for the keyspace to say; whose
// event is whose, its words do.
bool IsSecond(const Context& c, const Row& row, const Key& key) {
  if (row.name == "move") return key.first != c.client.db;
  if (row.name == "mset" || row.name == "msetnx" || c.count() < 3) return false;
  for (std::string_view name : {"rename", "renamenx", "lmove", "blmove", "rpoplpush", "brpoplpush", "smove"}) {
    if (row.name == name) return key.second == c.args[2] && c.args[1] != c.args[2];
  }
  return false;
}

// A list whose element goes from one of its ends to one of its ends is told both.
bool MovesWithin(const Context& c, const Row& row) {
  if (row.name != "lmove" && row.name != "blmove" && row.name != "rpoplpush" && row.name != "brpoplpush") return false;
  return c.args[1] == c.args[2];
}

void TellMissed(Context& c, std::span<const size_t> indices, const std::set<std::string_view>& missing) {
  for (size_t i : indices) {
    if (missing.contains(c.args[i])) Tell(c, {kNoticeMissed, "keymiss"}, Key(c.client.db, c.args[i]));
  }
}

// What a command that writes has looked up for reading and not found. `reply`: what it answered.
void TellMissedByWrite(Context& c,
                       const Row& row,
                       std::span<const size_t> indices,
                       const std::set<std::string_view>& missing,
                       std::string_view reply) {
  const Looked looked = missing.empty() || indices.empty() || c.ready != nullptr ? Looked::kNone : LookedUpBy(c, row);
  if (looked == Looked::kNone) return;
  // An error is given before keys are looked at, but for that of a stream's missing group.
  const bool no_group = reply.starts_with("-NOGROUP");
  if (reply.starts_with('-') && !no_group) return;
  if (looked == Looked::kFirst) indices = indices.first(1);
  if (looked == Looked::kAllButFirst) indices = indices.subspan(1);
  // XREADGROUP looks no further than the first that is missing.
  if (no_group) {
    const auto found = std::find_if(indices.begin(), indices.end(), [&](size_t i) { return missing.contains(c.args[i]); });
    indices = {found, found == indices.end() ? found : found + 1};
  }
  TellMissed(c, indices, missing);
}

}  // namespace

void TellMissedKey(Context& c, std::string_view key) {
  if (c.notify) Tell(c, {kNoticeMissed, "keymiss"}, Key(c.client.db, key));
}

bool LooksUpForReading(std::string_view command) {
  return std::any_of(std::begin(kLookedUp), std::end(kLookedUp),
                     [&](const LookedUp& l) { return l.command == command; });
}

std::optional<uint32_t> ParseNotices(std::string_view letters) {
  uint32_t notices = 0;
  for (char letter : letters) {
    uint32_t notice = letter == 'A' ? kNoticeAll : 0;
    for (const Letter& l : kClasses) {
      if (l.letter == letter) notice = l.notice;
    }
    for (const Letter& l : kOthers) {
      if (l.letter == letter) notice = l.notice;
    }
    if (notice == 0) return std::nullopt;
    notices |= notice;
  }
  return notices;
}

std::string FormatNotices(uint32_t notices) {
  std::string letters;
  if ((notices & kNoticeAll) == kNoticeAll) {
    letters += 'A';
  } else {
    for (const Letter& l : kClasses) {
      if ((notices & l.notice) != 0) letters += l.letter;
    }
  }
  for (const Letter& l : kOthers) {
    if ((notices & l.notice) != 0) letters += l.letter;
  }
  return letters;
}

Event EventOf(crdt::EffectKind kind, uint8_t flags, crdt::Type type, int64_t expire_ms) {
  using crdt::EffectKind;
  using crdt::Type;
  const bool removes = kind == EffectKind::kWipe || (flags & crdt::kAbsent) != 0;
  switch (kind) {
    case EffectKind::kExpire: return expire_ms == crdt::kNever ? kPersist : kExpire;
    case EffectKind::kClean:
    case EffectKind::kFlush: return {};
    default: break;
  }
  switch (type) {
    case Type::kString:
      if (removes) return {};  // what that means shows when the change is done
      return {kS, kind == EffectKind::kIncrement ? "incrby" : "set"};
    case Type::kHash:
      if (removes) return {kH, "hdel"};
      return {kH, kind == EffectKind::kIncrement ? "hincrby" : "hset"};
    case Type::kSet: return {kM, removes ? "srem" : "sadd"};
    case Type::kSortedSet:
      if (removes) return {kZ, "zrem"};
      return {kZ, kind == EffectKind::kIncrement ? "zincr" : "zadd"};
    case Type::kList: return {kL, removes ? "lrem" : "rpush"};
    case Type::kStream: return {kNoticeStream, removes ? "xdel" : "xadd"};
  }
  return {};
}

Event EventOf(const keyspace::Shown& shown) {
  if (!shown.exists()) return kDel;
  const crdt::Type type =
      shown.kind == keyspace::Shown::Kind::kCollection ? shown.type : crdt::Type::kString;
  return EventOf(crdt::EffectKind::kPut, 0, type, crdt::kNever);
}

void RunAndNotify(Context& c, const Row& row) {
  std::vector<size_t> indices;
  KeyIndices(row, c.args, indices);
  std::set<std::string_view> missing;
  for (size_t i : indices) {
    if (!c.keys.Exists(c.Ref(c.args[i]))) missing.insert(c.args[i]);
  }
  if ((row.flags & kWrite) == 0) {
    RunHandler(c, row);
    // What a script asks for is told by its own calls; OBJECT and MEMORY USAGE look past it.
    if ((row.flags & kReadonly) == 0 || (row.flags & kRunsScript) != 0) return;
    if (row.name.starts_with("object|") || row.name == "memory|usage") return;
    if (c.ready == nullptr) TellMissed(c, indices, missing);  // who has waited missed them before
    return;
  }
  const uint8_t db = c.client.db;
  std::vector<Key> written;
  const size_t before = c.reply.out().size();
  c.change.NoteKeys(&written);
  RunHandler(c, row);
  c.change.NoteKeys(nullptr);
  const std::string_view reply = c.reply.out().view();
  TellMissedByWrite(c, row, indices, missing, reply.substr(std::min(before, reply.size())));
  // Redis says nothing of a flush.
  if (written.empty() || row.name == "flushall" || row.name == "flushdb") return;
  // An element that nothing showed was taken away.
  const std::string_view removed = reply.substr(std::min(before, reply.size()));
  if (row.name == "hdel" && removed == ":0\r\n") return;
  const Told told = ToldOf(c, row);
  // As Redis tells it: of lists the push before the pop, else what is taken before what is brought.
  const bool push_first = row.group == "list";
  std::stable_partition(written.begin(), written.end(), [&](const Key& key) {
    return IsSecond(c, row, key) == push_first;
  });
  // Our own records, and keys that were written several times.
  std::set<Key> done;
  std::erase_if(written, [&](const Key& key) {
    return key.first == crdt::kReservedDatabase || !done.insert(key).second;
  });
  const bool expires = SetsExpiry(c, row.name);
  // These put their last key in anew, whatever was there; RENAME and MOVE before they take the other one away.
  const bool renames = row.name == "rename" || row.name == "renamenx" || row.name == "move";
  const bool replaces = row.name == "copy" || row.name == "restore";
  if (renames) {
    for (const Key& key : written) {
      if (IsSecond(c, row, key) && c.keys.Exists(c.keys.Ref(key.first, key.second))) Tell(c, {kNoticeNew, "new"}, key);
    }
  }
  for (const Key& key : written) {
    const bool exists = c.keys.Exists(c.keys.Ref(key.first, key.second));
    const bool was_missing = key.first == db && missing.contains(key.second);
    // A delete was shown and still is: what went nobody saw.
    if (was_missing && !exists) continue;
    const bool fresh = !renames && exists && (was_missing || replaces);
    Event event = IsSecond(c, row, key) ? told.second : told.first;
    // CONFLICT RESOLVE and RESTORE: what they have put there.
    if (row.group == "polyarch") event = EventOf(c.keys.Read(c.keys.Ref(key.first, key.second)));
    if (fresh) Tell(c, {kNoticeNew, "new"}, key);
    // RENAME and MOVE take their first key away; that is what their event says.
    const bool says_so = event.name == "del" || event.name.ends_with("_from");
    if (!exists && told.gone == Gone::kInstead && !says_so) event = kDel;
    if (MovesWithin(c, row)) Tell(c, told.second, key);
    Tell(c, event, key);
    if (c.trimmed) Tell(c, {kNoticeStream, "xtrim"}, key);
    if (expires) Tell(c, kExpire, key);
    if (!exists && told.gone == Gone::kBesides && !says_so) Tell(c, kDel, key);
  }
}

}  // namespace polyarch::command
