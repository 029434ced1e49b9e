// Messages between clients. Those who listen here get them at once; other leaders at the end of the
// tick, behind its frame, and there behind the frames that have come with them: who reads what a
// message tells of finds it, as long as nothing is lost or late on the way.
#include <algorithm>
#include <utility>

#include "engine/engine.h"

namespace polyarch::engine {

size_t Engine::Publish(bool shard, std::string_view channel, std::string_view message) {
  if (replica_.members().size() > 1)
    published_.push_back({shard, std::string(channel), std::string(message)});
  return subscriptions_.Deliver(
      shard, channel, message, [this](command::Client& client, std::string_view bytes) {
        host_.Push(client.id, bytes, /*held=*/false);
      });
}

void Engine::Notify(uint32_t notice, std::string_view event, uint8_t db, std::string_view key) {
  if ((notices_ & notice) == 0 || db == crdt::kReservedDatabase) return;
  auto tell = [&](std::string_view kind, std::string_view of, std::string_view what) {
    std::string channel = "__" + std::string(kind) + "@" + std::to_string(db) + "__:";
    channel.append(of);
    subscriptions_.Deliver(
        /*shard=*/false, channel, what, [this](command::Client& client, std::string_view bytes) {
          host_.Push(client.id, bytes, /*held=*/false);
        });
  };
  if ((notices_ & command::kNoticeKeyspace) != 0) tell("keyspace", key, event);
  if ((notices_ & command::kNoticeKeyevent) != 0) tell("keyevent", event, key);
}

void Engine::NoteTouched(const crdt::Effect& effect, TouchedKeys& keys) {
  using crdt::EffectKind;
  if (effect.db == crdt::kReservedDatabase || effect.kind == EffectKind::kFlush ||
      effect.kind == EffectKind::kClean) {
    return;
  }
  auto [it, fresh] = keys.try_emplace({effect.db, std::string(effect.key)});
  Touched& touched = it->second;
  if (fresh) touched.existed = keyspace_.Exists(keyspace_.Ref(effect.db, effect.key));
  const bool of_key = effect.type == crdt::Type::kString;
  touched.expired |=
      of_key && effect.kind == EffectKind::kWipe && (effect.flags & crdt::kKeepExpiry) != 0;
  auto add = [&](const command::Event& event) {
    auto same = [&](const command::Event& e) {
      return e.name == event.name;
    };
    if (!event.name.empty() && std::none_of(touched.events.begin(), touched.events.end(), same))
      touched.events.push_back(event);
  };
  // A big expired collection goes in parts: nobody sees them go.
  if (!of_key && effect.kind == EffectKind::kWipe &&
      !keyspace_.Exists(keyspace_.Ref(effect.db, effect.key))) {
    return;
  }
  add(command::EventOf(effect.kind, effect.flags, effect.type, effect.expire_ms));
  // SET EX is one effect.
  if (of_key && effect.kind == EffectKind::kPut && (effect.flags & crdt::kHasExpiry) != 0)
    add({command::kNoticeGeneric, "expire"});
}

void Engine::TellTouched(TouchedKeys& keys) {
  for (const auto& [key, touched] : keys) {
    const auto& [db, name] = key;
    const bool exists = keyspace_.Exists(keyspace_.Ref(db, name));
    if (!touched.existed && exists) Notify(command::kNoticeNew, "new", db, name);
    if (touched.expired) {
      Notify(command::kNoticeExpired, "expired", db, name);
      continue;
    }
    for (const command::Event& event : touched.events)
      Notify(event.notice, event.name, db, name);
    if (touched.existed && !exists) Notify(command::kNoticeGeneric, "del", db, name);
  }
  keys.clear();
}

void Engine::DeliverArrived() {
  // To look at one may merge the next.
  while (!merged_keys_.empty()) {
    for (const auto& [db, key] : std::exchange(merged_keys_, {})) {
      const command::Event event = command::EventOf(keyspace_.Read(keyspace_.Ref(db, key)));
      Notify(event.notice, event.name, db, key);
    }
  }
  for (const command::Publication& p : arrived_) {
    subscriptions_.Deliver(
        p.shard, p.channel, p.message, [this](command::Client& client, std::string_view bytes) {
          host_.Push(client.id, bytes, /*held=*/false);
        });
  }
  arrived_.clear();
}

// Keys become hidden as time goes by, and come back if a clock does; they are removed much later, perhaps, when all
// members say so.
void Engine::TrackExpired() {
  const int64_t now_ms = keyspace_.time_ms();
  if (tracking_.active() && tracked_until_ms_ != now_ms && !PLANTED(kTrackNoExpiry)) {
    const auto [from_ms, to_ms] = std::minmax(tracked_until_ms_, now_ms);
    keyspace_.VisitExpiring(from_ms, to_ms, [this](uint8_t db, std::string_view key) {
      tracking_.NoteModified(keyspace_.Ref(db, key), keyspace::Cause::kLocal, 0);
    });
    // Before anybody reads them, those too who want to hear of prefixes.
    TellTracking(/*end_of_tick=*/true);
  }
  tracked_until_ms_ = now_ms;
}

void Engine::TellTracking(bool end_of_tick) {
  const bool holds = options_.durability == Durability::kAlways;
  auto send = [&](command::Client& client, std::string_view bytes, bool held) {
    host_.Push(client.id, bytes, held && holds);
  };
  tracking_.Settle(send);
  if (end_of_tick) tracking_.Broadcast(send);
}

void Engine::SendPublished() {
  for (const command::Publication& p : published_)
    replica_.Publish(p.shard, p.channel, p.message);
  published_.clear();
  replica_.ForwardPublished();
}

}  // namespace polyarch::engine
