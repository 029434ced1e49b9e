// What a connection has written, at other leaders: WAIT. What it has seen, carried to another leader by
// the client: SESSION.
#include <optional>
#include <utility>

#include "clock/session_token.h"
#include "command/blocking.h"
#include "command/families.h"
#include "command/support.h"

namespace polyarch::command {
namespace {

void WaitForLeaders(Context& c) {
  const std::optional<int64_t> wanted = ReadInteger(c, c.args[1]);
  if (!wanted) return;
  const std::optional<int64_t> timeout_ms = ReadTimeoutMs(c, c.args[2]);
  if (!timeout_ms) return;
  const int64_t holders = static_cast<int64_t>(c.cluster.Holders(c.client.wrote));
  if (holders >= *wanted || !c.may_wait) return c.reply.Integer(holders);
  c.suspended = true;
  c.wait.timeout_ms = *timeout_ms;
  c.wait.poll = [&cluster = c.cluster, wrote = c.client.wrote, wanted = *wanted](resp::Writer& reply,
                                                                                 bool over) {
    const int64_t now = static_cast<int64_t>(cluster.Holders(wrote));
    if (now < wanted && !over) return false;
    reply.Integer(now);
    return true;
  };
}

void SessionToken(Context& c) {
  c.suspended = true;
  // Taken between changes: what this tick has written so far is in it.
  c.wait.poll = [&cluster = c.cluster, mark = std::optional<SessionMark>()](resp::Writer& reply,
                                                                           bool over) mutable {
    if (!mark) mark = cluster.MarkSession();
    // A token that a power cut could make impossible is none.
    if (cluster.IsDurable(mark->position)) {
      reply.Bulk(mark->token);
    } else if (over) {
      reply.Error("UNBLOCKED client unblocked before what it has seen was on disk; ask again");
    } else {
      return false;
    }
    return true;
  };
}

void SessionWait(Context& c) {
  std::optional<clock::SessionToken> token = clock::ParseSessionToken(c.args[2]);
  if (!token) {
    return c.reply.Error("ERR this is no token of SESSION TOKEN, or it is damaged; take a new one");
  }
  const std::optional<int64_t> timeout_ms = ReadTimeoutMs(c, c.args[3]);
  if (!timeout_ms) return;
  auto poll = [&cluster = c.cluster, token = *std::move(token)](resp::Writer& reply, bool over) {
    const SessionLack lack = cluster.LackOf(token, /*all=*/over);
    if (lack.foreign) {
      reply.Error("ERR this session token is of another cluster; take a new one here");
    } else if (!lack.missing.empty()) {
      if (!over) return false;
      reply.Error("TIMEOUT not here yet: " + lack.missing +
                  (lack.lost.empty() ? "" : "; lost: " + lack.lost) +
                  "; wait longer, or read elsewhere");
    } else if (!lack.lost.empty()) {
      reply.Error("LOST no leader has " + lack.lost + "; all else that the session has seen is here");
    } else {
      reply.Ok();
    }
    return true;
  };
  if (poll(c.reply, /*over=*/!c.may_wait)) return;
  c.suspended = true;
  c.wait.timeout_ms = *timeout_ms;
  c.wait.poll = std::move(poll);
}

}  // namespace

void AddSessionFamily(std::vector<Row>& rows) {
  static constexpr Row kRows[] = {
      {.name = "wait", .arity = 3, .flags = kNoScript, .categories = "@slow @connection",
       .handler = WaitForLeaders,
       .summary = "Waits until so many other leaders have this connection's writes on disk",
       .since = "3.0.0", .group = "generic", .complexity = "O(N) where N is the number of leaders",
       .syntax = "numreplicas:integer timeout:integer",
       .tips = "request_policy:all_shards response_policy:agg_min"},
      {.name = "session", .arity = -2, .categories = "@slow",
       .summary = "Carries what a connection has seen to another leader",
       .since = "polyarch 0.1.0", .group = "polyarch",
       .complexity = "Depends on the subcommand"},
      {.name = "session|token", .arity = 2, .flags = kNoScript | kNoMulti | kStale,
       .categories = "@slow @connection", .handler = SessionToken,
       .summary = "Returns a token of all that this connection has seen and written, once that is on disk",
       .since = "polyarch 0.1.0", .group = "polyarch",
       .complexity = "O(N) where N is the number of origins", .tips = "nondeterministic_output"},
      {.name = "session|wait", .arity = 4, .flags = kNoScript | kStale,
       .categories = "@slow @connection", .handler = SessionWait,
       .summary = "Waits until this leader has all that a token tells of",
       .since = "polyarch 0.1.0", .group = "polyarch",
       .complexity = "O(N) where N is the number of origins in the token",
       .syntax = "token timeout:integer"},
      {.name = "session|help", .arity = 2, .flags = kLoading | kStale, .categories = "@slow",
       .handler = ContainerHelp, .summary = "Print this help", .since = "polyarch 0.1.0",
       .group = "polyarch", .complexity = "O(1)"},
  };
  rows.insert(rows.end(), std::begin(kRows), std::end(kRows));
}

}  // namespace polyarch::command
