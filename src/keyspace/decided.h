// What agreement has decided of keys (sync/agreement.h), as reads see it: values laid over a
// Keyspace, in the place of whatever that holds of those keys. A view of records kept elsewhere:
// nothing here is replicated, stored or part of a digest.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "clock/origin.h"
#include "conflict/policy.h"
#include "crdt/effect.h"
#include "keyspace/keyspace.h"

namespace polyarch::keyspace {

// A string (a counter is one, too) or a hash.
struct PlainValue {
  crdt::Type type = crdt::Type::kString;
  std::string text;                                         // kString
  std::vector<std::pair<std::string, std::string>> fields;  // kHash: by name, none twice
  friend bool operator==(const PlainValue&, const PlainValue&) = default;
};
std::string Encode(const PlainValue& value);
bool Decode(std::string_view bytes, PlainValue& value);
// The same as a state, written by `dot`.
crdt::KeyState StateOf(const PlainValue& value, int64_t expire_ms, clock::Dot dot, clock::Hlc hlc);

// What a key shows, if it is such a value. kMissing: nothing. kOther: something else.
struct PlainShown {
  enum class Kind : uint8_t { kMissing, kValue, kOther } kind = Kind::kMissing;
  PlainValue value;
  int64_t expire_ms = crdt::kNever;
};
PlainShown ReadPlain(Keyspace& keys, const KeyRef& ref);

class DecidedView {
 public:
  explicit DecidedView(base::SipKey hash_key);

  // Nothing: the key is absent, whatever lies beneath.
  void Set(uint8_t db,
           std::string_view key,
           const std::optional<PlainValue>& value,
           int64_t expire_ms);
  void Erase(uint8_t db, std::string_view key);
  bool Holds(uint8_t db, std::string_view key) const {
    return keys_.find(std::pair(db, key)) != keys_.end();
  }
  // All of them, absent ones too, in order; `present`: there is a value, hidden or not.
  template <typename Visit>
  void ForEach(Visit visit) const {
    for (const auto& [name, present] : keys_)
      visit(name.first, std::string_view(name.second), present);
  }
  size_t size() const { return keys_.size(); }
  Keyspace& values() { return values_; }
  const Keyspace& values() const { return values_; }

 private:
  struct Less {
    using is_transparent = void;
    template <typename A, typename B>
    bool operator()(const A& a, const B& b) const {
      return std::pair(a.first, std::string_view(a.second)) <
             std::pair(b.first, std::string_view(b.second));
    }
  };
  clock::OriginTable origins_;
  conflict::PolicyTable policies_;
  Keyspace values_;
  std::map<std::pair<uint8_t, std::string>, bool, Less> keys_;
};

}  // namespace polyarch::keyspace
