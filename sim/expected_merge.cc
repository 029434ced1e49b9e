#include "sim/expected_merge.h"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <set>
#include <string_view>

namespace polyarch::sim {

namespace {

std::optional<long double> NumberIn(const std::string& text) {
  if (text.empty() || text.find_first_not_of("0123456789.+-e") != std::string::npos) return std::nullopt;
  char* end = nullptr;
  const long double number = std::strtold(text.c_str(), &end);
  if (*end != '\0') return std::nullopt;
  return number;
}

std::set<std::string> PartsOf(const std::string& text, const std::string& separator) {
  std::set<std::string> parts;
  for (size_t from = 0; from <= text.size();) {
    const size_t to = std::min(text.find(separator, from), text.size());
    parts.insert(text.substr(from, to - from));
    from = to + separator.size();
  }
  parts.erase("");
  return parts;
}

std::string Joined(const auto& parts, const std::string& separator) {
  std::string joined;
  for (const std::string& part : parts) joined += separator + part;
  return joined.substr(std::min(separator.size(), joined.size()));
}

// An object as its leaves: "\"a\" \"b\"" -> "5", and of each object "\"a\" {" -> "". False if it is none.
using Leaves = std::map<std::string, std::string>;
bool ReadObject(const std::string& text, size_t& at, const std::string& path, Leaves& leaves) {
  if (text[at] != '{') return false;
  leaves[path + "{"] = "";
  if (text[++at] == '}') return ++at, true;
  while (true) {
    const size_t colon = text.find(':', at);
    if (text[at] != '"' || colon == std::string::npos || colon < at + 3 || text[colon - 1] != '"') return false;
    const std::string key = path + text.substr(at, colon - at) + " ";
    at = colon + 1;
    if (text[at] == '{') {
      if (!ReadObject(text, at, key, leaves)) return false;
    } else {
      const size_t begin = at;
      if (text[at] == '[') {
        at = std::min(text.find(']', at), text.size() - 1) + 1;
      } else if (text[at] == '"') {
        at = std::min(text.find('"', at + 1), text.size() - 1) + 1;
      } else {
        for (const std::string_view word : {"null", "true", "false"}) {
          if (text.compare(begin, word.size(), word) == 0) at = begin + word.size();
        }
        if (at == begin) at = std::min(text.find_first_not_of("0123456789.-", at), text.size());
      }
      if (at == begin) return false;
      leaves[key] = text.substr(begin, at - begin);
    }
    if (text[at] == '}') return ++at, true;
    if (text[at] != ',') return false;
    ++at;
  }
}

// What stands at `path` in the leaves of several versions, the latest last.
std::string Write(const std::vector<Leaves>& all, const std::string& path) {
  std::vector<Leaves> objects;
  bool is_object = false;
  std::string leaf;
  for (const Leaves& leaves : all) {
    if (leaves.count(path + "{") != 0) {
      is_object = true;
      objects.push_back(leaves);
    } else if (auto it = leaves.find(path); it != leaves.end()) {
      is_object = false;
      leaf = it->second;
    }
  }
  if (!is_object) return leaf;
  std::set<std::string> keys;
  for (const Leaves& leaves : objects) {
    for (auto it = leaves.lower_bound(path); it != leaves.end() && it->first.starts_with(path); ++it) {
      const std::string rest = it->first.substr(path.size());
      if (rest != "{") keys.insert(rest.substr(0, rest.find(' ')));
    }
  }
  std::vector<std::string> members;
  for (const std::string& key : keys) members.push_back(key + ":" + Write(objects, path + key + " "));
  return "{" + Joined(members, ",") + "}";
}

}  // namespace

bool LosesTo(conflict::MergeFunction function, const std::string& a, const std::string& b) {
  const auto number_a = NumberIn(a);
  const auto number_b = NumberIn(b);
  if (number_a.has_value() != number_b.has_value()) return number_b.has_value();
  const bool less = number_a && *number_a != *number_b ? *number_a < *number_b : a < b;
  return less == (function == conflict::MergeFunction::kMax);
}

std::optional<std::string> ExpectedMerge(const conflict::Policy& policy, std::vector<MergedValue> values) {
  if (policy.function == conflict::MergeFunction::kUnion) {
    std::set<std::string> parts;
    for (const MergedValue& v : values) parts.merge(PartsOf(v.value, policy.separator));
    return Joined(parts, policy.separator);
  }
  if (policy.function == conflict::MergeFunction::kConcat) {
    std::vector<std::string> all;
    for (const MergedValue& v : values) all.push_back(v.value);
    return Joined(all, policy.separator);
  }
  if (policy.function != conflict::MergeFunction::kJson) return std::nullopt;
  std::sort(values.begin(), values.end(), [](const auto& a, const auto& b) { return a.age < b.age; });
  std::vector<Leaves> all;
  for (const MergedValue& v : values) {
    size_t at = 0;
    if (v.value.empty() || !ReadObject(v.value, at, "", all.emplace_back()) || at != v.value.size()) {
      return std::nullopt;
    }
  }
  return Write(all, "");
}

}  // namespace polyarch::sim
