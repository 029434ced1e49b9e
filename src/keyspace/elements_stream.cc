// What only streams need of elements: the index, and removing a range of names.
#include <algorithm>

#include "base/planted.h"
#include "keyspace/elements.h"
#include "keyspace/name_score.h"

namespace polyarch::keyspace {

namespace {

const crdt::Version* ShownVersion(const crdt::Register& state, const Viewer& viewer) {
  const conflict::View view = conflict::Resolve(
      viewer.policy, viewer.policies.default_order(), state.versions, viewer.origins);
  return view.kind == conflict::View::Kind::kNothing ? nullptr : &state.versions[view.index];
}

}  // namespace

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
  if (name.part != crdt::StreamName::Part::kEntry) return;
  const uint64_t lane = LaneOf(ElementView(entry), viewer);
  if (added) {
    rare_->stream->Add(name.id, lane);
  } else {
    rare_->stream->Remove(name.id, lane);
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
  std::vector<std::string> names;
  auto note = [&](const ElementView& element) {
    if (!crdt::IsInRange(effect, element.key())) return;
    const bool untouched = element.form() == Form::kCounter ||
                           (element.form() == Form::kValue && !PLANTED(kStreamTrimUnseen) &&
                            !seen.Covers(element.value_part().dot));
    if (!untouched && !keeps(element.key())) names.emplace_back(element.key());
  };
  if (order() != nullptr && shown() == size() && type_ != crdt::Type::kSortedSet) {
    // All stand in the order of their names.
    order()->Walk(order()->Rank(NameScore(effect.element), effect.element), false, [&](const OrderTree::Item& item) {
      note(ElementView(item.entry));
      return item.entry->key() < effect.value;
    });
  } else {
    ForEach([&](const ElementView& element) {
      note(element);
      return true;
    });
  }
  for (const std::string& name : names) {
    const Place place = Locate(name);
    const std::optional<ElementView> element = ViewOf(place);
    if (element->form() == Form::kValue) {
      Remove(name, place, viewer);
      continue;
    }
    crdt::Register state = element->State();
    crdt::ApplyToElement(state, effect, seen, {});
    Set(name, place, std::move(state), viewer);
  }
}

}  // namespace polyarch::keyspace
