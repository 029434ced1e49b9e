// ESCROW: stocks that leaders sell without asking each other, and never below zero (docs/design/0030-escrow.md).
#include "base/number.h"
#include "command/polyarch.h"
#include "command/support.h"

namespace polyarch::command {

namespace {

constexpr int64_t kAmountMax = int64_t{1} << 52;

std::optional<int64_t> ReadAmount(Context& c, std::string_view text, int64_t least) {
  const std::optional<int64_t> amount = base::ParseInt64(text);
  if (amount && *amount >= least && *amount <= kAmountMax) return amount;
  c.reply.Error("ERR the amount must be a whole number from " + std::to_string(least) + " to " +
                std::to_string(kAmountMax));
  return std::nullopt;
}

EscrowHost* HostOf(Context& c) {
  if (c.cluster.escrow() == nullptr) c.reply.Error("ERR this leader holds no rights");
  return c.cluster.escrow();
}

void EscrowCreate(Context& c) {
  const auto total = ReadAmount(c, c.args[3], 0);
  if (!total) return;
  if (EscrowHost* host = HostOf(c)) host->Create(c, c.args[2], *total);
}

void EscrowGrant(Context& c) {
  const auto amount = ReadAmount(c, c.args[3], 1);
  if (!amount) return;
  if (EscrowHost* host = HostOf(c)) host->Grant(c, c.args[2], *amount);
}

void EscrowSpend(Context& c) {
  int64_t amount = 1;
  if (c.count() > 4) return c.reply.Error("ERR wrong number of arguments for 'escrow|spend' command");
  if (c.count() == 4) {
    const auto given = ReadAmount(c, c.args[3], 1);
    if (!given) return;
    amount = *given;
  }
  if (EscrowHost* host = HostOf(c)) host->Spend(c, c.args[2], amount);
}

void EscrowGet(Context& c) {
  if (EscrowHost* host = HostOf(c)) host->Get(c, c.args[2]);
}

void EscrowReclaim(Context& c) {
  if (EscrowHost* host = HostOf(c)) host->Reclaim(c, c.args[2], c.args[3]);
}

}  // namespace

void AddEscrowRows(std::vector<Row>& rows) {
  // clang-format off: a row as few lines as it needs
  static constexpr Row kRows[] = {
      {.name = "escrow", .arity = -2, .categories = "@slow",
       .summary = "Bounded counters: stocks that every leader sells from, and that are never oversold",
       .since = "polyarch 0.1.0", .group = "polyarch", .complexity = "Depends on the subcommand"},
      {.name = "escrow|create", .arity = 4, .flags = kWrite | kNoScript | kBlocking | kNoMulti,
       .keys = {2, 2, 1}, .categories = "@write @slow @blocking", .handler = EscrowCreate,
       .summary = "Makes a stock of so many units, shared out among the leaders in reach; agreed on",
       .since = "polyarch 0.1.0", .group = "polyarch", .complexity = "O(N) where N is the number of leaders, and two round trips",
       .syntax = "key:key total", .key_access = "OW insert"},
      {.name = "escrow|grant", .arity = 4, .flags = kWrite | kDenyOom | kFast,
       .keys = {2, 2, 1}, .categories = "@write @fast", .handler = EscrowGrant,
       .summary = "Adds units, with the rights to them here",
       .since = "polyarch 0.1.0", .group = "polyarch", .complexity = "O(N) where N is the number of leaders",
       .syntax = "key:key amount", .key_access = "RW access update"},
      {.name = "escrow|spend", .arity = -3, .flags = kWrite | kDenyOom | kFast,
       .keys = {2, 2, 1}, .categories = "@write @fast", .handler = EscrowSpend,
       .summary = "Takes units to which this leader has the rights, and tells how many are left here",
       .since = "polyarch 0.1.0", .group = "polyarch", .complexity = "O(N) where N is the number of leaders",
       .syntax = "key:key amount?", .key_access = "RW access update"},
      {.name = "escrow|get", .arity = 3, .flags = kReadonly | kFast,
       .keys = {2, 2, 1}, .categories = "@read @fast", .handler = EscrowGet,
       .summary = "Tells what is left of a stock, and who may sell how much of it",
       .since = "polyarch 0.1.0", .group = "polyarch", .complexity = "O(N) where N is the number of leaders",
       .syntax = "key:key", .key_access = "RO access"},
      {.name = "escrow|reclaim", .arity = 4, .flags = kWrite | kAdmin | kNoScript | kBlocking | kNoMulti,
       .keys = {2, 2, 1}, .categories = "@admin @write @slow @dangerous @blocking", .handler = EscrowReclaim,
       .summary = "Takes over the rights of a leader whose disk is gone; agreed on",
       .since = "polyarch 0.1.0", .group = "polyarch", .complexity = "O(N) where N is the number of leaders, and two round trips",
       .syntax = "key:key leader", .key_access = "RW access update"},
      {.name = "escrow|help", .arity = 2, .flags = kLoading | kStale, .categories = "@slow",
       .handler = ContainerHelp, .summary = "Print this help",
       .since = "polyarch 0.1.0", .group = "polyarch", .complexity = "O(1)"},
  };
  // clang-format on
  rows.insert(rows.end(), std::begin(kRows), std::end(kRows));
}

}  // namespace polyarch::command
