// COMMAND: the table, told to clients.
#include <algorithm>
#include <array>
#include <bit>

#include "base/glob.h"
#include "command/docs.h"
#include "command/families.h"
#include "command/rights.h"
#include "command/support.h"

namespace polyarch::command {
namespace {

struct FlagName {
  uint32_t flag;
  std::string_view name;
};
// In the order of COMMAND INFO.
constexpr std::array<FlagName, 18> kFlagNames = {{
    {kWrite, "write"},
    {kReadonly, "readonly"},
    {kDenyOom, "denyoom"},
    {kAdmin, "admin"},
    {kPubsub, "pubsub"},
    {kNoScript, "noscript"},
    {kBlocking, "blocking"},
    {kLoading, "loading"},
    {kStale, "stale"},
    {kSkipMonitor, "skip_monitor"},
    {kSkipSlowlog, "skip_slowlog"},
    {kFast, "fast"},
    {kNoAuth, "no_auth"},
    {kNoMandatoryKeys, "no_mandatory_keys"},
    {kNoAsyncLoading, "no_async_loading"},
    {kNoMulti, "no_multi"},
    {kMovableKeys, "movablekeys"},
    {kAllowBusy, "allow_busy"},
}};

// Calls `visit` with each word of `text`; returns how many there were.
template <typename Visit>
size_t ForEachWord(std::string_view text, Visit visit) {
  size_t count = 0;
  while (!text.empty()) {
    std::string_view word = text.substr(0, text.find(' '));
    visit(word);
    ++count;
    text.remove_prefix(std::min(text.size(), word.size() + 1));
  }
  return count;
}

size_t CountWords(std::string_view text) {
  return ForEachWord(text, [](std::string_view) {});
}

void ReplyFlags(resp::Writer& reply, uint32_t flags) {
  auto known = [flags](const FlagName& f) {
    return (flags & f.flag) != 0;
  };
  reply.Set(static_cast<size_t>(std::count_if(kFlagNames.begin(), kFlagNames.end(), known)));
  for (const FlagName& f : kFlagNames) {
    if (known(f)) reply.Simple(f.name);
  }
}

// Keys from the argument `index` on, or, if `keyword` is not empty, behind that word, which may stand from
// there on.
void ReplyFlagsAndPlace(resp::Writer& reply,
                        std::string_view access,
                        int index,
                        std::string_view keyword = {}) {
  reply.Map(3);
  reply.Bulk("flags");
  reply.Set(CountWords(access));
  ForEachWord(access, [&](std::string_view word) { reply.Simple(word); });
  reply.Bulk("begin_search");
  reply.Map(2);
  reply.Bulk("type");
  reply.Bulk(keyword.empty() ? "index" : "keyword");
  reply.Bulk("spec");
  if (keyword.empty()) {
    reply.Map(1);
    reply.Bulk("index");
  } else {
    reply.Map(2);
    reply.Bulk("keyword");
    reply.Bulk(keyword);
    reply.Bulk("startfrom");
  }
  reply.Integer(index);
  reply.Bulk("find_keys");
  reply.Map(2);
  reply.Bulk("type");
}

void ReplyRange(resp::Writer& reply, int last, int step, int limit = 0) {
  reply.Bulk("range");
  reply.Bulk("spec");
  reply.Map(3);
  reply.Bulk("lastkey");
  reply.Integer(last);
  reply.Bulk("keystep");
  reply.Integer(step);
  reply.Bulk("limit");
  reply.Integer(limit);
}

void ReplyKeySpecification(
    resp::Writer& reply, std::string_view access, int first, int last, int step) {
  ReplyFlagsAndPlace(reply, access, first);
  ReplyRange(reply, last, step);
}

void ReplyNumkeysSpecification(resp::Writer& reply, std::string_view access, int place) {
  ReplyFlagsAndPlace(reply, access, place);
  reply.Bulk("keynum");
  reply.Bulk("spec");
  reply.Map(3);
  reply.Bulk("keynumidx");
  reply.Integer(0);
  reply.Bulk("firstkey");
  reply.Integer(1);
  reply.Bulk("keystep");
  reply.Integer(1);
}

// Keys that depend on what other keys hold, or stand at no certain place.
void ReplyUnknownSpecification(resp::Writer& reply, std::string_view access) {
  reply.Map(3);
  reply.Bulk("flags");
  reply.Set(CountWords(access));
  ForEachWord(access, [&](std::string_view word) { reply.Simple(word); });
  for (std::string_view part : {"begin_search", "find_keys"}) {
    reply.Bulk(part);
    reply.Map(2);
    reply.Bulk("type");
    reply.Bulk("unknown");
    reply.Bulk("spec");
    reply.Map(0);
  }
}

void ReplyKeySpecifications(resp::Writer& reply, const Row& row) {
  const bool counted = row.keys.numkeys > 0;
  if (!row.keys.halves.empty()) {
    reply.Set(1);
    ReplyFlagsAndPlace(reply, row.key_access, row.keys.halves_from, ToUpper(row.keys.halves));
    return ReplyRange(reply, -1, 1, 2);
  }
  if (row.keys.first == 0 && !counted) return reply.Set(0);
  const size_t bar = row.key_access.find('|');
  const std::string_view first_access = row.key_access.substr(0, bar);
  const std::string_view second_access =
      bar == std::string_view::npos ? std::string_view() : row.key_access.substr(bar + 1);
  if (row.keys.first == 0) {
    reply.Set(1);
    return ReplyNumkeysSpecification(reply, first_access, row.keys.numkeys);
  }
  if ((row.flags & kMovableKeys) != 0 && !counted && second_access.empty()) {
    // SORT's patterns, and its STORE.
    const bool stores = !row.keys.options.empty();
    reply.Set(stores ? 3 : 2);
    ReplyKeySpecification(reply, first_access, row.keys.first, 0, 1);
    ReplyUnknownSpecification(reply, first_access);
    if (stores) ReplyUnknownSpecification(reply, "OW update");
    return;
  }
  if (!row.keys.options.empty()) {
    // Behind the obligatory arguments.
    reply.Set(3);
    ReplyKeySpecification(reply, first_access, row.keys.first, 0, 1);
    for (std::string_view keyword : {"STORE", "STOREDIST"}) {
      ReplyFlagsAndPlace(reply, second_access, -row.arity, keyword);
      ReplyRange(reply, 0, 1);
    }
    return;
  }
  if (counted) {
    reply.Set(2);
    ReplyKeySpecification(reply, first_access, row.keys.first, 0, 1);
    return ReplyNumkeysSpecification(reply, second_access, row.keys.numkeys);
  }
  const int last = row.keys.last < 0 ? row.keys.last : row.keys.last - row.keys.first;
  if (bar != std::string_view::npos) {
    reply.Set(2);
    ReplyKeySpecification(reply, first_access, row.keys.first, 0, 1);
    ReplyKeySpecification(
        reply, second_access, row.keys.first + 1, row.keys.last < 0 ? row.keys.last : 0, 1);
    return;
  }
  reply.Set(1);
  ReplyKeySpecification(reply, row.key_access, row.keys.first, last, row.keys.step);
}

void ReplyInfo(resp::Writer& reply, const Row& row) {
  std::vector<const Row*> subcommands = Table::Instance().Subcommands(row.name);
  reply.Array(10);
  reply.Bulk(row.name);
  reply.Integer(row.arity);
  ReplyFlags(reply, row.flags);
  reply.Integer(row.keys.first);
  reply.Integer(row.keys.last);
  reply.Integer(row.keys.step);
  reply.Set(CountWords(row.categories));
  ForEachWord(row.categories, [&](std::string_view word) { reply.Simple(word); });
  reply.Set(CountWords(row.tips));
  ForEachWord(row.tips, [&](std::string_view word) { reply.Bulk(word); });
  ReplyKeySpecifications(reply, row);
  subcommands.empty() ? reply.Set(0) : reply.Array(subcommands.size());
  for (const Row* sub : subcommands)
    ReplyInfo(reply, *sub);
}

void ReplyAllInfo(Context& c) {
  std::vector<const Row*> commands = Table::Instance().Commands();
  c.reply.Array(commands.size());
  for (const Row* row : commands)
    ReplyInfo(c.reply, *row);
}

void Command(Context& c) {
  ReplyAllInfo(c);
}

void CommandInfo(Context& c) {
  if (c.count() == 2) return ReplyAllInfo(c);
  c.reply.Array(c.count() - 2);
  for (std::string_view name : c.args.subspan(2)) {
    const Row* row = Table::Instance().FindName(name);
    row == nullptr ? c.reply.Null() : ReplyInfo(c.reply, *row);
  }
}

void CommandDocs(Context& c) {
  std::vector<const Row*> rows;
  if (c.count() == 2) {
    rows = Table::Instance().Commands();
  } else {
    for (std::string_view name : c.args.subspan(2)) {
      const Row* row = Table::Instance().FindName(name);
      if (row != nullptr) rows.push_back(row);
    }
  }
  c.reply.Map(rows.size());
  for (const Row* row : rows) {
    c.reply.Bulk(row->name);
    ReplyDocs(c.reply, *row);
  }
}

void CommandCount(Context& c) {
  c.reply.Integer(static_cast<int64_t>(Table::Instance().Commands().size()));
}

bool HasCategory(const Row& row, std::string_view category) {
  bool found = false;
  ForEachWord(row.categories, [&](std::string_view word) {
    found |= word.starts_with('@') && EqualsIgnoreCase(category, word.substr(1));
  });
  return found;
}

void CommandList(Context& c) {
  enum class Filter : uint8_t { kAll, kCategory, kPattern, kNothing } filter = Filter::kAll;
  if (c.count() != 2) {
    if (c.count() != 5 || !EqualsIgnoreCase(c.args[2], "filterby")) return ReplySyntaxError(c);
    if (EqualsIgnoreCase(c.args[3], "module")) {
      filter = Filter::kNothing;  // there are no modules
    } else if (EqualsIgnoreCase(c.args[3], "aclcat")) {
      filter = Filter::kCategory;
    } else if (EqualsIgnoreCase(c.args[3], "pattern")) {
      filter = Filter::kPattern;
    } else {
      return ReplySyntaxError(c);
    }
  }
  std::vector<std::string_view> names;
  for (const Row& row : Table::Instance().rows()) {
    bool listed = filter == Filter::kAll ||
                  (filter == Filter::kCategory && HasCategory(row, c.args[4])) ||
                  (filter == Filter::kPattern && base::GlobMatch(c.args[4], row.name, true));
    if (listed) names.push_back(row.name);
  }
  c.reply.Array(names.size());
  for (std::string_view name : names)
    c.reply.Bulk(name);
}

// How the key at `place` among those found is used.
std::string_view AccessOf(const Row& row, Arguments args, size_t place) {
  const size_t bar = row.key_access.find('|');
  const bool second = place > 0 && bar != std::string_view::npos;
  std::string_view access = second ? row.key_access.substr(bar + 1) : row.key_access.substr(0, bar);
  if (place > 0 && bar == std::string_view::npos && !row.keys.options.empty()) access = "OW update";  // SORT's STORE
  if (!access.ends_with(" variable_flags")) return access;
  const acl::KeyUse use = UseBy(row, args);
  if (!use.write) return "RO access";
  return use.read ? "RW access update" : "OW update";
}

void ReplyKeys(Context& c, bool with_access) {
  Arguments args = c.args.subspan(2);
  const Row* row = Table::Instance().Find(args);
  if (row == nullptr) return c.reply.Error("ERR Invalid command specified");
  if (!row->keys.any() || row->key_access == "not_key") return c.reply.Error("ERR The command has no key arguments");
  auto count = static_cast<int>(args.size());
  if (row->arity >= 0 ? count != row->arity : count < -row->arity) {
    return c.reply.Error("ERR Invalid number of arguments specified for command");
  }
  std::vector<size_t> keys;
  if (!KeyIndices(*row, args, keys))
    return c.reply.Error("ERR Invalid arguments specified for command");
  c.reply.Array(keys.size());
  for (size_t place = 0; place < keys.size(); ++place) {
    if (!with_access) {
      c.reply.Bulk(args[keys[place]]);
      continue;
    }
    const std::string_view access = AccessOf(*row, args, place);
    c.reply.Array(2);
    c.reply.Bulk(args[keys[place]]);
    c.reply.Set(CountWords(access));
    ForEachWord(access, [&](std::string_view word) { c.reply.Simple(word); });
  }
}

void CommandGetkeys(Context& c) {
  ReplyKeys(c, false);
}
void CommandGetkeysandflags(Context& c) {
  ReplyKeys(c, true);
}

}  // namespace

void AddIntrospectionFamily(std::vector<Row>& rows) {
  // clang-format off: a row as few lines as it needs
  static constexpr Row kRows[] = {
      {.name = "command",
       .arity = -1,
       .flags = kLoading | kStale,
       .categories = "@slow @connection",
       .handler = Command,
       .summary = "Describes the commands",
       .since = "2.8.13",
       .group = "server",
       .complexity = "O(N) where N is the number of commands",
       .tips = "nondeterministic_output_order"},
      {.name = "command|count",
       .arity = 2,
       .flags = kLoading | kStale,
       .categories = "@slow @connection",
       .handler = CommandCount,
       .summary = "Returns the number of commands",
       .since = "2.8.13",
       .group = "server",
       .complexity = "O(1)"},
      {.name = "command|info",
       .arity = -2,
       .flags = kLoading | kStale,
       .categories = "@slow @connection",
       .handler = CommandInfo,
       .summary = "Describes commands for programs",
       .since = "2.8.13",
       .group = "server",
       .complexity = "O(N) where N is the number of commands asked for",
       .syntax = "command-name?*",
       .tips = "nondeterministic_output_order"},
      {.name = "command|docs",
       .arity = -2,
       .flags = kLoading | kStale,
       .categories = "@slow @connection",
       .handler = CommandDocs,
       .summary = "Documents commands",
       .since = "7.0.0",
       .group = "server",
       .complexity = "O(N) where N is the number of commands asked for",
       .syntax = "command-name?*",
       .tips = "nondeterministic_output_order"},
      {.name = "command|list",
       .arity = -2,
       .flags = kLoading | kStale,
       .categories = "@slow @connection",
       .handler = CommandList,
       .summary = "Lists the names of commands",
       .since = "7.0.0",
       .group = "server",
       .complexity = "O(N) where N is the number of commands",
       .syntax = "FILTERBY filterby:(MODULE module-name|ACLCAT category|PATTERN "
                 "pattern:pattern)?",
       .tips = "nondeterministic_output_order"},
      {.name = "command|getkeys",
       .arity = -4,
       .flags = kLoading | kStale,
       .categories = "@slow @connection",
       .handler = CommandGetkeys,
       .summary = "Returns the keys among the arguments of a command",
       .since = "2.8.13",
       .group = "server",
       .complexity = "O(N) where N is the number of arguments"},
      {.name = "command|getkeysandflags",
       .arity = -4,
       .flags = kLoading | kStale,
       .categories = "@slow @connection",
       .handler = CommandGetkeysandflags,
       .summary = "Returns the keys of a command, and how it uses each",
       .since = "7.0.0",
       .group = "server",
       .complexity = "O(N) where N is the number of arguments"},
      {.name = "command|help",
       .arity = 2,
       .flags = kLoading | kStale,
       .categories = "@slow @connection",
       .handler = ContainerHelp,
       .summary = "Print this help",
       .since = "5.0.0",
       .group = "server",
       .complexity = "O(1)"},
  };
  // clang-format on
  rows.insert(rows.end(), std::begin(kRows), std::end(kRows));
}

}  // namespace polyarch::command
