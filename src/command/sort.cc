// SORT and SORT_RO: the elements of a set or a sorted set in an order of their own, or of values
// that patterns name, or, with STORE, makes a list of them.
#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <deque>
#include <map>
#include <span>
#include <vector>

#include "base/number.h"
#include "command/collection.h"
#include "command/families.h"
#include "command/list.h"
#include "command/notify.h"
#include "command/rights.h"
#include "command/support.h"

namespace polyarch::command {
namespace {

using keyspace::Collection;
using keyspace::ElementView;
using keyspace::Shown;

struct SortOptions {
  bool descending = false;
  bool alpha = false;
  bool unsorted = false;  // BY a pattern that names no key
  std::optional<std::string_view> store;  // the key that gets the result, as a list
  std::optional<std::string_view> by;
  std::vector<std::string_view> get;
  int64_t offset = 0;
  int64_t count = -1;  // negative: all
};

using Weight = std::optional<std::string>;  // of ALPHA: nothing sorts first

struct Item {
  std::string element;
  const Weight* by = nullptr;  // BY with ALPHA; equal elements share one
  double score = 0;
};

// What a value takes in a reply beside its bytes at most, and what a null takes.
constexpr size_t kHeaderBytes = 32;
constexpr size_t kNullBytes = 3;

// Patterns name keys that nobody can tell from the arguments.
bool MayLookUp(Context& c, std::string_view option) {
  const Row* row = Table::Instance().FindName(c.args[0]);
  if (!c.client.judged || (row != nullptr && MayReadAnyKey(c, *row))) return true;
  c.reply.Error("ERR " + std::string(option) + " option of SORT denied due to insufficient ACL permissions.");
  return false;
}

bool ReadSortOptions(Context& c, bool only_reads, SortOptions& options) {
  for (size_t i = 2; i < c.count(); ++i) {
    const std::string_view word = c.args[i];
    const size_t left = c.count() - i - 1;
    if (EqualsIgnoreCase(word, "asc")) {
      options.descending = false;
    } else if (EqualsIgnoreCase(word, "desc")) {
      options.descending = true;
    } else if (EqualsIgnoreCase(word, "alpha")) {
      options.alpha = true;
    } else if (EqualsIgnoreCase(word, "limit") && left >= 2) {
      const auto offset = ReadInteger(c, c.args[i + 1]);
      if (!offset) return false;
      const auto count = ReadInteger(c, c.args[i + 2]);
      if (!count) return false;
      options.offset = *offset;
      options.count = *count;
      i += 2;
    } else if (EqualsIgnoreCase(word, "store") && left >= 1 && !only_reads) {
      options.store = c.args[++i];
    } else if (EqualsIgnoreCase(word, "by") && left >= 1) {
      options.by = c.args[++i];
      if (options.by->find('*') == std::string_view::npos) {
        options.unsorted = true;
      } else if (!MayLookUp(c, "BY")) {
        return false;
      }
    } else if (EqualsIgnoreCase(word, "get") && left >= 1) {
      if (!MayLookUp(c, "GET")) return false;
      options.get.push_back(c.args[++i]);
    } else {
      ReplySyntaxError(c);
      return false;
    }
  }
  return true;
}

// What a pattern names for an element: a string, or, behind "->", a field of a hash. False, with
// the error given, if that is in conflict.
bool LookUp(Context& c,
            std::string_view pattern,
            const std::string& element,
            std::optional<std::string>& value) {
  value.reset();
  if (pattern == "#") {
    value = element;
    return true;
  }
  const size_t star = pattern.find('*');
  if (star == std::string_view::npos) return true;
  std::string_view field;
  std::string_view tail = pattern.substr(star + 1);
  const size_t arrow = tail.find("->");
  if (arrow != std::string_view::npos && arrow + 2 < tail.size()) {
    field = tail.substr(arrow + 2);
    tail = tail.substr(0, arrow);
  }
  std::string key(pattern.substr(0, star));
  key.append(element).append(tail);
  const keyspace::KeyRef ref = c.Ref(key);
  const Shown shown = c.keys.Read(ref);
  if (!shown.exists()) {
    TellMissedKey(c, key);
    return true;
  }
  if (!field.empty()) {
    if (shown.kind != Shown::Kind::kCollection || shown.type != crdt::Type::kHash) return true;
    const keyspace::ShownValue found = c.keys.OpenAgain(ref, crdt::Type::kHash).Get(field);
    if (RefuseFieldConflict(c, key, field, found)) return false;
    if (found.kind == keyspace::ShownValue::Kind::kValue) value = TextOf(found);
    return true;
  }
  if (shown.kind == Shown::Kind::kCollection) return true;
  if (RefuseConflict(c, key, shown)) return false;
  char scratch[base::kInt64CharsMax];
  value = std::string(shown.Text(scratch));
  return true;
}

// As strtod takes it, all of the text; also what is too small or too large for it is refused.
std::optional<double> ReadScore(const std::string& text) {
  char* end = nullptr;
  errno = 0;
  const double score = std::strtod(text.c_str(), &end);
  if (*end != '\0' || errno == ERANGE || std::isnan(score)) return std::nullopt;
  return score;
}

// The elements as they are walked; of a sorted set that is left unsorted, in its order.
std::vector<Item> ReadItems(const Collection& collection, const SortOptions& options) {
  std::vector<Item> items;
  if (collection.size() == 0) return items;
  items.reserve(collection.size());
  auto add = [&](std::string_view name) {
    items.push_back({std::string(name), nullptr, 0});
    return true;
  };
  if (collection.elements->type() == kList) {
    for (ListElement& e : Ends(collection, true, collection.size()))
      items.push_back({std::move(e.value), nullptr, 0});
    if (options.unsorted && options.descending) std::reverse(items.begin(), items.end());
  } else if (collection.elements->type() == crdt::Type::kSortedSet && options.unsorted) {
    collection.elements->Walk(
        options.descending ? collection.size() - 1 : 0,
        options.descending,
        [&](const keyspace::RankedElement& item) { return add(item.element.key()); },
        collection.viewer());
  } else {
    collection.ForEach([&](const ElementView& entry) { return add(entry.key()); });
  }
  return items;
}

int Compare(const Item& a, const Item& b, const SortOptions& options) {
  if (!options.alpha) {
    if (a.score != b.score) return a.score < b.score ? -1 : 1;
    return a.element.compare(b.element);
  }
  int order = 0;
  if (options.by && a.by != b.by) order = *a.by < *b.by ? -1 : *b.by < *a.by ? 1 : 0;
  // Where the weights say nothing the elements do, so that all leaders answer alike.
  return order != 0 ? order : a.element.compare(b.element);
}

// The weights of ALPHA, each held once: an element may be there often, and its weight be large. False, with the error
// given, if one is in conflict.
bool LookUpTexts(Context& c, std::string_view pattern, std::vector<Item>& items, std::deque<Weight>& weights) {
  std::map<std::string_view, const Weight*> found;
  for (Item& item : items) {
    const auto [it, fresh] = found.try_emplace(item.element, nullptr);
    if (fresh) {
      it->second = &weights.emplace_back();
      if (!LookUp(c, pattern, item.element, weights.back())) return false;
    }
    item.by = it->second;
  }
  return true;
}

// False, with the error given, if one is no number or in conflict.
bool LookUpScores(Context& c, const SortOptions& options, std::vector<Item>& items) {
  bool all_numbers = true;
  Weight weight;
  for (Item& item : items) {
    if (options.by && !LookUp(c, *options.by, item.element, weight)) return false;
    if (options.by && !weight) continue;
    const auto score = ReadScore(options.by ? *weight : item.element);
    all_numbers = all_numbers && score.has_value();
    item.score = score.value_or(0);
  }
  if (!all_numbers) c.reply.Error("ERR One or more scores can't be converted into double");
  return all_numbers;
}

// False, with the error given, if a weight is no number or in conflict.
bool SortItems(Context& c, const SortOptions& options, std::vector<Item>& items) {
  std::deque<Weight> weights;
  if (!options.alpha && !LookUpScores(c, options, items)) return false;
  if (options.alpha && options.by && !LookUpTexts(c, *options.by, items, weights)) return false;
  std::sort(items.begin(), items.end(), [&](const Item& a, const Item& b) {
    const int order = Compare(a, b, options);
    return options.descending ? order > 0 : order < 0;
  });
  return true;
}

// What is asked for of each item, until false: the element, or what GET names. False, with the error given, if that is
// in conflict.
template <typename Visit>
bool ForEachValue(Context& c, const SortOptions& options, std::span<const Item> items, Visit visit) {
  std::optional<std::string> value;
  for (const Item& item : items) {
    if (options.get.empty()) {
      value = item.element;
      if (!visit(value)) return false;
    }
    for (std::string_view pattern : options.get) {
      if (!LookUp(c, pattern, item.element, value) || !visit(value)) return false;
    }
  }
  return true;
}

// A value that is not there is stored as an empty one, as in Redis.
void StoreSorted(Context& c, const SortOptions& options, std::span<const Item> items) {
  const std::string_view key = *options.store;
  if (!CheckKeySize(c, key)) return;
  // Those that do not fit are not gathered first: GET may name one large value many times.
  std::vector<std::string> values;
  size_t bytes = 0;
  const bool all = ForEachValue(c, options, items, [&](const std::optional<std::string>& value) {
    bytes += value ? value->size() : 0;
    if (!FitsPushed(c, key, values.size() + 1, bytes)) return false;
    values.push_back(value.value_or(""));
    return true;
  });
  if (!all) return;
  const keyspace::KeyRef target = c.Ref(key);
  DeleteSeen(c, target);
  for (const std::string& value : values) {
    if (!CheckPushed(c, c.change.Push(target, false, value))) return;
  }
  c.reply.Integer(static_cast<int64_t>(values.size()));
}

void RefuseLargeReply(Context& c) {
  c.reply.Error("LIMIT more than " + std::to_string(kReplyBytesMax) + " bytes in one reply: ask for less, with LIMIT");
}

// One may be in conflict, or all together too large: then there is nothing but the error.
void ReplyValues(Context& c, const SortOptions& options, std::span<const Item> items) {
  const size_t each = options.get.size();
  if (items.size() > kReplyBytesMax / kNullBytes / each) return RefuseLargeReply(c);
  resp::Buffer& out = c.reply.out();
  const size_t before = out.size();
  c.reply.Array(items.size() * each);
  size_t written = out.size();
  bool fits = true;
  const bool all = ForEachValue(c, options, items, [&](const std::optional<std::string>& value) {
    fits = written - before + (value ? value->size() : 0) + kHeaderBytes <= kReplyBytesMax;
    if (!fits) return false;
    value ? c.reply.Bulk(*value) : c.reply.Null();
    written = out.size();
    return !out.overflowed();
  });
  if (all || out.overflowed()) return;
  const std::string error(out.view().substr(written));
  out.Truncate(before);
  fits ? out.Append(error) : RefuseLargeReply(c);
}

void RunSort(Context& c, bool only_reads) {
  SortOptions options;
  if (!ReadSortOptions(c, only_reads, options)) return;
  const keyspace::KeyRef ref = c.Ref(c.args[1]);
  const Shown shown = c.keys.Read(ref);
  if (shown.kind == Shown::Kind::kConflict)
    return static_cast<void>(RefuseConflict(c, c.args[1], shown));
  const bool sortable = shown.kind == Shown::Kind::kCollection &&
                        (shown.type == kList || shown.type == crdt::Type::kSet ||
                         shown.type == crdt::Type::kSortedSet);
  if (shown.exists() && !sortable) return c.reply.Error(kWrongType);
  if ((options.store || c.scripted) && options.unsorted && shown.exists() && shown.type == crdt::Type::kSet) {
    // A set has no order of its own; what is stored or scripted must not depend on where it is looked at.
    options.unsorted = false;
    options.alpha = true;
    options.by.reset();
  }
  std::vector<Item> items;
  if (shown.exists()) items = ReadItems(c.keys.OpenAgain(ref, shown.type), options);
  if (!options.unsorted && !SortItems(c, options, items)) return;

  const auto size = static_cast<int64_t>(items.size());
  const int64_t first = std::clamp<int64_t>(options.offset, 0, size);
  const int64_t count = options.count < 0 ? size - first : std::min(options.count, size - first);
  const std::span<const Item> taken(items.data() + first, static_cast<size_t>(count));
  if (options.get.empty() && !options.store) {
    c.reply.Array(taken.size());
    for (const Item& item : taken)
      c.reply.Bulk(item.element);
    return;
  }
  options.store ? StoreSorted(c, options, taken) : ReplyValues(c, options, taken);
}

void Sort(Context& c) {
  RunSort(c, false);
}
void SortRo(Context& c) {
  RunSort(c, true);
}

}  // namespace

namespace {

// As ReadSortOptions reads them: a pattern may be called "store".
constexpr OptionWord kSortOptions[] = {
    {.word = "by"}, {.word = "get"}, {.word = "limit", .values = 2}, {.word = "store", .names_key = true}};

}  // namespace

void AddSortFamily(std::vector<Row>& rows) {
  // clang-format off: a row as few lines as it needs
  static constexpr Row kRows[] = {
      {.name = "sort",
       .arity = -2,
       .flags = kWrite | kDenyOom | kMovableKeys | kReadsByPattern,
       .keys = {.first = 1, .last = 1, .step = 1, .options = kSortOptions, .options_from = 2},
       .categories = "@write @set @sortedset @list @slow @dangerous",
       .handler = Sort,
       .summary = "Returns the elements of a set or a sorted set, sorted",
       .since = "1.0.0",
       .group = "generic",
       .complexity = "O(N+M*log(M)) where N is the number of elements and M of those returned",
       .syntax =
           "key:key BY pattern:pattern? LIMIT offset_count:{offset:integer count:integer}? GET "
           "pattern:pattern?*+ order:(ASC|DESC)? ALPHA? STORE destination:key?",
       .key_access = "RO access"},
      {.name = "sort_ro",
       .arity = -2,
       .flags = kReadonly | kMovableKeys | kReadsByPattern,
       .keys = {1, 1, 1},
       .categories = "@read @set @sortedset @list @slow @dangerous",
       .handler = SortRo,
       .summary = "Returns the elements of a set or a sorted set, sorted",
       .since = "7.0.0",
       .group = "generic",
       .complexity = "O(N+M*log(M)) where N is the number of elements and M of those returned",
       .syntax =
           "key:key BY pattern:pattern? LIMIT offset_count:{offset:integer count:integer}? GET "
           "pattern:pattern?*+ order:(ASC|DESC)? ALPHA?",
       .key_access = "RO access"},
  };
  // clang-format on
  rows.insert(rows.end(), std::begin(kRows), std::end(kRows));
}

}  // namespace polyarch::command
