// A history: what clients asked a database and what it answered, one operation a line. Written by
// whatever ran against the database; read by the checkers of this room (causal.h, linearizable.h).
//
// The format is described in docs/checking.md. A History owns the text that it was parsed from, and
// is immutable after that. Names and values are interned: numbers from 0, in order of appearance.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/status.h"

namespace polyarch::history {

inline constexpr std::string_view kHeader = "polyarch-history 1";

enum class Kind : uint8_t { kGet, kFinal, kSet, kDelete, kCompareAndSet, kSetIfAbsent, kIncrement };

enum class Outcome : uint8_t {
  kOk,
  kRefused,  // the condition was not met: it saw another value, and changed nothing
  kFailed,   // surely without effect, and nothing was seen
  kUnknown,  // it may take effect at any time after it was invoked, or never
};

inline constexpr uint32_t kNil = 0;                // the value of a key that is not there
inline constexpr uint64_t kNever = UINT64_MAX;     // when an unknown outcome is known

struct Operation {
  uint32_t line = 0;
  uint32_t session = 0;
  uint32_t leader = 0;
  uint32_t key = 0;
  uint64_t invoked = 0;    // in any unit; of one clock for the whole history
  uint64_t completed = 0;  // kNever if the outcome is unknown
  Kind kind = Kind::kGet;
  Outcome outcome = Outcome::kOk;
  bool told = false;       // kDelete, kIncrement: `result` was looked at
  uint32_t value = kNil;     // what is written
  uint32_t expected = kNil;  // kCompareAndSet
  int64_t amount = 0;        // kIncrement
  int64_t result = 0;        // kIncrement: the new value; kDelete: how many keys it removed, 0 or 1
  uint32_t seen_first = 0;   // kGet, kFinal: the values, in History::Seen
  uint32_t seen_count = 0;   // several: concurrent versions that were shown together

  bool reads() const { return kind == Kind::kGet || kind == Kind::kFinal; }
};

// Strings as small numbers.
class Names {
 public:
  uint32_t Add(std::string_view name);  // the bytes must outlive this
  uint32_t AddApart();                  // an empty one, which Add does not find
  std::string_view operator[](uint32_t id) const { return names_[id]; }
  size_t size() const { return names_.size(); }

 private:
  std::vector<std::string_view> names_;
  std::unordered_map<std::string_view, uint32_t> ids_;
};

class History {
 public:
  // kInvalid with the number of the line and what is wrong with it.
  static base::Result<History> Parse(std::string text);

  const std::vector<Operation>& operations() const { return operations_; }
  const uint32_t* Seen(const Operation& op) const { return seen_.data() + op.seen_first; }
  const Names& sessions() const { return sessions_; }
  const Names& leaders() const { return leaders_; }
  const Names& keys() const { return keys_; }
  const Names& values() const { return values_; }  // 0 is nil

  // "get x -> v1", and "nil", "v1" or "\"a b\"", as they stand in a history.
  std::string Text(const Operation& op) const;
  std::string ValueText(uint32_t value) const;

 private:
  friend class Parser;
  // Behind pointers that stay: views into them are kept when the history is moved.
  std::deque<std::string> texts_;
  std::vector<Operation> operations_;
  std::vector<uint32_t> seen_;
  Names sessions_, leaders_, keys_, values_;
  uint32_t empty_value_ = 0;  // the empty string's number, if it occurs: nil is another one
};

// A word as it stands in a history: in quotation marks where it would be mistaken for something else.
std::string Word(std::string_view bytes);

}  // namespace polyarch::history
