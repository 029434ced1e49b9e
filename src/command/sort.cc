// SORT and SORT_RO: the elements of a set or a sorted set in an order of their own, or of values
// that patterns name, or, with STORE, makes a list of them.
#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <vector>

#include "base/number.h"
#include "command/collection.h"
#include "command/families.h"
#include "command/list.h"
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

struct Item {
  std::string element;
  std::optional<std::string> by;  // alpha: nothing sorts first
  double score = 0;
};

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
  if (!shown.exists()) return true;
  if (!field.empty()) {
    if (shown.kind != Shown::Kind::kCollection || shown.type != crdt::Type::kHash) return true;
    const keyspace::ShownValue found = c.keys.Open(ref, crdt::Type::kHash).Get(field);
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
    items.push_back({std::string(name), std::nullopt, 0});
    return true;
  };
  if (collection.elements->type() == kList) {
    for (ListElement& e : Ends(collection, true, collection.size()))
      items.push_back({std::move(e.value), std::nullopt, 0});
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
  if (options.by) order = a.by < b.by ? -1 : b.by < a.by ? 1 : 0;
  // Where the weights say nothing the elements do, so that all leaders answer alike.
  return order != 0 ? order : a.element.compare(b.element);
}

// False, with the error given, if a weight is no number or in conflict.
bool SortItems(Context& c, const SortOptions& options, std::vector<Item>& items) {
  bool all_numbers = true;
  for (Item& item : items) {
    if (options.by && !LookUp(c, *options.by, item.element, item.by)) return false;
    if (options.alpha || (options.by && !item.by)) continue;
    const auto score = ReadScore(options.by ? *item.by : item.element);
    all_numbers = all_numbers && score.has_value();
    item.score = score.value_or(0);
  }
  if (!all_numbers) {
    c.reply.Error("ERR One or more scores can't be converted into double");
    return false;
  }
  std::sort(items.begin(), items.end(), [&](const Item& a, const Item& b) {
    const int order = Compare(a, b, options);
    return options.descending ? order > 0 : order < 0;
  });
  return true;
}

// A value that is not there is stored as an empty one, as in Redis.
void StoreSorted(Context& c,
                 std::string_view key,
                 const std::vector<std::optional<std::string>>& values) {
  if (!CheckKeySize(c, key)) return;
  size_t bytes = 0;
  for (const auto& value : values)
    bytes += value ? value->size() : 0;
  if (!FitsPushed(c, key, values.size(), bytes)) return;
  const keyspace::KeyRef target = c.Ref(key);
  if (c.keys.Exists(target)) c.change.Delete(target);
  for (const auto& value : values) {
    if (!CheckPushed(c, c.change.Push(target, false, value ? *value : ""))) return;
  }
  c.reply.Integer(static_cast<int64_t>(values.size()));
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
  if (shown.exists()) items = ReadItems(c.keys.Open(ref, shown.type), options);
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
  // All are looked up before the first is replied: one may be in conflict.
  std::vector<std::optional<std::string>> values;
  values.reserve(taken.size() * options.get.size());
  for (const Item& item : taken) {
    if (options.get.empty()) values.emplace_back(item.element);
    for (std::string_view pattern : options.get) {
      if (!LookUp(c, pattern, item.element, values.emplace_back())) return;
    }
  }
  if (options.store) return StoreSorted(c, *options.store, values);
  c.reply.Array(values.size());
  for (const auto& value : values)
    value ? c.reply.Bulk(*value) : c.reply.Null();
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
