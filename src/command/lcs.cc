// LCS: the longest common subsequence of two values, by dynamic programming in a table of
// (n + 1) x (m + 1) lengths (Wagner and Fischer 1974), walked back from its far corner.
#include <algorithm>
#include <vector>

#include "base/number.h"
#include "command/families.h"
#include "command/support.h"

namespace polyarch::command {
namespace {

using keyspace::Shown;

struct Options {
  bool length_only = false;
  bool indexes = false;
  bool with_lengths = false;
  int64_t length_min = 0;
};

// Both ends are included.
struct Match {
  size_t a_first;
  size_t a_last;
  size_t b_first;
  size_t b_last;
};

class LcsTable {
 public:
  LcsTable(std::string_view a, std::string_view b)
      : a_(a), b_(b), lengths_((a.size() + 1) * (b.size() + 1)) {
    for (size_t i = 1; i <= a.size(); ++i) {
      for (size_t j = 1; j <= b.size(); ++j) {
        At(i, j) =
            a[i - 1] == b[j - 1] ? At(i - 1, j - 1) + 1 : std::max(At(i - 1, j), At(i, j - 1));
      }
    }
  }

  size_t length() { return At(a_.size(), b_.size()); }

  // The subsequence, and the runs that it is made of, from the end to the beginning.
  std::string Walk(std::vector<Match>* matches) {
    std::string common(length(), '\0');
    size_t left = common.size();
    size_t i = a_.size();
    size_t j = b_.size();
    bool in_run = false;
    Match run{};
    auto end_run = [&] {
      if (in_run && matches != nullptr) matches->push_back(run);
      in_run = false;
    };
    while (i > 0 && j > 0) {
      if (a_[i - 1] == b_[j - 1]) {
        --i;
        --j;
        common[--left] = a_[i];
        if (!in_run) run = {i, i, j, j};
        in_run = true;
        run.a_first = i;
        run.b_first = j;
      } else {
        end_run();
        At(i - 1, j) > At(i, j - 1) ? --i : --j;
      }
    }
    end_run();
    return common;
  }

 private:
  uint32_t& At(size_t i, size_t j) { return lengths_[i * (b_.size() + 1) + j]; }

  std::string_view a_;
  std::string_view b_;
  std::vector<uint32_t> lengths_;
};

bool ReadOptions(Context& c, Options& options) {
  for (size_t i = 3; i < c.count(); ++i) {
    if (EqualsIgnoreCase(c.args[i], "idx")) {
      options.indexes = true;
    } else if (EqualsIgnoreCase(c.args[i], "len")) {
      options.length_only = true;
    } else if (EqualsIgnoreCase(c.args[i], "withmatchlen")) {
      options.with_lengths = true;
    } else if (EqualsIgnoreCase(c.args[i], "minmatchlen") && i + 1 < c.count()) {
      auto length = ReadInteger(c, c.args[++i]);
      if (!length) return false;
      options.length_min = std::max<int64_t>(*length, 0);
    } else {
      ReplySyntaxError(c);
      return false;
    }
  }
  if (options.indexes && options.length_only) {
    c.reply.Error("ERR If you want both the length and indexes, please just use IDX.");
    return false;
  }
  return true;
}

void ReplyMatches(Context& c, std::vector<Match>& matches, const Options& options, size_t length) {
  auto too_short = [&](const Match& m) {
    return static_cast<int64_t>(m.a_last - m.a_first + 1) < options.length_min;
  };
  std::erase_if(matches, too_short);
  auto reply_range = [&](size_t first, size_t last) {
    c.reply.Array(2);
    c.reply.Integer(static_cast<int64_t>(first));
    c.reply.Integer(static_cast<int64_t>(last));
  };
  c.reply.Map(2);
  c.reply.Bulk("matches");
  c.reply.Array(matches.size());
  for (const Match& m : matches) {
    c.reply.Array(options.with_lengths ? 3 : 2);
    reply_range(m.a_first, m.a_last);
    reply_range(m.b_first, m.b_last);
    if (options.with_lengths) c.reply.Integer(static_cast<int64_t>(m.a_last - m.a_first + 1));
  }
  c.reply.Bulk("len");
  c.reply.Integer(static_cast<int64_t>(length));
}

void Lcs(Context& c) {
  std::string text[2];
  for (size_t i = 0; i < 2; ++i) {
    Shown shown = c.keys.Read(c.Ref(c.args[i + 1]));
    if (shown.kind == Shown::Kind::kCollection)
      return c.reply.Error("ERR The specified keys must contain string values");
    if (RefuseConflict(c, c.args[i + 1], shown)) return;
    char scratch[base::kInt64CharsMax];
    if (shown.exists()) text[i] = shown.Text(scratch);
  }
  Options options;
  if (!ReadOptions(c, options)) return;
  // Sizes are below 2^30 each, so this cannot overflow.
  uint64_t table_bytes = (text[0].size() + 1) * (text[1].size() + 1) * sizeof(uint32_t);
  if (table_bytes > static_cast<uint64_t>(kStringBytesMax)) {
    return c.reply.Error(
        "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len");
  }
  LcsTable table(text[0], text[1]);
  if (options.length_only) return c.reply.Integer(static_cast<int64_t>(table.length()));
  std::vector<Match> matches;
  std::string common = table.Walk(options.indexes ? &matches : nullptr);
  if (options.indexes) return ReplyMatches(c, matches, options, common.size());
  c.reply.Bulk(common);
}

}  // namespace

void AddLcsFamily(std::vector<Row>& rows) {
  // clang-format off: a row as few lines as it needs
  static constexpr Row kRows[] = {
      {.name = "lcs",
       .arity = -3,
       .flags = kReadonly,
       .keys = {1, 2, 1},
       .categories = "@read @string @slow",
       .handler = Lcs,
       .summary = "Finds the longest common subsequence of two values",
       .since = "7.0.0",
       .group = "string",
       .complexity = "O(N*M) where N and M are the lengths of the values",
       .syntax = "key1:key key2:key LEN? IDX? MINMATCHLEN len:integer? WITHMATCHLEN?",
       .key_access = "RO access"},
  };
  // clang-format on
  rows.insert(rows.end(), std::begin(kRows), std::end(kRows));
}

}  // namespace polyarch::command
