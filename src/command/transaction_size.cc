// How much a transaction writes at most, told from its words and from what its keys hold now. It must
// never say that one fits which does not; one that it cannot vouch for runs all the same, but what its
// keys held is kept meanwhile, so that it can be taken back.
#include <algorithm>
#include <deque>
#include <map>
#include <utility>

#include "base/number.h"
#include "command/support.h"
#include "command/transaction.h"

namespace polyarch::command {
namespace {

enum class Growth : uint8_t {
  kWords,    // writes its words, and removes what they name
  kWipes,    // the same, and may wipe its keys: with them goes what it clears of counters
  kNumber,   // a value as long as a number among its words says, or as it was
  kPops,     // removes as many elements as a word says, or one
  kRemoves,  // may name all that its keys hold, and puts nothing there
  kCopies,   // may write all that its keys hold
  kFlush,    // wipes databases
  kAcks,     // as kWords, and names a group with each id
  kResolve,  // a value, and what a token names
  kRestore,  // a value of the conflict log
  kRetire,   // a record that this leader makes
  kUnknown,  // anything
};

struct Rule {
  std::string_view name;
  Growth growth;
};

// By name. What is not here is unknown.
constexpr Rule kRules[] = {
    {"acl|deluser", Growth::kResolve}, {"acl|setuser", Growth::kWords},
    {"append", Growth::kCopies}, {"blmove", Growth::kCopies},
    {"blmpop", Growth::kRemoves}, {"blpop", Growth::kPops},
    {"brpop", Growth::kPops}, {"brpoplpush", Growth::kCopies},
    {"bzmpop", Growth::kRemoves}, {"bzpopmax", Growth::kPops},
    {"bzpopmin", Growth::kPops}, {"conflict|resolve", Growth::kResolve},
    {"conflict|restore", Growth::kRestore}, {"decr", Growth::kWipes},
    {"decrby", Growth::kWipes}, {"del", Growth::kWipes},
    {"escrow|grant", Growth::kWords}, {"escrow|spend", Growth::kWords},
    {"expire", Growth::kWipes}, {"expireat", Growth::kWipes},
    {"flushall", Growth::kFlush}, {"flushdb", Growth::kFlush},
    {"geoadd", Growth::kWords}, {"getdel", Growth::kWipes},
    {"getex", Growth::kWipes}, {"getset", Growth::kWipes},
    {"handler|del", Growth::kWords}, {"handler|load", Growth::kWords},
    {"hdel", Growth::kWords}, {"hincrby", Growth::kWords},
    {"hincrbyfloat", Growth::kWords}, {"hmset", Growth::kWords},
    {"hset", Growth::kWords}, {"hsetnx", Growth::kWords},
    {"incr", Growth::kWipes}, {"incrby", Growth::kWipes},
    {"incrbyfloat", Growth::kWipes}, {"leader|priority", Growth::kWords},
    {"leader|retire", Growth::kRetire}, {"linsert", Growth::kCopies},
    {"lmove", Growth::kCopies}, {"lmpop", Growth::kRemoves},
    {"lpop", Growth::kPops}, {"lpush", Growth::kWords},
    {"lpushx", Growth::kWords}, {"lrem", Growth::kRemoves},
    {"lset", Growth::kCopies}, {"ltrim", Growth::kRemoves},
    {"mset", Growth::kWipes}, {"msetnx", Growth::kWipes},
    {"persist", Growth::kWords}, {"pexpire", Growth::kWipes},
    {"pexpireat", Growth::kWipes}, {"pfadd", Growth::kCopies},
    {"pfmerge", Growth::kCopies}, {"policy|del", Growth::kWords},
    {"policy|set", Growth::kWords}, {"psetex", Growth::kWipes},
    {"rename", Growth::kCopies}, {"renamenx", Growth::kCopies},
    {"rpop", Growth::kPops}, {"rpoplpush", Growth::kCopies},
    {"rpush", Growth::kWords}, {"rpushx", Growth::kWords},
    {"sadd", Growth::kWords}, {"sdiffstore", Growth::kCopies},
    {"set", Growth::kWipes}, {"setbit", Growth::kNumber},
    {"setex", Growth::kWipes}, {"setnx", Growth::kWipes},
    {"setrange", Growth::kNumber}, {"sinterstore", Growth::kCopies},
    {"smove", Growth::kWords}, {"spop", Growth::kPops},
    {"srem", Growth::kWords}, {"sunionstore", Growth::kCopies},
    {"topology|set", Growth::kWords},
    {"unlink", Growth::kWipes}, {"xack", Growth::kAcks},
    {"xadd", Growth::kWords}, {"xdel", Growth::kWords},
    {"xsetid", Growth::kWords}, {"xtrim", Growth::kWords},
    {"zadd", Growth::kWords}, {"zdiffstore", Growth::kCopies},
    {"zincrby", Growth::kWords}, {"zinterstore", Growth::kCopies},
    {"zmpop", Growth::kRemoves}, {"zpopmax", Growth::kPops},
    {"zpopmin", Growth::kPops}, {"zrangestore", Growth::kCopies},
    {"zrem", Growth::kWords}, {"zremrangebylex", Growth::kRemoves},
    {"zremrangebyrank", Growth::kRemoves}, {"zremrangebyscore", Growth::kRemoves},
    {"zunionstore", Growth::kCopies},
};

Growth GrowthOf(const Row& row) {
  const auto* rule = std::lower_bound(std::begin(kRules), std::end(kRules), row.name,
                                      [](const Rule& r, std::string_view name) { return r.name < name; });
  return rule != std::end(kRules) && rule->name == row.name ? rule->growth : Growth::kUnknown;
}

// Beyond this nothing fits; low enough that sums do not overflow.
constexpr uint64_t kTooMuch = uint64_t{1} << 40;
// Of copies of what is flushed.
constexpr size_t kKeptBytesMax = size_t{1} << 30;
// A HyperLogLog, and what surrounds it; or what a holder of a stock has done.
constexpr uint64_t kSketchBytes = 16 << 10;
// An effect beside its words: header, a list's position, an expiry.
// What a value names of a version that it replaces; a token names it in a byte at least.
constexpr uint64_t kSeenBytesMax = 64;
constexpr uint64_t kWordBytesMax = 2 * kEffectBytesMax;

class Sizer {
 public:
  explicit Sizer(const Context& c) : c_(c), db_(c.client.db) {}

  void Add(const Step& step) {
    const Row& row = *step.row;
    if (row.name == "select") {
      db_ = static_cast<uint8_t>(base::ParseInt64(step.args[1]).value_or(0) & 15);
    }
    // A script that may not write may all the same be ended, and the transaction with it.
    if ((row.flags & (kWrite | kRunsScript)) == 0) return;
    const Growth growth = GrowthOf(row);
    if (growth == Growth::kUnknown) all_ = kTooMuch;
    // Taken back are keys, not configuration and not what a decision has put into the conflict log.
    const bool escrow = row.name.starts_with("escrow|");
    revertible_ &= (row.group != "polyarch" || escrow) && !row.name.starts_with("acl|");
    if (growth == Growth::kFlush && c_.keys.memory_bytes() > kKeptBytesMax) revertible_ = false;
    if (growth == Growth::kFlush) return AddFlush(row);
    std::vector<size_t> indices;
    KeyIndices(row, step.args, indices);
    uint64_t words = 0;
    for (std::string_view arg : step.args)
      words += arg.size();
    // Each effect names its key again.
    uint64_t longest = 0;
    for (size_t i : indices)
      longest = std::max<uint64_t>(longest, step.args[i].size());
    uint64_t bytes = words + step.args.size() * (kWordBytesMax + longest);
    for (size_t i : indices) {
      const keyspace::KeyRef ref = c_.keys.Ref(db_, step.args[i]);
      bytes += OfKey(growth, ref, step.args, longest);
    }
    if (growth == Growth::kNumber) bytes += LargestNumber(step.args);
    if (growth == Growth::kAcks) bytes += words * step.args.size();
    if (growth == Growth::kCopies || escrow) bytes += kSketchBytes;
    if (growth == Growth::kResolve) bytes += kSeenBytesMax * words;
    if (growth == Growth::kRetire) {
      const auto record = c_.cluster.RetireRecord(step.args[2]);
      if (record.ok()) bytes += record->size();
    }
    if (row.name == "acl|setuser") bytes += 3 * (kUserBytesMax + kUserNameBytesMax);
    if (growth == Growth::kRestore) bytes += OfLedger(step.args[2], bytes);
    bytes = std::min(kTooMuch, bytes);
    all_ = std::min(kTooMuch, all_ + bytes);
    if (growth == Growth::kPops || growth == Growth::kRemoves) return;
    // What a later step may copy or remove.
    for (size_t i : indices)
      Grow(step.args[i], bytes);
  }

  // An increment of an earlier step may be cleared by a later one: hence twice.
  TransactionSize Result() const {
    return {.fits = 2 * all_ <= kChangeBytesMax, .revertible = revertible_};
  }

 private:
  // What a step may write because of what the key holds.
  uint64_t OfKey(Growth growth, const keyspace::KeyRef& ref, Arguments args, uint64_t key_bytes) {
    const uint64_t clears = crdt::kClearBytesMax * c_.cluster.origins().size();
    switch (growth) {
      case Growth::kCopies:
      case Growth::kNumber:
      case Growth::kResolve:
      case Growth::kRemoves: return Held(ref, key_bytes);
      case Growth::kPops: {
        const int64_t asked = args.size() == 3 ? base::ParseInt64(args[2]).value_or(1) : 1;
        const auto count = static_cast<uint64_t>(std::clamp<int64_t>(asked, 1, 1 << 20));
        return std::min(Held(ref, key_bytes),
                        count * (crdt::kElementBytesMax + kWordBytesMax + key_bytes + clears));
      }
      default: break;
    }
    if (!c_.keys.MayHoldCounters(ref)) return 0;
    // To write an element of a key that shows nothing begins with a wipe.
    if (growth == Growth::kWipes || !c_.keys.Exists(ref)) return Held(ref, key_bytes);
    return args.size() * clears;
  }

  // At least what effects on all that the key holds by then come to: names and values are in memory as they are,
  // and an element has an effect of its own, which names the key and may clear a counter. An entry of a
  // counter of several origins takes no less memory than its clear.
  uint64_t Held(const keyspace::KeyRef& ref, uint64_t key_bytes) {
    const uint64_t held = c_.keys.MemoryOf(ref) + (1 + c_.keys.StoredElements(ref)) *
                                                      (kWordBytesMax + crdt::kClearBytesMax + key_bytes);
    const auto grown = grown_.find(std::pair(ref.db, ref.key));
    return grown == grown_.end() ? held : held + grown->second;
  }

  void AddFlush(const Row& row) {
    const uint8_t db = row.name == "flushall" ? crdt::kAllDatabases : db_;
    uint64_t bytes = kWordBytesMax;
    for (const auto& [d, key] : c_.keys.KeysWithCounters(db))
      bytes += Held(c_.keys.Ref(d, key), key.size());
    all_ = std::min(kTooMuch, all_ + bytes);
  }

  // What CONFLICT RESTORE writes beside its `words`. An entry that a step before it drives out of the log is not found
  // any more.
  uint64_t OfLedger(std::string_view id, uint64_t words) {
    const auto number = base::ParseInt64(id);
    const conflict::LedgerEntry* entry =
        number ? c_.cluster.ledger().Find(static_cast<uint64_t>(*number)) : nullptr;
    if (entry == nullptr) return 0;
    // To look at the key may merge it, which may drop the entry.
    const std::string& key = ledger_keys_.emplace_back(entry->key);
    uint64_t bytes = key.size() + entry->element.size() + entry->lost.value.size() + entry->shown.value.size();
    bytes += Held(c_.keys.Ref(db_, key), key.size());
    Grow(key, words + bytes);
    return bytes;
  }

  void Grow(std::string_view key, uint64_t bytes) {
    uint64_t& grown = grown_[{db_, key}];
    grown = std::min(kTooMuch, grown + bytes);
  }

  static uint64_t LargestNumber(Arguments args) {
    int64_t largest = 0;
    for (std::string_view arg : args)
      largest = std::max(largest, base::ParseInt64(arg).value_or(0));
    return std::min(kTooMuch, static_cast<uint64_t>(largest));
  }

  const Context& c_;
  uint8_t db_;
  uint64_t all_ = 0;
  // What the steps so far may have added to a key.
  std::deque<std::string> ledger_keys_;
  std::map<std::pair<uint8_t, std::string_view>, uint64_t> grown_;
  bool revertible_ = true;
};

}  // namespace

TransactionSize SizeOf(const Context& c, std::span<const Step> steps) {
  Sizer sizer(c);
  for (const Step& step : steps)
    sizer.Add(step);
  return sizer.Result();
}

}  // namespace polyarch::command
