#include "sim/feeds.h"

#include <algorithm>
#include <optional>

#include "command/polyarch_element.h"
#include "conflict/feed.h"
#include "conflict/policy.h"
#include "sim/history.h"
#include "sim/marks.h"
#include "sim/node.h"
#include "sim/workload.h"
#include "sim/world.h"

namespace polyarch::sim {

namespace {

constexpr int64_t kReplyUs = 60 * kSecond;

const resp::Value* FieldOf(const resp::Value& map, std::string_view name) {
  for (size_t i = 0; i + 1 < map.items.size(); i += 2) {
    if (map.items[i].text == name) return &map.items[i + 1];
  }
  return nullptr;
}

}  // namespace

std::vector<std::pair<std::string, FeedWatch::Seen>> FeedWatch::ItemsIn(const resp::Value& reply) {
  std::vector<std::pair<std::string, Seen>> items;
  for (const resp::Value& item : reply.items) {
    const resp::Value* versions = FieldOf(item, "versions");
    if (versions == nullptr)
      throw Violation("an item of a feed without versions: " + item.ToString());
    Seen seen{FieldOf(item, "key")->text, FieldOf(item, "field")->text, {}};
    for (const resp::Value& version : versions->items)
      seen.tags.insert(version.items.at(3).text);
    items.emplace_back(FieldOf(item, "id")->text, std::move(seen));
  }
  return items;
}

std::vector<std::string> FeedWatch::NoteRead(const std::string& group, const resp::Value& reply) {
  std::vector<std::string> ids;
  if (reply.is_error()) return ids;
  for (auto& [id, seen] : ItemsIn(reply)) {
    SOMETIMES(kFeedGiven);
    ids.push_back(id);
    seen_[{group, id}] = std::move(seen);
  }
  return ids;
}

void FeedWatch::NoteAck(const std::string& group, const std::string& id) {
  auto seen = seen_.find({group, id});
  if (seen == seen_.end()) return;
  acknowledged_[{group, seen->second.key, seen->second.field}].push_back(seen->second.tags);
}

void FeedWatch::Check() {
  for (auto& node : world_.nodes()) {
    if (!node->up() || !node->may_write()) continue;
    std::vector<std::string> names;
    engine::Engine& engine = node->engine();
    engine.keys().ForEach([&](uint8_t db, std::string_view key, const crdt::KeyState& state) {
      if (db != crdt::kReservedDatabase || !key.starts_with(conflict::kFeedAcksPrefix)) return;
      const conflict::FeedGroup* of = engine.feeds().Find(conflict::FeedGroup::NameInAcksKey(key));
      const bool any = std::any_of(state.elements.begin(),
                                   state.elements.end(),
                                   [](const crdt::Element& ack) { return ack.live(); });
      if (any && (of == nullptr || of->AcksKey() != key))
        throw Violation(node->name() + " keeps acknowledgements of no feed: " + std::string(key));
    });
    for (const conflict::FeedGroup* group : node->engine().feeds().All()) {
      if (group->db == 0 && node->engine().DelivererOf(*group) == node->engine().leader_id())
        names.push_back(group->name);
    }
    for (const std::string& name : names)
      CheckFeed(*node, name);
  }
}

void FeedWatch::CheckFeed(Node& node, const std::string& group) {
  engine::Engine& engine = node.engine();
  std::optional<resp::Value> reply;
  Op op;
  op.id = world_.NextOp();
  op.args = {"CONFLICT", "FEED", "READ", group, "last", "COUNT", "1000", "AGAIN", "0"};
  op.whole = true;
  while (op.client == kOtherDbClient || node.ClientBusy(op.client)) {
    if (++op.client == node.clients()) return;  // all wait for elements
  }
  op.done = [&](Op&, const resp::Value& value) {
    reply = value;
  };
  node.Submit(std::move(op));
  if (!world_.RunUntil(kReplyUs, 1 * kMs, [&] { return reply.has_value(); }))
    throw Violation("no reply of a feed");
  if (reply->is_error())
    throw Violation(node.name() + " does not deliver feed " + group + ": " + reply->text);
  std::map<std::pair<std::string, std::string>, Tags> given;
  for (auto& [id, seen] : ItemsIn(*reply))
    given[{seen.key, seen.field}] = seen.tags;

  const conflict::FeedGroup feed = *engine.feeds().Find(group);
  std::set<std::string> ids;
  size_t matched = 0;
  engine.keys().ForEach([&](uint8_t db, std::string_view key, const crdt::KeyState& state) {
    if (!feed.Matches(db, key) || !state.live() || state.ExpiryTime() < engine.keys().time_ms())
      return;
    keyspace::Keyspace::VisitOpenConflicts(
        state, [&](crdt::Type type, std::string_view element, const crdt::Register& versions) {
          ids.insert(conflict::FeedItemId(db, key, type, element, versions, engine.origins()));
          Tags tags;
          for (const crdt::Version& v : versions.versions)
            tags.insert(conflict::TagText(v.dot, engine.origins()));
          const std::string field = command::ElementText(type, element);
          auto it = given.find({std::string(key), field});
          auto holds = [&](const Tags& all) {
            return std::includes(all.begin(), all.end(), tags.begin(), tags.end());
          };
          if (it != given.end()) {
            ++matched;
            if (!holds(it->second))
              throw Violation(node.name() + " gives old versions of " + std::string(key) + " " +
                              field);
            return;
          }
          const std::vector<Tags>& told = acknowledged_[{group, std::string(key), field}];
          if (std::none_of(told.begin(), told.end(), holds)) {
            throw Violation(node.name() + " does not give " + std::string(key) + " " + field +
                            " to feed " + group + ", and nobody has acknowledged it");
          }
          SOMETIMES(kFeedAcknowledged);
        });
  });
  if (matched != given.size())
    throw Violation(node.name() + " gives to feed " + group + " what is no open conflict");
  const std::string acks = feed.AcksKey();
  engine.keys()
      .Open(engine.keys().Ref(crdt::kReservedDatabase, acks), crdt::Type::kSet)
      .ForEach([&](const auto& ack) {
        if (ids.contains(std::string(ack.key()))) return true;
        // Of a key that is hidden, the item is there all the same.
        if (engine.feeds().Item(ack.key()) != nullptr) return true;
        throw Violation(node.name() + " keeps an acknowledgement of feed " + group +
                        " whose item is gone");
      });
}

}  // namespace polyarch::sim
