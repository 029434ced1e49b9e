#include "tests/differential/reply.h"

#include <cstdlib>
#include <stdexcept>

namespace polyarch::differential {

std::string Reply::Text() const {
  std::string out(1, type);
  out += text;
  out += "\r\n";
  for (const Reply& item : items) out += item.Text();
  return out;
}

size_t Read(std::string_view bytes, Reply& out) {
  const size_t line = bytes.find("\r\n");
  if (line == std::string_view::npos) return 0;
  out = {};
  out.type = bytes[0];
  out.text = std::string(bytes.substr(1, line - 1));
  size_t at = line + 2;
  switch (out.type) {
    case '$':
    case '=': {
      const int64_t size = std::atoll(out.text.c_str());
      if (size < 0) return at;  // null: the text stays "-1"
      if (bytes.size() < at + static_cast<size_t>(size) + 2) return 0;
      out.text = std::string(bytes.substr(at, static_cast<size_t>(size)));
      return at + static_cast<size_t>(size) + 2;
    }
    case '*':
    case '~':
    case '>':
    case '%': {
      int64_t count = std::atoll(out.text.c_str());
      if (out.type == '%') count *= 2;
      for (; count > 0; --count) {
        Reply item;
        const size_t size = Read(bytes.substr(at), item);
        if (size == 0) return 0;
        at += size;
        out.items.push_back(std::move(item));
      }
      return at;
    }
    case '+':
    case '-':
    case ':':
    case ',':
    case '#':
    case '_':
    case '(':
      return at;
    default:
      throw std::runtime_error("not a reply: " + std::string(bytes.substr(0, 40)));
  }
}

}  // namespace polyarch::differential
