#include "moving/compare_large.h"

#include <algorithm>
#include <set>
#include <vector>

#include "base/number.h"
#include "base/try.h"
#include "cli/text.h"
#include "moving/export_form.h"

namespace polyarch::moving {

namespace {

constexpr int64_t kStringPart = 4 << 20;
constexpr int64_t kPending = 2000;

bool Same(const resp::Value& a, const resp::Value& b) {
  if (a.type != b.type || a.text != b.text || a.integer != b.integer ||
      a.items.size() != b.items.size())
    return false;
  for (size_t i = 0; i < a.items.size(); ++i) {
    if (!Same(a.items[i], b.items[i])) return false;
  }
  return true;
}

// One request to both.
base::Status AskBoth(Link& a,
                     Link& b,
                     std::initializer_list<std::string_view> words,
                     resp::Value& reply_a,
                     resp::Value& reply_b) {
  a.Put(words);
  b.Put(words);
  auto first = a.Collect();
  if (!first.ok()) return first.status();
  auto second = b.Collect();
  if (!second.ok()) return second.status();
  reply_a = std::move((*first)[0]);
  reply_b = std::move((*second)[0]);
  return {};
}

// By place.
base::Result<std::string> CompareStrings(Link& source, Link& leader, std::string_view key) {
  for (int64_t at = 0;; at += kStringPart) {
    resp::Value a;
    resp::Value b;
    const std::string last = base::FormatInt64(at + kStringPart - 1);
    TRY(AskBoth(source, leader, {"GETRANGE", key, base::FormatInt64(at), last}, a, b));
    if (!Same(a, b)) return std::string("the values differ");
    if (a.text.empty()) return std::string();
  }
}

base::Result<std::string> CompareLists(Link& source, Link& leader, std::string_view key) {
  PartSize size;
  for (int64_t at = 0;;) {
    resp::Value a;
    resp::Value b;
    const int64_t last = at + size.elements() - 1;
    TRY(AskBoth(
        source, leader, {"LRANGE", key, base::FormatInt64(at), base::FormatInt64(last)}, a, b));
    if (!Same(a, b)) return std::string("the elements differ");
    if (a.items.empty()) return std::string();
    at = last + 1;
    size.Came(a.items);
  }
}

// What the source's scan gives, asked for at the leader. They are as many, so none but these can be
// there.
base::Result<std::string> CompareScans(Link& source,
                                       Link& leader,
                                       std::string_view key,
                                       std::string_view type) {
  const bool set = type == "set";
  const std::string_view scan = set ? "SSCAN" : type == "hash" ? "HSCAN" : "ZSCAN";
  const std::string_view ask = set ? "SMISMEMBER" : type == "hash" ? "HMGET" : "ZMSCORE";
  std::string cursor = "0";
  PartSize size;
  do {
    auto part = source.Ask({scan, key, cursor, "COUNT", base::FormatInt64(size.elements())});
    if (!part.ok()) return part.status();
    if (part->items.size() != 2) return std::string("is gone at the source");
    cursor = part->items[0].text;
    const std::vector<resp::Value>& items = part->items[1].items;
    size.Came(items);
    const size_t step = set ? 1 : 2;
    if (items.empty()) continue;
    std::vector<std::string_view> words = {ask, key};
    for (size_t i = 0; i < items.size(); i += step)
      words.push_back(items[i].text);
    leader.Put(words);
    auto there = leader.Collect();
    if (!there.ok()) return there.status();
    const resp::Value& reply = (*there)[0];
    if (reply.items.size() * step != items.size())
      return std::string("cannot be compared at the leader");
    for (size_t i = 0; i < reply.items.size(); ++i) {
      bool same = false;
      if (set) {
        same = reply.items[i].integer == 1;
      } else if (type == "hash") {
        same = !reply.items[i].is_null() && reply.items[i].text == items[2 * i + 1].text;
      } else {
        const auto x = base::ParseLongDouble(items[2 * i + 1].text, /*allow_inf=*/true);
        const auto y = base::ParseLongDouble(reply.items[i].text, /*allow_inf=*/true);
        same = x && y && static_cast<double>(*x) == static_cast<double>(*y);
      }
      if (!same)
        return std::string(type == "hash" ? "the fields differ"
                           : set          ? "the members differ"
                                          : "the members or scores differ");
    }
  } while (cursor != "0");
  return std::string();
}

// What is pending in a group: ids, whose they are, how often delivered. And its consumers' names.
base::Result<std::string> CompareGroup(Link& source,
                                       Link& leader,
                                       std::string_view key,
                                       std::string_view group) {
  const std::string count = base::FormatInt64(kPending);
  std::string from = "-";
  for (;;) {
    resp::Value a;
    resp::Value b;
    TRY(AskBoth(source, leader, {"XPENDING", key, group, from, "+", count}, a, b));
    bool same = a.items.size() == b.items.size();
    for (size_t i = 0; same && i < a.items.size(); ++i) {
      const std::vector<resp::Value>& x = a.items[i].items;
      const std::vector<resp::Value>& y = b.items[i].items;
      // The third one is how long ago.
      same = x.size() == 4 && y.size() == 4 && Same(x[0], y[0]) && Same(x[1], y[1]) &&
             Same(x[3], y[3]);
    }
    if (!same) return "group " + cli::Printable(group) + ": what is pending differs";
    if (a.items.size() < static_cast<size_t>(kPending)) break;
    from = a.items.back().items[0].text;
  }
  resp::Value a;
  resp::Value b;
  TRY(AskBoth(source, leader, {"XINFO", "CONSUMERS", key, group}, a, b));
  const auto names = [](const resp::Value& consumers) {
    std::set<std::string> found;
    for (const resp::Value& consumer : consumers.items)
      found.insert(cli::TextOf(cli::Find(consumer, "name")));
    return found;
  };
  return names(a) == names(b) ? std::string()
                              : "group " + cli::Printable(group) + ": the consumers differ";
}

base::Result<std::string> CompareStreams(Link& source, Link& leader, std::string_view key) {
  std::string from = "-";
  PartSize size;
  for (;;) {
    resp::Value a;
    resp::Value b;
    const std::string count = base::FormatInt64(std::max<int64_t>(2, size.elements()));
    TRY(AskBoth(source, leader, {"XRANGE", key, from, "+", "COUNT", count}, a, b));
    if (!Same(a, b)) return std::string("the entries differ");
    size.Came(a.items);
    // The last one is asked for again: Redis before 6.2 has no range that leaves it out.
    if (a.items.size() < 2 || a.items.back().items.empty()) break;
    from = a.items.back().items[0].text;
  }
  resp::Value a;
  resp::Value b;
  TRY(AskBoth(source, leader, {"XINFO", "GROUPS", key}, a, b));
  if (a.items.size() != b.items.size()) return std::string("the groups differ");
  for (const resp::Value& group : a.items) {
    if (group.items.size() < 8) continue;
    const std::string& name = group.items[1].text;
    bool found = false;
    for (const resp::Value& other : b.items) {
      // Its name, how many consumers and pending entries it has, its last id: pairs of a name and
      // what it is.
      const auto same = [&](size_t i) {
        return Same(group.items[i], other.items[i]);
      };
      if (other.items.size() < 8 || other.items[1].text != name) continue;
      if (!same(3) || !same(5) || !same(7)) return std::string("a group differs");
      found = true;
    }
    if (!found) return std::string("the groups differ");
    auto why = CompareGroup(source, leader, key, name);
    if (!why.ok() || !why->empty()) return why;
  }
  return std::string();
}

}  // namespace

base::Result<std::string> CompareLarge(Link& source,
                                       Link& leader,
                                       std::string_view key,
                                       std::string_view type) {
  if (type == "string") return CompareStrings(source, leader, key);
  if (type == "list") return CompareLists(source, leader, key);
  if (type == "stream") return CompareStreams(source, leader, key);
  return CompareScans(source, leader, key, type);
}

}  // namespace polyarch::moving
