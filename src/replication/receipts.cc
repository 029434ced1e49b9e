// Receipts: who holds durably what this process wrote (WAIT). Only while a client waits: the wish goes
// along the subscriptions for the process's origin, from each who has it to those who have it from
// there; the receipts come back the same way. A lost one is made good by the wish being said again.
//
// A receipt is no claim: it tells of a disk as it was, obliges nobody, and nothing is purged by it.
#include <algorithm>

#include "base/planted.h"
#include "replication/replica.h"

namespace polyarch::replication {

namespace {
constexpr int64_t kSayAgainUs = 500'000;
constexpr int64_t kForgetUs = 2'000'000;  // a wish that is not said again
}  // namespace

void Replica::WantReceipts(uint64_t sequence) {
  wanted_receipts_ = std::max(wanted_receipts_, sequence);
  receipts_until_us_ = now_us_ + kSayAgainUs;
}

// (What its admission covers, which counts as its first claim elsewhere, it need not have yet.)
bool Replica::HasOnDisk(const std::string& member, clock::Dot dot) const {
  for (const auto& [id, link] : links_) {
    if (link.greeted && link.peer.leader == member && link.have_durable.Covers(dot)) return true;
  }
  auto it = members_.find(member);
  for (size_t i = 0; i < rows_.size(); ++i) {
    if (rows_[i].has_claim && rows_[i].claim.Covers(dot) &&
        origins_.Get(static_cast<clock::OriginIndex>(i)).leader == member &&
        (it == members_.end() || it->second.Knows(rows_[i].claim)))
      return true;
  }
  return false;
}

size_t Replica::Holders(clock::Dot dot) const {
  size_t count = 0;
  for (const auto& [name, member] : members_) {
    if (name == options_.leader) continue;
    auto receipt = receipts_.find(name);
    const bool own = own_ && *own_ == dot.origin();
    const uint64_t told = own && receipt != receipts_.end() ? receipt->second : 0;
    if (told >= dot.sequence() || HasOnDisk(name, dot)) ++count;
  }
  return count;
}

void Replica::SayWish(const clock::Origin& origin, clock::OriginIndex index, uint64_t sequence, LinkId except) {
  for (auto& [id, link] : links_) {
    if (id == except || !link.greeted || link.cursors.count(index) == 0) continue;
    SendTo(link, wire::Encode(wire::WantReceipt{origin, sequence}));
  }
}

void Replica::HandleWantReceipt(Link& link, const wire::WantReceipt& wish) {
  const auto index = origins_.Find(wish.origin);
  // Along the subscriptions only: they make a tree, so nothing goes round in circles.
  if (!index || (own_ && *own_ == *index) || StreamOf(*index).source != link.id) return;
  Wish& mine = wishes_[*index];
  // Said again, or by another neighbour, it may be that what was told was lost.
  mine = {.sequence = std::max(mine.sequence, wish.sequence),
          .told = 0,
          .until_us = now_us_ + kForgetUs,
          .from = link.id};
  SayWish(wish.origin, *index, wish.sequence, link.id);
  if (durable_.Get(*index) < wish.sequence) host_.SyncWanted();
}

void Replica::HandleReceipt(Link& link, const wire::Receipt& receipt) {
  const auto index = origins_.Find(receipt.origin);
  if (!index || !members_.count(receipt.leader) || receipt.leader == options_.leader) return;
  if (own_ && *own_ == *index) {
    // Nobody holds what was not written.
    const uint64_t sequence = std::min(receipt.sequence, applied_.Get(*index));
    receipts_[receipt.leader] = std::max(receipts_[receipt.leader], sequence);
    return;
  }
  auto wish = wishes_.find(*index);
  if (wish == wishes_.end() || wish->second.from == link.id) return;
  auto back = links_.find(wish->second.from);
  if (back != links_.end()) SendTo(back->second, wire::Encode(receipt));
}

void Replica::TickReceipts() {
  if (now_us_ < receipts_until_us_ && own_ &&
      (wanted_receipts_ > said_receipts_ || now_us_ - said_receipts_us_ >= kSayAgainUs)) {
    said_receipts_ = wanted_receipts_;
    said_receipts_us_ = now_us_;
    SayWish(origins_.Get(*own_), *own_, wanted_receipts_, 0);
  }
  for (auto it = wishes_.begin(); it != wishes_.end();) {
    auto& [index, wish] = *it;
    auto link = links_.find(wish.from);
    if (link == links_.end() || now_us_ >= wish.until_us) {
      it = wishes_.erase(it);
      continue;
    }
    const uint64_t durable = PLANTED(kReceiptApplied) ? applied_.Get(index) : durable_.Get(index);
    if (!joining_ && durable > wish.told) {
      // What comes after the wish is told, too, while it lasts: the next wish has its answer then.
      wish.told = durable;
      SendTo(link->second, wire::Encode(wire::Receipt{origins_.Get(index), options_.leader, durable}));
    }
    ++it;
  }
}

}  // namespace polyarch::replication
