#include "command/transaction.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/number.h"
#include "base/planted.h"
#include "base/random.h"
#include "command/command_timer.h"
#include "command/families.h"
#include "command/monitors.h"
#include "command/notify.h"
#include "command/pubsub.h"
#include "command/rights.h"
#include "command/script_run.h"
#include "command/support.h"

namespace polyarch::command {
namespace {

constexpr size_t kWordBytes = 4;
constexpr size_t kCommandBytes = 32;

bool RunsAtOnce(const Row& row) {
  constexpr std::string_view kNames[] = {"exec", "discard", "multi", "watch", "quit", "reset"};
  return std::find(std::begin(kNames), std::end(kNames), row.name) != std::end(kNames);
}

// Words and steps of a queue, as views of it.
struct Steps {
  std::vector<std::string_view> words;
  std::vector<Step> steps;

  explicit Steps(const Transaction& t) {
    words.reserve(t.sizes.size());
    size_t at = 0;
    for (uint32_t size : t.sizes) {
      words.push_back(std::string_view(t.words).substr(at, size));
      at += size;
    }
    steps.reserve(t.commands.size());
    size_t word = 0;
    for (const Transaction::Queued& queued : t.commands) {
      steps.push_back({queued.row, Arguments(words).subspan(word, queued.words)});
      word += queued.words;
    }
  }
};

void ReplyTooLarge(Context& c) {
  c.reply.Error("LIMIT the transaction would write more than fits into one change (" +
                base::FormatInt64(static_cast<int64_t>(kChangeBytesMax)) +
                " bytes); nothing was done");
}

void RunStep(Context& c,
             const Step& step,
             uint64_t random,
             std::vector<Publication>& publications,
             CommandTimer& timer) {
  using Mode = Client::ReplyMode;
  resp::Writer reply(c.reply.out(), c.client.protocol);
  Context inner{.client = c.client,
                .args = step.args,
                .reply = reply,
                .keys = c.keys,
                .change = c.change,
                .cluster = c.cluster,
                .server = c.server,
                .now_ms = c.now_ms,
                .random = random,
                .may_wait = false,
                .publications = &publications,
                .out_of_memory = c.out_of_memory,
                .notify = c.notify,
                .agreed = c.agreed,
                .shared_script_until_us = &c.script_until_us(),
                .shared_published_bytes = &c.published_bytes()};
  const bool silent = c.client.reply_mode == Mode::kOff;
  const size_t before = c.reply.out().size();
  if (c.client.judged) [[unlikely]] {
    if (const std::string refusal = RefusalInExec(inner, *step.row); !refusal.empty()) {
      reply.Error(refusal);
      if (silent && c.client.reply_mode == Mode::kOff) c.reply.out().Truncate(before);
      return;
    }
  }
  const bool shown = c.cluster.monitors().any();
  const bool script = (step.row->flags & kRunsScript) != 0;
  if (shown && script) FeedMonitors(inner, *step.row, /*of_script=*/false);
  inner.notify ? RunAndNotify(inner, *step.row) : RunHandler(inner, *step.row);
  if (shown && !script) FeedMonitors(inner, *step.row, /*of_script=*/false);
  const std::string_view out = c.reply.out().view();
  timer.Ran(*step.row, step.args, &c.client, out.substr(std::min(before, out.size())), /*last=*/false);
  if (c.client.tracking != nullptr) TrackRead(inner, *step.row);
  CHECK(!inner.suspended);
  if (silent && c.client.reply_mode == Mode::kOff) c.reply.out().Truncate(before);
  c.close |= inner.close;
  c.abandon = std::move(inner.abandon);
}

void RunSteps(Context& c, std::span<const Step> steps) {
  const TransactionSize size = SizeOf(c, steps);
  if (!size.fits && !size.revertible) return ReplyTooLarge(c);
  resp::Buffer& out = c.reply.out();
  const size_t mark = out.size();
  const uint8_t db = c.client.db;
  if (!PLANTED(kTornTransaction)) c.change.BeginTransaction(/*keep=*/!size.fits);
  const bool silent = c.client.reply_mode == Client::ReplyMode::kOff;
  if (!silent) c.reply.Array(steps.size());
  base::Random random(c.random);
  std::vector<Publication> publications;
  CommandTimer timer(c.server);
  timer.Begin(c.server.MonotonicNanos());
  for (const Step& step : steps) {
    RunStep(c, step, random.Next(), publications, timer);
    if (PLANTED(kTornTransaction)) c.change.Finish();
    if (!c.abandon.empty()) {
      // Else what the reply says would not be so.
      CHECK(c.change.keeps() || PLANTED(kTornTransaction));
      if (c.change.keeps()) c.change.Revert();
      out.Truncate(mark);
      c.client.db = db;
      return c.reply.Error(c.abandon);
    }
    if (!size.fits && c.change.bytes() > kChangeBytesMax) {
      c.change.Revert();
      out.Truncate(mark);
      c.client.db = db;
      return ReplyTooLarge(c);
    }
  }
  timer.End();
  c.change.EndTransaction();
  // Its steps have been silent each for itself, until one of them turned replies on.
  c.pushed = silent;
  for (const Publication& p : publications) {
    if (p.notice != 0) {
      c.cluster.Notify(p.notice, p.channel, p.db, p.message);
    } else {
      c.cluster.Publish(p.shard, p.channel, p.message);
    }
  }
}

void Multi(Context& c) {
  if (c.client.transaction != nullptr) return c.reply.Error("ERR MULTI calls can not be nested");
  c.client.transaction = std::make_unique<Transaction>(c.cluster.queued_bytes());
  c.reply.Ok();
}

void Discard(Context& c) {
  if (c.client.transaction == nullptr) return c.reply.Error("ERR DISCARD without MULTI");
  EndTransaction(c);
  c.reply.Ok();
}

void Watch(Context& c) {
  if (c.client.transaction != nullptr) {
    return c.reply.Error("ERR WATCH inside MULTI is not allowed");
  }
  for (std::string_view key : c.args.subspan(1)) {
    if (c.cluster.watches().Add(c.client.id, c.Ref(key), c.keys)) continue;
    return c.reply.Error("LIMIT one client may watch 1048576 keys");
  }
  c.reply.Ok();
}

void Unwatch(Context& c) {
  c.cluster.watches().Forget(c.client.id);
  c.reply.Ok();
}

}  // namespace

void NoteRefused(Context& c, size_t out_before) {
  c.client.transaction->aborted = true;
  if (!EqualsIgnoreCase(c.args[0], "exec")) return;
  EndTransaction(c);
  // What else may be wrong with it is said before anybody is let into a transaction.
  if (c.count() == 1) return;
  c.reply.out().Truncate(out_before);
  c.reply.Error(
      "EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command");
}

bool Enqueue(Context& c, const Row& row) {
  if (RunsAtOnce(row)) return false;
  Transaction& t = *c.client.transaction;
  auto refuse = [&](std::string_view error) {
    t.aborted = true;
    c.reply.Error(error);
    return true;
  };
  size_t bytes = kCommandBytes + c.count() * kWordBytes;
  for (std::string_view arg : c.args)
    bytes += arg.size();
  if (t.charged + bytes > kQueueBytesMax) {
    return refuse("LIMIT the commands of a transaction together are larger than 134217728 bytes");
  }
  if (*t.all_bytes + bytes > kAllQueuesBytesMax) {
    return refuse("LIMIT the transactions of all clients together are full; try again later");
  }
  c.reply.Simple("QUEUED");
  if (t.aborted) return true;  // what will not run is not kept
  t.charged += bytes;
  *t.all_bytes += bytes;
  t.commands.push_back({&row, static_cast<uint32_t>(c.count())});
  for (std::string_view arg : c.args) {
    t.sizes.push_back(static_cast<uint32_t>(arg.size()));
    t.words.append(arg);
  }
  t.writes |= (row.flags & kWrite) != 0;
  t.denies_oom = t.denies_oom || DeniesOom(c, row);
  t.pauses |= MayPause(c.client, c.cluster.scripts(), c.args, row, /*writes_only=*/true);
  t.whole_keyspace |= (row.flags & kWholeKeyspace) != 0;
  return true;
}

void EndTransaction(Context& c) {
  c.client.transaction.reset();
  c.cluster.watches().Forget(c.client.id);
}

void Exec(Context& c) {
  if (c.client.transaction == nullptr) return c.reply.Error("ERR EXEC without MULTI");
  const base::Status allowed = c.client.transaction->writes ? c.cluster.WriteAllowed() : base::Status();
  const std::unique_ptr<Transaction> t = std::move(c.client.transaction);
  const bool changed = c.cluster.watches().Changed(c.client.id, c.keys);
  EndTransaction(c);
  if (c.out_of_memory && t->denies_oom) {
    return c.reply.Error("EXECABORT Transaction discarded because of: " + std::string(kOutOfMemory));
  }
  if (!allowed.ok()) {
    return c.reply.Error("EXECABORT Transaction discarded because of: " + allowed.message());
  }
  if (t->aborted) {
    return c.reply.Error("EXECABORT Transaction discarded because of previous errors.");
  }
  if (changed) return c.reply.NullArray();
  const Steps steps(*t);
  RunSteps(c, steps.steps);
}

void AddTransactionFamily(std::vector<Row>& rows) {
  // clang-format off: a row as few lines as it needs
  static constexpr uint32_t kAlways = kNoScript | kLoading | kStale;
  static constexpr Row kRows[] = {
      {.name = "multi", .arity = 1, .flags = kAlways | kFast | kAllowBusy,
       .categories = "@fast @transaction", .handler = Multi,
       .summary = "Begins a transaction: what follows is queued until EXEC",
       .since = "1.2.0", .group = "transactions", .complexity = "O(1)"},
      {.name = "exec", .arity = 1, .flags = kAlways | kSkipSlowlog,
       .categories = "@slow @transaction", .handler = Exec,
       .summary = "Runs the queued commands as one change",
       .since = "1.2.0", .group = "transactions", .complexity = "Depends on the commands"},
      {.name = "discard", .arity = 1, .flags = kAlways | kFast | kAllowBusy,
       .categories = "@fast @transaction", .handler = Discard,
       .summary = "Gives the transaction up", .since = "2.0.0", .group = "transactions",
       .complexity = "O(N) where N is the number of queued commands"},
      {.name = "watch", .arity = -2, .flags = kAlways | kFast | kAllowBusy,
       .keys = {1, -1, 1}, .categories = "@fast @transaction", .handler = Watch,
       .summary = "Lets the next EXEC do nothing if a key has changed until then",
       .since = "2.2.0", .group = "transactions", .complexity = "O(1) for each key",
       .syntax = "key:key*", .key_access = "RO"},
      {.name = "unwatch", .arity = 1, .flags = kAlways | kFast | kAllowBusy,
       .categories = "@fast @transaction", .handler = Unwatch,
       .summary = "Watches no keys any more", .since = "2.2.0", .group = "transactions",
       .complexity = "O(1)"},
  };
  // clang-format on
  rows.insert(rows.end(), std::begin(kRows), std::end(kRows));
}

}  // namespace polyarch::command
