// The JSON of `merge JSON`: a reader of our own, because numbers and strings must come out as they went in,
// and because only objects are looked into. It takes what RFC 8259 allows; whether strings are UTF-8 it does
// not ask.
#include <algorithm>
#include <map>
#include <vector>

#include "conflict/merge.h"

namespace polyarch::conflict {

namespace {

struct Member;

// An object's members, or the text of anything else.
struct Node {
  bool is_object = false;
  std::vector<Member> members;  // as they stand; keys may come twice
  std::string text;             // without space between tokens
};

struct Member {
  std::string key;       // without quotes and escapes: what is compared
  std::string key_text;  // with them
  Node value;
};

class JsonReader {
 public:
  explicit JsonReader(std::string_view text) : rest_(text) {}

  // The whole text as one object; false if it is none.
  bool ReadDocument(Node& node) {
    Skip();
    if (Peek() != '{' || !ReadValue(node, 1)) return false;
    Skip();
    return rest_.empty();
  }

 private:
  char Peek() const { return rest_.empty() ? '\0' : rest_.front(); }
  void Skip() {
    const size_t end = rest_.find_first_not_of(" \t\r\n");
    rest_.remove_prefix(std::min(end, rest_.size()));
  }
  bool Take(char c) {
    if (Peek() != c || rest_.empty()) return false;
    rest_.remove_prefix(1);
    return true;
  }
  bool TakeWord(std::string_view word, std::string& out) {
    if (!rest_.starts_with(word)) return false;
    rest_.remove_prefix(word.size());
    out += word;
    return true;
  }

  // Objects become members; anything else is appended to `node.text`.
  bool ReadValue(Node& node, size_t depth) {
    Skip();
    if (Peek() != '{') return AppendValue(node.text, depth);
    if (depth > kJsonDepthMax) return false;
    node.is_object = true;
    return ReadMembers(depth, [&](std::string key_text) {
      Member& member = node.members.emplace_back();
      member.key = Unescape(key_text);
      member.key_text = std::move(key_text);
      return ReadValue(member.value, depth + 1);
    });
  }

  // `{`, keys, `:` before each call of `read`, and `}`.
  template <typename Read>
  bool ReadMembers(size_t depth, Read read) {
    if (depth > kJsonDepthMax || !Take('{')) return false;
    Skip();
    if (Take('}')) return true;
    do {
      Skip();
      std::string key_text;
      if (!AppendString(key_text)) return false;
      Skip();
      if (!Take(':') || !read(std::move(key_text))) return false;
      Skip();
    } while (Take(','));
    return Take('}');
  }

  // Any value, as text.
  bool AppendValue(std::string& out, size_t depth) {
    Skip();
    switch (Peek()) {
      case '{': {
        out += '{';
        bool first = true;
        const bool ok = ReadMembers(depth, [&](const std::string& key_text) {
          if (!first) out += ',';
          first = false;
          out.append(key_text).append(":");
          return AppendValue(out, depth + 1);
        });
        out += '}';
        return ok;
      }
      case '[': return AppendArray(out, depth);
      case '"': return AppendString(out);
      case 't': return TakeWord("true", out);
      case 'f': return TakeWord("false", out);
      case 'n': return TakeWord("null", out);
      default: return AppendNumber(out);
    }
  }

  bool AppendArray(std::string& out, size_t depth) {
    if (depth > kJsonDepthMax || !Take('[')) return false;
    out += '[';
    Skip();
    if (!Take(']')) {
      bool first = true;
      do {
        if (!first) out += ',';
        first = false;
        if (!AppendValue(out, depth + 1)) return false;
        Skip();
      } while (Take(','));
      if (!Take(']')) return false;
    }
    out += ']';
    return true;
  }

  // With its quotes, as it stands.
  bool AppendString(std::string& out) {
    if (Peek() != '"') return false;
    size_t i = 1;
    for (; i < rest_.size() && rest_[i] != '"'; ++i) {
      if (static_cast<unsigned char>(rest_[i]) < 0x20) return false;
      if (rest_[i] != '\\') continue;
      if (++i >= rest_.size()) return false;
      if (rest_[i] == 'u') {
        if (rest_.size() - i < 5 || !IsHex(rest_.substr(i + 1, 4))) return false;
        i += 4;
      } else if (std::string_view("\"\\/bfnrt").find(rest_[i]) == std::string_view::npos) {
        return false;
      }
    }
    if (i >= rest_.size()) return false;
    out += rest_.substr(0, i + 1);
    rest_.remove_prefix(i + 1);
    return true;
  }

  bool AppendNumber(std::string& out) {
    size_t i = 0;
    auto digits = [&] {
      const size_t first = i;
      while (i < rest_.size() && rest_[i] >= '0' && rest_[i] <= '9') ++i;
      return i - first;
    };
    auto is = [&](char c) { return i < rest_.size() && rest_[i] == c; };
    if (is('-')) ++i;
    const bool zero = is('0');
    const size_t whole = digits();
    if (whole == 0 || (zero && whole > 1)) return false;
    if (is('.')) {
      ++i;
      if (digits() == 0) return false;
    }
    if (is('e') || is('E')) {
      ++i;
      if (is('+') || is('-')) ++i;
      if (digits() == 0) return false;
    }
    out += rest_.substr(0, i);
    rest_.remove_prefix(i);
    return true;
  }

  static bool IsHex(std::string_view digits) {
    return digits.find_first_not_of("0123456789abcdefABCDEF") == std::string_view::npos;
  }

  static uint32_t CodeUnit(std::string_view hex) {
    uint32_t unit = 0;
    for (char c : hex.substr(0, 4)) {
      unit = unit * 16 + static_cast<uint32_t>(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    return unit;
  }

  static void PutUtf8(std::string& out, uint32_t code) {
    auto put = [&](uint32_t byte) { out += static_cast<char>(byte); };
    if (code < 0x80) return put(code);
    if (code < 0x800) return put(0xc0 | code >> 6), put(0x80 | (code & 0x3f));
    if (code < 0x10000) {
      put(0xe0 | code >> 12);
    } else {
      put(0xf0 | code >> 18);
      put(0x80 | (code >> 12 & 0x3f));
    }
    put(0x80 | (code >> 6 & 0x3f));
    put(0x80 | (code & 0x3f));
  }

  // The bytes that a string of AppendString stands for. Half a surrogate pair becomes three bytes, as if it
  // were a character: it is compared, not shown.
  static std::string Unescape(std::string_view quoted) {
    std::string bytes;
    for (size_t i = 1; i + 1 < quoted.size(); ++i) {
      if (quoted[i] != '\\') {
        bytes += quoted[i];
        continue;
      }
      const char c = quoted[++i];
      if (c != 'u') {
        constexpr std::string_view kNames = "bfnrt";
        constexpr std::string_view kBytes = "\b\f\n\r\t";
        const size_t at = kNames.find(c);
        bytes += at == std::string_view::npos ? c : kBytes[at];
        continue;
      }
      uint32_t code = CodeUnit(quoted.substr(i + 1));
      i += 4;
      if (code >= 0xd800 && code < 0xdc00 && quoted.substr(i + 1, 2) == "\\u") {
        const uint32_t low = CodeUnit(quoted.substr(i + 3));
        if (low >= 0xdc00 && low < 0xe000) {
          code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
          i += 6;
        }
      }
      PutUtf8(bytes, code);
    }
    return bytes;
  }

  std::string_view rest_;
};

// `nodes`: what several versions have in one place, the latest last.
void WriteMerged(const std::vector<const Node*>& nodes, std::string& out) {
  if (!nodes.back()->is_object) {
    out += nodes.back()->text;
    return;
  }
  struct Held {
    const Node* by;
    const Member* member;
  };
  std::map<std::string_view, std::vector<Held>> members;
  for (const Node* node : nodes) {
    for (const Member& m : node->members) {
      std::vector<Held>& all = members[m.key];
      if (!all.empty() && all.back().by == node) all.pop_back();
      all.push_back({node, &m});
    }
  }
  out += '{';
  bool first = true;
  for (const auto& [key, all] : members) {
    if (!first) out += ',';
    first = false;
    out.append(all.back().member->key_text).append(":");
    std::vector<const Node*> values;
    values.reserve(all.size());
    for (const Held& held : all) values.push_back(&held.member->value);
    WriteMerged(values, out);
  }
  out += '}';
}

}  // namespace

std::optional<std::string> MergeJson(std::span<const MergeValue> values) {
  std::vector<MergeValue> by_age(values.begin(), values.end());
  std::sort(by_age.begin(), by_age.end(), [](const MergeValue& a, const MergeValue& b) {
    return a.age < b.age;
  });
  std::vector<Node> documents(by_age.size());
  std::vector<const Node*> nodes;
  for (size_t i = 0; i < by_age.size(); ++i) {
    if (!JsonReader(by_age[i].value).ReadDocument(documents[i])) return std::nullopt;
    nodes.push_back(&documents[i]);
  }
  if (nodes.empty()) return std::nullopt;
  std::string merged;
  WriteMerged(nodes, merged);
  return merged;
}

}  // namespace polyarch::conflict
