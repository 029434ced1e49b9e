// What a checkpoint writes and what a start reads.
#include "base/check.h"
#include "keyspace/keyspace.h"

namespace polyarch::keyspace {

void Keyspace::Load(uint8_t db, std::string_view key, crdt::KeyState state) {
  KeyRef ref = Ref(db, key);
  CHECK(tables_[db].Find(ref.hash, key) == nullptr);
  Entry* entry = Build(ref, std::move(state));
  if (entry == nullptr) return;
  entry->set(Entry::kStored, true);
  entry->set(Entry::kEpoch, epoch_);
  tables_[db].Insert(ref.hash, entry);
  CountMemory(entry, true);
  Reindex(entry);
}

bool Keyspace::LoadElement(uint8_t db,
                           std::string_view key,
                           crdt::Type type,
                           std::string_view name,
                           crdt::Register state,
                           bool replaces) {
  const KeyRef ref = Ref(db, key);
  Entry** slot = tables_[db].Find(ref.hash, key);
  if (slot == nullptr || (*slot)->form() != Form::kFat) {
    Entry* fat = Entry::NewFat(db, key, slot == nullptr ? crdt::KeyState{} : (*slot)->State());
    const bool dirty = slot != nullptr && Table::IsDirty(slot);
    Place(ref, slot, fat);
    slot = tables_[db].Find(ref.hash, key);
    // Place has marked it.
    if (!dirty) {
      Table::Unmark(slot);
      --dirty_count_;
    }
    fat->set(Entry::kStored, true);
  }
  Entry* entry = *slot;
  CountMemory(entry, false);
  const bool fresh = ElementsOf(entry->fat(), type)
                         .Load(name, std::move(state), /*own_row=*/true, replaces, ViewerOf(ref, type));
  CountMemory(entry, true);
  Reindex(entry);
  return fresh;
}

void Keyspace::VisitKey(Entry* entry, const std::function<void(const Row&)>& visit) {
  Row row{.db = entry->db(), .key = entry->key()};
  entry->set(Entry::kStored, true);
  if (entry->form() != Form::kFat || entry->fat().elements.empty()) {
    const crdt::KeyState state = entry->State();
    row.state = &state;
    visit(row);
    return;
  }
  crdt::KeyState state = entry->fat().state();
  bool more = false;
  for (auto& elements : entry->fat().elements) {
    Row other{.db = row.db, .key = row.key, .type = elements->type()};
    if (elements->spilled()) {
      row.spilled |= static_cast<uint8_t>(1 << static_cast<int>(elements->type()));
      more = true;
      // Once the key's row does not hold them any more, rows of their own must.
      elements->VisitInline([&](std::string_view name, const crdt::Register& of) {
        other.kind = Row::Kind::kElement;
        other.element = name;
        other.register_state = &of;
        visit(other);
      });
      continue;
    }
    elements->NoteInline();
    elements->AppendTo(state.elements);
  }
  row.state = &state;
  visit(row);
  if (more) pending_.push_back({.db = row.db, .key = std::string(row.key), .types = row.spilled});
}

bool Keyspace::VisitPending(size_t count,
                            size_t& visited,
                            const std::function<void(const Row&)>& visit) {
  while (!pending_.empty()) {
    Pending& p = pending_.front();
    const KeyRef ref = Ref(p.db, p.key);
    Entry** slot = tables_[p.db].Find(ref.hash, ref.key);
    if (slot != nullptr && (*slot)->form() == Form::kFat) {
      for (; p.type <= crdt::kTypeMax; ++p.type, p.cursor = 0) {
        for (auto& elements : (*slot)->fat().elements) {
          // Of those that have become many since, the key's row holds them as few: the next pass.
          if (elements->type() != static_cast<crdt::Type>(p.type) || !elements->spilled() ||
              (p.types & (1 << p.type)) == 0)
            continue;
          const bool done = elements->VisitDirty(
              p.cursor, count, visited, [&](std::string_view name, const crdt::Register& of) {
                visit(Row{.kind = Row::Kind::kElement,
                          .db = p.db,
                          .key = p.key,
                          .type = elements->type(),
                          .element = name,
                          .register_state = &of});
              });
          if (!done) return false;
        }
      }
    }
    pending_.pop_front();
  }
  return true;
}

bool Keyspace::VisitDirty(size_t count, const std::function<void(const Row&)>& visit) {
  size_t visited = 0;
  // First of all: what is written for a key again comes behind it, and, if the key is there, together
  // with it. The log may say nothing of the elements (Restore): no row may be without the other.
  while (!dropped_.empty() && visited < count) {
    const auto [db, key] = std::pair(std::get<0>(*dropped_.begin()), std::get<1>(*dropped_.begin()));
    for (; !dropped_.empty(); ++visited) {
      const auto& [of_db, of_key, type] = *dropped_.begin();
      if (of_db != db || of_key != key) break;
      visit(Row{.kind = Row::Kind::kDropElements, .db = db, .key = key, .type = type});
      dropped_.erase(dropped_.begin());
    }
    Entry** slot = tables_[db].Find(Ref(db, key).hash, key);
    if (slot == nullptr || !Table::IsDirty(slot)) continue;
    Table::Unmark(slot);
    --dirty_count_;
    VisitKey(*slot, visit);
  }
  static const crdt::KeyState kNothing;
  for (; !deleted_.empty() && visited < count; ++visited) {
    visit(Row{.db = deleted_.begin()->first, .key = deleted_.begin()->second, .state = &kNothing});
    deleted_.erase(deleted_.begin());
  }
  while (visited < count) {
    if (!VisitPending(count, visited, visit)) return true;
    if (walk_db_ == tables_.size()) {
      walk_db_ = 0;
      walk_cursor_ = 0;
      return false;
    }
    walk_cursor_ = tables_[walk_db_].TakeDirty(walk_cursor_, count - visited, [&](Entry* entry) {
      --dirty_count_;
      ++visited;
      VisitKey(entry, visit);
    });
    if (walk_cursor_ == 0) {
      ++walk_db_;
    } else if (visited < count && pending_.empty()) {
      return true;  // many clean segments: enough for one slice
    }
  }
  return true;
}

}  // namespace polyarch::keyspace
