// A reply as the server wrote it: unlike resp::Value it keeps apart what clients can tell apart ("*-1" and "$-1",
// "1.5" and "1.50"), since two servers are compared.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace polyarch::differential {

struct Reply {
  char type = 0;     // RESP's first byte; 0: none
  std::string text;  // the rest of its line; of a bulk its contents
  std::vector<Reply> items;  // of a map: key, value, key, value, ...

  bool is_array() const { return type == '*'; }
  // Its bytes in the protocol, but for the sizes of bulks.
  std::string Text() const;
};

// Reads one reply at the beginning of `bytes`. Its size in bytes; 0 if it is not complete. Throws
// std::runtime_error if it is none.
size_t Read(std::string_view bytes, Reply& out);

}  // namespace polyarch::differential
