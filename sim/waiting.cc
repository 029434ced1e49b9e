// Clients that wait: nobody does for what is there, and who came first is served first.
#include "keyspace/stream.h"
#include "sim/node.h"
#include "sim/world.h"

namespace polyarch::sim {

namespace {

using crdt::Type;

// What a command on lists or sorted sets waits for.
std::vector<Key> WaitedFor(const Op& op) {
  if (op.args[0] == "BLMOVE") return {op.keys[0]};
  return op.keys;
}

Type WaitedType(const Op& op) {
  if (op.args[0][0] == 'X') return Type::kStream;
  return op.args[0][1] == 'Z' ? Type::kSortedSet : Type::kList;
}

// The last id of a stream, be it there or not.
crdt::StreamId LastId(keyspace::Keyspace& keys, const Key& key) {
  const keyspace::Stream stream(keys.Open(keys.Ref(key.first, key.second), Type::kStream));
  return stream.exists() ? stream.last_id() : crdt::StreamId{};
}

}  // namespace

void Node::NoteWaits(Op& op) {
  op.waits_since = ++process_->waits;
  // The workload gives XREAD one key, and 0 or $.
  const bool news = op.args[0] == "XREAD" && op.args.back() == "$";
  op.waits_beyond = news ? LastId(process_->engine->keys(), op.keys[0]) : crdt::StreamId{};
}

void Node::CheckWaiters() const {
  if (!up() || process_->engine->merging() || !may_write()) return;
  keyspace::Keyspace& keys = process_->engine->keys();
  for (const auto& [id, op] : process_->suspended) {
    const command::Client& client = *process_->clients[static_cast<size_t>(op.client)];
    if (client.blocked != command::Client::Blocked::kWaits) continue;
    const Type type = WaitedType(op);
    for (const Key& key : WaitedFor(op)) {
      if (process_->engine->policies().IsPopOwner(key.second)) continue;  // its elements may be others' (sim/jobs.h)
      const keyspace::Collection opened = keys.Open(keys.Ref(key.first, key.second), type);
      // What a clock that was set back brings to light again is no news.
      if (opened.size() == 0 || opened.expire_ms != crdt::kNever) continue;
      const std::string waits = label_ + " lets c" + std::to_string(op.client) + " wait with " + op.args[0] + " for ";
      if (type != Type::kStream) throw Violation(waits + key.second + ", which has elements");
      const keyspace::Stream stream(opened);
      if (op.args[0] == "XREAD") {
        const auto last = stream.length() == 0 ? std::nullopt : stream.At(stream.length() - 1);
        if (last && *last > op.waits_beyond) throw Violation(waits + key.second + ", which has entries beyond its id");
        continue;
      }
      const auto group = stream.FindGroup(op.args[2]);
      if (group && !stream.Undelivered(op.args[2], *group, 1).empty())
        throw Violation(waits + key.second + ", which has entries for it");
    }
  }
}

void Node::CheckServedInTurn(const Op& op) const {
  if (op.keys.empty()) return;  // SESSION WAIT and WAIT
  // Who owns what decides there, or what is agreed on.
  const conflict::PolicyTable& policies = process_->engine->policies();
  if (policies.IsPopOwner(op.keys[0].second) || policies.IsSync(op.keys[0].second)) return;
  const Type type = WaitedType(op);
  if (type == Type::kStream) return;  // XREAD serves all, XREADGROUP those for whom something is left
  // The reply names the key, but for BLMOVE's, which waits for one.
  const Key served =
      op.args[0] == "BLMOVE" ? op.keys[0] : Key{op.keys[0].first, op.reply.items.at(0).text};
  for (const auto& [id, other] : process_->suspended) {
    const command::Client& client = *process_->clients[static_cast<size_t>(other.client)];
    if (client.blocked != command::Client::Blocked::kWaits || other.waits_since > op.waits_since) continue;
    if (WaitedType(other) != type) continue;
    for (const Key& key : WaitedFor(other)) {
      if (key == served) {
        throw Violation(label_ + " serves c" + std::to_string(op.client) + " an element of " + key.second +
                        " although c" + std::to_string(other.client) + " waits longer");
      }
    }
  }
}

}  // namespace polyarch::sim
