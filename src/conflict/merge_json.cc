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
  explicit JsonReader(std::string_view text) : cursor_(text) {}

  // The whole text as one object; false if it is none.
  bool ReadDocument(Node& node) {
    cursor_.Skip();
    if (cursor_.Peek() != '{' || !ReadValue(node, 1)) return false;
    cursor_.Skip();
    return cursor_.empty();
  }

 private:
  // Objects become members; anything else is appended to `node.text`.
  bool ReadValue(Node& node, size_t depth) {
    cursor_.Skip();
    if (cursor_.Peek() != '{') return AppendValue(node.text, depth);
    if (depth > kJsonDepthMax) return false;
    node.is_object = true;
    return ReadMembers(depth, [&](std::string key_text) {
      Member& member = node.members.emplace_back();
      member.key = UnescapeJson(key_text);
      member.key_text = std::move(key_text);
      return ReadValue(member.value, depth + 1);
    });
  }

  // `{`, keys, `:` before each call of `read`, and `}`.
  template <typename Read>
  bool ReadMembers(size_t depth, Read read) {
    if (depth > kJsonDepthMax || !cursor_.Take('{')) return false;
    cursor_.Skip();
    if (cursor_.Take('}')) return true;
    do {
      cursor_.Skip();
      std::string key_text;
      if (!AppendString(key_text)) return false;
      cursor_.Skip();
      if (!cursor_.Take(':') || !read(std::move(key_text))) return false;
      cursor_.Skip();
    } while (cursor_.Take(','));
    return cursor_.Take('}');
  }

  // Any value, as text.
  bool AppendValue(std::string& out, size_t depth) {
    cursor_.Skip();
    switch (cursor_.Peek()) {
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
      case 't': return AppendWord(out, "true");
      case 'f': return AppendWord(out, "false");
      case 'n': return AppendWord(out, "null");
      default: return AppendNumber(out);
    }
  }

  bool AppendArray(std::string& out, size_t depth) {
    if (depth > kJsonDepthMax || !cursor_.Take('[')) return false;
    out += '[';
    cursor_.Skip();
    if (!cursor_.Take(']')) {
      bool first = true;
      do {
        if (!first) out += ',';
        first = false;
        if (!AppendValue(out, depth + 1)) return false;
        cursor_.Skip();
      } while (cursor_.Take(','));
      if (!cursor_.Take(']')) return false;
    }
    out += ']';
    return true;
  }

  bool AppendString(std::string& out) {
    const auto text = cursor_.TakeString();
    if (text) out += *text;
    return text.has_value();
  }
  bool AppendNumber(std::string& out) {
    const auto text = cursor_.TakeNumber();
    if (text) out += *text;
    return text.has_value();
  }
  bool AppendWord(std::string& out, std::string_view word) {
    out += word;
    return cursor_.TakeWord(word);
  }

  JsonCursor cursor_;
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
