#include "command/collection.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <unordered_set>

#include "base/glob.h"
#include "base/number.h"
#include "base/random.h"

namespace polyarch::command {

using keyspace::Collection;
using keyspace::ElementView;
using keyspace::ShownValue;

std::string_view TypeName(crdt::Type type) {
  switch (type) {
    case crdt::Type::kString:
      return "string";
    case crdt::Type::kHash:
      return "hash";
    case crdt::Type::kSet:
      return "set";
    case crdt::Type::kSortedSet:
      return "zset";
    case crdt::Type::kList:
      return "list";
    case crdt::Type::kStream:
      return "stream";
  }
  return "none";
}

std::string_view EncodingOf(const Collection& collection, const EncodingLimits& limits) {
  // Looked through only where they are few enough: nobody waits for a walk over millions.
  auto all_of = [&](size_t count_max, base::FunctionRef<bool(const ElementView&)> fits) {
    bool all = collection.size() <= count_max;
    if (!all) return false;
    collection.ForEach([&](const ElementView& entry) { return all = fits(entry); });
    return all;
  };
  switch (collection.elements->type()) {
    case crdt::Type::kSet: {
      const bool integers = all_of(limits.set_integers, [](const ElementView& entry) {
        return base::ParseInt64(entry.key()).has_value();
      });
      return integers ? "intset" : "hashtable";
    }
    case crdt::Type::kHash: {
      const bool small = all_of(limits.hash_entries, [&](const ElementView& entry) {
        return entry.key().size() <= limits.hash_value &&
               TextOf(collection.Show(entry)).size() <= limits.hash_value;
      });
      return small ? "listpack" : "hashtable";
    }
    case crdt::Type::kSortedSet: {
      const bool small = all_of(limits.sorted_set_entries, [&](const ElementView& entry) {
        return entry.key().size() <= limits.sorted_set_value;
      });
      return small ? "listpack" : "skiplist";
    }
    case crdt::Type::kList:
      return "quicklist";
    case crdt::Type::kStream:
      return "stream";
    case crdt::Type::kString:
      break;
  }
  return "raw";
}

std::optional<Collection> Open(Context& c, const keyspace::KeyRef& ref, crdt::Type type) {
  Collection collection = c.keys.Open(ref, type);
  if (collection.status != Collection::Status::kOtherType) return collection;
  c.reply.Error(kWrongType);
  return std::nullopt;
}

std::string TextOf(const ShownValue& shown) {
  if (shown.is_integer) return base::FormatInt64(shown.integer);
  return shown.text.empty() ? std::string(shown.value) : shown.text;
}

void ReplyValue(Context& c, const ShownValue& shown) {
  if (shown.kind == ShownValue::Kind::kNothing) return c.reply.Null();
  if (shown.is_integer) return c.reply.BulkInteger(shown.integer);
  c.reply.Bulk(shown.text.empty() ? shown.value : std::string_view(shown.text));
}

bool RefuseFieldConflict(Context& c,
                         std::string_view key,
                         std::string_view field,
                         const ShownValue& shown) {
  if (shown.kind != ShownValue::Kind::kConflict) [[likely]]
    return false;
  std::string text = "CONFLICT ";
  text.append(base::FormatInt64(static_cast<int64_t>(shown.versions)));
  text.append(" concurrent versions of field '").append(field).append("' of '").append(key);
  text.append("'; see CONFLICT GET '").append(key).append("' FIELD '").append(field).append("'");
  c.reply.Error(text);
  return true;
}

bool CheckElementNames(Context& c, size_t from, size_t step) {
  for (size_t i = from; i < c.count(); i += step) {
    if (c.args[i].size() <= crdt::kElementBytesMax) continue;
    c.reply.Error("LIMIT member or field longer than 65535 bytes");
    return false;
  }
  return true;
}

size_t ClearBytes(Context& c,
                  const keyspace::KeyRef& ref,
                  const Collection& collection,
                  std::string_view name) {
  if (!collection.found() || !collection.elements->HasLiveCounters()) [[likely]]
    return 0;
  return c.keys.ElementClears(ref, collection.elements->type(), name).size() * crdt::kClearBytesMax;
}

bool FitsElements(Context& c, std::string_view key, size_t bytes, size_t elements) {
  return FitsChange(c, bytes + elements * key.size(), elements);
}

std::vector<ElementView> DistinctRandom(const Collection& collection,
                                        size_t count,
                                        uint64_t random) {
  std::vector<ElementView> all;
  if (count == 0) return all;
  base::Random generator(random);
  const size_t size = collection.size();
  if (count < size / 8 && !collection.elements->IsPassCheaper(count)) {
    // Few of many: drawn one by one.
    std::unordered_set<const void*> known;
    for (size_t tries = 0; all.size() < count && tries < 8 * count; ++tries) {
      const auto entry = collection.elements->Random(generator.Next());
      if (entry && known.insert(entry->id()).second) all.push_back(*entry);
    }
    if (all.size() == count) return all;
    all.clear();
  }
  // One pass: each is taken with the chance that those still wanted have among those that are left.
  size_t wanted = std::min(count, size);
  size_t left = size;
  collection.ForEach([&](const ElementView& entry) {
    if (generator.Below(left--) < wanted) {
      all.push_back(entry);
      --wanted;
    }
    return wanted > 0;
  });
  for (size_t i = 0; i + 1 < all.size(); ++i)
    std::swap(all[i], all[i + generator.Below(all.size() - i)]);
  return all;
}

std::optional<int64_t> ReadRandomCount(Context& c, std::string_view word) {
  const auto count = ReadInteger(c, word);
  if (!count || *count != std::numeric_limits<int64_t>::min()) return count;
  c.reply.Error(
      "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807");
  return std::nullopt;
}

constexpr int64_t kRepeatsMax = 1'000'000;

void ReplyRandomElements(Context& c,
                         const Collection& collection,
                         int64_t count,
                         size_t values,
                         base::FunctionRef<bool(const ElementView&)> reply_element) {
  // In RESP3 the replies for one element are an array of their own.
  const size_t each = c.reply.resp3() ? 1 : values;
  if (collection.size() == 0 || count == 0) return c.reply.EmptyArray();
  resp::Buffer& out = c.reply.out();
  const size_t before = out.size();
  auto reply = [&](const ElementView& entry) {
    if (reply_element(entry)) return true;
    out.Truncate(before);
    RefuseFieldConflict(c, c.args[1], entry.key(), collection.Show(entry));
    return false;
  };
  if (count > 0) {
    const auto chosen = DistinctRandom(collection, static_cast<size_t>(count), c.random);
    c.reply.Array(chosen.size() * each);
    for (const ElementView& entry : chosen) {
      if (!reply(entry)) return;
    }
    return;
  }
  // It would stop everybody for seconds, only to be too large in the end.
  if (-count > kRepeatsMax) {
    return c.reply.Error("LIMIT more than " + std::to_string(kRepeatsMax) + " random elements in one reply: ask several times");
  }
  base::Random generator(c.random);
  std::vector<ElementView> all;
  if (collection.elements->IsPassCheaper(static_cast<size_t>(-count))) {
    collection.ForEach([&](const ElementView& entry) {
      all.push_back(entry);
      return true;
    });
  }
  c.reply.Array(static_cast<size_t>(-count) * each);
  for (int64_t i = 0; i < -count && !out.overflowed(); ++i) {
    const bool replied = all.empty() ? reply(*collection.elements->Random(generator.Next()))
                                     : reply(all[generator.Below(all.size())]);
    if (!replied) return;
  }
}

std::optional<uint64_t> ReadScanCursor(Context& c, std::string_view text) {
  if (text.empty()) return 0;
  const bool negative = text[0] == '-';
  const std::string_view digits = text.substr(negative || text[0] == '+' ? 1 : 0);
  uint64_t cursor = 0;
  auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), cursor);
  if (error == std::errc() && end == digits.data() + digits.size()) return negative ? -cursor : cursor;
  c.reply.Error("ERR invalid cursor");
  return std::nullopt;
}

namespace {

struct ScanOptions {
  std::string_view pattern = "*";
  size_t count = 10;
};

bool ReadScanOptions(Context& c, ScanOptions& options) {
  for (size_t i = 3; i < c.count(); i += 2) {
    const bool has_value = i + 1 < c.count();
    if (has_value && EqualsIgnoreCase(c.args[i], "match")) {
      options.pattern = c.args[i + 1];
    } else if (has_value && EqualsIgnoreCase(c.args[i], "count")) {
      std::optional<int64_t> count = ReadInteger(c, c.args[i + 1]);
      if (!count) return false;
      if (*count < 1) {
        ReplySyntaxError(c);
        return false;
      }
      options.count = static_cast<size_t>(*count);
    } else {
      ReplySyntaxError(c);
      return false;
    }
  }
  return true;
}

}  // namespace

void ScanElements(Context& c,
                  crdt::Type type,
                  size_t values,
                  bool (*reply_element)(Context&, const Collection&, const ElementView&)) {
  const auto cursor = ReadScanCursor(c, c.args[2]);
  if (!cursor) return;
  const auto collection = Open(c, c.Ref(c.args[1]), type);
  if (!collection) return;
  ScanOptions options;
  // Of a key that is not there nobody asks what the options are.
  if (collection->found() && !ReadScanOptions(c, options)) return;
  std::vector<ElementView> found;
  uint64_t next = 0;
  if (collection->found()) {
    next = collection->elements->Scan(*cursor, options.count, [&](const ElementView& entry) {
      if (options.pattern == "*" || base::GlobMatch(options.pattern, entry.key()))
        found.push_back(entry);
    });
  }
  resp::Buffer& out = c.reply.out();
  const size_t before = out.size();
  char digits[std::numeric_limits<uint64_t>::digits10 + 2];
  char* digits_end = std::to_chars(digits, digits + sizeof digits, next).ptr;
  c.reply.Array(2);
  c.reply.Bulk({digits, static_cast<size_t>(digits_end - digits)});
  c.reply.Array(found.size() * values);
  for (const ElementView& entry : found) {
    if (reply_element(c, *collection, entry)) continue;
    out.Truncate(before);
    RefuseFieldConflict(c, c.args[1], entry.key(), collection->Show(entry));
    return;
  }
}

}  // namespace polyarch::command
