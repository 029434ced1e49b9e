// Which slots of two leaders differ: the first part of a state transfer, on both sides. What the
// receiver finds equal it takes out of its own store, as if it had come over the line.
#include <algorithm>

#include "base/planted.h"
#include "engine/engine.h"
#include "engine/rows.h"

namespace polyarch::engine {

std::vector<clock::Origin> Engine::OriginNames() const {
  std::vector<clock::Origin> names;
  names.reserve(origins_.size());
  for (size_t i = 0; i < origins_.size(); ++i)
    names.push_back(origins_.Get(static_cast<clock::OriginIndex>(i)));
  return names;
}

// ---- the receiver

bool Engine::TakeDigests(const wire::StateChunk& chunk) {
  StagedProgress& p = staged_->progress;
  for (const auto& [key, row] : chunk.rows) {
    const uint32_t slot = SlotOfRowKey(key);
    if (key.size() != 2 || slot >= kSlots || key < p.after) return false;
    if (!row.empty()) {
      const auto digest = DecodeSlotDigest(row);
      if (!digest) return false;
      incoming_.digests[slot] = *digest;
    }
    p.after = SlotStart(slot + 1);
  }
  incoming_.digests_here = chunk.last;
  return true;
}

// One slice of our own store at a time. Its rows need not be newer or older than anything: those of
// an equal slot are, byte for byte, what the sender would send.
void Engine::CompareSlots() {
  if (checkpoints_done_ < incoming_.own_pass && pass_) {
    incoming_.progress_us = now_.mono_us;
    return;
  }
  if (store_.pending_bytes() > kStagedPendingMax) return;
  const StagedProgress& p = staged_->progress;
  if (incoming_.matcher == nullptr) {
    incoming_.matcher = std::make_shared<SlotMatcher>(
        p.id, p.base, OriginNames(), std::move(incoming_.digests));
    incoming_.digests.clear();
  }
  SlotMatcher& matcher = *incoming_.matcher;
  if (!incoming_.equal_rows.empty()) {
    if (!StageEqual()) DropStaged("what is here already does not fit it");
    return;
  }
  if (incoming_.read_ticket != 0) {
    auto read = store_.TakeRead(incoming_.read_ticket);
    if (!read) return;
    incoming_.read_ticket = 0;
    incoming_.progress_us = now_.mono_us;
    // A row that cannot be read is equal to nothing: what was compared so far holds.
    if (!read->status.ok()) {
      Report(2, "cannot read the store to compare it: " + read->status.message());
    }
    incoming_.read_all = read->at_end || !read->status.ok();
    incoming_.read_after = std::move(read->last_key);
    incoming_.equal_rows.assign(std::make_move_iterator(read->rows.begin()),
                                std::make_move_iterator(read->rows.end()));
    if (incoming_.equal_rows.empty() && incoming_.read_all && !StageEqual()) {
      DropStaged("what is here already does not fit it");
    }
    return;
  }
  if (matcher.hasher().names() < origins_.size()) matcher.hasher().SetNames(OriginNames());
  incoming_.read_ticket = store_.StartRead(
      storage::Family::kData,
      incoming_.read_after,
      options_.state_chunk_bytes,
      [shared = incoming_.matcher](storage::Slice& slice) { shared->Walk(slice); });
}

// Some of the rows that were found equal; with the last of them the comparison ends. False if they
// contradict what the sender's checkpoint says.
bool Engine::StageEqual() {
  StagedProgress& p = staged_->progress;
  storage::Batch batch;
  while (!incoming_.equal_rows.empty() && batch.bytes() < options_.state_chunk_bytes) {
    auto& [key, row] = incoming_.equal_rows.front();
    DataRowName name;
    DataRow data;
    if (!ParseDataRowKey(key, name) || !DecodeAnyRow(name, row, data)) return false;
    if (PLANTED(kSlotPairing)) data.position = p.needed;
    if (!PLANTED(kSlotSkipUnstaged)) {
      if (!staged_->TakeRow(name, std::move(data))) return false;
      batch.Put(storage::Family::kStaged, std::move(key), std::move(row));
    }
    incoming_.equal_rows.pop_front();
  }
  if (incoming_.equal_rows.empty() && incoming_.read_all) {
    staged_->equal_slots = incoming_.matcher->equal();
    transfers_.slots_equal += incoming_.matcher->equal_count();
    Report(0,
           std::to_string(incoming_.matcher->equal_count()) + " of " + std::to_string(kSlots) +
               " slots hold here what " + p.sender + " holds: they are not sent");
    incoming_.matcher.reset();
    incoming_.digests_here = false;
    p.part = wire::StatePart::kRows;
    p.after.clear();
    if (!staged_->equal_slots.empty()) {
      batch.Put(storage::Family::kMeta, kTransferSlotsRowKey, staged_->equal_slots);
    }
    batch.Put(storage::Family::kMeta, kTransferRowKey, EncodeProgress(p));
  }
  incoming_.progress_us = now_.mono_us;
  store_.Write(std::move(batch));
  if (p.part == wire::StatePart::kRows && incoming_.step == Incoming::Step::kPulling) Pull(true);
  return true;
}

// ---- the sender

void Engine::EndSession(LinkId link) {
  auto it = sessions_.find(link);
  if (it == sessions_.end()) return;
  if (it->second.read_ticket != 0) store_.DropRead(it->second.read_ticket);
  sessions_.erase(it);
}

// Starts the read of what comes next; on the store's thread it becomes what is to be sent.
void Engine::StartSessionRead(Session& session) {
  storage::Store::Prepare prepare;
  const bool ledger = session.part == wire::StatePart::kLedger;
  if (session.part == wire::StatePart::kDigests) {
    if (session.digester == nullptr) {
      session.digester = std::make_shared<SlotDigester>(session.id, session.base, OriginNames());
    }
    if (session.digester->hasher().names() < origins_.size()) {
      session.digester->hasher().SetNames(OriginNames());
    }
    prepare = [shared = session.digester](storage::Slice& slice) { shared->Walk(slice); };
  } else if (ledger && !session.skip.empty()) {
    prepare = [skip = session.skip, end = session.ledger_end](storage::Slice& slice) {
      std::erase_if(slice.rows, [&](const auto& row) {
        return conflict::Ledger::RowIsIn(row.first, row.second, skip, end);
      });
    };
  } else if (!ledger && !session.skip.empty()) {
    // The first slot that is wanted, from the one on in which we are.
    uint32_t slot = session.scan.empty() ? 0 : SlotOfRowKey(session.scan);
    const uint32_t from = slot;
    while (slot < kSlots && HasSlot(session.skip, slot)) ++slot;
    if (slot != from) session.scan = SlotStart(slot);
    prepare = [skip = session.skip](storage::Slice& slice) {
      std::erase_if(slice.rows, [&](const auto& row) {
        return HasSlot(skip, SlotOfRowKey(row.first));
      });
    };
  }
  session.read_ticket = store_.StartRead(ledger ? storage::Family::kLedger : storage::Family::kData,
                                         session.scan,
                                         options_.state_chunk_bytes,
                                         std::move(prepare));
}

}  // namespace polyarch::engine
