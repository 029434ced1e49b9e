// Merging another leader's state, key by key. A bit in each entry says whether its key has been
// merged: it is compared with the keyspace's epoch, which turns over when a merge begins, so that
// beginning costs nothing and no entry is touched for it. What was merged is dropped from `theirs`:
// a key that is not here and is there is one that has not been merged yet.
#include <algorithm>
#include <iterator>

#include "base/check.h"
#include "base/planted.h"
#include "keyspace/keyspace.h"

namespace polyarch::keyspace {

std::unique_ptr<Keyspace> Keyspace::NewBeside() const {
  auto beside = std::make_unique<Keyspace>(origins_, policies_, hash_key_);
  beside->beside_ = true;
  return beside;
}

void Keyspace::BeginMerge(std::unique_ptr<Keyspace> theirs,
                          clock::VersionVector mine,
                          clock::VersionVector theirs_vector) {
  CHECK(merge_ == nullptr);
  merge_ = std::make_unique<Merge>();
  merge_->theirs = std::move(theirs);
  merge_->mine_vector = std::move(mine);
  merge_->theirs_vector = std::move(theirs_vector);
  epoch_ = !epoch_;
}

crdt::KeyState Keyspace::MergedState(const KeyRef& ref, const Entry* entry) const {
  if (entry != nullptr && IsMerged(*entry)) return entry->State();
  Entry** other = merge_->theirs->tables_[ref.db].Find(ref.hash, ref.key);
  if (other == nullptr && entry == nullptr) return {};
  const crdt::KeyState mine = entry == nullptr ? crdt::KeyState{} : entry->State();
  crdt::KeyState merged = crdt::Merge(mine,
                                      merge_->mine_vector,
                                      other == nullptr ? crdt::KeyState{} : (*other)->State(),
                                      merge_->theirs_vector);
  if (skip_) PutBackSkipped(ref, mine, merged);
  return merged;
}

// What the replay passes over is newer than either vector: merged by them, it would be a state that never was.
void Keyspace::PutBackSkipped(const KeyRef& ref, const crdt::KeyState& mine, crdt::KeyState& merged) const {
  std::vector<crdt::Element> elements;
  for (crdt::Element& e : merged.elements) {
    if (!Skips(ref, e.type, e.name)) elements.push_back(std::move(e));
  }
  for (const crdt::Element& e : mine.elements) {
    if (Skips(ref, e.type, e.name)) elements.push_back(e);
  }
  std::sort(elements.begin(), elements.end(), [](const crdt::Element& a, const crdt::Element& b) {
    return std::pair(a.type, std::string_view(a.name)) < std::pair(b.type, std::string_view(b.name));
  });
  if (Skips(ref, crdt::Type::kString, {})) merged = mine;
  merged.elements = std::move(elements);
}

bool Keyspace::MergeKey(const KeyRef& ref) {
  Entry** slot = tables_[ref.db].Find(ref.hash, ref.key);
  if (slot != nullptr && IsMerged(**slot)) return false;
  Keyspace& theirs = *merge_->theirs;
  Entry** other = theirs.tables_[ref.db].Find(ref.hash, ref.key);
  if (slot == nullptr && other == nullptr) return false;
  auto has_elements = [](Entry** of) {
    return of != nullptr && (*of)->form() == Form::kFat && !(*of)->fat().elements.empty();
  };
  if (has_elements(slot) || has_elements(other)) return MergeParts(ref, slot, other);
  bool same = Skips(ref, crdt::Type::kString, {});
  if (!same && slot != nullptr && (*slot)->form() == Form::kValue) {
    // Most keys: both sides have the one version, or only we have written it.
    const Entry& mine = **slot;
    const clock::Dot dot = mine.value_part().dot;
    if (other == nullptr) {
      same = !merge_->theirs_vector.Covers(dot) || PLANTED(kNoAbsentMerge);
    } else {
      same = (*other)->form() == Form::kValue && (*other)->value_part().dot == dot &&
             (*other)->has(Entry::kNever) == mine.has(Entry::kNever);
    }
  }
  crdt::KeyState before;
  crdt::KeyState merged;
  if (!same) {
    if (slot != nullptr) before = (*slot)->State();
    merged = crdt::Merge(before,
                         merge_->mine_vector,
                         other == nullptr ? crdt::KeyState{} : (*other)->State(),
                         merge_->theirs_vector);
    if (PLANTED(kNoAbsentMerge) && other == nullptr) merged = before;
    same = merged == before;
  }
  if (other != nullptr) TakeOut(ref, other);
  if (same) {
    if (slot != nullptr) {
      (*slot)->set(Entry::kEpoch, epoch_);
      // What had been applied is more by now: its residue waits anew.
      if ((*slot)->form() == Form::kFat) (*slot)->fat().ForgetResidueSince();
    }
    return true;
  }
  Place(ref, slot, MakeEntry(ref.db, ref.key, merged));
  if (observer_ != nullptr) {
    observer_->KeyModified(ref, Cause::kMerged);
    observer_->Merged(ref.db, ref.key, before, merged);
  }
  if (PLANTED(kMergeTwice)) {
    slot = tables_[ref.db].Find(ref.hash, ref.key);
    if (slot != nullptr) (*slot)->set(Entry::kEpoch, !epoch_);
  }
  return true;
}

// What is big is freed with what else has gone, in slices.
void Keyspace::TakeOut(const KeyRef& ref, Entry** other) {
  Keyspace& theirs = *merge_->theirs;
  theirs.Place(ref, other, nullptr);
  std::move(theirs.gone_.begin(), theirs.gone_.end(), std::back_inserter(gone_));
  theirs.gone_.clear();
}

// Where either side has elements. Ours are changed where they are, one by one: their rows stay what they
// are, and a crash in the middle of writing them loses nothing.
bool Keyspace::MergeParts(const KeyRef& ref, Entry** slot, Entry** other) {
  crdt::KeyState before;
  if (observer_ != nullptr && slot != nullptr) before = (*slot)->State();
  if (slot == nullptr || (*slot)->form() != Form::kFat) {
    Place(ref,
          slot,
          Entry::NewFat(ref.db, ref.key, slot == nullptr ? crdt::KeyState{} : (*slot)->State()));
    slot = tables_[ref.db].Find(ref.hash, ref.key);
  }
  Entry* entry = *slot;
  FatPart& fat = entry->fat();
  const FatPart* theirs =
      other != nullptr && (*other)->form() == Form::kFat ? &(*other)->fat() : nullptr;
  CountMemory(entry, false);
  bool changed = false;
  if (!Skips(ref, crdt::Type::kString, {})) {
    crdt::KeyState scalar;
    if (theirs != nullptr) {
      scalar = theirs->state();
    } else if (other != nullptr) {
      scalar = (*other)->State();
    }
    if (!PLANTED(kNoAbsentMerge) || other != nullptr) {
      crdt::KeyState merged =
          crdt::Merge(fat.state(), merge_->mine_vector, scalar, merge_->theirs_vector);
      changed = merged != fat.state();
      fat.mutable_state() = std::move(merged);
    }
  }
  for (uint8_t number = 1; number <= crdt::kTypeMax; ++number) {
    const auto type = static_cast<crdt::Type>(number);
    const Elements* of_theirs = nullptr;
    if (theirs != nullptr) {
      for (const auto& elements : theirs->elements) {
        if (elements->type() == type) of_theirs = elements.get();
      }
    }
    const bool ours = std::any_of(fat.elements.begin(), fat.elements.end(), [&](const auto& e) {
      return e->type() == type;
    });
    if (of_theirs == nullptr && (!ours || PLANTED(kNoAbsentMerge))) continue;
    changed |= ElementsOf(fat, type).MergeWith(
        of_theirs,
        merge_->mine_vector,
        merge_->theirs_vector,
        ViewerOf(ref, type),
        [&](std::string_view name) { return Skips(ref, type, name); });
  }
  RetireEmpty(ref, fat);
  fat.ForgetResidueSince();
  fat.Tidy();
  CountMemory(entry, true);
  entry->set(Entry::kEpoch, PLANTED(kMergeTwice) ? !epoch_ : epoch_);
  if (other != nullptr) TakeOut(ref, other);
  if (changed || fat.elements.empty()) Settle(ref, slot);
  if (changed && observer_ != nullptr) {
    slot = tables_[ref.db].Find(ref.hash, ref.key);
    observer_->KeyModified(ref, Cause::kMerged);
    observer_->Merged(
        ref.db, ref.key, before, slot == nullptr ? crdt::KeyState{} : (*slot)->State());
  }
  return true;
}

bool Keyspace::MergeSome(size_t count) {
  if (merge_ == nullptr) return false;
  std::vector<std::string> keys;
  size_t looked = 0;
  while (looked < count) {
    std::vector<Table>& tables = merge_->walk_theirs ? merge_->theirs->tables_ : tables_;
    if (merge_->walk_db == tables.size()) {
      if (merge_->walk_theirs) {
        merge_.reset();
        return false;
      }
      merge_->walk_theirs = true;
      merge_->walk_db = 0;
      continue;
    }
    const auto db = static_cast<uint8_t>(merge_->walk_db);
    keys.clear();
    merge_->walk_cursor = tables[db].Scan(
        merge_->walk_cursor, std::min<size_t>(count - looked, 4096), [&](Entry* entry) {
          ++looked;
          if (merge_->walk_theirs || !IsMerged(*entry)) keys.emplace_back(entry->key());
        });
    // None of it may go on while the table changes under it.
    for (const std::string& key : keys)
      MergeKey(Ref(db, key));
    if (merge_->walk_cursor == 0) ++merge_->walk_db;
  }
  return true;
}

void Keyspace::MergeDatabase(uint8_t db) {
  if (merge_ == nullptr) return;
  std::vector<std::string> keys;
  auto note = [&](const Entry& entry) {
    keys.emplace_back(entry.key());
  };
  tables_[db].ForEach([&](const Entry& entry) {
    if (!IsMerged(entry)) note(entry);
  });
  merge_->theirs->tables_[db].ForEach(note);
  for (const std::string& key : keys)
    MergeKey(Ref(db, key));
}

}  // namespace polyarch::keyspace
