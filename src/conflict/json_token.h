// Tokens of JSON as RFC 8259 has them, for those who read whole texts of it (merge_json.cc,
// lua_json.cc). Numbers and strings are handed out as they stand: what becomes of them is the
// reader's business.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace polyarch::conflict {

// Objects and arrays within each other; deeper ones are not taken for JSON.
inline constexpr size_t kJsonDepthMax = 128;

// What is left of a text. The text must outlive it and all that it hands out.
class JsonCursor {
 public:
  explicit JsonCursor(std::string_view text) : rest_(text) {}

  bool empty() const { return rest_.empty(); }
  size_t left() const { return rest_.size(); }
  // The next byte; zero at the end.
  char Peek() const { return rest_.empty() ? '\0' : rest_.front(); }
  // Space between tokens.
  void Skip();
  // These take nothing if it is not what stands next.
  bool Take(char c);
  bool TakeWord(std::string_view word);
  std::optional<std::string_view> TakeString();  // with its quotes and escapes
  std::optional<std::string_view> TakeNumber();

 private:
  std::string_view TakeBytes(size_t size);

  std::string_view rest_;
};

// The bytes that a string of TakeString stands for. Half a surrogate pair becomes three bytes, as
// if it were a character: no UTF-8.
std::string UnescapeJson(std::string_view quoted);
// The inverse, with the escapes that must be and no others: of UTF-8.
void AppendJsonString(std::string& out, std::string_view text);
// As RFC 3629 has it: no surrogates, nothing longer than need be.
bool IsUtf8(std::string_view text);

// Does a double tell a number's text? Then the shortest text of it has the same value: so with
// "0.10", not so with "12345678901234567890".
bool IsExactDouble(std::string_view number, double& value);
// The shortest text that reads as this double again. It must be finite.
std::string JsonNumber(double value);

}  // namespace polyarch::conflict
