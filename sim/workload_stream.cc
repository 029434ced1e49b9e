// Commands on streams: drawn ones, and those on the stream of which it is known what its group must get.
#include "keyspace/stream.h"
#include "sim/workload.h"
#include "sim/world.h"

namespace polyarch::sim {

namespace {

keyspace::Stream StreamOf(Node& node, uint8_t db, std::string_view key, Draw& draw) {
  keyspace::Keyspace& keys = node.engine().keys();
  // A look would merge it: some commands are to meet it as it is.
  if (keys.merging() && draw.OneIn(2)) return keyspace::Stream(keyspace::Collection{});
  return keyspace::Stream(keys.Open(keys.Ref(db, key), crdt::Type::kStream));
}

constexpr std::string_view kGroup = "g";

}  // namespace

std::vector<std::string> Workload::DrawStreamCommand(Node& node, uint8_t db) {
  Draw& draw = world_.draw();
  const std::string key = draw.Percent(30) ? "events" : DrawKey();
  const keyspace::Stream stream = StreamOf(node, db, key, draw);
  const size_t length = stream.length();
  auto id = [&]() -> std::string {
    if (length == 0 || draw.OneIn(10)) return "1-1";
    return crdt::ToString(stream.At(draw.Below(length)).value_or(crdt::StreamId{1, 1}));
  };
  auto group = [&] { return "g" + std::to_string(draw.Below(2)); };
  auto consumer = [&] { return "c" + std::to_string(draw.Below(3)); };
  auto pending = [&](const std::string& of) {
    std::vector<std::string> ids;
    stream.WalkPending(of, {}, [&](const keyspace::PendingEntry& entry) {
      ids.push_back(crdt::ToString(entry.id));
      return ids.size() < 20;
    });
    return ids.empty() ? id() : draw.Pick(ids);
  };
  const unsigned weights[] = {30, 12, 10, 4, 8, 8, 5, 14, 4, 3, 20, 12, 8, 8, 3, 6, 4};
  switch (draw.Weighted(weights)) {
    case 0: return {"XADD", key, "*", DrawElement(), DrawValue()};
    case 1: {
      // Not far beyond the last one: another leader may take the same.
      crdt::StreamId next = stream.exists() ? stream.last_id() : crdt::StreamId{};
      next.ms += 1 + draw.Below(3);
      next.seq = draw.Below(2);
      return {"XADD", key, crdt::ToString(next), DrawElement(), DrawValue()};
    }
    case 2: return {"XADD", key, "MAXLEN", std::to_string(draw.Below(6)), "*", DrawElement(), DrawValue()};
    case 3: return {"XLEN", key};
    case 4: return {"XRANGE", key, "-", "+"};
    case 5: return {"XDEL", key, id(), id()};
    case 6: return {"XTRIM", key, "MAXLEN", std::to_string(draw.Below(5))};
    case 7: {
      std::vector<std::string> args = {"XGROUP", "CREATE", key, group(), draw.Percent(50) ? "0" : "$"};
      if (draw.Percent(70)) args.push_back("MKSTREAM");
      return args;
    }
    case 8: return {"XGROUP", "SETID", key, group(), draw.Percent(50) ? "0" : id()};
    case 9: return {"XGROUP", "DESTROY", key, group()};
    case 10:
    case 11: {
      const std::string of = group();
      std::vector<std::string> args = {"XREADGROUP", "GROUP", of, consumer(), "COUNT", std::to_string(draw.Between(1, 4))};
      if (draw.Percent(20)) args.insert(args.end(), {"BLOCK", std::to_string(draw.Between(1, 2000))});
      if (draw.Percent(15)) args.push_back("NOACK");
      args.insert(args.end(), {"STREAMS", key, draw.Percent(80) ? ">" : "0"});
      return args;
    }
    case 12: {
      const std::string of = group();
      return {"XACK", key, of, pending(of), pending(of)};
    }
    case 13: {
      const std::string of = group();
      std::vector<std::string> args = {"XCLAIM", key, of, consumer(), "0", pending(of)};
      if (draw.Percent(30)) args.push_back("FORCE");
      return args;
    }
    case 14: return {"XAUTOCLAIM", key, group(), consumer(), "0", "0", "COUNT", "3"};
    case 15:
      return {"XREAD", "COUNT", "2", "BLOCK", std::to_string(draw.Between(1, 2000)), "STREAMS", key, draw.Percent(50) ? "$" : "0"};
    default: return {"XGROUP", "DELCONSUMER", key, group(), consumer()};
  }
}

std::vector<std::string> Workload::DrawTrackedStream(Node& node, uint8_t db) {
  Draw& draw = world_.draw();
  const std::string key(kTrackedStream);
  const std::string group(kGroup);
  const keyspace::Stream stream = StreamOf(node, db, key, draw);
  const std::string consumer = "c" + std::to_string(draw.Below(2));
  if (!stream.FindGroup(kGroup)) return {"XGROUP", "CREATE", key, group, "0", "MKSTREAM"};
  if (draw.Percent(45)) return {"XADD", key, "*", "n", std::to_string(next_value_++)};
  if (draw.Percent(6)) {
    const size_t length = stream.length();
    if (draw.Percent(50)) return {"XTRIM", key, "MAXLEN", std::to_string(length - std::min<size_t>(length, draw.Below(4)))};
    if (length != 0) return {"XDEL", key, crdt::ToString(*stream.At(draw.Below(length)))};
  }
  if (draw.Percent(60)) {
    return {"XREADGROUP", "GROUP", group, consumer, "COUNT", std::to_string(draw.Between(1, 5)), "STREAMS", key, ">"};
  }
  std::vector<std::string> args = {"XACK", key, group};
  stream.WalkPending(kGroup, {}, [&](const keyspace::PendingEntry& entry) {
    if (draw.Percent(60)) args.push_back(crdt::ToString(entry.id));
    return args.size() < 6;
  });
  if (args.size() == 3) args.push_back("1-1");
  return args;
}

}  // namespace polyarch::sim
