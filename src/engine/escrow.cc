#include "engine/escrow.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/codec.h"
#include "base/number.h"
#include "base/planted.h"
#include "engine/engine.h"
#include "wire/escrow_message.h"

namespace polyarch::engine {

namespace {

constexpr uint8_t kFormat = 1;
constexpr size_t kIdBytes = 8;
constexpr char kNobody[] = "\0\0\0\0\0\0\0";  // a holder that there is not
constexpr size_t kFieldBytes = 2 * kIdBytes;  // stock, holder
constexpr int64_t kDutyUs = 100'000;
constexpr int64_t kAskAgainUs = 300'000;  // somebody else, if who was asked has sent nothing
constexpr int64_t kWishUs = 3'000'000;    // and it is given up, unless a client asks again
constexpr int64_t kUseUs = 10'000'000;    // what is spent within that time, on the mean, should be here
constexpr int64_t kSweepUs = 10'000'000;
constexpr size_t kWishesMax = 100'000;
constexpr size_t kHoldersMax = 500;       // of one stock
constexpr int64_t kDrainedUs = 10'000'000;
constexpr size_t kAskedAtOnce = 200;      // stocks, in a tick
constexpr size_t kSweptAtOnce = 20;

constexpr std::string_view kStockField = "escrow";
constexpr std::string_view kPlaceField = "of";
constexpr std::string_view kTotalField = "total";
constexpr std::string_view kShareField = "share:";
constexpr std::string_view kClosedField = "closed:";

std::string Hex(uint64_t value) {
  std::string out(16, '0');
  for (size_t i = out.size(); i-- > 0; value >>= 4)
    out[i] = "0123456789abcdef"[value & 15];
  return out;
}

std::optional<uint64_t> ParseHex(std::string_view text) {
  if (text.size() != 16) return std::nullopt;
  uint64_t value = 0;
  for (char c : text) {
    const char* digits = "0123456789abcdef";
    const char* at = std::find(digits, digits + 16, c);
    if (at == digits + 16) return std::nullopt;
    value = value << 4 | static_cast<uint64_t>(at - digits);
  }
  return value;
}

std::optional<int64_t> ParseAmount(std::string_view text) {
  const std::optional<int64_t> value = base::ParseInt64(text);
  return value && *value >= 0 && *value <= kEscrowMax ? value : std::nullopt;
}

std::string TooMuch() {
  return "ERR a stock may come to " + std::to_string(kEscrowMax) + " units in all";
}

// Under which a holder goes on that was closed.
uint64_t NextOf(uint64_t holder) {
  return holder * 0x9e3779b97f4a7c15 + 1;
}

std::string FieldOf(const std::string& stock, uint64_t holder) {
  std::string field;
  base::PutFixed64(field, ParseHex(stock).value_or(0));
  base::PutFixed64(field, holder);
  return field;
}

}  // namespace

// ---- rows, and what was agreed on

void EscrowRow::Join(const EscrowRow& other) {
  if (leader.empty()) leader = other.leader;
  made = std::max(made, other.made);
  spent = std::max(spent, other.spent);
  for (const auto& [to, total] : other.moved) {
    int64_t& mine = moved[to];
    mine = std::max(mine, total);
  }
}

std::string Encode(const EscrowRow& row) {
  std::string out;
  base::PutFixed8(out, kFormat);
  base::PutBytes(out, row.leader);
  base::PutVarint(out, static_cast<uint64_t>(row.made));
  base::PutVarint(out, static_cast<uint64_t>(row.spent));
  base::PutVarint(out, row.moved.size());
  for (const auto& [to, total] : row.moved) {
    base::PutFixed64(out, to);
    base::PutVarint(out, static_cast<uint64_t>(total));
  }
  return out;
}

bool Decode(std::string_view bytes, EscrowRow& row) {
  base::Reader in(bytes);
  if (in.Fixed8() != kFormat) return false;
  auto amount = [&in](int64_t& out) {
    const uint64_t value = in.Varint();
    out = static_cast<int64_t>(value);
    return in.ok() && value <= static_cast<uint64_t>(kEscrowMax);
  };
  row = {};
  row.leader = in.Bytes();
  if (!amount(row.made) || !amount(row.spent)) return false;
  const uint64_t count = in.Varint();
  if (!in.ok() || count > in.remaining()) return false;
  for (uint64_t i = 0; i < count; ++i) {
    const uint64_t to = in.Fixed64();
    int64_t total = 0;
    if (!amount(total)) return false;
    row.moved[to] = total;
  }
  return in.ok() && in.empty();
}

// FNV-1a, 64 bits.
std::string Stock::PlaceOf(uint8_t db, std::string_view key) {
  uint64_t hash = 0xcbf29ce484222325;
  auto add = [&hash](uint8_t byte) { hash = (hash ^ byte) * 0x100000001b3; };
  add(db);
  for (char c : key)
    add(static_cast<uint8_t>(c));
  return Hex(hash);
}

std::optional<Stock> Stock::Of(const keyspace::PlainValue& value, uint8_t db, std::string_view key) {
  if (value.type != crdt::Type::kHash) return std::nullopt;
  Stock stock;
  std::optional<int64_t> total;
  bool here = false;
  for (const auto& [name, text] : value.fields) {
    const std::string_view field = name;
    if (field == kStockField && ParseHex(text)) {
      stock.id = text;
    } else if (field == kPlaceField) {
      here = text == PlaceOf(db, key);
    } else if (field == kTotalField) {
      total = ParseAmount(text);
    } else if (field.starts_with(kShareField)) {
      const auto holder = ParseHex(field.substr(kShareField.size()));
      const size_t space = text.find(' ');
      const auto amount = ParseAmount(std::string_view(text).substr(0, space));
      if (!holder || !amount || space == std::string::npos) return std::nullopt;
      stock.shares[*holder] = {text.substr(space + 1), *amount};
    } else if (field.starts_with(kClosedField)) {
      const auto holder = ParseHex(field.substr(kClosedField.size()));
      const size_t space = text.find(' ');
      if (!holder || space == std::string::npos) return std::nullopt;
      const auto amount = ParseAmount(std::string_view(text).substr(0, space));
      const auto heir = ParseHex(std::string_view(text).substr(space + 1));
      if (!amount || !heir) return std::nullopt;
      stock.closed[*holder] = {*amount, *heir};
    }
  }
  if (stock.id.empty() || !total || !here) return std::nullopt;
  stock.total = *total;
  return stock;
}

std::string Escrow::RowsKey(const Key& key) {
  std::string out(kEscrowPrefix);
  out.push_back(static_cast<char>(key.first));
  return out + key.second;
}

std::optional<Escrow::Key> Escrow::KeyOfRows(std::string_view reserved_key) {
  if (reserved_key.size() <= kEscrowPrefix.size()) return std::nullopt;
  reserved_key.remove_prefix(kEscrowPrefix.size());
  const auto db = static_cast<uint8_t>(reserved_key[0]);
  if (db >= crdt::kDatabases) return std::nullopt;
  return Key(db, reserved_key.substr(1));
}

void Escrow::NoteRows(std::string_view reserved_key) {
  if (auto key = KeyOfRows(reserved_key)) rows_.insert(std::move(*key));
}

void Escrow::RowsChanged(std::string_view reserved_key, keyspace::Cause cause) {
  auto key = KeyOfRows(reserved_key);
  if (!key) return;
  rows_.insert(*key);
  if (!engine_.replaying_) engine_.KeyModified(engine_.keyspace_.Ref(key->first, key->second), cause);
}

std::optional<Escrow::View> Escrow::Load(const Key& key) {
  if (!engine_.policies_.IsSync(key.second)) return std::nullopt;
  keyspace::Keyspace& keys = engine_.keyspace_;
  const keyspace::PlainShown shown = keyspace::ReadPlain(keys, keys.Ref(key.first, key.second));
  if (shown.kind != keyspace::PlainShown::Kind::kValue) return std::nullopt;
  std::optional<Stock> stock = Stock::Of(shown.value, key.first, key.second);
  if (!stock) return std::nullopt;
  View view;
  view.stock = std::move(*stock);
  if (rows_.count(key) == 0) return view;
  const std::string name = RowsKey(key);
  const std::string prefix = FieldOf(view.stock.id, 0).substr(0, kIdBytes);
  const crdt::KeyState state = keys.State(keys.Ref(crdt::kReservedDatabase, name));
  for (const crdt::Element& element : state.elements) {
    if (element.type != crdt::Type::kHash || element.name.size() != kFieldBytes) continue;
    if (!element.name.starts_with(prefix)) continue;
    base::Reader in(std::string_view(element.name).substr(kIdBytes));
    const uint64_t holder = in.Fixed64();
    if (holder == 0) return std::nullopt;  // it was deleted, and its rows are gone: see SweepOne
    // One writes it; two versions are those of two processes that had the same disk (hazards of restored machines).
    for (const crdt::Version& version : element.versions) {
      EscrowRow row;
      if (!version.absent && Decode(version.value, row)) view.rows[holder].Join(row);
    }
  }
  return view;
}

std::optional<Escrow::View> Escrow::LoadFor(command::Context& c, std::string_view key) {
  if (!engine_.policies_.IsSync(key)) {
    c.reply.Error("ERR '" + std::string(key) +
                  "' is not under policy 'sync': that there is one stock, and not two, is agreed on; POLICY SET <pattern> "
                  "sync, then ESCROW CREATE");
    return std::nullopt;
  }
  std::optional<View> view = Load({c.client.db, std::string(key)});
  if (!view) c.reply.Error("ERR there is no stock '" + std::string(key) + "' here; ESCROW CREATE makes one");
  return view;
}

// ---- who holds what

uint64_t Escrow::HolderOf(const Stock& stock) const {
  uint64_t holder = holder_;
  // Somebody has said that this disk was gone: what it had is somebody else's. It goes on with nothing.
  while (stock.closed.count(holder) != 0)
    holder = NextOf(holder);
  return holder;
}

int64_t Escrow::RightsOf(const View& view, uint64_t holder) {
  int64_t rights = 0;
  if (auto share = view.stock.shares.find(holder); share != view.stock.shares.end()) rights += share->second.amount;
  for (const auto& [of, closed] : view.stock.closed) {
    if (closed.heir == holder) rights += closed.amount;
    if (of == holder) rights -= closed.amount;
  }
  for (const auto& [of, row] : view.rows) {
    if (auto to = row.moved.find(holder); to != row.moved.end()) rights += to->second;
    if (of != holder) continue;
    rights += row.made - row.spent;
    for (const auto& [to, total] : row.moved)
      rights -= total;
  }
  return rights;
}

std::set<uint64_t> Escrow::HoldersOf(const View& view) {
  std::set<uint64_t> holders;
  for (const auto& [holder, share] : view.stock.shares)
    holders.insert(holder);
  for (const auto& [holder, closed] : view.stock.closed) {
    holders.insert(holder);
    holders.insert(closed.heir);
  }
  for (const auto& [holder, row] : view.rows) {
    holders.insert(holder);
    for (const auto& [to, total] : row.moved)
      holders.insert(to);
  }
  return holders;
}

std::string Escrow::LeaderOf(const View& view, uint64_t holder) const {
  if (holder == HolderOf(view.stock)) return engine_.options_.leader_id;
  if (auto row = view.rows.find(holder); row != view.rows.end()) return row->second.leader;
  if (auto share = view.stock.shares.find(holder); share != view.stock.shares.end()) return share->second.leader;
  for (const std::string& name : Members()) {
    if (PresentHolder(name, view.stock) == holder) return name;
  }
  return Hex(holder);
}

std::optional<uint64_t> Escrow::PresentHolder(const std::string& leader, const Stock& stock) const {
  const std::optional<std::string> text = engine_.Reserved(std::string(kHolderPrefix) + leader);
  std::optional<uint64_t> holder = text ? ParseHex(*text) : std::nullopt;
  while (holder && stock.closed.count(*holder) != 0)
    *holder = NextOf(*holder);
  return holder;
}

std::set<uint64_t> Escrow::NumbersOf(const std::string& leader, const Stock& stock) const {
  std::set<uint64_t> numbers;
  const std::optional<std::string> text = engine_.Reserved(std::string(kHolderPrefix) + leader);
  std::optional<uint64_t> holder = text ? ParseHex(*text) : std::nullopt;
  for (; holder && numbers.insert(*holder).second && stock.closed.count(*holder) != 0;) *holder = NextOf(*holder);
  return numbers;
}

bool Escrow::IsPresent(const View& view, uint64_t holder) const {
  return PresentHolder(LeaderOf(view, holder), view.stock) == holder;
}

bool Escrow::InReach(const std::string& leader) const {
  return leader == engine_.options_.leader_id || engine_.replica_.InReach(leader);
}

std::vector<std::string> Escrow::Members() const {
  std::vector<std::string> names;
  for (const auto& [name, member] : engine_.replica_.members()) {
    const auto admitted = engine_.admissions_.find(name);
    if (admitted == engine_.admissions_.end() || !admitted->second.all_retired()) names.push_back(name);
  }
  return names;
}

bool Escrow::may_spend() const {
  return ready_ && holder_ != 0 && !set_back_;
}

bool Escrow::MaySpend(command::Context& c) const {
  if (may_spend()) return true;
  if (set_back_) {
    c.reply.Error("ERR this leader was set back, and does not know what it had sold: let it join with an empty directory");
  } else if (holder_ == 0) {
    c.reply.Error("ERR this leader cannot hold rights before it is started again");
  } else {
    c.reply.Error("TRYAGAIN this leader has just started, and asks the others what it had sold");
  }
  return false;
}

void Escrow::PutRow(keyspace::Change& change, const Key& key, const View& view, uint64_t holder, EscrowRow row) {
  row.leader = engine_.options_.leader_id;
  const std::string name = RowsKey(key);
  rows_.insert(key);
  change.PutElement(engine_.keyspace_.Ref(crdt::kReservedDatabase, name),
                    crdt::Type::kHash,
                    FieldOf(view.stock.id, holder),
                    Encode(row));
  wrote_ = true;
  in_frame_ = !PLANTED(kEscrowToldEarly);
  engine_.sync_wanted_ = true;
}

void Escrow::TakeOver(keyspace::Change& change, const Key& key, View& view) {
  const uint64_t own = HolderOf(view.stock);
  for (uint64_t holder = holder_; holder != own; holder = NextOf(holder)) {
    EscrowRow& row = view.rows[holder];
    const int64_t rest = std::min(RightsOf(view, holder), kEscrowMax - row.moved[own]);
    if (rest <= 0) continue;
    row.moved[own] += rest;
    PutRow(change, key, view, holder, row);
  }
}

// ---- commands

void Escrow::Create(command::Context& c, std::string_view key, int64_t total) {
  const Key name(c.client.db, key);
  std::vector<std::string> fields = {"hset", name.second};
  auto add = [&](std::string field, std::string value) {
    fields.push_back(std::move(field));
    fields.push_back(std::move(value));
  };
  add(std::string(kStockField), Hex(engine_.random_.Next() ^ engine_.host_.Entropy()));
  add(std::string(kPlaceField), Stock::PlaceOf(name.first, name.second));
  add(std::string(kTotalField), std::to_string(total));
  // Among those who are there; who is not may be away for long, and gets rights when it asks.
  std::vector<std::pair<std::string, uint64_t>> holders;
  const Stock none;
  for (const std::string& leader : Members()) {
    const auto holder = PresentHolder(leader, none);
    if (holder && InReach(leader)) holders.emplace_back(leader, *holder);
  }
  if (holders.empty() && holder_ != 0) holders.emplace_back(engine_.options_.leader_id, holder_);
  if (holders.size() > kHoldersMax) holders.resize(kHoldersMax);
  if (holders.empty()) return c.reply.Error("ERR this leader cannot hold rights");
  const auto count = static_cast<int64_t>(holders.size());
  int64_t rest = total % count;
  for (const auto& [leader, holder] : holders) {
    add(std::string(kShareField) + Hex(holder), std::to_string(total / count + (rest > 0 ? 1 : 0)) + " " + leader);
    --rest;
  }
  engine_.agreed_.AskChange(
      c,
      name.second,
      {{{"exists", name.second}, ":0\r\n", "ERR '" + name.second + "' exists; DEL it first, or ESCROW GRANT adds to a stock"}},
      std::move(fields),
      "+OK\r\n");
}

void Escrow::Reclaim(command::Context& c, std::string_view key, std::string_view leader) {
  const std::optional<View> view = LoadFor(c, key);
  if (!view) return;
  if (!MaySpend(c)) return;
  const uint64_t own = HolderOf(view->stock);
  std::vector<std::string> fields = {"hset", std::string(key)};
  std::vector<AgreedKeys::Unless> unless = {
      {{"hget", std::string(key), std::string(kStockField)},
       "$16\r\n" + view->stock.id + "\r\n",
       "TRYAGAIN the stock is another one by now; nothing was reclaimed"}};
  bool known = false;
  bool reclaimed = false;
  int64_t amount = 0;
  // A living leader takes over itself what came to its earlier numbers.
  const std::set<uint64_t> living = InReach(std::string(leader)) ? NumbersOf(std::string(leader), view->stock) : std::set<uint64_t>();
  for (uint64_t holder : HoldersOf(*view)) {
    if (LeaderOf(*view, holder) != leader || holder == own) continue;
    known = true;
    if (living.count(holder) != 0) continue;
    const int64_t rights = std::max<int64_t>(RightsOf(*view, holder), 0);
    const auto closed = view->stock.closed.find(holder);
    reclaimed = reclaimed || closed != view->stock.closed.end();
    std::string was = "$-1\r\n";
    int64_t more = rights;
    uint64_t heir = own;
    if (closed != view->stock.closed.end()) {
      // What has come to it since, unseen by whoever closed it: that one's heir has it.
      if (rights == 0) continue;
      heir = closed->second.heir;
      const std::string text = std::to_string(closed->second.amount) + " " + Hex(heir);
      was = "$" + std::to_string(text.size()) + "\r\n" + text + "\r\n";
      more += closed->second.amount;
    } else if (c.client.protocol != 2) {
      was = "_\r\n";
    }
    amount += rights;
    if (more > kEscrowMax) return c.reply.Error(TooMuch());
    fields.push_back(std::string(kClosedField) + Hex(holder));
    fields.push_back(std::to_string(more) + " " + Hex(heir));
    unless.push_back({{"hget", std::string(key), fields[fields.size() - 2]}, was, "ERR its rights were reclaimed already"});
  }
  // Of this leader there may be an earlier disk.
  if (!known && leader == engine_.options_.leader_id)
    return c.reply.Error("ERR that is this leader: what it has here it may spend");
  if (!known) {
    return c.reply.Error("ERR leader '" + std::string(leader.substr(0, 64)) +
                         "' has held no rights of this stock; see ESCROW GET");
  }
  if (fields.size() == 2 && reclaimed) return c.reply.Error("ERR its rights were reclaimed already; see ESCROW GET");
  if (fields.size() == 2) {
    return c.reply.Error("ERR leader '" + std::string(leader.substr(0, 64)) +
                         "' is in reach, and sells what it has; only of one whose disk is gone rights are reclaimed");
  }
  engine_.agreed_.AskChange(
      c, std::string(key), std::move(unless), std::move(fields), ":" + std::to_string(amount) + "\r\n");
}

void Escrow::Grant(command::Context& c, std::string_view key, int64_t amount) {
  const std::optional<View> view = LoadFor(c, key);
  if (!view || !MaySpend(c)) return;
  int64_t all = view->stock.total + amount;
  for (const auto& [holder, row] : view->rows)
    all += row.made;
  if (all > kEscrowMax) return c.reply.Error(TooMuch());
  const Key name(c.client.db, key);
  const uint64_t own = HolderOf(view->stock);
  EscrowRow row;
  if (auto found = view->rows.find(own); found != view->rows.end()) row = found->second;
  row.made += amount;
  PutRow(c.change, name, *view, own, std::move(row));
  c.reply.Integer(RightsOf(*view, own) + amount);
}

void Escrow::Spend(command::Context& c, std::string_view key, int64_t amount) {
  std::optional<View> view = LoadFor(c, key);
  if (!view || !MaySpend(c)) return;
  const Key name(c.client.db, key);
  const uint64_t own = HolderOf(view->stock);
  if (own != holder_) TakeOver(c.change, name, *view);
  const int64_t here = RightsOf(*view, own);
  if (here < amount && !PLANTED(kEscrowOversell)) {
    ++refused_;
    Want(name, view->stock, amount, NoteUse(name, 0));
    return c.reply.Error(NoRights(*view));
  }
  EscrowRow row;
  if (auto found = view->rows.find(own); found != view->rows.end()) row = found->second;
  if (row.spent > kEscrowMax - amount) return c.reply.Error(TooMuch());
  row.spent += amount;
  PutRow(c.change, name, *view, own, std::move(row));
  ++spends_;
  if (const auto wish = wishes_.find(name); wish != wishes_.end())
    wish->second.must = std::max<int64_t>(wish->second.must - amount, 0);
  const int64_t use = NoteUse(name, amount);
  // Less than half of what is spent in a while: more is asked for before a client must be refused.
  if (here - amount < use / 2) Want(name, view->stock, 0, use);
  c.reply.Integer(here - amount);
}

std::string Escrow::NoRights(const View& view) const {
  const uint64_t own = HolderOf(view.stock);
  std::string text = "NORIGHTS " + std::to_string(std::max<int64_t>(RightsOf(view, own), 0)) + " here";
  for (uint64_t holder : HoldersOf(view)) {
    const int64_t rights = RightsOf(view, holder);
    if (holder == own || rights <= 0) continue;
    const std::string leader = LeaderOf(view, holder);
    text += ", " + std::to_string(rights) + " at " + leader;
    if (!IsPresent(view, holder)) {
      text += " (on a disk that it has no more)";
    } else if (!InReach(leader)) {
      text += " (unreachable)";
    }
  }
  return text;
}

void Escrow::Get(command::Context& c, std::string_view key) {
  const std::optional<View> view = LoadFor(c, key);
  if (!view) return;
  const uint64_t own = HolderOf(view->stock);
  int64_t total = view->stock.total;
  int64_t spent = 0;
  for (const auto& [holder, row] : view->rows) {
    total += row.made;
    spent += row.spent;
  }
  int64_t deficit = 0;
  struct Line {
    std::string leader;
    int64_t rights;
    std::string_view state;
  };
  std::vector<Line> lines;
  for (uint64_t holder : HoldersOf(*view)) {
    const int64_t rights = RightsOf(*view, holder);
    deficit += std::max<int64_t>(-rights, 0);
    const bool closed = view->stock.closed.count(holder) != 0;
    const std::string leader = LeaderOf(*view, holder);
    lines.push_back({leader,
                     rights,
                     holder == own               ? "here"
                     : closed                    ? "reclaimed"
                     : !IsPresent(*view, holder) ? "old disk"
                     : InReach(leader)           ? "in reach"
                                                 : "out of reach"});
  }
  std::stable_sort(lines.begin(), lines.end(), [](const Line& a, const Line& b) { return a.leader < b.leader; });
  c.reply.Map(6);
  auto number = [&](std::string_view name, int64_t value) {
    c.reply.Bulk(name);
    c.reply.Integer(value);
  };
  number("total", total);
  number("spent", spent);
  number("left", total - spent);
  number("here", RightsOf(*view, own));
  number("deficit", deficit);
  c.reply.Bulk("holders");
  c.reply.Array(lines.size());
  for (const Line& line : lines) {
    c.reply.Array(3);
    c.reply.Bulk(line.leader);
    c.reply.Integer(line.rights);
    c.reply.Bulk(line.state);
  }
}

// ---- moving rights

void Escrow::Want(const Key& key, const Stock& stock, int64_t must, int64_t more) {
  if (wishes_.size() >= kWishesMax && wishes_.count(key) == 0) return;
  if (const auto given_up = given_up_.find(key); given_up != given_up_.end()) {
    if (engine_.now_.mono_us < given_up->second) return;
    given_up_.erase(given_up);
  }
  Wish& wish = wishes_[key];
  if (wish.stock != stock.id) wish = {};
  wish.stock = stock.id;
  const int64_t until_us = engine_.now_.mono_us + kWishUs;
  if (must > 0) {
    wish.must = std::max(wish.must, must);
    wish.must_until_us = until_us;
  }
  wish.more = more;
  wish.until_us = until_us;
  fresh_.insert(key);
}

// So much is spent in kUseUs.
int64_t Escrow::NoteUse(const Key& key, int64_t amount) {
  const int64_t now = engine_.now_.mono_us;
  if (uses_.size() > kWishesMax && now >= next_uses_us_) {
    next_uses_us_ = now + kUseUs;
    std::erase_if(uses_, [now](const auto& entry) { return now - entry.second.at_us > kUseUs; });
  }
  Use& use = uses_[key];
  const double passed = static_cast<double>(now - use.at_us) / static_cast<double>(kUseUs);
  use.recent = use.recent * std::exp(-passed) + static_cast<double>(amount);
  use.at_us = now;
  return static_cast<int64_t>(std::min(use.recent, static_cast<double>(kEscrowMax)));
}

uint64_t Escrow::NextNumber() {
  if (next_number_ == 0) next_number_ = engine_.random_.Next();
  return ++next_number_;
}

void Escrow::TakeInbox() {
  for (; !inbox_.empty(); inbox_.pop_front()) {
    wire::Need need;
    if (!wire::Decode(inbox_.front(), need) || !may_spend()) continue;
    if (need.leader == engine_.options_.leader_id) continue;
    const Key key(need.db, need.key);
    uint64_t& served = served_[{key, need.holder}];
    if (served == need.number && need.number != 0) continue;
    std::optional<View> view = Load(key);
    if (view && HolderOf(view->stock) != holder_) {
      keyspace::Change change(engine_, engine_.keyspace_);
      TakeOver(change, key, *view);
    }
    if (!view || view->stock.id != need.stock || PresentHolder(need.leader, view->stock) != need.holder) continue;
    const std::vector<std::string> members = Members();
    if (std::find(members.begin(), members.end(), need.leader) == members.end()) continue;
    const int64_t now = engine_.now_.mono_us;
    if (const auto drained = drained_.find(need.leader); drained != drained_.end()) {
      if (now < drained->second.until_us) continue;
      drained_.erase(drained);
    }
    auto capped = [](uint64_t amount) { return static_cast<int64_t>(std::min(amount, static_cast<uint64_t>(kEscrowMax))); };
    int64_t more = capped(need.more);
    // Two that both lack some would pass the same units to and fro.
    const auto wish = wishes_.find(key);
    if (wish != wishes_.end() && wish->second.must > 0 && !wish->second.hopeless && wish->second.stock == need.stock &&
        now < wish->second.must_until_us && !need.all) {
      if (need.leader > engine_.options_.leader_id) continue;
      more = 0;
    }
    served = need.number;
    if (need.all) {
      given_up_[key] = now + kDrainedUs;
      wishes_.erase(key);
    }
    Serve(key, *view, need.holder, capped(need.must), more, need.all);
  }
  if (served_.size() > kWishesMax) served_.clear();
  if (given_up_.size() > kWishesMax) given_up_.clear();
}

// What a client there was refused, all of it; beside that at most half of what is left.
void Escrow::Serve(const Key& key, const View& view, uint64_t to, int64_t must, int64_t more, bool all) {
  const uint64_t own = HolderOf(view.stock);
  const int64_t here = std::max<int64_t>(RightsOf(view, own), 0);
  must = std::min(must, here);
  const int64_t amount = all ? here : must + std::min(more, (here - must) / 2);
  if (amount == 0 || to == own) return;
  EscrowRow row;
  if (auto found = view.rows.find(own); found != view.rows.end()) row = found->second;
  if (row.moved[to] > kEscrowMax - amount) return;
  row.moved[to] += amount;
  moved_ += static_cast<uint64_t>(amount);
  keyspace::Change change(engine_, engine_.keyspace_);
  PutRow(change, key, view, own, std::move(row));
}

// Of those in reach the richest first.
void Escrow::AskAround(bool duty) {
  const int64_t now = engine_.now_.mono_us;
  std::vector<Key> keys;
  for (const Key& key : std::exchange(fresh_, {})) {
    if (keys.size() < kAskedAtOnce) keys.push_back(key);
  }
  if (duty) {
    std::erase_if(wishes_, [now](const auto& entry) { return now >= entry.second.until_us; });
    for (const auto& [key, wish] : wishes_) {
      if (keys.size() < kAskedAtOnce && now - wish.asked_us >= kAskAgainUs) keys.push_back(key);
    }
  }
  for (const Key& key : keys) {
    const auto found = wishes_.find(key);
    if (found == wishes_.end()) continue;
    Wish& wish = found->second;
    // Before that only what has come since makes it worth to ask again.
    const bool waits = wish.asked_us >= 0 && now - wish.asked_us < kAskAgainUs;
    if (now >= wish.must_until_us) wish.must = 0;
    const std::optional<View> view = Load(key);
    const uint64_t own = view ? HolderOf(view->stock) : 0;
    const int64_t here = view ? RightsOf(*view, own) : 0;
    if (!view || view->stock.id != wish.stock || (here >= wish.must && here >= wish.more / 2)) {
      wishes_.erase(found);
      continue;
    }
    if (here > wish.here) {
      wish.asked.clear();
    } else if (waits) {
      continue;
    }
    std::vector<std::pair<int64_t, uint64_t>> rich;
    int64_t in_reach = here;
    for (uint64_t holder : HoldersOf(*view)) {
      const int64_t rights = RightsOf(*view, holder);
      if (holder == own || rights <= 0) continue;
      if (!InReach(LeaderOf(*view, holder)) || !IsPresent(*view, holder)) continue;
      in_reach += rights;
      if (wish.asked.count(holder) == 0) rich.emplace_back(rights, holder);
    }
    std::sort(rich.rbegin(), rich.rend());
    // What one alone does not have is asked of several at once; what all together do not have is asked of nobody, or one
    // impossible order would leave all others with nothing.
    wish.hopeless = wish.must > in_reach;
    int64_t lacks = wish.hopeless ? 0 : std::max<int64_t>(wish.must - here, 0);
    for (size_t i = 0; i < rich.size() && (i == 0 || lacks > 0); ++i) {
      const auto& [rights, holder] = rich[i];
      const int64_t more = i == 0 ? wish.more : 0;
      if (lacks == 0 && more == 0) break;
      engine_.replica_.SendRouted(LeaderOf(*view, holder),
                                  wire::Encode(wire::Need{.leader = engine_.options_.leader_id,
                                                          .holder = own,
                                                          .number = NextNumber(),
                                                          .db = key.first,
                                                          .key = key.second,
                                                          .stock = wish.stock,
                                                          .must = static_cast<uint64_t>(std::min(lacks, rights)),
                                                          .more = static_cast<uint64_t>(more)}));
      lacks -= std::min(lacks, rights);
      wish.asked.insert(holder);
    }
    if (rich.empty()) wish.asked.clear();
    wish.asked_us = now;
    wish.here = here;
  }
}

base::Status Escrow::MayRetire(const std::string& leader) {
  if (!InReach(leader)) return {};
  size_t stocks = 0;
  int64_t rights = 0;
  engine_.agreed_.ForEachPresent([&](uint8_t db, std::string_view name) {
    const Key key(db, name);
    const std::optional<View> view = Load(key);
    if (!view) return;
    int64_t has = 0;
    for (uint64_t holder : NumbersOf(leader, view->stock))
      has += std::max<int64_t>(RightsOf(*view, holder), 0);
    if (has == 0) return;
    ++stocks;
    rights += has;
    if (!may_spend()) return;
    engine_.replica_.SendRouted(leader,
                                wire::Encode(wire::Need{.leader = engine_.options_.leader_id,
                                                        .holder = HolderOf(view->stock),
                                                        .number = NextNumber(),
                                                        .db = db,
                                                        .key = key.second,
                                                        .stock = view->stock.id,
                                                        .all = true}));
  });
  if (stocks == 0) {
    drained_.erase(leader);
    return {};
  }
  const int64_t now = engine_.now_.mono_us;
  Drain& drain = drained_[leader];
  drain.until_us = now + kDrainedUs;
  if (drain.rights != rights) drain.since_us = now;
  drain.rights = rights;
  const std::string what = "leader '" + leader + "' holds rights to " + std::to_string(rights) + " units of " +
                           std::to_string(stocks) + " stocks (ESCROW)";
  // It takes no writes, say.
  if (now - drain.since_us >= kDrainedUs)
    return base::Invalid(what + ", and gives none away: stop it, then LEADER RETIRE it and ESCROW RECLAIM what it had");
  return base::Invalid(what + ": they are moved here first; try again in a moment");
}

// ---- duties

// Others must know under what this leader holds. Only who may be given rights tells: a cluster without such keys is as
// silent as ever.
void Escrow::TellHolder() {
  if (holder_ == 0 || !engine_.agreed_.in_use() || engine_.keyspace_.merging()) return;
  const std::string key = std::string(kHolderPrefix) + engine_.options_.leader_id;
  if (engine_.Reserved(key) != Hex(holder_)) engine_.PutReserved(key, Hex(holder_));
  holder_told_ = true;
}

// Rows of stocks that are no more: they go when all have said that they have seen the end. Somebody who has not may still
// bring the stock back, by electors of its own (LEADER ELECTORS FORCE), and would find nothing sold.
void Escrow::Sweep() {
  const int64_t now = engine_.now_.mono_us;
  if (rows_.empty() || now < next_sweep_us_ || engine_.keyspace_.merging()) return;
  const std::vector<std::string> members = Members();
  const bool first = std::all_of(members.begin(), members.end(), [&](const std::string& name) {
    return name >= engine_.options_.leader_id || !InReach(name);
  });
  for (size_t i = 0; i < kSweptAtOnce; ++i) {
    const auto at = rows_.lower_bound(swept_);
    if (at == rows_.end()) {
      swept_ = {};
      next_sweep_us_ = now + kSweepUs;
      return;
    }
    const Key key = *at;
    swept_ = key;
    swept_.second.push_back('\0');  // the next one
    SweepOne(key, first);
  }
}

void Escrow::SweepOne(const Key& key, bool first) {
  keyspace::Keyspace& keys = engine_.keyspace_;
  const std::string name = RowsKey(key);
  const keyspace::KeyRef ref = keys.Ref(crdt::kReservedDatabase, name);
  if (!keys.Exists(ref)) {
    rows_.erase(key);
    return;
  }
  if (!first) return;
  const std::optional<DecidedRecord> record = engine_.agreed_.NewestEverywhere(key);
  // When `sync` has ended the stock is an ordinary hash, and may come back.
  if (!record || record->released) return;
  keyspace::PlainValue value;
  std::string present;
  if (!record->absent && keyspace::Decode(record->value, value)) {
    if (const auto stock = Stock::Of(value, key.first, key.second))
      present = FieldOf(stock->id, 0).substr(0, kIdBytes);
  }
  std::vector<std::string> gone;
  std::set<std::string> ended;  // stocks
  keys.Open(ref, crdt::Type::kHash).ForEach([&](const keyspace::ElementView& element) {
    const std::string_view field = element.key();
    if (field.size() != kFieldBytes || field.substr(kIdBytes) == std::string_view(kNobody, kIdBytes)) return true;
    if (!present.empty() && field.starts_with(present)) return true;
    gone.emplace_back(field);
    ended.emplace(field.substr(0, kIdBytes));
    return true;
  });
  if (gone.empty()) return;
  keyspace::Change change(engine_, keys);
  for (const std::string& field : gone)
    change.RemoveElement(ref, crdt::Type::kHash, field);
  // What is left of it: so that nobody who puts its hash back, while it is an ordinary one, sells all of it once more.
  for (const std::string& id : ended)
    change.PutElement(ref, crdt::Type::kHash, id + std::string(kNobody, kIdBytes), "");
}

void Escrow::Tick() {
  const int64_t now = engine_.now_.mono_us;
  if (!engine_.WriteAllowed().ok()) {
    inbox_.clear();
    return;
  }
  const bool duty = now >= next_duty_us_;
  if (duty) {
    next_duty_us_ = now + kDutyUs;
    ready_ = ready_ || engine_.owners_.ready();
    TellHolder();
  }
  if (!inbox_.empty()) TakeInbox();
  if (!fresh_.empty() || (duty && !wishes_.empty())) AskAround(duty);
  if (duty) Sweep();
}

void Escrow::Info(std::string& out) const {
  auto line = [&](const char* name, uint64_t value) {
    out += std::string(name) + ":" + std::to_string(value) + "\r\n";
  };
  line("escrow_ready", may_spend() ? 1 : 0);
  line("escrow_spends", spends_);
  line("escrow_refused", refused_);
  line("escrow_moved", moved_);
}

}  // namespace polyarch::engine
