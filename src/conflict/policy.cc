#include "conflict/policy.h"

#include <algorithm>
#include <array>
#include <optional>

#include "base/planted.h"
#include "crdt/hyperloglog.h"

namespace polyarch::conflict {

namespace {

constexpr std::string_view kNames = "lww, lww DELETES, priority, siblings, merge, handler, sync, pop-owner";

constexpr std::string_view kFunctions = "MIN, MAX, UNION, CONCAT, JSON";
// By MergeFunction, in the words of POLICY SET.
constexpr std::array<std::string_view, 5> kFunctionNames = {"min", "max", "union", "concat", "json"};
// Separators that cannot stand in a line of words.
constexpr std::array<std::pair<std::string_view, std::string_view>, 2> kSeparatorNames = {
    {{"SPACE", " "}, {"NEWLINE", "\n"}}};

bool SameWord(std::string_view word, std::string_view lower) {
  return std::equal(word.begin(), word.end(), lower.begin(), lower.end(), [](char a, char b) {
    return (a >= 'A' && a <= 'Z' ? static_cast<char>(a - 'A' + 'a') : a) == b;
  });
}

// As the formats take of a leader.
constexpr size_t kNameBytesMax = 255;

// A name that survives ToString and ParseText.
bool IsName(std::string_view word) {
  return !word.empty() && word.size() <= kNameBytesMax &&
         std::all_of(word.begin(), word.end(), [](char c) { return c > ' ' && c < '\x7f'; });
}

// What a user sees of a word of theirs in an error line: short and printable.
std::string Quoted(std::string_view word) {
  constexpr size_t kShownBytesMax = 64;
  std::string text = "'";
  for (char c : word.substr(0, kShownBytesMax))
    text += c >= ' ' && c < '\x7f' ? c : '?';
  if (word.size() > kShownBytesMax) text += "...";
  return text + "'";
}

// Is `a` before `b` in the order of last-write-wins? Total over the versions of one register.
bool Earlier(const crdt::Version& a, const crdt::Version& b, const clock::OriginTable& origins) {
  if (PLANTED(kLastWriterByMs)) return a.hlc.ms() <= b.hlc.ms();
  if (a.hlc != b.hlc) return a.hlc < b.hlc;
  if (a.dot.origin() != b.dot.origin()) return origins.Less(a.dot.origin(), b.dot.origin());
  return a.dot.sequence() < b.dot.sequence();
}

size_t RankOf(const std::string& leader, const std::vector<std::string>& order) {
  return static_cast<size_t>(std::find(order.begin(), order.end(), leader) - order.begin());
}

bool SameContent(const crdt::Version& a, const crdt::Version& b) {
  return a.absent == b.absent && (a.absent || a.value == b.value);
}

std::string_view DefaultSeparator(MergeFunction function) {
  return function == MergeFunction::kUnion ? "," : "/";
}

bool HasSeparator(MergeFunction function) {
  return function == MergeFunction::kUnion || function == MergeFunction::kConcat;
}

std::string MergeText(const Policy& policy) {
  std::string text = "merge ";
  for (char c : kFunctionNames[static_cast<size_t>(policy.function)])
    text += static_cast<char>(c - 'a' + 'A');
  if (!HasSeparator(policy.function) || policy.separator == DefaultSeparator(policy.function)) {
    return text;
  }
  for (const auto& [name, bytes] : kSeparatorNames) {
    if (policy.separator == bytes) return text.append(" ").append(name);
  }
  return text.append(" ").append(policy.separator);
}

// "a:" and "b" united by "::" would be read as "a" and ":b" again.
bool OverlapsItself(std::string_view separator) {
  for (size_t n = 1; n < separator.size(); ++n) {
    if (separator.starts_with(separator.substr(separator.size() - n))) return true;
  }
  return false;
}

base::Result<Policy> ParseMerge(std::span<const std::string_view> arguments) {
  Policy policy;
  policy.kind = PolicyKind::kMerge;
  if (arguments.empty()) {
    return base::Invalid("policy 'merge' needs a function; one of " + std::string(kFunctions));
  }
  size_t function = 0;
  while (function < kFunctionNames.size() && !SameWord(arguments[0], kFunctionNames[function]))
    ++function;
  if (function == kFunctionNames.size()) {
    return base::Invalid("policy 'merge' knows no function " + Quoted(arguments[0]) + "; one of " +
                         std::string(kFunctions));
  }
  policy.function = static_cast<MergeFunction>(function);
  if (!HasSeparator(policy.function)) {
    if (arguments.size() == 1) return policy;
    return base::Invalid("policy '" + MergeText(policy) + "' takes no arguments");
  }
  policy.separator = DefaultSeparator(policy.function);
  if (arguments.size() == 1) return policy;
  if (arguments.size() > 2) {
    return base::Invalid("policy '" + MergeText(policy) + "' takes nothing but a separator");
  }
  policy.separator = arguments[1];
  for (const auto& [name, bytes] : kSeparatorNames) {
    if (arguments[1] == name) return policy.separator = bytes, policy;
  }
  if (!IsName(arguments[1]) || arguments[1].size() > kSeparatorBytesMax) {
    return base::Invalid(Quoted(arguments[1]) + " is no separator; it is SPACE, NEWLINE, or up to " +
                         std::to_string(kSeparatorBytesMax) + " printable characters");
  }
  if (policy.function == MergeFunction::kUnion && OverlapsItself(arguments[1])) {
    return base::Invalid(Quoted(arguments[1]) +
                         " begins as it ends: where it separates could not be told; take another separator");
  }
  return policy;
}

}  // namespace

std::string Policy::ToString() const {
  switch (kind) {
    case PolicyKind::kLww:
      return deletes ? "lww DELETES" : "lww";
    case PolicyKind::kSiblings:
      return "siblings";
    case PolicyKind::kMerge:
      return MergeText(*this);
    case PolicyKind::kHandler:
      return "handler " + handler;
    case PolicyKind::kSync:
      return "sync";
    case PolicyKind::kPopOwner:
      return "pop-owner";
    case PolicyKind::kPriority:
      break;
  }
  std::string text = "priority";
  for (const std::string& leader : leaders)
    text += " " + leader;
  return text;
}

base::Result<Policy> Policy::Parse(std::span<const std::string_view> words) {
  if (words.empty()) return base::Invalid("a policy is missing; one of " + std::string(kNames));
  const std::string_view name = words[0];
  const auto arguments = words.subspan(1);
  Policy policy;
  if (SameWord(name, "lww")) {
    if (!arguments.empty() && !SameWord(arguments[0], "deletes")) {
      return base::Invalid("policy 'lww' knows no option " + Quoted(arguments[0]) +
                           "; only DELETES");
    }
    if (arguments.size() > 1) return base::Invalid("policy 'lww' takes nothing but DELETES");
    policy.deletes = !arguments.empty();
    return policy;
  }
  if (SameWord(name, "siblings")) {
    if (!arguments.empty()) return base::Invalid("policy 'siblings' takes no arguments");
    policy.kind = PolicyKind::kSiblings;
    return policy;
  }
  if (SameWord(name, "sync")) {
    if (!arguments.empty()) return base::Invalid("policy 'sync' takes no arguments");
    policy.kind = PolicyKind::kSync;
    return policy;
  }
  if (SameWord(name, "pop-owner")) {
    if (!arguments.empty()) return base::Invalid("policy 'pop-owner' takes no arguments");
    policy.kind = PolicyKind::kPopOwner;
    return policy;
  }
  if (SameWord(name, "priority")) {
    policy.kind = PolicyKind::kPriority;
    if (arguments.size() > kPriorityNamesMax) {
      return base::Invalid("policy 'priority' takes at most " + std::to_string(kPriorityNamesMax) +
                           " leaders");
    }
    for (std::string_view leader : arguments) {
      if (!IsName(leader)) return base::Invalid(Quoted(leader) + " is no name of a leader");
      if (RankOf(std::string(leader), policy.leaders) != policy.leaders.size()) {
        return base::Invalid("leader " + Quoted(leader) + " is named twice");
      }
      policy.leaders.emplace_back(leader);
    }
    return policy;
  }
  if (SameWord(name, "merge")) return ParseMerge(arguments);
  if (SameWord(name, "handler")) {
    if (arguments.size() != 1) return base::Invalid("policy 'handler' takes the name of one handler (HANDLER LIST)");
    if (!IsHandlerName(arguments[0])) return base::Invalid(Quoted(arguments[0]) + " is no name of a handler");
    policy.kind = PolicyKind::kHandler;
    policy.handler = arguments[0];
    return policy;
  }
  return base::Invalid("unknown policy " + Quoted(name) + "; one of " + std::string(kNames));
}

base::Result<Policy> Policy::ParseText(std::string_view text) {
  std::vector<std::string_view> words;
  while (true) {
    size_t begin = text.find_first_not_of(' ');
    if (begin == std::string_view::npos) break;
    text.remove_prefix(begin);
    size_t end = std::min(text.find(' '), text.size());
    words.push_back(text.substr(0, end));
    text.remove_prefix(end);
  }
  return Parse(words);
}

namespace {

bool HasAbsent(std::span<const crdt::Version> versions) {
  return std::any_of(versions.begin(), versions.end(), [](const auto& v) { return v.absent; });
}

std::optional<std::string> UnionOf(std::span<const crdt::Version> versions) {
  std::vector<std::string_view> values;
  for (const crdt::Version& v : versions) {
    if (v.absent) continue;
    // Nearly all values are none: seen before anything is copied.
    if (!crdt::HasHllHeader(v.value)) return std::nullopt;
    values.push_back(v.value);
  }
  return crdt::UniteHlls(values);
}

// Is every value a HyperLogLog, in good order?
bool Unites(std::span<const crdt::Version> versions) {
  return UnionOf(versions).has_value();
}

}  // namespace

bool IsConflict(std::span<const crdt::Version> versions) {
  return CountDistinct(versions) > 1 && (HasAbsent(versions) || !Unites(versions));
}

std::string Unite(std::span<const crdt::Version> versions) {
  return UnionOf(versions).value_or(std::string());
}

namespace {

// The values of `versions`, each once, in canonical order, those of equal bytes as old as the latest of
// them; nothing if they are too many bytes to be merged at each read.
template <typename Loses>
std::optional<std::vector<MergeValue>> ValuesOf(std::span<const crdt::Version> versions,
                                                const clock::OriginTable& origins,
                                                Loses loses_to) {
  std::vector<size_t> order = CanonicalOrder(versions, origins);
  if (PLANTED(kMergeByNumbering)) {
    for (size_t i = 0; i < order.size(); ++i)
      order[i] = i;
  }
  std::vector<MergeValue> values;
  size_t bytes = 0;
  for (size_t i : order) {
    const crdt::Version& v = versions[i];
    if (v.absent) continue;
    size_t age = 0;
    for (const crdt::Version& other : versions)
      age += loses_to(other, v) ? 1 : 0;
    auto same = std::find_if(values.begin(), values.end(), [&](const MergeValue& other) {
      return other.value == v.value;
    });
    if (same != values.end()) {
      same->age = std::max(same->age, age);
      continue;
    }
    bytes += v.value.size();
    if (bytes > kMergedBytesMax) return std::nullopt;
    values.push_back({v.value, age});
  }
  return values;
}

std::optional<std::string> Merge(const Policy& policy, std::span<const MergeValue> values) {
  switch (policy.function) {
    case MergeFunction::kUnion:
      return MergeUnion(values, policy.separator);
    case MergeFunction::kConcat:
      return MergeConcat(values, policy.separator);
    case MergeFunction::kJson:
      return MergeJson(values);
    case MergeFunction::kMin:
    case MergeFunction::kMax:
      break;  // a winner, by Resolve
  }
  return std::nullopt;
}

}  // namespace

Subject SubjectOf(std::string_view key, crdt::Type type, std::string_view element) {
  if (type != crdt::Type::kHash) return {key, std::nullopt};
  return {key, element};
}

View Resolve(const Policy& policy,
             const std::vector<std::string>& default_order,
             std::span<const crdt::Version> versions,
             const clock::OriginTable& origins,
             const Subject& subject) {
  View view;
  if (versions.empty()) return view;
  view.distinct = CountDistinct(versions);
  const std::vector<std::string>& order = policy.leaders.empty() ? default_order : policy.leaders;
  const bool handles = policy.kind == PolicyKind::kHandler;
  const bool values_first = !policy.DeleteIsVersion() || handles;
  const bool merges = policy.kind == PolicyKind::kMerge;
  const bool extreme = merges && (policy.function == MergeFunction::kMin ||
                                  policy.function == MergeFunction::kMax);
  auto loses_to = [&](const crdt::Version& a, const crdt::Version& b) {
    if (values_first && a.absent != b.absent) return a.absent;
    if (policy.kind == PolicyKind::kPriority) {
      size_t rank_a = RankOf(origins.Get(a.dot.origin()).leader, order);
      size_t rank_b = RankOf(origins.Get(b.dot.origin()).leader, order);
      if (rank_a != rank_b) return rank_a > rank_b;
    }
    if (extreme && !a.absent && !b.absent && a.value != b.value)
      return LosesExtreme(policy.function, a.value, b.value);
    return Earlier(a, b, origins);
  };
  for (size_t i = 1; i < versions.size(); ++i) {
    if (loses_to(versions[view.index], versions[i])) view.index = i;
  }
  if (policy.kind == PolicyKind::kSiblings && view.distinct > 1) {
    const bool unites = Unites(versions) && !HasAbsent(versions);
    view.kind = unites ? View::Kind::kUnion : View::Kind::kConflict;
  } else if (!versions[view.index].absent) {
    view.kind = view.distinct > 1 && Unites(versions) ? View::Kind::kUnion : View::Kind::kValue;
  }
  if (merges && !extreme && view.kind == View::Kind::kValue && view.distinct > 1) {
    const auto values = ValuesOf(versions, origins, loses_to);
    if (!values || values->size() < 2) return view;
    if (auto merged = Merge(policy, *values)) {
      view.kind = View::Kind::kMerged;
      view.merged = std::move(*merged);
    }
  }
  if (handles && policy.loaded != nullptr && view.kind == View::Kind::kValue && view.distinct > 1) {
    if (auto value = policy.loaded->View(subject.key, subject.field, versions, origins)) {
      view.kind = View::Kind::kMerged;
      view.merged = std::move(*value);
    }
  }
  return view;
}

std::vector<clock::Dot> Losers(const PolicyTable& table,
                               std::string_view key,
                               crdt::Type type,
                               std::string_view element,
                               std::span<const crdt::Version> versions,
                               const clock::OriginTable& origins) {
  std::vector<clock::Dot> losers;
  if (!IsConflict(versions)) return losers;
  const View view = Resolve(table.ForRegister(key, type, element),
                            table.default_order(),
                            versions,
                            origins,
                            SubjectOf(key, type, element));
  if (view.kind == View::Kind::kConflict) return losers;
  const crdt::Version& shown = versions[view.index];
  for (const crdt::Version& version : versions) {
    const bool equal = version.absent == shown.absent && version.value == shown.value;
    if (!equal && !view.Keeps(version)) losers.push_back(version.dot);
  }
  return losers;
}

std::vector<size_t> CanonicalOrder(std::span<const crdt::Version> versions,
                                   const clock::OriginTable& origins) {
  std::vector<size_t> order(versions.size());
  for (size_t i = 0; i < order.size(); ++i)
    order[i] = i;
  std::sort(order.begin(), order.end(), [&](size_t i, size_t j) {
    clock::Dot a = versions[i].dot;
    clock::Dot b = versions[j].dot;
    if (a.origin() != b.origin()) return origins.Less(a.origin(), b.origin());
    return a.sequence() < b.sequence();
  });
  return order;
}

size_t CountDistinct(std::span<const crdt::Version> versions) {
  if (versions.size() < 2) return versions.size();
  if (versions.size() == 2) return SameContent(versions[0], versions[1]) ? 1 : 2;
  std::vector<std::string_view> values;
  bool any_absent = false;
  for (const crdt::Version& v : versions) {
    if (v.absent) {
      any_absent = true;
    } else {
      values.push_back(v.value);
    }
  }
  std::sort(values.begin(), values.end());
  auto end = std::unique(values.begin(), values.end());
  return static_cast<size_t>(end - values.begin()) + (any_absent ? 1 : 0);
}

std::string TagText(const clock::Origin& origin, uint64_t sequence) {
  return origin.ToString() + ":" + std::to_string(sequence);
}

std::string TagText(clock::Dot dot, const clock::OriginTable& origins) {
  return TagText(origins.Get(dot.origin()), dot.sequence());
}

}  // namespace polyarch::conflict
