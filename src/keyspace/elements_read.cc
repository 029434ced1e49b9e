// How elements are looked at: what they show, walks, the order of sorted sets and lists.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "base/number.h"
#include "base/planted.h"
#include "keyspace/elements.h"
#include "keyspace/name_score.h"

namespace polyarch::keyspace {

namespace {

// What a register shows as a number; nothing if it is no number.
std::optional<crdt::Number> AsNumber(std::string_view value) {
  if (auto integer = base::ParseInt64(value)) return crdt::Number::Integer(*integer);
  if (auto real = base::ParseLongDouble(value)) return crdt::Number::Real(*real);
  return std::nullopt;
}

bool Less(const RankedElement& a, double score, std::string_view name) {
  return a.score < score || (a.score == score && a.element.key() < name);
}

}  // namespace

std::string EncodeScore(double score) {
  std::string bytes(sizeof score, '\0');
  std::memcpy(bytes.data(), &score, sizeof score);
  return bytes;
}

double DecodeScore(std::string_view bytes) {
  double score = 0;
  if (bytes.size() != sizeof score) return 0;
  std::memcpy(&score, bytes.data(), sizeof score);
  return std::isnan(score) ? 0 : score;
}

std::string_view ShortScore(std::string_view bytes) {
  return bytes.substr(std::min(bytes.find_first_not_of('\0'), bytes.size()));
}

std::string LongScore(std::string_view short_score) {
  return std::string(sizeof(double) - short_score.size(), '\0').append(short_score);
}

ShownValue ShowRegister(const crdt::Register& state,
                        const Viewer& viewer,
                        std::string_view element) {
  ShownValue shown;
  conflict::View view = conflict::Resolve(
      viewer.PolicyFor(element), viewer.policies.default_order(), state.versions, viewer.origins,
      viewer.SubjectOf(element));
  if (view.kind == conflict::View::Kind::kConflict) {
    shown.kind = ShownValue::Kind::kConflict;
    shown.versions = view.distinct;
    return shown;
  }
  const bool has_base = view.kind != conflict::View::Kind::kNothing;
  if (has_base) shown.value = state.versions[view.index].value;
  if (view.kind == conflict::View::Kind::kUnion) shown.text = conflict::Unite(state.versions);
  const bool merged = view.kind == conflict::View::Kind::kMerged;
  if (merged) {
    shown.text = std::move(view.merged);
    shown.value = {};
  }
  if (!state.has_live_counter()) {
    if (has_base) shown.kind = ShownValue::Kind::kValue;
    return shown;
  }
  shown.kind = ShownValue::Kind::kValue;
  crdt::Number base = crdt::Number::Integer(0);
  if (has_base) {
    auto number = AsNumber(merged ? std::string_view(shown.text) : shown.value);
    if (!number) return shown;  // the increments stay hidden until the next write clears them
    base = *number;
  }
  const crdt::Number sum = crdt::CounterSum(state, viewer.origins);
  // Beyond what a number holds the base does not matter any more.
  crdt::Number total = crdt::Add(base, sum).value_or(sum);
  if (!total.is_real && !total.FitsInt64()) {
    shown.saturated = true;
    total = crdt::Number::Integer(total.integer > 0 ? INT64_MAX : INT64_MIN);
  }
  shown.value = {};
  shown.text.clear();
  if (!total.is_real) {
    shown.is_integer = true;
    shown.integer = static_cast<int64_t>(total.integer);
  } else {
    shown.text = base::FormatLongDouble(total.AsReal());
  }
  return shown;
}

bool HasResidue(const crdt::Register& state) {
  if (!state.has_live_version() && !state.versions.empty()) return true;
  return std::any_of(state.counters.begin(), state.counters.end(), [](const crdt::CounterEntry& e) {
    return !e.live();
  });
}

// Is what the leaders have added up together beyond 64 bits? Each of them refuses that by itself.
static bool IsSaturated(const crdt::Register& state) {
  crdt::Number base = crdt::Number::Integer(0);
  if (state.has_live_version()) base = AsNumber(state.versions[0].value).value_or(base);
  bool is_real = base.is_real;
  __int128 sum = base.integer;
  for (const crdt::CounterEntry& e : state.counters) {
    if (!e.live()) continue;
    // As CounterSum: what was cleared is not shown.
    is_real = is_real || e.total.is_real || e.cleared_total.is_real;
    sum += e.total.integer - e.cleared_total.integer;
  }
  return !is_real && (sum > INT64_MAX || sum < INT64_MIN);
}

bool IsConflict(const crdt::Register& state) {
  if (conflict::IsConflict(state.versions)) return true;
  if (state.has_live_counter() && IsSaturated(state) && !PLANTED(kSaturatedUnlisted)) return true;
  return state.has_live_counter() && state.has_live_version() && !AsNumber(state.versions[0].value);
}

crdt::Register ElementView::State() const {
  if (entry_ != nullptr) return entry_->State();
  crdt::Register state;
  if (form() == Form::kCounter) {
    state.counters.push_back(CounterEntryOf(counter()));
  } else {
    const ValuePart part = value_part();
    state.versions.push_back({.dot = part.dot,
                              .hlc = part.hlc,
                              .never = false,
                              .absent = false,
                              .value = has_short_score() ? LongScore(value()) : std::string(value())});
  }
  return state;
}

// ---- looking

void Elements::ForEach(base::FunctionRef<bool(const ElementView&)> visit) const {
  for (const char *at = packed_.begin(), *last = packed_.end(); at != last; at = Packed::Next(at)) {
    if (!visit(PackedView(at))) return;
  }
  if (rare_ == nullptr) return;
  auto each = [&](const Entry& entry) { return visit(ElementView(&entry)); };
  if (rare_->names != nullptr) return rare_->names->Walk(each);
  if (rare_->blocks != nullptr)
    return rare_->blocks->WalkAll([&](const ListItem& item) { return visit(ElementView(item)); });
  if (rare_->table != nullptr) return rare_->table->Walk(each);
  for (const Entry* entry : rare_->few) {
    if (!visit(ElementView(entry))) return;
  }
}

void Elements::ForEachUnplain(base::FunctionRef<bool(const ElementView&)> visit) const {
  if (unplain() == 0) return;
  if (rare_ != nullptr && rare_->table != nullptr)
    return rare_->table->WalkUnplain([&](const Entry& entry) { return visit(ElementView(&entry)); });
  ForEach([&](const ElementView& element) { return element.form() == Form::kValue || visit(element); });
}

uint64_t Elements::ScanUnplain(uint64_t cursor,
                               size_t count,
                               base::FunctionRef<void(const ElementView&)> visit) const {
  if (rare_ != nullptr && rare_->table != nullptr) {
    return rare_->table->ScanUnplain(
        cursor, count, [&](const Entry& entry) { visit(ElementView(&entry)); });
  }
  ForEachUnplain([&](const ElementView& element) {
    visit(element);
    return true;
  });
  return 0;
}

void Elements::AppendTo(std::vector<crdt::Element>& out) const {
  const auto first = static_cast<ptrdiff_t>(out.size());
  ForEach([&](const ElementView& from) {
    crdt::Element& element = out.emplace_back();
    static_cast<crdt::Register&>(element) = from.State();
    element.type = type_;
    element.name = from.key();
    return true;
  });
  std::sort(out.begin() + first, out.end(), [](const crdt::Element& a, const crdt::Element& b) {
    return a.name < b.name;
  });
}

uint64_t Elements::Scan(uint64_t cursor,
                        size_t count,
                        base::FunctionRef<void(const ElementView&)> visit) const {
  if (rare_ == nullptr || rare_->table == nullptr) {
    // A cursor of a time when they were many goes on, so that none is missed.
    ForEach([&](const ElementView& element) {
      if (element.shown()) visit(element);
      return true;
    });
    return 0;
  }
  return rare_->table->Scan(cursor, std::max<size_t>(count, 1), [&](Entry* entry) {
    if (entry->has(Entry::kShown)) visit(ElementView(entry));
  });
}

std::optional<ElementView> Elements::Random(uint64_t random) const {
  if (shown() == 0) return std::nullopt;
  if (order() != nullptr) return ElementView(order()->At(random % shown()).entry);
  if (rare_ == nullptr || rare_->table == nullptr) {
    uint64_t skip = random % shown();
    std::optional<ElementView> found;
    ForEach([&](const ElementView& element) {
      if (element.shown() && skip-- == 0) found = element;
      return !found.has_value();
    });
    return found;
  }
  const Entry* sampled =
      rare_->table->Sample(random, [](Entry* entry) { return entry->has(Entry::kShown); });
  if (sampled != nullptr) return ElementView(sampled);
  // Few are left of many.
  if (shown() <= kDrawnFrom) {
    uint64_t skip = random % shown();
    std::optional<ElementView> found;
    rare_->table->Walk([&](const Entry& entry) {
      if (entry.has(Entry::kShown) && skip-- == 0) found.emplace(&entry);
      return !found.has_value();
    });
    return found;
  }
  // From a random place on, once around at most, one of the next ones.
  constexpr size_t kLookedAt = 200;  // about a segment
  std::vector<const Entry*> found;
  uint64_t cursor = random >> Table::kCursorShift;
  for (int part = 0; part < 2 && found.size() < kDrawnFrom; ++part) {
    do {
      cursor = rare_->table->Scan(cursor, kLookedAt, [&](Entry* entry) {
        if (entry->has(Entry::kShown) && found.size() < kDrawnFrom) found.push_back(entry);
      });
    } while (cursor != 0 && found.size() < kDrawnFrom);
  }
  return ElementView(found[(random & 0xffff) % found.size()]);
}

bool Elements::is_sparse() const {
  // Beyond one of sixteen slots nearly every draw finds one by trying.
  return rare_ != nullptr && rare_->table != nullptr && order() == nullptr &&
         shown() < rare_->table->slots() / 16;
}

bool Elements::IsPassCheaper(size_t draws) const {
  if (order() != nullptr) return false;
  if (rare_ == nullptr || rare_->table == nullptr) return draws > 1;  // each walks half of them
  // A draw looks at what lies between so many of them.
  return is_sparse() && shown() / kDrawnFrom <= draws;
}

// ---- order

double Elements::Score(const ElementView& element, const Viewer& viewer) const {
  if (by_name()) return 0;
  switch (element.form()) {
    case Form::kValue:
    case Form::kValueTtl:
      return DecodeScore(element.has_short_score() ? LongScore(element.value()) : element.value());
    case Form::kCounter:
      return static_cast<double>(element.counter().total);
    case Form::kFat:
      break;
  }
  const crdt::Register& state = element.fat_state();
  const conflict::View view = conflict::Resolve(
      viewer.policy, viewer.policies.default_order(), state.versions, viewer.origins);
  double score = 0;
  if (view.kind == conflict::View::Kind::kValue)
    score = DecodeScore(state.versions[view.index].value);
  if (!state.has_live_counter()) return score;
  const long double sum = crdt::CounterSum(state, viewer.origins).AsReal() + score;
  return static_cast<double>(sum);
}

double Elements::PackedScore(const char* at) const {
  if (by_name()) return 0;
  if (Packed::IsCounter(at)) return static_cast<double>(Packed::CounterOf(at).total);
  const double score = std::bit_cast<double>(Packed::LastBytesOf(at));
  return std::isnan(score) ? 0 : score;
}

const char* Elements::PackedPlace(std::string_view name, const Packed::Plain& plain) const {
  const char* at = packed_.begin();
  const char* last = packed_.end();
  if (!ordered()) return last;
  double score = 0;
  if (by_name()) {
    if (PLANTED(kListByArrival)) return last;
  } else if (plain.counter) {
    CounterPart counter;
    std::memcpy(&counter, plain.value.data(), sizeof counter);
    score = static_cast<double>(counter.total);
  } else {
    score = DecodeScore(plain.value);
  }
  // Most of what comes into a list comes at its ends.
  if (type_ == crdt::Type::kList && at != last && PackedView(LastPacked()).key() < name) return last;
  while (at != last && Less({PackedScore(at), PackedView(at)}, score, name))
    at = Packed::Next(at);
  return at;
}

const char* Elements::LastPacked() const {
  const char* at = packed_.begin();
  for (const char* next = at; next != packed_.end(); next = Packed::Next(next))
    at = next;
  return at;
}

const char* Elements::FindInOrder(std::string_view name) const {
  if (packed_.count() == 0) return nullptr;
  const char* end = LastPacked();
  int order = PackedView(end).key().compare(name);
  if (order <= 0 && !PLANTED(kListByArrival)) return order == 0 ? end : nullptr;
  for (const char* at = packed_.begin(); at != packed_.end(); at = Packed::Next(at)) {
    order = PackedView(at).key().compare(name);
    if (order == 0) return at;
    if (order > 0 && !PLANTED(kListByArrival)) return nullptr;
  }
  return nullptr;
}

std::vector<RankedElement> Elements::SortedFew(const Viewer& viewer) const {
  std::vector<RankedElement> items;
  items.reserve(shown());
  ForEach([&](const ElementView& element) {
    if (element.shown()) items.push_back({Score(element, viewer), element});
    return true;
  });
  if (PLANTED(kListByArrival) && type_ == crdt::Type::kList) return items;
  std::sort(items.begin(), items.end(), [](const RankedElement& a, const RankedElement& b) {
    return Less(a, b.score, b.element.key());
  });
  return items;
}

std::optional<ElementView> Elements::At(size_t rank, const Viewer& viewer) const {
  if (rank >= shown()) return std::nullopt;
  if (order() != nullptr) return ElementView(order()->At(rank).entry);
  if (blocks() != nullptr) return ElementView(blocks()->At(rank));
  if (!has_few()) {
    // Packed ones stand in order.
    const char* at = packed_.begin();
    for (; rank > 0; --rank)
      at = Packed::Next(at);
    return PackedView(at);
  }
  // The ends, most asked for, need no order.
  if (!by_name() || (rank != 0 && rank != shown() - 1) || PLANTED(kListByArrival))
    return SortedFew(viewer)[rank].element;
  std::optional<ElementView> end;
  ForEach([&](const ElementView& element) {
    if (element.shown() && (!end || (element.key() < end->key()) == (rank == 0))) end = element;
    return true;
  });
  return end;
}

size_t Elements::Rank(double score, std::string_view name, const Viewer& viewer) const {
  if (order() != nullptr) return order()->Rank(by_name() ? NameScore(name) : score, name);
  if (blocks() != nullptr) return blocks()->Rank(name);
  size_t before = 0;
  if (!has_few()) {
    // Packed ones stand in order.
    for (const char *at = packed_.begin(), *last = packed_.end(); at != last;
         at = Packed::Next(at)) {
      if (!Less({PackedScore(at), PackedView(at)}, score, name)) break;
      ++before;
    }
    return before;
  }
  ForEach([&](const ElementView& element) {
    if (element.shown() && Less({Score(element, viewer), element}, score, name)) ++before;
    return true;
  });
  return before;
}

size_t Elements::CountBelow(double score, bool inclusive, const Viewer& viewer) const {
  if (by_name()) return score > 0 || (inclusive && score == 0) ? shown() : 0;
  if (order() != nullptr) return order()->CountBelow(score, inclusive);
  size_t below = 0;
  if (!has_few()) {
    for (const char *at = packed_.begin(), *last = packed_.end(); at != last;
         at = Packed::Next(at)) {
      const double its = PackedScore(at);
      if (its > score || (its == score && !inclusive)) break;
      ++below;
    }
    return below;
  }
  ForEach([&](const ElementView& element) {
    if (!element.shown()) return true;
    const double its = Score(element, viewer);
    if (its < score || (inclusive && its == score)) ++below;
    return true;
  });
  return below;
}

void Elements::Walk(size_t first,
                    bool reverse,
                    base::FunctionRef<bool(const RankedElement&)> visit,
                    const Viewer& viewer) const {
  if (order() != nullptr) {
    order()->Walk(first, reverse, [&](const OrderTree::Item& item) {
      return visit({by_name() ? 0 : item.score, ElementView(item.entry)});
    });
    return;
  }
  if (blocks() != nullptr) {
    blocks()->Walk(first, reverse, [&](const ListItem& item) {
      return visit({0, ElementView(item)});
    });
    return;
  }
  if (has_few()) {
    const std::vector<RankedElement> items = SortedFew(viewer);
    for (size_t i = first; i < items.size(); reverse ? --i : ++i) {
      if (!visit(items[i]) || (reverse && i == 0)) return;
    }
    return;
  }
  // Packed ones stand in order.
  const char* places[Packed::kElementsMax];
  size_t count = 0;
  for (const char *at = packed_.begin(), *last = packed_.end(); at != last; at = Packed::Next(at)) {
    if (count >= first && !reverse) {
      if (!visit({PackedScore(at), PackedView(at)})) return;
    }
    places[count++] = at;
  }
  for (size_t i = first; reverse && i < count; --i) {
    if (!visit({PackedScore(places[i]), PackedView(places[i])}) || i == 0) return;
  }
}

}  // namespace polyarch::keyspace
