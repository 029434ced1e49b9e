#include "command/table.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "base/check.h"
#include "base/number.h"
#include "command/families.h"
#include "command/monitors.h"
#include "command/notify.h"
#include "command/pubsub.h"
#include "command/rights.h"
#include "command/script_run.h"
#include "command/support.h"
#include "command/transaction.h"

namespace polyarch::command {
namespace {

// The lower case of eight ASCII characters at once; other bytes stay as they are.
uint64_t Lower(uint64_t word) {
  constexpr uint64_t kOnes = 0x0101010101010101;
  uint64_t low_bits = word & (kOnes * 0x7f);
  uint64_t from_a = low_bits + kOnes * (0x80 - 'A');
  uint64_t above_z = low_bits + kOnes * (0x7f - 'Z');
  uint64_t upper = ~word & (from_a ^ above_z) & (kOnes * 0x80);
  return word | (upper >> 2);
}

// Up to eight bytes as a word, without reading beyond them and without a call.
uint64_t LoadUpTo8(const char* p, size_t size) {
  if (size >= 8) {
    uint64_t word = 0;
    std::memcpy(&word, p, 8);
    return word;
  }
  if (size >= 4) {
    uint32_t head = 0;
    uint32_t tail = 0;
    std::memcpy(&head, p, 4);
    std::memcpy(&tail, p + size - 4, 4);
    return head | (static_cast<uint64_t>(tail) << (8 * (size - 4)));
  }
  if (size == 0) return 0;
  // First, middle and last byte: all of one to three.
  auto byte_at = [p](size_t i) {
    return static_cast<uint64_t>(static_cast<unsigned char>(p[i])) << (8 * i);
  };
  return byte_at(0) | byte_at(size / 2) | byte_at(size - 1);
}

// Options with values that one command has.
constexpr size_t kOptionsMax = 8;

}  // namespace

inline Table::Name Table::Pack(std::string_view name, uint16_t parent) {
  const char* p = name.data();
  size_t size = name.size();
  Name packed;
  packed.size = static_cast<uint32_t>(size);
  packed.parent = parent;
  packed.words[0] = Lower(LoadUpTo8(p, size));
  if (size > 8) [[unlikely]] {
    packed.words[1] = Lower(LoadUpTo8(p + 8, size - 8));
    if (size > 16) packed.words[2] = Lower(LoadUpTo8(p + 16, size - 16));
    if (size > 24) packed.words[3] = Lower(LoadUpTo8(p + 24, size - 24));
  }
  return packed;
}

inline size_t Table::Home(const Name& name) const {
  uint64_t mixed = name.words[0] * 0x9e3779b97f4a7c15ULL;
  mixed ^= std::rotl((name.words[1] ^ name.parent) * 0xbf58476d1ce4e5b9ULL, 29);
  mixed ^= (name.words[2] ^ name.words[3]) * 0x94d049bb133111ebULL;
  return (mixed >> 40) & mask_;
}

const Table::Slot* Table::FindSlot(std::string_view name, uint16_t parent) const {
  if (name.size() > kNameBytesMax) return nullptr;
  Name packed = Pack(name, parent);
  for (size_t i = Home(packed);; i = (i + 1) & mask_) {
    const Slot& slot = slots_[i];
    if (slot.row == kNone) return nullptr;
    if (slot.name == packed) return &slot;
  }
}

void Table::Insert(std::string_view name, uint16_t parent, uint16_t row) {
  CHECK(name.size() <= kNameBytesMax);
  CHECK(FindSlot(name, parent) == nullptr);
  Name packed = Pack(name, parent);
  size_t i = Home(packed);
  while (slots_[i].row != kNone)
    i = (i + 1) & mask_;
  slots_[i].name = packed;
  slots_[i].row = row;
}

Table::Table() {
  AddStringFamily(rows_);
  AddRangeFamily(rows_);
  AddCounterFamily(rows_);
  AddLcsFamily(rows_);
  AddListFamily(rows_);
  AddBitmapFamily(rows_);
  AddHyperLogLogFamily(rows_);
  AddHashFamily(rows_);
  AddStreamFamily(rows_);
  AddSetFamily(rows_);
  AddSortedSetFamily(rows_);
  AddGeoFamily(rows_);
  AddKeyFamily(rows_);
  AddSortFamily(rows_);
  AddMemoryFamily(rows_);
  AddDumpFamily(rows_);
  AddExpireFamily(rows_);
  AddScanFamily(rows_);
  AddConnectionFamily(rows_);
  AddClientFamily(rows_);
  AddClientTrackingFamily(rows_);
  AddClientPauseFamily(rows_);
  AddSlowlogFamily(rows_);
  AddLatencyFamily(rows_);
  AddMonitorFamily(rows_);
  AddServerFamily(rows_);
  AddAclFamily(rows_);
  AddDebugFamily(rows_);
  AddClusterFamily(rows_);
  AddConfigFamily(rows_);
  AddIntrospectionFamily(rows_);
  AddPolyarchFamily(rows_);
  AddTransactionFamily(rows_);
  AddSessionFamily(rows_);
  AddPubsubFamily(rows_);
  AddScriptFamily(rows_);
  AddFunctionFamily(rows_);
  CHECK(rows_.size() < kNone);
  for (Row& row : rows_) {
    // As Redis counts: OBJECT does, MEMORY USAGE does not, nor do scripts, whose calls do. Our own look at records, too.
    const bool reads = (row.flags & kReadonly) != 0 && (row.flags & kRunsScript) == 0 && row.group != "polyarch" &&
                       row.name != "memory|usage";
    if (reads || LooksUpForReading(row.name)) row.flags |= kLooksUp;
    // Redis's LOOKUP_NOTOUCH.
    constexpr std::string_view kLookers[] = {"exists", "type", "ttl", "pttl", "expiretime", "pexpiretime", "memory|usage"};
    if (std::find(std::begin(kLookers), std::end(kLookers), row.name) != std::end(kLookers) ||
        row.name.starts_with("object|") || row.name.starts_with("debug") || row.group == "polyarch") {
      row.flags |= kUsesNot;
    }
  }
  for (const Row& row : rows_)
    CHECK(row.handler != nullptr || row.arity <= -2);  // a container
  for (const Row& row : rows_)
    CHECK(row.keys.options.size() <= kOptionsMax);
  slots_.resize(std::bit_ceil(4 * rows_.size()));
  mask_ = slots_.size() - 1;
  // Containers before what they contain.
  for (std::ptrdiff_t depth = 0; depth <= kDepthMax; ++depth) {
    for (size_t i = 0; i < rows_.size(); ++i) {
      const std::string_view name = rows_[i].name;
      if (std::count(name.begin(), name.end(), '|') != depth) continue;
      if (depth == 0) {
        Insert(name, kNone, static_cast<uint16_t>(i));
        continue;
      }
      const size_t bar = name.rfind('|');
      const Slot* found = FindNamed(name.substr(0, bar));
      CHECK(found != nullptr);
      Slot& container = slots_[static_cast<size_t>(found - slots_.data())];
      container.container = true;
      Insert(name.substr(bar + 1), container.row, static_cast<uint16_t>(i));
    }
  }
}

const Table& Table::Instance() {
  static const Table table;
  return table;
}

const Row* Table::Find(Arguments args, bool* container) const {
  if (container != nullptr) *container = false;
  const Slot* slot = FindSlot(args[0], kNone);
  if (slot == nullptr) return nullptr;
  if (!slot->container) return &rows_[slot->row];
  if (container != nullptr) *container = true;
  if (args.size() < 2) return &rows_[slot->row];
  const Slot* sub = FindSlot(args[1], slot->row);
  if (sub != nullptr && sub->container && args.size() > 2) sub = FindSlot(args[2], sub->row);
  return sub == nullptr ? nullptr : &rows_[sub->row];
}

const Table::Slot* Table::FindNamed(std::string_view name) const {
  const Slot* slot = nullptr;
  uint16_t parent = kNone;
  for (;;) {
    const size_t bar = name.find('|');
    slot = FindSlot(name.substr(0, bar), parent);
    if (slot == nullptr || bar == std::string_view::npos) return slot;
    parent = slot->row;
    name.remove_prefix(bar + 1);
  }
}

const Row* Table::FindName(std::string_view name) const {
  const Slot* slot = FindNamed(name);
  return slot == nullptr ? nullptr : &rows_[slot->row];
}

std::vector<const Row*> Table::Commands() const {
  std::vector<const Row*> found;
  for (const Row& row : rows_) {
    if (row.name.find('|') == std::string_view::npos) found.push_back(&row);
  }
  return found;
}

std::vector<const Row*> Table::Subcommands(std::string_view container) const {
  std::vector<const Row*> found;
  for (const Row& row : rows_) {
    size_t bar = row.name.rfind('|');
    if (bar != std::string_view::npos && row.name.substr(0, bar) == container) {
      found.push_back(&row);
    }
  }
  return found;
}

namespace {

bool CountedKeys(const Row& row, Arguments args, std::vector<size_t>& out) {
  const auto place = static_cast<size_t>(row.keys.numkeys);
  const int64_t keys = place < args.size() ? base::ParseInt64(args[place]).value_or(0) : 0;
  const auto left = static_cast<int64_t>(args.size()) - static_cast<int64_t>(place) - 1;
  // A wrong count is an error of its own; of scripts, which need no keys, it says nothing.
  if (keys < 1 || keys > left) return (row.flags & kNoMandatoryKeys) != 0;
  for (size_t i = 1; i <= static_cast<size_t>(keys); ++i)
    out.push_back(place + i);
  return true;
}

// Read as the commands read them (XREAD, XREADGROUP): a group or a consumer may have the word's name.
bool HalvedKeys(const KeyPositions& keys, Arguments args, std::vector<size_t>& out) {
  size_t word = 1;
  while (word < args.size() && !EqualsIgnoreCase(args[word], keys.halves)) {
    const bool valued = EqualsIgnoreCase(args[word], "count") || EqualsIgnoreCase(args[word], "block");
    word += EqualsIgnoreCase(args[word], "group") ? 3 : valued ? 2 : 1;
  }
  if (word >= args.size()) return false;
  for (size_t i = 1; i <= (args.size() - word - 1) / 2; ++i)
    out.push_back(word + i);
  return true;
}

void OptionKeys(const KeyPositions& keys, Arguments args, std::vector<size_t>& out) {
  std::array<size_t, kOptionsMax> places{};  // of the value of each option; 0: it is not there
  for (size_t i = static_cast<size_t>(keys.options_from); i < args.size(); ++i) {
    size_t o = 0;
    while (o < keys.options.size() && !EqualsIgnoreCase(args[i], keys.options[o].word))
      ++o;
    if (o == keys.options.size()) continue;
    const auto values = static_cast<size_t>(keys.options[o].values);
    if (args.size() - i <= values) continue;
    if (keys.options[o].names_key) places[o] = i + 1;
    i += values;
  }
  for (size_t place : places) {
    if (place != 0) out.push_back(place);
  }
}

}  // namespace

bool KeyIndices(const Row& row, Arguments args, std::vector<size_t>& out) {
  out.clear();
  if (row.keys.first > 0) {
    auto first = static_cast<size_t>(row.keys.first);
    auto step = static_cast<size_t>(row.keys.step);
    auto count = static_cast<int64_t>(args.size());
    int64_t last = row.keys.last < 0 ? count + row.keys.last : row.keys.last;
    for (size_t i = first; static_cast<int64_t>(i) <= last && i < args.size(); i += step) {
      out.push_back(i);
    }
  }
  if ((row.flags & kMovableKeys) == 0) [[likely]]
    return true;
  bool sound = true;
  if (row.keys.numkeys > 0) sound = CountedKeys(row, args, out);
  if (!row.keys.halves.empty()) sound = HalvedKeys(row.keys, args, out);
  if (!row.keys.options.empty()) OptionKeys(row.keys, args, out);
  return sound;
}

bool MayReplicate(const Row& row) {
  return (row.flags & kWrite) != 0 || row.name == "publish" || row.name == "spublish" || row.name == "pfcount";
}

namespace {

void ReplyUnknownCommand(Context& c) {
  constexpr size_t kShownMax = 128;  // as Redis: enough to recognize, too little to flood a log
  std::string text = "ERR unknown command '";
  text.append(c.args[0].substr(0, kShownMax));
  text.append("', with args beginning with: ");
  size_t shown = 0;
  for (size_t i = 1; i < c.count() && shown < kShownMax; ++i) {
    std::string_view arg = c.args[i].substr(0, kShownMax - shown);
    text.append("'").append(arg).append("' ");
    shown += arg.size() + 3;
  }
  c.reply.Error(text);
}

void ReplyUnknownSubcommand(Context& c) {
  // CONFLICT FEED is a container within a container.
  const Row* within = Table::Instance().Find(c.args.first(2));
  const size_t at = within != nullptr && within->handler == nullptr && c.count() > 2 ? 2 : 1;
  std::string text = "ERR unknown subcommand '";
  text.append(c.args[at].substr(0, 128)).append("'. Try ");
  for (char ch : c.args[0])
    text.push_back(ToUpper(ch));
  if (at == 2) {
    text.push_back(' ');
    for (char ch : c.args[1])
      text.push_back(ToUpper(ch));
  }
  text.append(" HELP.");
  c.reply.Error(text);
}

void ReplyWrongArity(Context& c, const Row& row) {
  std::string text = "ERR wrong number of arguments for '";
  text.append(row.name).append("' command");
  c.reply.Error(text);
}

bool KeysFit(Context& c, const Row& row) {
  bool long_argument = false;
  for (std::string_view arg : c.args)
    long_argument |= arg.size() > kKeyBytesMax;
  if (!long_argument) [[likely]]
    return true;
  std::vector<size_t> keys;
  KeyIndices(row, c.args, keys);
  for (size_t i : keys) {
    if (!CheckKeySize(c, c.args[i])) return false;
  }
  return true;
}

// Commands with few arguments check their own sizes.
constexpr size_t kFewArguments = 8;

}  // namespace

bool AllowWrite(Context& c, const Row& row) {
  base::Status allowed = c.cluster.WriteAllowed();
  if (!allowed.ok()) {
    c.reply.Error(allowed.message());
    return false;
  }
  if (!KeysFit(c, row)) return false;
  // What a command writes per argument is at most the argument; what it makes of stored values is
  // checked where it is made.
  if (c.count() <= kFewArguments) [[likely]]
    return true;
  size_t bytes = 0;
  for (std::string_view arg : c.args)
    bytes += arg.size();
  return FitsChange(c, bytes, c.count());
}

namespace {

// There is more than `maxmemory`. As in Redis: what DENYOOM says, and nothing is queued, however little it takes. What
// only reads does not ask for room.
bool AllowMemory(Context& c, const Row& row) {
  const bool queues = c.client.transaction != nullptr && row.handler != Exec && row.name != "discard" &&
                      row.name != "quit" && row.name != "reset";
  if (!queues && row.handler != Exec && (row.flags & (kDenyOom | kRunsScript)) == 0) return true;
  c.out_of_memory = c.cluster.OutOfMemory();
  if (!c.out_of_memory || (!queues && !DeniesOom(c, row))) return true;
  c.reply.Error(kOutOfMemory);
  return false;
}

const Row* Refuse(Context& c, const Row& row) {
  c.client.refused = &row;
  return nullptr;
}

// All that is checked before a command runs, or is queued. Null: the error was given.
const Row* Check(Context& c) {
  bool container = false;
  const Row* row = Table::Instance().Find(c.args, &container);
  if (row == nullptr) [[unlikely]] {
    container ? ReplyUnknownSubcommand(c) : ReplyUnknownCommand(c);
    return nullptr;
  }
  auto count = static_cast<int>(c.count());
  if (row->arity >= 0 ? count != row->arity : count < -row->arity) [[unlikely]] {
    ReplyWrongArity(c, *row);
    return Refuse(c, *row);
  }
  // Before rights, as in Redis: what may not be queued is no attempt at anything.
  if (c.client.transaction != nullptr && (row->flags & kNoMulti) != 0) [[unlikely]] {
    c.reply.Error("ERR Command not allowed inside a transaction");
    return Refuse(c, *row);
  }
  if (c.client.judged && !AllowUser(c, *row)) [[unlikely]] return Refuse(c, *row);
  // Who has waited was let in when there was room, and is served as in Redis.
  if (c.keys.over_memory_line() && c.ready == nullptr && !AllowMemory(c, *row)) [[unlikely]] return Refuse(c, *row);
  if ((row->flags & kWrite) != 0 && !AllowWrite(c, *row)) return Refuse(c, *row);
  return row;
}

// What a client that monitors must leave alone, as in Redis.
bool TouchesKeys(const Context& c, const Row& row) {
  if ((row.flags & (kReadonly | kWrite | kRunsScript)) != 0) return true;
  if (row.name == "publish" || row.name == "spublish") return true;
  return row.handler == Exec && c.client.transaction != nullptr && c.client.transaction->writes;
}

// Check of what a subscriber, or a client in a transaction, asks for. Null: it is not to be run now.
const Row* CheckInState(Context& c) {
  const size_t out_before = c.reply.out().size();
  const Row* row = Check(c);
  if (row != nullptr && c.client.subscribed != 0 && !AllowSubscriber(c, *row)) row = Refuse(c, *row);
  if (row != nullptr && c.client.monitors && TouchesKeys(c, *row)) {
    c.reply.Error("ERR Replica can't interact with the keyspace");
    row = Refuse(c, *row);
  }
  if (c.client.transaction == nullptr) return row;
  if (row == nullptr) {
    NoteRefused(c, out_before);
    return nullptr;
  }
  return Enqueue(c, *row) ? nullptr : row;
}

// CLIENT CACHING is about the next command, or the next transaction.
void EndCaching(Context& c, const Row* row) {
  if (c.client.transaction != nullptr || (row != nullptr && row->name.starts_with("client|"))) return;
  if (c.client.tracking != nullptr) c.client.tracking->caching = false;
}

const Row* Run(Context& c) {
  c.client.ran = c.client.refused = nullptr;
  const bool in_state = c.client.transaction != nullptr || c.client.subscribed != 0 || c.client.monitors;
  const Row* row = in_state ? CheckInState(c) : Check(c);
  if (row == nullptr) {
    if (c.client.tracking != nullptr) EndCaching(c, row);
    return nullptr;
  }
  c.client.ran = row;
  c.client.last_command = row->name;
  c.client.active_ms = c.now_ms;
  const bool shown = c.cluster.monitors().any();
  // As in Redis a script comes before what it calls, all else behind what it does.
  if (shown && (row->flags & kRunsScript) != 0) FeedMonitors(c, *row, /*of_script=*/false);
  if (c.agreed != nullptr && ((row->flags & kWrite) != 0 || row->handler == Exec)) [[unlikely]] {
    if (c.agreed->Takes(c, *row)) {
      if (shown && (row->flags & kRunsScript) == 0) FeedMonitors(c, *row, /*of_script=*/false);
      if (c.client.tracking != nullptr) EndCaching(c, row);
      return row;
    }
  }
  if (c.notify) [[unlikely]] {
    RunAndNotify(c, *row);
  } else {
    RunHandler(c, *row);
  }
  if (shown && (row->flags & kRunsScript) == 0) [[unlikely]]
    FeedMonitors(c, *row, /*of_script=*/false);
  if (c.client.tracking != nullptr) [[unlikely]] {
    TrackRead(c, *row);
    EndCaching(c, row);
  }
  return row;
}

}  // namespace

const Row* Dispatch(Context& c) {
  Client::ReplyMode mode = c.client.reply_mode;
  if (mode == Client::ReplyMode::kOn) [[likely]]
    return Run(c);
  resp::Buffer& out = c.reply.out();
  size_t before = out.size();
  // SKIP holds for this command only, unless the command is another CLIENT REPLY.
  if (mode == Client::ReplyMode::kSkipNext) c.client.reply_mode = Client::ReplyMode::kOn;
  const Row* row = Run(c);
  // What turns replies on is answered: CLIENT REPLY ON, and RESET behind OFF, but not behind SKIP.
  const bool turned_on = mode == Client::ReplyMode::kOff
                             ? c.client.reply_mode == Client::ReplyMode::kOn
                             : row != nullptr && row->handler == ClientReply && EqualsIgnoreCase(c.args[2], "on");
  if (c.suspended) {
    c.client.reply_mode = mode;
  } else if (!c.pushed && !turned_on) {
    out.Truncate(before);
  }
  return row;
}

}  // namespace polyarch::command
