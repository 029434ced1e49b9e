// One key in memory: a header, fixed metadata by form, the key, the value; one allocation. Entries
// are immutable in size: a value of another size is a new entry. Owned by the table's slot that
// points to it; created and freed by the functions here, which keep no state.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

#include "clock/hlc.h"
#include "clock/origin.h"
#include "clock/version_vector.h"
#include "crdt/key_state.h"

namespace polyarch::keyspace {

enum class Form : uint8_t {
  kValue,     // one version, no expiry
  kValueTtl,  // one version and one expiry of the same write (SET EX)
  kCounter,   // one live counter entry, integer, nothing cleared
  kFat,       // anything: a KeyState beside it
};

struct ValuePart {
  clock::Dot dot;
  clock::Hlc hlc;
};
struct TtlPart {
  int64_t expire_ms;
};
struct CounterPart {
  clock::Dot life;  // origin and sequence of the increment that began this life
  clock::Hlc hlc;
  uint64_t at_sequence;
  int64_t total;
  uint32_t life_index;
  uint32_t at_index;
};
class Elements;

// The elements of one key by type, none null (but see DropNulls); nearly always there is one or none.
class ElementsByType {
 public:
  using Pointer = std::unique_ptr<Elements>;

  ElementsByType();
  ~ElementsByType();
  ElementsByType(const ElementsByType&) = delete;
  ElementsByType& operator=(const ElementsByType&) = delete;

  Pointer* begin() { return several_ != nullptr ? several_->data() : &one_; }
  Pointer* end() { return begin() + size(); }
  const Pointer* begin() const { return several_ != nullptr ? several_->data() : &one_; }
  const Pointer* end() const { return begin() + size(); }
  bool empty() const { return size() == 0; }
  // One of a type that is not there.
  void Add(Pointer elements);
  // After some were moved from.
  void DropNulls();
  void clear();
  size_t memory_bytes() const;

 private:
  size_t size() const {
    if (several_ != nullptr) return several_->size();
    return one_ != nullptr ? 1 : 0;
  }

  Pointer one_;
  std::unique_ptr<std::vector<Pointer>> several_;  // instead
};

// What a key with elements, or with a state that has no form of its own, consists of.
class FatPart {
 public:
  explicit FatPart(crdt::KeyState state);

  // Without the elements.
  const crdt::KeyState& state() const { return rest_ != nullptr ? rest_->state : kNoState; }
  crdt::KeyState& mutable_state() { return NeedRest().state; }
  // Where the expiry index holds this key; kNever: nowhere.
  int64_t indexed_expiry() const { return rest_ != nullptr ? rest_->indexed_expiry : crdt::kNever; }
  void set_indexed_expiry(int64_t time_ms) { NeedRest().indexed_expiry = time_ms; }
  // What had been applied when this residue was first looked at after it was last changed; null: not yet.
  const clock::VersionVector* residue_since() const {
    return rest_ != nullptr ? rest_->residue_since.get() : nullptr;
  }
  void set_residue_since(std::shared_ptr<const clock::VersionVector> since) {
    NeedRest().residue_since = std::move(since);
  }
  void ForgetResidueSince() {
    if (rest_ != nullptr) rest_->residue_since.reset();
  }
  // Gives back the memory of what is empty now. Invalidates state().
  void Tidy();
  // Beside the entry's own.
  size_t memory_bytes() const;

  ElementsByType elements;

 private:
  // Most collections have none of it.
  struct Rest {
    crdt::KeyState state;
    int64_t indexed_expiry = crdt::kNever;
    std::shared_ptr<const clock::VersionVector> residue_since;
  };
  static const crdt::KeyState kNoState;

  Rest& NeedRest();

  std::unique_ptr<Rest> rest_;
};

class Entry {
 public:
  enum Bit : uint8_t {
    kNever = 1,     // the one version was written without TTL (kValue)
    kStored = 2,    // a row may exist in the store
    kResidue = 4,   // in the residue set
    kConflict = 8,  // in the set of open conflicts
    kLive = 16,     // counted as live
    kEpoch = 32,    // equal to the keyspace's epoch: there is nothing to merge into it
    kShown = 64,    // an element that clients see
  };

  static Entry* NewValue(uint8_t db,
                         std::string_view key,
                         clock::Dot dot,
                         clock::Hlc hlc,
                         bool never,
                         std::string_view value);
  static Entry* NewValueTtl(uint8_t db,
                            std::string_view key,
                            clock::Dot dot,
                            clock::Hlc hlc,
                            int64_t expire_ms,
                            std::string_view value);
  static Entry* NewCounter(uint8_t db, std::string_view key, const CounterPart& counter);
  static Entry* NewFat(uint8_t db, std::string_view key, crdt::KeyState state);
  static void Free(Entry* entry);

  Form form() const { return static_cast<Form>(form_db_ & 7); }
  uint8_t db() const { return form_db_ >> 3; }
  std::string_view key() const { return {Tail() + MetaSize(form()), key_size_}; }
  std::string_view value() const { return {Tail() + MetaSize(form()) + key_size_, value_size_}; }
  char* mutable_value() { return Tail() + MetaSize(form()) + key_size_; }
  uint32_t value_size() const { return value_size_; }

  bool has(Bit bit) const { return (bits_ & bit) != 0; }
  void set(Bit bit, bool on) { bits_ = static_cast<uint8_t>(on ? bits_ | bit : bits_ & ~bit); }

  ValuePart& value_part() { return *reinterpret_cast<ValuePart*>(Tail()); }
  const ValuePart& value_part() const { return *reinterpret_cast<const ValuePart*>(Tail()); }
  TtlPart& ttl_part() { return *reinterpret_cast<TtlPart*>(Tail() + sizeof(ValuePart)); }
  const TtlPart& ttl_part() const {
    return *reinterpret_cast<const TtlPart*>(Tail() + sizeof(ValuePart));
  }
  CounterPart& counter() { return *reinterpret_cast<CounterPart*>(Tail()); }
  const CounterPart& counter() const { return *reinterpret_cast<const CounterPart*>(Tail()); }
  FatPart& fat() { return *reinterpret_cast<FatPart*>(Tail()); }
  const FatPart& fat() const { return *reinterpret_cast<const FatPart*>(Tail()); }

  // The expiry instant under which the expiry index holds this entry; kNever: it does not.
  int64_t indexed_expiry() const;
  // The state that the form stands for, elements included: of a big collection that is long.
  crdt::KeyState State() const;
  // The bytes that this entry takes, allocator overhead aside.
  size_t memory_bytes() const;

 private:
  static constexpr size_t kHeaderSize = 8;
  static size_t MetaSize(Form form) {
    switch (form) {
      case Form::kValue:
        return sizeof(ValuePart);
      case Form::kValueTtl:
        return sizeof(ValuePart) + sizeof(TtlPart);
      case Form::kCounter:
        return sizeof(CounterPart);
      case Form::kFat:
        return sizeof(FatPart);
    }
    return 0;
  }
  static Entry* Allocate(Form form, uint8_t db, std::string_view key, size_t value_size);
  char* Tail() { return reinterpret_cast<char*>(this) + kHeaderSize; }
  const char* Tail() const { return reinterpret_cast<const char*>(this) + kHeaderSize; }

  uint8_t form_db_;
  uint8_t bits_;
  uint16_t key_size_;
  uint32_t value_size_;
};
static_assert(sizeof(Entry) == 8);

crdt::CounterEntry CounterEntryOf(const CounterPart& counter);

// The entry for a state without elements, in the smallest form that holds it; nullptr for an empty one.
Entry* MakeEntry(uint8_t db, std::string_view key, crdt::KeyState state);

}  // namespace polyarch::keyspace
