// Bounded counters (ESCROW): a stock that leaders sell without asking each other, also when they are cut off, and never
// below zero. Each leader has rights to so many units, and spends only those (docs/design/0030-escrow.md; Balegas et
// al., "Extending Eventually Consistent Cloud Databases for Enforcing Numeric Invariants", 2015). Part of the engine; in
// its ticks only.
//
// What a stock is was agreed on (policy `sync`): a hash with its id, its total, and who got which share of it. What
// became of the shares is in the reserved database: a row for each holder of rights, which that one alone writes.
//
// A holder is a place on a disk (Options::holder), not a process: rights survive every restart, and never come with a
// copy of a directory. What it has spent is on its disk before it is answered and before anybody else is told, whatever
// the durability: so nobody ever knows more of it than its disk does.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"
#include "clock/origin.h"
#include "command/host.h"
#include "crdt/key_state.h"
#include "keyspace/decided.h"

namespace polyarch::engine {

class Engine;

// Rows in the reserved database: "escrow/<db byte><key>", a hash of stock and holder (16 bytes) to EscrowRow.
inline constexpr std::string_view kEscrowPrefix = "escrow/";
// Who holds for a leader: "holder/<leader>", 16 hexadecimal digits.
inline constexpr std::string_view kHolderPrefix = "holder/";
// Of a stock, an amount, a holder's totals.
inline constexpr int64_t kEscrowMax = int64_t{1} << 52;

// What one holder has done; every number only ever grows. docs/FORMATS.md, "escrow 1".
struct EscrowRow {
  std::string leader;  // whose holder it is
  int64_t made = 0;    // ESCROW GRANT
  int64_t spent = 0;
  std::map<uint64_t, int64_t> moved;  // to other holders, by those
  // The same holder's row as two have seen it: the later one, number by number.
  void Join(const EscrowRow& other);
  friend bool operator==(const EscrowRow&, const EscrowRow&) = default;
};
std::string Encode(const EscrowRow& row);
bool Decode(std::string_view bytes, EscrowRow& row);

// What was agreed on: the fields of the key's hash.
struct Stock {
  struct Share {
    std::string leader;
    int64_t amount = 0;
  };
  struct Closed {
    int64_t amount = 0;  // rights that went to the heir
    uint64_t heir = 0;
  };
  std::string id;  // 16 hexadecimal digits
  int64_t total = 0;
  std::map<uint64_t, Share> shares;
  std::map<uint64_t, Closed> closed;  // holders whose disks are gone (ESCROW RECLAIM)

  // Nothing: it is none, or one of another key.
  static std::optional<Stock> Of(const keyspace::PlainValue& value, uint8_t db, std::string_view key);
  // What its field "of" says: a copy under another name, which has no rows, is no stock.
  static std::string PlaceOf(uint8_t db, std::string_view key);
};

class Escrow final : public command::EscrowHost {
 public:
  Escrow(Engine& engine, uint64_t holder) : engine_(engine), holder_(holder) {}

  // ---- command::EscrowHost
  void Create(command::Context& c, std::string_view key, int64_t total) override;
  void Grant(command::Context& c, std::string_view key, int64_t amount) override;
  void Spend(command::Context& c, std::string_view key, int64_t amount) override;
  void Get(command::Context& c, std::string_view key) override;
  void Reclaim(command::Context& c, std::string_view key, std::string_view leader) override;

  // ---- what Engine tells
  // A key with kEscrowPrefix of the reserved database is there.
  void NoteRows(std::string_view reserved_key);
  // It has changed: so has what clients see of the stock.
  void RowsChanged(std::string_view reserved_key, keyspace::Cause cause);
  // This directory goes on as another leader: what was held in it is the other one's.
  void SetHolder(uint64_t holder) { holder_ = holder; }
  // This process is an earlier one of itself: what that one has sold since cannot be known.
  void SetBack() { set_back_ = true; }
  void Arrived(std::string_view message) { inbox_.emplace_back(message); }
  void Tick();
  // Did the change under way, or that which has just ended, write a row? Asked once.
  bool TakeWrote() { return std::exchange(wrote_, false); }
  // Has the frame under way a row in it? Then nobody is sent it before it is durable. Asked once.
  bool TakeInFrame() { return std::exchange(in_frame_, false); }
  // May this leader be taken out? Not before its rights are elsewhere, if it can be asked for them.
  base::Status MayRetire(const std::string& leader);

  bool in_use() const { return !rows_.empty() || holder_told_; }
  void Info(std::string& out) const;

 private:
  using Key = std::pair<uint8_t, std::string>;
  struct View {
    Stock stock;
    std::map<uint64_t, EscrowRow> rows;
  };
  struct Wish {
    std::string stock;
    int64_t must = 0;  // of a client that was refused
    int64_t must_until_us = 0;
    bool hopeless = false;  // there is not so much in reach
    int64_t more = 0;
    int64_t until_us = 0;
    int64_t asked_us = -1;
    int64_t here = 0;  // when it was asked
    std::set<uint64_t> asked;
  };
  // How much is spent here, for ESCROW's own use only: what falls due within kUseUs.
  struct Use {
    double recent = 0;
    int64_t at_us = 0;
  };

  static std::string RowsKey(const Key& key);
  static std::optional<Key> KeyOfRows(std::string_view reserved_key);
  std::optional<View> Load(const Key& key);
  // As Load; else the error is given.
  std::optional<View> LoadFor(command::Context& c, std::string_view key);
  // Under which this process holds rights of that stock: another one once it was closed.
  uint64_t HolderOf(const Stock& stock) const;
  static int64_t RightsOf(const View& view, uint64_t holder);
  static std::set<uint64_t> HoldersOf(const View& view);
  std::string LeaderOf(const View& view, uint64_t holder) const;
  // The one that its leader holds under now?
  bool IsPresent(const View& view, uint64_t holder) const;
  // Its number and those before it, which were closed.
  std::set<uint64_t> NumbersOf(const std::string& leader, const Stock& stock) const;
  std::optional<uint64_t> PresentHolder(const std::string& leader, const Stock& stock) const;
  bool InReach(const std::string& leader) const;
  std::vector<std::string> Members() const;
  bool may_spend() const;
  void PutRow(keyspace::Change& change, const Key& key, const View& view, uint64_t holder, EscrowRow row);
  // The error is given, if not.
  bool MaySpend(command::Context& c) const;
  // What came to an earlier number of this holder after it was closed goes on to the present one.
  void TakeOver(keyspace::Change& change, const Key& key, View& view);
  std::string NoRights(const View& view) const;
  void Want(const Key& key, const Stock& stock, int64_t must, int64_t more);
  int64_t NoteUse(const Key& key, int64_t amount);
  void TellHolder();
  uint64_t NextNumber();
  void TakeInbox();
  void Serve(const Key& key, const View& view, uint64_t to, int64_t must, int64_t more, bool all);
  void AskAround(bool duty);
  void Sweep();
  void SweepOne(const Key& key, bool first);

  Engine& engine_;
  uint64_t holder_;
  bool set_back_ = false;
  bool ready_ = false;      // what an earlier process of this disk may have lost has been heard from the others
  bool holder_told_ = false;
  bool wrote_ = false;
  bool in_frame_ = false;
  std::set<Key> rows_;      // that may have rows
  std::deque<std::string> inbox_;
  std::map<Key, Wish> wishes_;
  std::map<Key, Use> uses_;
  std::map<std::pair<Key, uint64_t>, uint64_t> served_;  // numbers of needs, by who has them
  uint64_t next_number_ = 0;  // drawn: an earlier process had others
  std::set<Key> fresh_;     // wishes that are to be told now
  struct Drain {
    int64_t until_us = 0;  // it gets nothing before
    int64_t since_us = 0;  // since when it has had so much
    int64_t rights = -1;
  };
  std::map<std::string, Drain> drained_;  // leaders that are to be retired
  std::map<Key, int64_t> given_up_;         // of this one, if it is that: it asks for nothing before
  int64_t next_duty_us_ = 0;
  int64_t next_sweep_us_ = 0;
  int64_t next_uses_us_ = 0;
  Key swept_;

  uint64_t spends_ = 0;
  uint64_t refused_ = 0;
  uint64_t moved_ = 0;      // units that went to other leaders
};

}  // namespace polyarch::engine
