#include "command/docs.h"

#include <algorithm>
#include <array>

#include "base/check.h"
#include "command/support.h"

namespace polyarch::command {
namespace {

constexpr std::string_view kPureToken = "pure-token";
constexpr std::string_view kOneOf = "oneof";
constexpr std::string_view kBlock = "block";
constexpr std::array<std::string_view, 5> kTypes = {
    "key", "integer", "double", "pattern", "unix-time"};

bool IsUpper(char c) {
  return c >= 'A' && c <= 'Z';
}

class SyntaxParser {
 public:
  explicit SyntaxParser(std::string_view text) : text_(text) {}

  // Arguments with `separator` between them, up to `close` (or the end, if it is zero).
  std::vector<Argument> List(char separator, char close) {
    std::vector<Argument> list;
    if (text_.empty()) return list;
    list.push_back(One());
    while (Take(separator))
      list.push_back(One());
    close == '\0' ? CHECK(text_.empty()) : CHECK(Take(close));
    return list;
  }

 private:
  bool Take(char c) {
    if (text_.empty() || text_[0] != c) return false;
    text_.remove_prefix(1);
    return true;
  }

  std::string_view TakeUntil(std::string_view stops) {
    std::string_view word = text_.substr(0, text_.find_first_of(stops));
    text_.remove_prefix(word.size());
    return word;
  }

  Argument One() {
    Argument a;
    CHECK(!text_.empty());
    if (IsUpper(text_[0])) {
      a.token = TakeUntil(" ?*+@~|(){}");
      bool bare = text_.size() < 2 || text_[0] != ' ' || IsUpper(text_[1]);
      if (bare) {
        a.name = a.token;
        a.type = kPureToken;
        Marks(a);
        return a;
      }
      Take(' ');
    }
    Name(a);
    Marks(a);
    return a;
  }

  void Name(Argument& a) {
    const char* begin = text_.data();
    while (true) {
      TakeUntil(" :?*+@~|(){}");
      a.name = {begin, static_cast<size_t>(text_.data() - begin)};
      if (!Take(':')) return;
      if (Take('(')) {
        a.type = kOneOf;
        a.children = List('|', ')');
        return;
      }
      if (Take('{')) {
        a.type = kBlock;
        a.children = List(' ', '}');
        return;
      }
      std::string_view rest = text_;
      std::string_view type = TakeUntil(" :?*+@~|(){}");
      if (std::find(kTypes.begin(), kTypes.end(), type) != kTypes.end()) {
        a.type = type;
        return;
      }
      text_ = rest;  // the colon belongs to the name
    }
  }

  void Marks(Argument& a) {
    a.optional = Take('?');
    a.multiple = Take('*');
    a.multiple_token = Take('+');
    if (Take('@')) a.since = TakeUntil(" ~|(){}");
    if (Take('~')) a.deprecated_since = TakeUntil(" |(){}");
  }

  std::string_view text_;
};

// ---- for people

void AppendUsage(const std::vector<Argument>& arguments,
                 std::string_view separator,
                 std::string& out);

void AppendUsage(const Argument& a, std::string& out) {
  std::string one;
  if (a.type == kOneOf) {
    AppendUsage(a.children, "|", one);
  } else if (a.type == kBlock) {
    AppendUsage(a.children, " ", one);
  } else if (a.type != kPureToken) {
    one.append("<").append(a.name).append(">");
  }
  // The token stands once, before all of them, unless each has its own.
  if (a.multiple && !a.multiple_token) one += " [" + one + " ...]";
  if (!a.token.empty()) one = std::string(a.token) + (one.empty() ? "" : " ") + one;
  if (a.multiple_token) one += " [" + one + " ...]";
  out += a.optional ? "[" + one + "]" : one;
}

void AppendUsage(const std::vector<Argument>& arguments,
                 std::string_view separator,
                 std::string& out) {
  for (size_t i = 0; i < arguments.size(); ++i) {
    if (i != 0) out += separator;
    AppendUsage(arguments[i], out);
  }
}

// ---- for programs

class DocsReply {
 public:
  DocsReply(resp::Writer& reply, const Row& row) : reply_(reply) {
    auto parts = std::count(row.key_access.begin(), row.key_access.end(), '|');
    key_specs_ = row.key_access.empty() ? 0 : static_cast<int64_t>(parts) + 1;
  }

  void List(const std::vector<Argument>& arguments) {
    reply_.Array(arguments.size());
    for (const Argument& a : arguments)
      One(a);
  }

 private:
  void Field(std::string_view name, std::string_view value) {
    reply_.Bulk(name);
    reply_.Bulk(value);
  }

  void One(const Argument& a) {
    bool is_key = a.type == "key" && key_specs_ > 0;
    bool has_flags = a.optional || a.multiple || a.multiple_token;
    reply_.Map(2 + (is_key ? 1U : 0U) + (a.token.empty() ? 0U : 1U) + (a.since.empty() ? 0U : 1U) +
               (a.deprecated_since.empty() ? 0U : 1U) + (has_flags ? 1U : 0U) +
               (a.children.empty() ? 0U : 1U));
    Field("name", a.type == kPureToken ? ToLower(a.name) : std::string(a.name));
    Field("type", a.type);
    if (is_key) {
      reply_.Bulk("key_spec_index");
      reply_.Integer(std::min(next_key_, key_specs_ - 1));
      ++next_key_;
    }
    if (!a.token.empty()) Field("token", a.token);
    if (!a.since.empty()) Field("since", a.since);
    if (!a.deprecated_since.empty()) Field("deprecated_since", a.deprecated_since);
    if (has_flags) Flags(a);
    if (!a.children.empty()) {
      reply_.Bulk("arguments");
      List(a.children);
    }
  }

  void Flags(const Argument& a) {
    reply_.Bulk("flags");
    reply_.Set((a.optional ? 1U : 0U) + (a.multiple ? 1U : 0U) + (a.multiple_token ? 1U : 0U));
    if (a.optional) reply_.Simple("optional");
    if (a.multiple) reply_.Simple("multiple");
    if (a.multiple_token) reply_.Simple("multiple_token");
  }

  resp::Writer& reply_;
  int64_t key_specs_ = 0;
  int64_t next_key_ = 0;
};

// What applications have no use for.
bool IsOfTheSystem(const Row& row) {
  return row.name == "debug" || row.name == "pfdebug" || row.name == "pfselftest";
}

}  // namespace

std::vector<Argument> ParseSyntax(std::string_view syntax) {
  return SyntaxParser(syntax).List(' ', '\0');
}

std::string Usage(std::string_view syntax) {
  std::string out;
  AppendUsage(ParseSyntax(syntax), " ", out);
  return out;
}

void ReplyDocs(resp::Writer& reply, const Row& row) {
  auto field = [&reply](std::string_view name, std::string_view value) {
    reply.Bulk(name);
    reply.Bulk(value);
  };
  std::vector<const Row*> subcommands = Table::Instance().Subcommands(row.name);
  const bool deprecated = !row.deprecated_since.empty();
  const bool of_the_system = IsOfTheSystem(row);
  reply.Map(3 + (row.complexity.empty() ? 0U : 1U) + (deprecated || of_the_system ? 1U : 0U) + (deprecated ? 2U : 0U) +
            (row.syntax.empty() ? 0U : 1U) + (subcommands.empty() ? 0U : 1U));
  field("summary", row.summary);
  field("since", row.since);
  field("group", row.group);
  if (!row.complexity.empty()) field("complexity", row.complexity);
  if (deprecated || of_the_system) {
    reply.Bulk("doc_flags");
    reply.Set((deprecated ? 1U : 0U) + (of_the_system ? 1U : 0U));
    if (deprecated) reply.Simple("deprecated");
    if (of_the_system) reply.Simple("syscmd");
  }
  if (deprecated) {
    field("deprecated_since", row.deprecated_since);
    field("replaced_by", row.replaced_by);
  }
  if (!row.syntax.empty()) {
    reply.Bulk("arguments");
    DocsReply(reply, row).List(ParseSyntax(row.syntax));
  }
  if (!subcommands.empty()) {
    reply.Bulk("subcommands");
    reply.Map(subcommands.size());
    for (const Row* sub : subcommands) {
      reply.Bulk(sub->name);
      ReplyDocs(reply, *sub);
    }
  }
}

void ContainerHelp(Context& c) {
  // All words but the last one, HELP.
  std::string container;
  for (size_t i = 0; i + 1 < c.count(); ++i)
    container += (i > 0 ? "|" : "") + ToLower(c.args[i]);
  std::string title = ToUpper(container);
  std::replace(title.begin(), title.end(), '|', ' ');
  std::vector<const Row*> subcommands = Table::Instance().Subcommands(container);
  c.reply.Array(1 + 2 * subcommands.size());
  c.reply.Simple(title + " <subcommand> [<arg> [value] [opt] ...]. Subcommands are:");
  for (const Row* sub : subcommands) {
    std::string usage = ToUpper(sub->name.substr(container.size() + 1));
    if (!sub->syntax.empty()) usage += ' ' + Usage(sub->syntax);
    c.reply.Simple(usage);
    c.reply.Simple("    " + std::string(sub->summary) + ".");
  }
}

}  // namespace polyarch::command
