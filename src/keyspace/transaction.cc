// A change of several commands: all of it, or nothing.
#include <algorithm>

#include "base/check.h"
#include "keyspace/change.h"

namespace polyarch::keyspace {

namespace {

// Of an element that is kept alone or in a copy of its key, beside its name and values: a node of a map,
// what the allocator adds.
constexpr size_t kKeptBytes = sizeof(crdt::Element) + 64;

size_t BytesOf(const crdt::Register& state) {
  size_t bytes = state.counters.size() * sizeof(crdt::CounterEntry);
  for (const crdt::Version& v : state.versions)
    bytes += sizeof v + v.value.size();
  return bytes;
}

}  // namespace

void Change::BeginTransaction(bool keep) {
  CHECK(!open_ && !whole_);
  whole_ = true;
  kept_bytes_ = 0;
  if (keep) before_ = std::make_unique<std::map<std::pair<uint8_t, std::string>, Kept>>();
}

void Change::EndTransaction() {
  whole_ = false;
  if (before_ == nullptr) return;
  for (auto& [place, kept] : *before_) {
    for (Keyspace::Moved& m : kept.moved)
      keyspace_.FreeLater(std::move(m.elements));
  }
  before_.reset();
}

void Change::KeepElement(Kept& kept, crdt::Type type, std::string_view name, crdt::Register state) {
  kept_bytes_ += kKeptBytes + name.size() + BytesOf(state);
  kept.elements.try_emplace({type, std::string(name)}, std::move(state));
}

void Change::KeepWhole(const KeyRef& ref, Kept& kept) {
  kept_bytes_ += CopyBytesOf(ref);
  kept.state = Before(keyspace_.State(ref), std::move(kept));
  kept.elements.clear();
  kept.whole = true;
}

size_t Change::WipeBytesOf(const KeyRef& ref) const {
  if (!keyspace_.GoesWhole(ref)) return CopyBytesOf(ref);
  // Counters are cleared one by one before it.
  constexpr size_t kCounterBytes = kKeptBytes + sizeof(crdt::CounterEntry);
  return (1 + keyspace_.LiveCounters(ref)) * kCounterBytes;
}

size_t Change::CopyBytesOf(const KeyRef& ref) const {
  constexpr size_t kElementBytes = kKeptBytes + sizeof(crdt::Version);
  return (1 + keyspace_.StoredElements(ref)) * kElementBytes + keyspace_.MemoryOf(ref);
}

size_t Change::CopyBytesOfAll(uint8_t db) const {
  size_t bytes = 0;
  for (uint8_t d = 0; d < crdt::kDatabases; ++d) {
    if (db != crdt::kAllDatabases && db != d) continue;
    uint64_t cursor = 0;
    do {
      cursor = keyspace_.Scan(d, cursor, 1000, [&](std::string_view key) {
        bytes += CopyBytesOf(keyspace_.Ref(d, key));
      });
    } while (cursor != 0);
  }
  return bytes;
}

Change::Kept* Change::KeepBefore(const crdt::Effect& effect, const crdt::Seen& seen) {
  if (effect.kind == crdt::EffectKind::kFlush) {
    KeepAll(effect.db);
    return nullptr;
  }
  const KeyRef ref{effect.db, effect.key, effect.key_hash};
  auto [it, fresh] = before_->try_emplace({ref.db, std::string(ref.key)});
  Kept& kept = it->second;
  if (kept.whole) return nullptr;
  if (fresh) (void)keyspace_.Peek(ref);  // what is to be merged into it is merged first
  if (effect.kind == crdt::EffectKind::kWipeRange) {
    const bool told =
        keyspace_.VisitElements(ref,
                                effect.type,
                                effect.element,
                                effect.value,
                                [&](std::string_view name, const ElementView& element) {
                                  if (kept.elements.count({effect.type, std::string(name)}) == 0)
                                    KeepElement(kept, effect.type, name, element.State());
                                });
    if (!told) KeepWhole(ref, kept);
  } else if (effect.type != crdt::Type::kString) {
    if (kept.elements.count({effect.type, std::string(effect.element)}) == 0)
      KeepElement(kept,
                  effect.type,
                  effect.element,
                  keyspace_.ElementState(ref, effect.type, effect.element));
  } else if (effect.kind == crdt::EffectKind::kWipe || (effect.flags & crdt::kWipes) != 0) {
    if (keyspace_.GoesWhole(ref, seen)) {
      KeepOwn(ref, kept);
      return &kept;
    }
    KeepWhole(ref, kept);
  } else {
    KeepOwn(ref, kept);
  }
  return nullptr;
}

void Change::KeepOwn(const KeyRef& ref, Kept& kept) {
  if (kept.own) return;
  kept.state = keyspace_.OwnState(ref);
  kept.own = true;
  kept_bytes_ += kKeptBytes + ref.key.size() + BytesOf(kept.state);
}

void Change::KeepAll(uint8_t db) {
  keyspace_.ForEach([&](uint8_t d, std::string_view key, const crdt::KeyState& state) {
    if (d == crdt::kReservedDatabase || (db != crdt::kAllDatabases && db != d)) return;
    Kept& kept = (*before_)[{d, std::string(key)}];
    if (kept.whole) return;
    kept_bytes_ += kKeptBytes + key.size() + BytesOf(state);
    for (const crdt::Element& element : state.elements)
      kept_bytes_ += kKeptBytes + element.name.size() + BytesOf(element);
    kept.state = Before(state, std::move(kept));
    kept.elements.clear();
    kept.whole = true;
  });
}

crdt::KeyState Change::Before(crdt::KeyState now, Kept&& kept) {
  if (kept.own) {
    kept.state.elements = std::move(now.elements);
    now = std::move(kept.state);
  }
  if (kept.elements.empty()) return now;
  std::vector<crdt::Element> elements;
  elements.reserve(now.elements.size() + kept.elements.size());
  auto at = now.elements.begin();
  for (auto& [place, state] : kept.elements) {
    auto before = [&](const crdt::Element& e) {
      return std::pair(e.type, std::string_view(e.name)) <
             std::pair(place.first, std::string_view(place.second));
    };
    while (at != now.elements.end() && before(*at))
      elements.push_back(std::move(*at++));
    if (at != now.elements.end() && at->type == place.first && at->name == place.second) ++at;
    if (state.empty()) continue;
    crdt::Element element;
    static_cast<crdt::Register&>(element) = std::move(state);
    element.type = place.first;
    element.name = place.second;
    elements.push_back(std::move(element));
  }
  std::move(at, now.elements.end(), std::back_inserter(elements));
  now.elements = std::move(elements);
  return now;
}

void Change::Revert() {
  CHECK(whole_ && before_ != nullptr);
  for (auto& [place, kept] : *before_) {
    const KeyRef ref = keyspace_.Ref(place.first, place.second);
    if (kept.whole && kept.moved.empty()) {
      keyspace_.Restore(ref, std::move(kept.state));
    } else {
      keyspace_.PutBack(ref,
                        kept.own ? &kept.state : nullptr,
                        std::move(kept.elements),
                        std::move(kept.moved));
      kept.moved.clear();
    }
  }
  if (open_) sink_.Abandon();
  open_ = false;
  wrote_ = false;
  EndTransaction();
}

}  // namespace polyarch::keyspace
