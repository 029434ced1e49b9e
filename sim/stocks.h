// Clients of a bounded counter (ESCROW), and what they were told: never more is sold than there is, whatever fails; and
// in a healed cluster all of it can be sold, but for what is held on disks that are gone.
//
// In some seeds operators say that a leader's disk is gone (RECLAIM), rightly or not: what one that was not has sold of
// what was reclaimed may be too much. In some the stock is deleted, and made again: each of them may be sold.
//
// They are clients of their own, in the database and under the policy of those of sim/agreed.h.
#pragma once

#include <cstdint>
#include <deque>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "resp/reply.h"

namespace polyarch::sim {

class Node;
class World;

inline constexpr std::string_view kStockKey = "y:stock";

class StockHistory {
 public:
  explicit StockHistory(World& world) : world_(world) {}

  // One more command, or none.
  void Step();
  void Answered(uint64_t call, const std::vector<resp::Value>& replies);
  // Its process has ended.
  void Lost(uint64_t call);
  // Sells all that is left, in a cluster that has healed. Throws what is wrong.
  void SellOut();

 private:
  enum class Kind : uint8_t { kCreate, kGrant, kSpend, kGet, kReclaim, kDelete };
  struct Call {
    Kind kind = Kind::kSpend;
    int64_t amount = 0;
    bool open = true;
    std::string leader;  // that was asked
  };
  void Ask(Node& node, Call call, std::vector<std::vector<std::string>> commands);
  void Spend(Node& node, int64_t amount);
  void Read(const resp::Value& reply);
  void Reclaim(Node& node, const std::string& leader);
  void Failed(const Call& call, const std::string& error);
  // What may have been sold, at most.
  int64_t Most() const;

  static constexpr size_t kCallsMax = 1500;
  static constexpr size_t kOpenMax = 12;
  static constexpr int64_t kSellOutUs = 120'000'000;

  World& world_;
  std::deque<Call> calls_;
  size_t open_ = 0;
  bool created_ = false;
  int64_t total_ = 0;    // at most so many there may be
  int64_t granted_ = 0;  // by GRANT, for sure or perhaps
  bool reclaims_ = false;
  bool deletes_ = false;
  int64_t reclaimed_ = 0;         // by RECLAIM
  int64_t unknown_reclaims_ = 0;  // that are open, or in doubt: each may be of all there was
  int64_t deleted_ = 0;           // stocks, for sure or perhaps
  int64_t sold_ = 0;     // that clients were told of
  int64_t perhaps_ = 0;  // by spends whose answer was lost
  // As ESCROW GET told last.
  bool read_ = false;
  int64_t left_ = -1;
  int64_t stuck_ = 0;  // of it, rights of holders that are not there, or were set back
  std::set<std::string> set_back_;
  std::vector<std::string> stuck_at_;  // leaders of those that are not there
  bool missing_ = false;               // GET found no stock
};

}  // namespace polyarch::sim
