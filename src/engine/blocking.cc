// Clients that wait for elements. A key that has got some is offered to who waits for it, the
// longest first, as soon as the command that brought them is done, in that command's change; or
// when the frame is applied that did. Who waited runs its own command then, on that key only.
#include <algorithm>
#include <optional>
#include <utility>

#include "base/check.h"
#include "engine/engine.h"

namespace polyarch::engine {

namespace {

// As much later as there is room for.
int64_t DeadlineAfter(int64_t now_us, int64_t timeout_ms) {
  if (timeout_ms == 0 || timeout_ms > (INT64_MAX - now_us) / 1000) return INT64_MAX;
  return now_us + timeout_ms * 1000;
}

}  // namespace

void Engine::AddWaiter(command::Context& context) {
  Waiters::Waiter waiter;
  waiter.client = &context.client;
  waiter.server = &context.server;
  waiter.arguments = context.wait.arguments;
  if (waiter.arguments.empty())
    waiter.arguments.assign(context.args.begin(), context.args.end());
  waiter.when_gone = context.wait.when_gone;
  waiter.late = std::move(context.wait.late);
  if (context.wait.group) waiter.group = *context.wait.group;
  waiter.poll = std::move(context.wait.poll);
  const std::vector<std::string_view> words(waiter.arguments.begin(), waiter.arguments.end());
  const command::Row* row = command::Table::Instance().Find(words);
  waiter.writes = row != nullptr && (row->flags & command::kWrite) != 0;
  waiter.type = context.wait.type;
  for (std::string_view key : context.wait.keys)
    waiter.keys.emplace(context.client.db, key);
  waiter.deadline_us = DeadlineAfter(now_.mono_us, context.wait.timeout_ms);
  waiters_.Add(std::move(waiter));
}

Outcome Engine::TakeAnswer(command::Client& client, resp::Buffer& out) {
  if (client.blocked == command::Client::Blocked::kWaits) return Outcome::kSuspended;
  client.wrote = newest_own_.bits();  // or it wrote nothing: then more than is needed
  out.Append(waiters_.TakeAnswer(client));
  // It tells of a write, or that there was nothing, which a write may have brought about.
  return options_.durability == Durability::kAlways ? Outcome::kHeld : Outcome::kReplied;
}

void Engine::ServeWaiters(keyspace::Change& change) {
  // What one gets may be what another one waits for (BLMOVE): again, until nothing is ready.
  while (waiters_.any_ready()) {
    for (const Waiters::Key& key : waiters_.TakeReady()) {
      const keyspace::KeyRef ref = keyspace_.Ref(key.first, key.second);
      Waiters::Pass pass;
      // As long as there is something: a push of one element costs the same however many wait for it.
      while (true) {
        const keyspace::Shown shown = keyspace_.Read(ref);
        const bool elements = shown.kind == keyspace::Shown::Kind::kCollection;
        const std::optional<uint64_t> client =
            waiters_.Next(key, elements ? std::optional(shown.type) : std::nullopt, pass);
        if (!client) break;
        const Waiters::Waiter& waiter = *waiters_.Find(*client);
        const std::optional<std::string> group = waiter.group;
        // Who has found nothing speaks for all of the group.
        if (!waiter.client->gone && !ServeWaiter(*client, waiter, key, change) && group) pass.Skip(*group);
        // Each of those that move an element writes it anew.
        if (change.bytes() > kServeInChangeBytesMax) change.Finish();
      }
    }
  }
}

bool Engine::ServeWaiter(uint64_t id,
                         const Waiters::Waiter& waiter,
                         const Waiters::Key& key,
                         keyspace::Change& change) {
  resp::Buffer out;
  out.SetLimit(options_.reply_bytes_max);
  resp::Writer writer(out, waiter.client->protocol);
  const std::vector<std::string_view> arguments(waiter.arguments.begin(), waiter.arguments.end());
  const std::string_view ready = key.second;
  command::Context context{.client = *waiter.client,
                           .args = arguments,
                           .reply = writer,
                           .keys = keyspace_,
                           .change = change,
                           .cluster = *this,
                           .server = *waiter.server,
                           .now_ms = keyspace_.time_ms(),
                           .random = random_.Next(),
                           .notify = notifies(),
                           .agreed = agreed_.in_use() ? &agreed_ : nullptr,
                           .ready = &ready};
  const uint64_t acting = std::exchange(acting_, id);
  command::Dispatch(context);
  acting_ = acting;
  if (context.suspended) return false;
  // As of any reply that is too large: it is forgotten at the end of the tick.
  if (out.overflowed()) {
    waiter.server->KillClient(id);
    return true;
  }
  waiters_.SetAnswer(id, std::string(out.view()));
  host_.Resume(id);
  return true;
}

bool Engine::Pauses(command::Client& client, command::Arguments arguments) {
  const command::Row* row = command::Table::Instance().Find(arguments);
  if (row == nullptr || !command::MayPause(client, scripts_, arguments, *row, !pauses_all_)) return false;
  client.paused = true;
  paused_clients_.push_back(client.id);
  return true;
}

void Engine::Pause(int64_t millis, bool writes_only) {
  // 0 would be for ever there.
  const int64_t until_us = millis == 0 ? now_.mono_us : DeadlineAfter(now_.mono_us, millis);
  paused_until_us_ = std::max(paused_until_us_, until_us);
  pauses_all_ |= !writes_only;
}

void Engine::Unpause() {
  paused_until_us_ = -1;
  pauses_all_ = false;
  ResumeWaiters(paused_clients_);
}

void Engine::ServeWaiters() {
  if (waiters_.size() == 0) return;
  if (const base::Status allowed = WriteAllowed(); !allowed.ok()) {
    for (uint64_t id : waiters_.All()) {
      if (waiters_.Find(id)->writes)
        Answer(id, [&](resp::Writer& writer) { writer.Error(allowed.message()); });
    }
  }
  // Who waits for elements would write.
  if (waiters_.any_ready() && paused_until_us_ < 0) {
    keyspace::Change change(*this, keyspace_);
    ServeWaiters(change);
  }
  FinishFrame();
  for (uint64_t id : std::vector(waiters_.Polled().begin(), waiters_.Polled().end()))
    Poll(id, now_.mono_us >= waiters_.Find(id)->deadline_us);
  for (uint64_t id : waiters_.Expired(now_.mono_us))
    AnswerLate(id);
}

bool Engine::Poll(uint64_t id, bool over) {
  const Waiters::Waiter& waiter = *waiters_.Find(id);
  resp::Buffer out;
  resp::Writer writer(out, waiter.client->protocol);
  if (!waiter.poll(writer, over)) {
    CHECK(!over);
    return false;
  }
  Answer(id, [&](resp::Writer& reply) { reply.out().Append(out.view()); });
  return true;
}

void Engine::Answer(uint64_t id, base::FunctionRef<void(resp::Writer&)> reply, uint64_t wrote) {
  using ReplyMode = command::Client::ReplyMode;
  command::Client& client = *waiters_.Find(id)->client;
  resp::Buffer out;
  resp::Writer writer(out, client.protocol);
  if (client.reply_mode == ReplyMode::kOn) reply(writer);
  if (client.reply_mode == ReplyMode::kSkipNext) client.reply_mode = ReplyMode::kOn;
  waiters_.SetAnswer(id, std::string(out.view()), wrote);
  host_.Resume(id);
}

void Engine::AnswerLate(uint64_t id) {
  const std::string late = waiters_.Find(id)->late;
  Answer(id, [&](resp::Writer& writer) { late.empty() ? writer.NullArray() : writer.Error(late); });
}

bool Engine::Unblock(uint64_t client, bool with_error) {
  const Waiters::Waiter* waiter = waiters_.Find(client);
  // What is being agreed on cannot be called back.
  if (waiter == nullptr || waiter->for_others || waiter->client->gone) return false;
  if (!with_error && waiter->poll) return Poll(client, /*over=*/true);
  if (with_error) {
    Answer(client, [](resp::Writer& writer) { writer.Error("UNBLOCKED client unblocked via CLIENT UNBLOCK"); });
  } else {
    AnswerLate(client);
  }
  return true;
}

}  // namespace polyarch::engine
