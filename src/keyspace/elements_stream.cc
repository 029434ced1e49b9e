// What only streams need of elements: the index, and removing a range of names.
#include <algorithm>

#include "base/planted.h"
#include "keyspace/elements.h"

namespace polyarch::keyspace {

namespace {

const crdt::Version* ShownVersion(const crdt::Register& state, const Viewer& viewer) {
  const conflict::View view = conflict::Resolve(
      viewer.policy, viewer.policies.default_order(), state.versions, viewer.origins);
  return view.kind == conflict::View::Kind::kNothing ? nullptr : &state.versions[view.index];
}

}  // namespace

std::optional<clock::Dot> Elements::DotOf(const ElementView& element, const Viewer& viewer) {
  if (element.form() == Form::kValue) return element.value_part().dot;
  if (element.form() != Form::kFat) return std::nullopt;
  const crdt::Version* version = ShownVersion(element.fat_state(), viewer);
  return version == nullptr ? std::nullopt : std::optional(version->dot);
}

uint64_t Elements::LaneOf(const ElementView& element, const Viewer& viewer) {
  clock::Dot dot;
  std::string_view value;
  if (element.form() == Form::kValue) {
    dot = element.value_part().dot;
    value = element.value();
  } else if (element.form() == Form::kFat) {
    const crdt::Version* version = ShownVersion(element.fat_state(), viewer);
    if (version == nullptr) return 0;
    dot = version->dot;
    value = version->value;
  } else {
    return 0;  // a counter: no entry of a stream
  }
  if (const std::optional<uint64_t> lane = crdt::StreamLaneOf(value)) return *lane;
  return viewer.origins.Get(dot.origin()).incarnation;
}

void Elements::Index(const Entry* entry, bool added, const Viewer& viewer) {
  const crdt::StreamName name = crdt::ReadStreamName(entry->key());
  if (name.part == crdt::StreamName::Part::kPending)
    return IndexPending(entry, name.group, added, viewer);
  if (name.part != crdt::StreamName::Part::kEntry) return;
  const uint64_t lane = LaneOf(ElementView(entry), viewer);
  if (added) {
    rare_->stream->Add(name.id, lane);
  } else {
    rare_->stream->Remove(name.id, lane);
  }
}

void Elements::IndexPending(const Entry* entry,
                            std::string_view group,
                            bool added,
                            const Viewer& viewer) {
  std::string_view value;
  if (entry->form() == Form::kValue) {
    value = entry->value();
  } else if (entry->form() == Form::kFat) {
    const crdt::Version* version = ShownVersion(entry->fat().state(), viewer);
    if (version != nullptr) value = version->value;
  }
  const auto pending = crdt::DecodeStreamPending(value);
  if (!pending) return;  // foreign
  if (added) {
    rare_->stream->AddPending(group, *pending);
  } else {
    rare_->stream->RemovePending(group, *pending);
  }
}

void Elements::ForgetGroup(std::string_view name) {
  const crdt::StreamName read = crdt::ReadStreamName(name);
  if (read.part == crdt::StreamName::Part::kGroup) rare_->stream->Forget(read.group);
}

void Elements::WipeRange(const crdt::Effect& effect,
                         const crdt::Seen& seen,
                         const Viewer& viewer,
                         Keeps keeps) {
  Sync(viewer);
  auto goes = [&](const ElementView& element) {
    const bool touched = HoldsSeen(element, seen) ||
                         (PLANTED(kStreamTrimUnseen) && element.form() != Form::kCounter);
    return touched && !keeps(element.key());
  };
  auto wipe = [&](std::string_view name) {
    Place place = Locate(name);
    const std::optional<ElementView> element = ViewOf(place);
    if (element->form() == Form::kValue) return Remove(name, place, viewer);
    crdt::Register state = element->State();
    crdt::ApplyToElement(state, effect, seen, {});
    Set(name, place, std::move(state), viewer);
  };
  if (by_name() && spilled() && shown() == size())
    return WipeInOrder(effect.element, effect.value, viewer, goes, wipe);
  std::vector<std::string> names;
  ForEach([&](const ElementView& element) {
    if (crdt::IsInRange(effect, element.key()) && goes(element)) names.emplace_back(element.key());
    return true;
  });
  for (const std::string& name : names)
    wipe(name);
}

void Elements::WipeInOrder(std::string_view from,
                           std::string_view to,
                           const Viewer& viewer,
                           base::FunctionRef<bool(const ElementView&)> goes,
                           base::FunctionRef<void(std::string_view)> wipe) {
  if (rare_->blocks != nullptr) {
    Names& deleted = rare_->deleted;
    rare_->blocks->EraseBlocks(
        from,
        to,
        [&](const ListItem& item) { return goes(ElementView(item)); },
        [&](std::string_view name) { deleted.emplace_hint(deleted.end(), name); });
  }
  // Found first, since places move; not all at once, since a trim may take millions.
  constexpr size_t kAtOnce = 256;
  std::vector<std::string> names;
  std::vector<Entry*> entries;  // of a stream: they stay where they are when others go
  for (std::string next(from); next < to;) {
    names.clear();
    entries.clear();
    std::optional<std::string> further;
    Walk(
        Rank(0, next, viewer),
        false,
        [&](const RankedElement& item) {
          const std::string_view name = item.element.key();
          if (name >= to) return false;
          if (names.size() + entries.size() == kAtOnce) {
            further = name;
            return false;
          }
          if (!goes(item.element)) return true;
          if (rare_->names != nullptr && item.element.form() == Form::kValue) {
            entries.push_back(const_cast<Entry*>(item.element.entry()));
          } else {
            names.emplace_back(name);
          }
          return true;
        },
        viewer);
    for (const std::string& name : names)
      wipe(name);
    for (Entry* entry : entries)
      RemoveEntry(entry, viewer);
    if (!further) return;
    next = std::move(*further);
  }
}

void Elements::RemoveEntry(Entry* entry, const Viewer& viewer) {
  Place place;
  place.entry = entry;
  if (!entry->has(Entry::kStored)) return Remove(entry->key(), place, viewer);
  const std::string name(entry->key());  // which goes with it
  Remove(name, place, viewer);
}

}  // namespace polyarch::keyspace
