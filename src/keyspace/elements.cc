// How elements change; how they are looked at is in elements_read.cc.
#include "keyspace/elements.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "base/planted.h"

namespace polyarch::keyspace {

namespace {

crdt::KeyState AsKey(crdt::Register state) {
  crdt::KeyState key;
  static_cast<crdt::Register&>(key) = std::move(state);
  return key;
}

// Of an entry that Packed may hold.
bool IsPlain(const Entry& entry) {
  return entry.form() == Form::kCounter ||
         (entry.form() == Form::kValue && !entry.has(Entry::kNever));
}
// Of what must live as long.
Packed::Plain PlainOf(const CounterPart& counter) {
  return {.value = {reinterpret_cast<const char*>(&counter), sizeof counter},
          .dot = {},
          .hlc = {},
          .counter = true};
}
Packed::Plain PlainOf(const Entry& entry) {
  if (entry.form() == Form::kCounter) return PlainOf(entry.counter());
  return {.value = entry.value(), .dot = entry.value_part().dot, .hlc = entry.value_part().hlc};
}

bool HoldsVersions(const Entry& entry) {
  if (entry.form() == Form::kFat) return !entry.fat().state().versions.empty();
  return entry.form() != Form::kCounter;
}
bool HoldsLiveCounter(const Entry& entry) {
  if (entry.form() == Form::kFat) return entry.fat().state().has_live_counter();
  return entry.form() == Form::kCounter;
}

ListItem ListItemOf(Entry* entry) {
  ListItem item{};
  item.entry = entry;
  item.dirty = true;
  return item;
}

bool Continues(const CounterPart& counter, const crdt::Effect& effect, const crdt::Seen& seen) {
  return !PLANTED(kCountTwice) && effect.kind == crdt::EffectKind::kIncrement &&
         effect.clears.empty() && effect.total.FitsInt64() &&
         counter.life.origin() == seen.origin() &&
         effect.life == crdt::At{counter.life.sequence(), counter.life_index} &&
         seen.at() > crdt::At{counter.at_sequence, counter.at_index};
}

Entry* NewEntry(std::string_view name, const Packed::Plain& plain) {
  if (!plain.counter) return Entry::NewValue(0, name, plain.dot, plain.hlc, false, plain.value);
  CounterPart counter;
  std::memcpy(&counter, plain.value.data(), sizeof counter);
  return Entry::NewCounter(0, name, counter);
}

}  // namespace

Elements::~Elements() {
  if (rare_ == nullptr) return;
  for (Entry* entry : rare_->few)
    Entry::Free(entry);
}

size_t Elements::memory_bytes() const {
  size_t bytes = sizeof *this + packed_.memory_bytes();
  if (rare_ == nullptr) return bytes;
  bytes += sizeof(Rare) + rare_->few.capacity() * sizeof(Entry*) + rare_->entry_bytes;
  if (rare_->table != nullptr) bytes += rare_->table->memory_bytes();
  if (rare_->names != nullptr) bytes += rare_->names->memory_bytes();
  if (rare_->blocks != nullptr) bytes += rare_->blocks->memory_bytes();
  if (rare_->order != nullptr) bytes += rare_->order->memory_bytes();
  return bytes;
}

const Elements::Names& Elements::residue() const {
  static const Names kNone;
  return rare_ == nullptr ? kNone : rare_->residue;
}

Elements::Rare& Elements::NeedRare(const Viewer& viewer) {
  if (rare_ == nullptr) {
    rare_ = std::make_unique<Rare>();
    rare_->epoch = viewer.epoch;
  }
  return *rare_;
}

void Elements::TrimRare() {
  if (rare_ != nullptr && !spilled() && rare_->few.empty() && rare_->deleted.empty())
    rare_.reset();
}

// ---- finding

Elements::Place Elements::Locate(std::string_view name) const {
  Place place;
  if (rare_ != nullptr && rare_->names != nullptr) {
    place.entry = rare_->names->Find(name);
    return place;
  }
  if (blocks() != nullptr) {
    place.looked_in_blocks = true;
    place.in_blocks = rare_->blocks->Find(name, place.listed);
    if (place.in_blocks) place.entry = place.listed.item().entry;
    return place;
  }
  if (rare_ != nullptr && rare_->table != nullptr) {
    place.hash = Hash(name);
    place.slot = rare_->table->Find(place.hash, name);
    if (place.slot != nullptr) place.entry = *place.slot;
    return place;
  }
  place.at = type_ == crdt::Type::kList ? FindInOrder(name) : packed_.Find(name);
  if (place.at != nullptr || rare_ == nullptr) return place;
  for (Entry*& entry : rare_->few) {
    if (entry->key() != name) continue;
    place.entry = entry;
    place.slot = &entry;
  }
  return place;
}

std::optional<ElementView> Elements::ViewOf(const Place& place) const {
  if (place.at != nullptr) return PackedView(place.at);
  if (place.entry != nullptr) return ElementView(place.entry);
  if (place.in_blocks) return ElementView(place.listed.item());
  return std::nullopt;
}

std::optional<ElementView> Elements::Find(std::string_view name) const {
  return ViewOf(Locate(name));
}

// ---- counting

void Elements::Rare::Note(clock::Dot dot) {
  for (clock::Dot& d : newest) {
    if (d.origin() != dot.origin()) continue;
    d = std::max(d, dot);
    return;
  }
  newest.push_back(dot);
}

void Elements::Count(Entry* entry, const Viewer& viewer) {
  Rare& rare = *rare_;
  rare.entry_bytes += entry->memory_bytes();
  bool live = true;
  bool shown = true;
  if (HoldsVersions(*entry)) ++rare.versioned;
  if (HoldsLiveCounter(*entry)) ++rare.counters;
  if (entry->form() != Form::kValue) {
    ++rare.unplain;
  } else if (spilled()) {
    rare.Note(entry->value_part().dot);
  }
  if (entry->form() == Form::kFat) {
    const crdt::KeyState& state = entry->fat().state();
    if (spilled()) {
      for (const crdt::Version& v : state.versions)
        rare.Note(v.dot);
    }
    live = state.live();
    shown = live && ShowRegister(state, viewer, entry->key()).kind != ShownValue::Kind::kNothing;
    if (HasResidue(state)) {
      entry->set(Entry::kResidue, true);
      rare.residue.emplace(entry->key());
    }
    // Equal scores, and a member without a value, are no conflict; scores and counters add up. A
    // list has no counters.
    const bool conflict =
        crdt::MayConflict(type_, entry->key()) &&
        (ordered() ? conflict::CountDistinct(state.versions) > 1 : IsConflict(state));
    entry->set(Entry::kConflict, conflict);
    if (conflict) ++rare.conflicts;
  }
  entry->set(Entry::kLive, live);
  entry->set(Entry::kShown, shown);
  if (live) ++rare.live;
  if (!shown) return;
  ++rare.shown;
  if (rare.order != nullptr) rare.order->Insert(Score(ElementView(entry), viewer), entry);
  if (rare.stream != nullptr) Index(entry, true, viewer);
}

void Elements::Discount(Entry* entry, const Viewer& viewer) {
  Rare& rare = *rare_;
  rare.entry_bytes -= entry->memory_bytes();
  if (entry->form() != Form::kValue) --rare.unplain;
  if (HoldsVersions(*entry)) --rare.versioned;
  if (HoldsLiveCounter(*entry)) --rare.counters;
  if (entry->has(Entry::kResidue)) rare.residue.erase(rare.residue.find(entry->key()));
  if (entry->has(Entry::kConflict)) --rare.conflicts;
  if (entry->has(Entry::kLive)) --rare.live;
  if (entry->has(Entry::kShown)) {
    --rare.shown;
    if (rare.order != nullptr)
      CHECK(rare.order->Erase(Score(ElementView(entry), viewer), entry->key()));
    if (rare.stream != nullptr) Index(entry, false, viewer);
  }
  entry->set(Entry::kResidue, false);
  entry->set(Entry::kConflict, false);
}

void Elements::Sync(const Viewer& viewer) {
  // What is packed shows the same under every policy.
  if (InSync(viewer)) return;
  Rare& rare = *rare_;
  rare.epoch = viewer.epoch;
  if (rare.unplain == 0) return;
  // Scores may have changed, so that nothing can be found in the old order.
  rare.live = rare.shown = rare.unplain = rare.conflicts = rare.entry_bytes = 0;
  rare.versioned = rare.counters = 0;
  rare.residue.clear();
  if (rare.order != nullptr) rare.order->clear();
  if (rare.stream != nullptr) rare.stream->Clear();
  auto count = [&](const Entry& entry) {
    auto* mine = const_cast<Entry*>(&entry);
    mine->set(Entry::kResidue, false);
    mine->set(Entry::kConflict, false);
    Count(mine, viewer);
  };
  if (rare.names != nullptr) {
    rare.names->Reshow([&](Entry* entry) { count(*entry); });
  } else if (rare.blocks != nullptr) {
    rare.blocks->Reshow([&](Entry* entry) { count(*entry); });
  } else if (rare.table != nullptr) {
    rare.table->ForEach(count);
  } else {
    for (Entry* entry : rare.few)
      count(*entry);
  }
}

// ---- changing

void Elements::Grow(const Viewer& viewer) {
  Rare& rare = NeedRare(viewer);
  if (type_ == crdt::Type::kList) {
    rare.blocks = std::make_unique<BlockList>();
  } else if (by_name()) {
    rare.names = std::make_unique<NameTree>();
  } else {
    rare.table = std::make_unique<Table>(
        [key = hash_key_](std::string_view name) { return base::SipHash13(name, *key); });
    if (ordered()) rare.order = std::make_unique<OrderTree>();
  }
  if (type_ == crdt::Type::kStream) rare.stream = std::make_unique<StreamIndex>();
  rare.live = rare.shown = rare.unplain = rare.conflicts = rare.entry_bytes = 0;
  rare.versioned = rare.counters = 0;
  rare.residue.clear();
  auto add = [&](Entry* entry) {
    if (entry->has(Entry::kStored)) rare.inline_names.emplace_back(entry->key());
    AddBig(rare.table != nullptr ? Hash(entry->key()) : 0, entry, viewer);
  };
  for (const char* at = packed_.begin(); at != packed_.end(); at = Packed::Next(at)) {
    const ElementView view = PackedView(at);
    Packed::Plain plain{.value = Packed::ValueOf(at), .dot = {}, .hlc = {}};
    plain.counter = Packed::IsCounter(at);
    std::string score;
    if (type_ == crdt::Type::kSortedSet && !plain.counter) {
      score = LongScore(plain.value);
      plain.value = score;
    }
    if (!plain.counter) {
      plain.dot = packed_.VersionOf(at).dot;
      plain.hlc = packed_.VersionOf(at).hlc;
    }
    if (rare.blocks != nullptr && !plain.counter) {
      plain.stored = Packed::IsStored(at);
      if (plain.stored) rare.inline_names.emplace_back(view.key());
      Place nowhere;
      SetListed(view.key(), nowhere, plain, viewer);
      continue;
    }
    Entry* entry = NewEntry(view.key(), plain);
    entry->set(Entry::kStored, Packed::IsStored(at));
    add(entry);
  }
  packed_.Clear();
  for (Entry* entry : rare.few) {
    entry->set(Entry::kResidue, false);
    entry->set(Entry::kConflict, false);
    add(entry);
  }
  rare.few.clear();
  rare.few.shrink_to_fit();
}

bool Elements::TakeDeleted(std::string_view name) {
  if (rare_ == nullptr || rare_->deleted.empty()) return false;
  const auto gone = rare_->deleted.find(name);
  if (gone == rare_->deleted.end()) return false;
  rare_->deleted.erase(gone);
  TrimRare();
  return true;
}

bool Elements::TakeOut(Place& place, const Viewer& viewer) {
  if (place.at != nullptr) {
    const bool stored = Packed::IsStored(place.at);
    packed_.Erase(place.at);
    return stored;
  }
  Entry* old = place.entry;
  const bool stored = old != nullptr ? old->has(Entry::kStored) : place.listed.item().stored;
  if (old != nullptr) Discount(old, viewer);
  if (place.in_blocks) {
    rare_->blocks->Erase(place.listed);
  } else if (rare_->names != nullptr) {
    rare_->names->Erase(old);
  } else if (rare_->table != nullptr) {
    rare_->table->Erase(place.hash, place.slot);
  } else {
    Entry::Free(old);
    rare_->few.erase(rare_->few.begin() + (place.slot - rare_->few.data()));
    TrimRare();
  }
  return stored;
}

void Elements::Remove(std::string_view name, Place& place, const Viewer& viewer) {
  if (place.none()) return;
  if (rare_ != nullptr && rare_->stream != nullptr) ForgetGroup(name);
  if (TakeOut(place, viewer) && spilled()) {
    Names& deleted = NeedRare(viewer).deleted;
    deleted.emplace_hint(deleted.end(), name);  // a trim takes them in their order
  }
}

void Elements::Add(std::string_view name, Entry* entry, const Viewer& viewer) {
  if (!spilled() &&
      (size() >= Packed::kElementsMax || (has_few() && rare_->few.size() >= kEntriesMax))) {
    Grow(viewer);
    // One that was packed has been taken out for this: Grow has not met it.
    if (entry->has(Entry::kStored)) rare_->inline_names.emplace_back(name);
  }
  Rare& rare = NeedRare(viewer);
  if (spilled()) return AddBig(rare.table != nullptr ? Hash(name) : 0, entry, viewer);
  rare.few.push_back(entry);
  Count(entry, viewer);
}

void Elements::AddBig(uint64_t hash, Entry* entry, const Viewer& viewer) {
  Count(entry, viewer);
  if (rare_->names != nullptr) {
    rare_->names->Insert(entry);
  } else if (rare_->blocks != nullptr) {
    rare_->blocks->Insert(ListItemOf(entry));
  } else {
    Table::MarkDirty(rare_->table->Insert(hash, entry));
  }
}

void Elements::MarkDirty(Place& place) {
  if (place.in_blocks) {
    rare_->blocks->SetDirty(place.listed, true);
  } else if (rare_->names != nullptr) {
    rare_->names->SetDirty(place.entry, true);
  } else {
    Table::MarkDirty(place.slot);
  }
}

void Elements::SetEntry(std::string_view name,
                        Place& place,
                        Entry* entry,
                        const Viewer& viewer) {
  if (place.entry == nullptr) {
    entry->set(Entry::kStored, place.none() ? TakeDeleted(name) : TakeOut(place, viewer));
    Add(name, entry, viewer);
    return;
  }
  Entry* old = place.entry;
  entry->set(Entry::kStored, old->has(Entry::kStored));
  Discount(old, viewer);
  Count(entry, viewer);
  if (place.in_blocks) return rare_->blocks->Replace(place.listed, ListItemOf(entry));
  if (rare_->names != nullptr) return rare_->names->Replace(old, entry);
  if (rare_->table != nullptr) {
    rare_->table->Replace(place.hash, place.slot, entry);
    Table::MarkDirty(place.slot);
    return;
  }
  *place.slot = entry;
  Entry::Free(old);
}

void Elements::SetListed(std::string_view name,
                         Place& place,
                         const Packed::Plain& plain,
                         const Viewer& viewer) {
  if (plain.counter || !BlockList::Fits(name, plain.value))
    return SetEntry(name, place, NewEntry(name, plain), viewer);
  ListItem item{};
  item.SetName(name);
  item.value_text = plain.value.data();
  item.value_bytes = static_cast<uint32_t>(plain.value.size());
  item.dot = plain.dot;
  item.hlc = plain.hlc;
  item.dirty = true;
  rare_->Note(plain.dot);
  if (place.none()) {
    item.stored = plain.stored || TakeDeleted(name);
    rare_->blocks->Insert(item, place.looked_in_blocks ? &place.listed : nullptr);
    return;
  }
  item.stored = place.entry != nullptr ? place.entry->has(Entry::kStored) : place.listed.item().stored;
  if (place.entry != nullptr) Discount(place.entry, viewer);
  rare_->blocks->Replace(place.listed, item);
}

void Elements::SetPlain(std::string_view name,
                        Place& place,
                        const Packed::Plain& plain,
                        const Viewer& viewer) {
  if (blocks() != nullptr) return SetListed(name, place, plain, viewer);
  const bool room = place.at != nullptr || (!spilled() && size() < Packed::kElementsMax);
  const bool is_score = type_ == crdt::Type::kSortedSet && !plain.counter;
  if (!room || !Packed::Fits(name, plain, type_ == crdt::Type::kList) || (is_score && plain.value.size() != sizeof(double))) {
    SetEntry(name, place, NewEntry(name, plain), viewer);
    return;
  }
  Packed::Plain held = plain;
  if (is_score) held.value = ShortScore(plain.value);
  std::string_view held_name = name;
  char short_name[list_step::kShortBytesMax];
  if (type_ == crdt::Type::kList) {
    const size_t bytes =
        plain.counter ? 0 : list_step::Shorten(short_name, name, plain.dot, *origins_);
    // (Names that nobody makes: what is packed and so short is a name made short.)
    if (bytes == 0 && name.size() <= list_step::kShortBytesMax)
      return SetEntry(name, place, NewEntry(name, plain), viewer);
    if (bytes > 0) held_name = {short_name, bytes};
  }
  // Only in a sorted set the place follows from the content; in a list the name as it is held.
  const bool stays = place.at != nullptr && (type_ != crdt::Type::kSortedSet ||
                                             (!plain.counter && !Packed::IsCounter(place.at) &&
                                              Packed::ValueOf(place.at) == held.value));
  if (stays && (type_ != crdt::Type::kList || Packed::NameOf(place.at) == held_name)) {
    held.stored = Packed::IsStored(place.at);
    if (packed_.Replace(place.at, held)) return;
  }
  held.stored = place.none() ? TakeDeleted(name) : TakeOut(place, viewer);
  if (packed_.Insert(PackedPlace(name, plain), held_name, held)) return;
  Entry* entry = NewEntry(name, plain);
  entry->set(Entry::kStored, held.stored);
  Add(name, entry, viewer);
}

void Elements::Set(std::string_view name,
                   Place& place,
                   crdt::Register state,
                   const Viewer& viewer) {
  Entry* entry = MakeEntry(0, name, AsKey(std::move(state)));
  if (entry == nullptr) {
    Remove(name, place, viewer);
  } else if ((spilled() && blocks() == nullptr) || !IsPlain(*entry)) {
    SetEntry(name, place, entry, viewer);
  } else {
    SetPlain(name, place, PlainOf(*entry), viewer);
    Entry::Free(entry);
  }
}

void Elements::SetStored(std::string_view name) {
  Place place = Locate(name);
  if (place.at != nullptr) {
    packed_.SetStored(place.at);
  } else if (place.in_blocks) {
    rare_->blocks->SetStored(place.listed);
  } else {
    place.entry->set(Entry::kStored, true);
  }
}

crdt::ApplyResult Elements::Apply(const crdt::Effect& effect,
                                  const crdt::Seen& seen,
                                  clock::Hlc hlc,
                                  const Viewer& viewer) {
  using crdt::EffectKind;
  Sync(viewer);
  const std::string_view name = effect.element;
  Place place = Locate(name);
  const std::optional<ElementView> old = ViewOf(place);
  const bool plain = !old || (old->form() == Form::kValue && seen.Covers(old->value_part().dot));
  if (plain && effect.clears.empty()) {
    // Most writes: what stands was seen.
    if (effect.kind == EffectKind::kPut && (effect.flags & crdt::kAbsent) == 0) {
      // A stream's index tells whose an entry is.
      if (place.entry != nullptr && spilled() && type_ != crdt::Type::kStream &&
          old->value() == effect.value) {
        place.entry->value_part() = {seen.dot(), hlc};
        rare_->Note(seen.dot());
        MarkDirty(place);
      } else {
        SetPlain(name, place, {.value = effect.value, .dot = seen.dot(), .hlc = hlc}, viewer);
      }
      return {.added_version = true, .concurrent = false};
    }
    if (effect.kind == EffectKind::kWipe) {
      Remove(name, place, viewer);
      return {};
    }
  }
  if (old && old->form() == Form::kCounter && Continues(old->counter(), effect, seen)) {
    // The next increment of the origin whose counter stands there.
    CounterPart counter = old->counter();
    counter.at_sequence = seen.at().sequence;
    counter.at_index = seen.at().index;
    counter.total = static_cast<int64_t>(effect.total.integer);
    counter.hlc = hlc;
    SetPlain(name, place, PlainOf(counter), viewer);
    return {};
  }
  crdt::Register state = old ? old->State() : crdt::Register{};
  const crdt::ApplyResult result = crdt::ApplyToElement(state, effect, seen, hlc);
  Set(name, place, std::move(state), viewer);
  return result;
}

bool Elements::WipesAll(const crdt::Seen& seen) const {
  if (unplain() != 0) return false;
  if (spilled()) {
    return std::all_of(rare_->newest.begin(), rare_->newest.end(), [&](clock::Dot dot) {
      return seen.Covers(dot);
    });
  }
  bool all = true;
  ForEach([&](const ElementView& element) { return all = seen.Covers(element.value_part().dot); });
  return all;
}

bool Elements::WipesMost(const crdt::Seen& seen) const {
  if (!spilled() || !WipesMost()) return false;
  return std::all_of(rare_->newest.begin(), rare_->newest.end(), [&](clock::Dot dot) {
    return seen.Covers(dot);
  });
}

std::vector<crdt::Element> Elements::LeftByWipe(const crdt::Seen& seen) const {
  std::vector<crdt::Element> left;
  const crdt::Effect wipe{.kind = crdt::EffectKind::kWipe};
  ForEachUnplain([&](const ElementView& element) {
    crdt::Element rest;
    static_cast<crdt::Register&>(rest) = element.State();
    crdt::ApplyToElement(rest, wipe, seen, {});
    if (rest.empty()) return true;
    rest.type = type_;
    rest.name = element.key();
    left.push_back(std::move(rest));
    return true;
  });
  return left;
}

bool Elements::HoldsSeen(const ElementView& element, const crdt::Seen& seen) {
  if (element.form() == Form::kCounter) return false;
  if (element.form() != Form::kFat) return seen.Covers(element.value_part().dot);
  const std::vector<crdt::Version>& versions = element.fat_state().versions;
  return std::any_of(versions.begin(), versions.end(), [&](const crdt::Version& v) {
    return seen.Covers(v.dot);
  });
}

void Elements::Wipe(const crdt::Seen& seen, const Viewer& viewer, Keeps keeps) {
  Sync(viewer);
  // Cleared counters may be many, and are wiped with each write that creates their key anew.
  if (!has_versions() && !PLANTED(kWipeClearsUnseen)) return;
  const crdt::Effect wipe{.kind = crdt::EffectKind::kWipe};
  std::vector<std::string> names;
  ForEach([&](const ElementView& element) {
    // What nothing of was seen stays as it is.
    const bool touched =
        HoldsSeen(element, seen) ||
        (PLANTED(kWipeClearsUnseen) && element.form() != Form::kValue);
    if (touched && !keeps(element.key())) names.emplace_back(element.key());
    return true;
  });
  for (const std::string& name : names) {
    Place place = Locate(name);
    crdt::Register state = ViewOf(place)->State();
    crdt::ApplyToElement(state, wipe, seen, {});
    Set(name, place, std::move(state), viewer);
  }
}

void Elements::Drop(std::string_view name, const Viewer& viewer) {
  Sync(viewer);
  Place place = Locate(name);
  Remove(name, place, viewer);
}

void Elements::PurgeCounter(std::string_view name,
                            clock::OriginIndex origin,
                            const Viewer& viewer) {
  Sync(viewer);
  Place place = Locate(name);
  const std::optional<ElementView> element = ViewOf(place);
  if (!element || element->form() != Form::kFat) return;
  crdt::Register state = element->State();
  std::erase_if(state.counters,
                [&](const crdt::CounterEntry& e) { return e.origin == origin && !e.live(); });
  Set(name, place, std::move(state), viewer);
}

bool Elements::Load(std::string_view name,
                    crdt::Register state,
                    bool own_row,
                    bool replaces,
                    const Viewer& viewer) {
  Sync(viewer);
  // Not few again, until they are gone: what moves from rows of their own into the key's row, while somebody
  // reads the store row by row (a state transfer), could be in none that he meets.
  if (own_row) MakeBig(viewer);
  Place place = Locate(name);
  const bool fresh = place.none();
  if (!fresh && !replaces) return false;
  if (state.empty()) return fresh;
  has_rows_ = has_rows_ || own_row;
  Set(name, place, std::move(state), viewer);
  SetStored(name);
  if (!spilled()) return fresh;
  if (!own_row) {
    // The key's row holds it, although this object would not have written it so.
    rare_->inline_names.emplace_back(name);
    return fresh;
  }
  // What has just been read need not be written.
  Place loaded = Locate(name);
  if (loaded.in_blocks) {
    rare_->blocks->SetDirty(loaded.listed, false);
  } else if (rare_->names != nullptr) {
    rare_->names->SetDirty(loaded.entry, false);
  } else {
    Table::Unmark(loaded.slot);
  }
  return fresh;
}

void Elements::MakeBig(const Viewer& viewer) {
  Sync(viewer);
  if (!spilled()) Grow(viewer);
}

bool Elements::MergeWith(const Elements* theirs,
                         const clock::VersionVector& mine_vector,
                         const clock::VersionVector& theirs_vector,
                         const Viewer& viewer,
                         Keeps keeps) {
  Sync(viewer);
  // Names first: none of it may go on while the elements change.
  std::vector<std::string> names;
  ForEach([&](const ElementView& element) {
    const auto other = theirs == nullptr ? std::nullopt : theirs->Find(element.key());
    bool same = keeps(element.key());
    if (!same && element.form() == Form::kValue) {
      // Most: both sides have the one version, or only we have it.
      const clock::Dot dot = element.value_part().dot;
      same = !other ? !theirs_vector.Covers(dot)
                    : other->form() == Form::kValue && other->value_part().dot == dot;
    }
    if (!same) names.emplace_back(element.key());
    return true;
  });
  if (theirs != nullptr) {
    theirs->ForEach([&](const ElementView& other) {
      if (!Find(other.key()) && !keeps(other.key())) names.emplace_back(other.key());
      return true;
    });
  }
  bool changed = false;
  for (const std::string& name : names) {
    Place place = Locate(name);
    const auto other = theirs == nullptr ? std::nullopt : theirs->Find(name);
    const crdt::Register mine = place.none() ? crdt::Register{} : ViewOf(place)->State();
    crdt::Register merged = crdt::MergeElement(
        mine, mine_vector, other ? other->State() : crdt::Register{}, theirs_vector);
    if (merged == mine) continue;
    changed = true;
    Set(name, place, std::move(merged), viewer);
  }
  return changed;
}

// ---- rows

void Elements::NoteInline() {
  for (const char* at = packed_.begin(); at != packed_.end(); at = Packed::Next(at))
    packed_.SetStored(at);
  if (rare_ == nullptr) return;
  for (Entry* entry : rare_->few)
    entry->set(Entry::kStored, true);
}

void Elements::VisitInline(RowVisit visit) {
  for (const std::string& name : rare_->inline_names) {
    Place place = Locate(name);
    if (place.none()) continue;
    const crdt::Register state = ViewOf(place)->State();
    SetStored(name);
    visit(name, state);
  }
  if (!rare_->inline_names.empty()) has_rows_ = true;
  rare_->inline_names.clear();
  rare_->inline_names.shrink_to_fit();
}

bool Elements::VisitDirty(uint64_t& cursor, size_t count, size_t& visited, RowVisit visit) {
  has_rows_ = true;
  Names& deleted = rare_->deleted;
  for (; !deleted.empty() && visited < count; ++visited) {
    visit(*deleted.begin(), crdt::Register{});
    deleted.erase(deleted.begin());
  }
  if (visited >= count) return false;
  auto take = [&](Entry* entry) {
    entry->set(Entry::kStored, true);
    ++visited;
    visit(entry->key(), entry->State());
  };
  // Where it goes on tree and blocks know.
  if (rare_->names != nullptr) {
    cursor = rare_->names->TakeDirty(/*begins=*/cursor == 0, count - visited, take) ? 0 : 1;
  } else if (rare_->blocks != nullptr) {
    auto take_item = [&](const ListItem& item) {
      ++visited;
      const ElementView view(item);
      visit(view.key(), view.State());
    };
    cursor = rare_->blocks->TakeDirty(/*begins=*/cursor == 0, count - visited, take_item) ? 0 : 1;
  } else {
    cursor = rare_->table->TakeDirty(cursor, count - visited, take);
  }
  return cursor == 0 && deleted.empty();
}

bool Elements::FreeSome(size_t count) {
  if (rare_ == nullptr) return false;
  if (rare_->order != nullptr && !rare_->order->FreeSome(count)) rare_->order.reset();
  if (rare_->order != nullptr) return true;
  if (rare_->names != nullptr && !rare_->names->FreeSome(count)) rare_->names.reset();
  if (rare_->names != nullptr) return true;
  if (rare_->blocks != nullptr && !rare_->blocks->FreeSome(count)) rare_->blocks.reset();
  if (rare_->blocks != nullptr) return true;
  if (rare_->table != nullptr && !rare_->table->FreeSome(count)) rare_->table.reset();
  return rare_->table != nullptr;
}

}  // namespace polyarch::keyspace
