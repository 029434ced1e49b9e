// Numbers and tables for people, and JSON for programs. No I/O.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "resp/reply.h"

namespace polyarch::cli {

std::string HumanBytes(uint64_t bytes);    // "512 B", "1.5 KiB", "64 MiB"
std::string HumanCount(uint64_t count);    // "1,234,567"
std::string HumanMillis(int64_t ms);       // "12 ms", "3.4 s", "5 min", "2 h 10 min", "3 d 4 h"
std::string HumanRate(double per_second);  // "0", "0.3", "12", "3,400"

// Text from a server, safe for a terminal: control characters and what is not UTF-8 as \xHH.
std::string Printable(std::string_view text);

// Columns as wide as their widest cell, two spaces apart; `right` names the columns of numbers.
class Table {
 public:
  explicit Table(std::vector<std::string> titles, std::vector<size_t> right = {});
  void Add(std::vector<std::string> cells);
  std::vector<std::string> Lines() const;

 private:
  std::vector<std::vector<std::string>> rows_;
  std::vector<size_t> right_;
};

// A value as JSON, in one line. Maps are objects, null is null; a text that is not UTF-8 is
// {"base64": "..."}; an error is {"error": "..."}.
std::string Json(const resp::Value& value);

// ---- values, to be read and to be made

// The value of `key` in a map, or in a flat array of pairs; null if there is none.
const resp::Value* Find(const resp::Value& map, std::string_view key);
std::string TextOf(const resp::Value* value);  // any scalar; "" for null
int64_t NumberOf(const resp::Value* value);    // 0 for what is none

resp::Value Text(std::string text);
resp::Value Number(int64_t number);
resp::Value Boolean(bool value);
resp::Value Map();
resp::Value Array();
void Put(resp::Value& map, std::string key, resp::Value value);

}  // namespace polyarch::cli
