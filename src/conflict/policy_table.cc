// Which policy counts for a key, or for a field.
#include <algorithm>

#include "base/codec.h"
#include "base/glob.h"
#include "base/number.h"
#include "conflict/policy.h"

namespace polyarch::conflict {

namespace {

// POLICY SET keeps kPatternsMax, each leader for itself: several that are cut off may bring more together. This bounds
// what foreign bytes make of memory only.
constexpr size_t kSyncPatternsMax = 16 * kPatternsMax;

// Of two patterns that match a key: does the first one decide?
bool MoreSpecific(std::string_view a, std::string_view b) {
  const size_t size_a = base::GlobLiteralSize(a);
  const size_t size_b = base::GlobLiteralSize(b);
  return size_a != size_b ? size_a > size_b : a < b;
}

// A star alone is all keys, the empty one too.
bool Covers(std::string_view pattern, std::string_view key) {
  return pattern == "*" || base::GlobMatch(pattern, key);
}

}  // namespace

std::string FieldPolicyPlace::Key() const {
  std::string key(kFieldPolicyPrefix);
  key.append(std::to_string(pattern.size())).append("/").append(pattern).append("/").append(field);
  return key;
}

std::optional<FieldPolicyPlace> FieldPolicyPlace::Parse(std::string_view text) {
  const size_t slash = text.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  const std::optional<int64_t> size = base::ParseInt64(text.substr(0, slash));
  text.remove_prefix(slash + 1);
  if (!size || *size < 0 || static_cast<uint64_t>(*size) >= text.size()) return std::nullopt;
  const auto end = static_cast<size_t>(*size);
  if (text[end] != '/') return std::nullopt;
  return FieldPolicyPlace{std::string(text.substr(0, end)), std::string(text.substr(end + 1))};
}

void PolicyTable::Set(std::string pattern, Policy policy) {
  Erase(pattern);
  auto place = std::lower_bound(
      by_specificity_.begin(), by_specificity_.end(), pattern, [](const auto& e, const auto& p) {
        return MoreSpecific(e.first, p);
      });
  by_specificity_.emplace(place, std::move(pattern), std::move(policy));
}

bool PolicyTable::Erase(std::string_view pattern) {
  return std::erase_if(by_specificity_, [&](const auto& e) { return e.first == pattern; }) != 0;
}

void PolicyTable::SetField(std::string pattern, std::string field, Policy policy) {
  FieldEntry entry{std::move(pattern), std::move(field), std::move(policy)};
  auto place = std::lower_bound(
      fields_.begin(), fields_.end(), entry, [](const FieldEntry& a, const FieldEntry& b) {
        return a.pattern != b.pattern ? MoreSpecific(a.pattern, b.pattern) : a.field < b.field;
      });
  if (place != fields_.end() && place->pattern == entry.pattern && place->field == entry.field) {
    *place = std::move(entry);
  } else {
    fields_.insert(place, std::move(entry));
  }
}

void PolicyTable::clear() {
  by_specificity_.clear();
  fields_.clear();
  handlers_.clear();
  default_order_.clear();
}

void PolicyTable::BindHandlers(Handlers handlers) {
  handlers_ = std::move(handlers);
  auto bind = [&](Policy& policy) {
    const auto it = handlers_.find(policy.handler);
    policy.loaded = policy.kind == PolicyKind::kHandler && it != handlers_.end() ? it->second : nullptr;
  };
  for (auto& [pattern, policy] : by_specificity_) bind(policy);
  for (FieldEntry& e : fields_) bind(e.policy);
}

const Policy& PolicyTable::For(std::string_view key) const {
  for (const auto& [pattern, policy] : by_specificity_) {
    if (Covers(pattern, key)) return policy;
  }
  return default_;
}

const Policy& PolicyTable::ForField(std::string_view key, std::string_view field) const {
  for (const FieldEntry& e : fields_) {
    if (e.field == field && Covers(e.pattern, key)) return e.policy;
  }
  return For(key);
}

const Policy& PolicyTable::ForType(std::string_view key, crdt::Type type) const {
  const Policy& policy = For(key);
  const bool in_an_order = type != crdt::Type::kString && type != crdt::Type::kHash;
  const bool needs_none = policy.kind == PolicyKind::kSiblings ||
                          policy.kind == PolicyKind::kMerge || policy.kind == PolicyKind::kHandler;
  return in_an_order && needs_none ? default_ : policy;
}

const Policy& PolicyTable::ForRegister(std::string_view key,
                                       crdt::Type type,
                                       std::string_view element) const {
  return type == crdt::Type::kHash ? ForField(key, element) : ForType(key, type);
}

std::string_view PolicyTable::PatternFor(std::string_view key) const {
  for (const auto& [pattern, policy] : by_specificity_) {
    if (Covers(pattern, key)) return pattern;
  }
  return {};
}

bool PolicyTable::has_pop_owner() const {
  return std::any_of(by_specificity_.begin(), by_specificity_.end(), [](const auto& entry) {
    return entry.second.kind == PolicyKind::kPopOwner;
  });
}

std::string PolicyTable::SyncRules() const {
  std::string rules;
  bool any = false;
  for (const auto& [pattern, policy] : by_specificity_) {
    const bool sync = policy.kind == PolicyKind::kSync;
    any = any || sync;
    base::PutFixed8(rules, sync ? 1 : 0);
    base::PutBytes(rules, pattern);
  }
  return any ? rules : std::string();
}

std::optional<PolicyTable> PolicyTable::ParseSyncRules(std::string_view rules) {
  PolicyTable table;
  base::Reader in(rules);
  while (!in.empty()) {
    Policy policy;
    if (in.Fixed8() != 0) policy.kind = PolicyKind::kSync;
    std::string pattern(in.Bytes());
    if (!in.ok() || table.size() >= kSyncPatternsMax) return std::nullopt;
    table.Set(std::move(pattern), std::move(policy));
  }
  return table;
}

}  // namespace polyarch::conflict
