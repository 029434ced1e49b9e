#include "sim/caches.h"

#include <array>
#include <cstdio>
#include <vector>

#include "sim/marks.h"

namespace polyarch::sim {
namespace {

// Of a reply: what is not printable as \\xNN.
std::string Text(std::string_view bytes) {
  std::string out;
  for (const unsigned char c : bytes) {
    char text[8];
    std::snprintf(text, sizeof text, c >= ' ' && c < 127 ? "%c" : "\\x%02x", c);
    out += text;
  }
  return out;
}

// Of an answer to DUMP what does not depend on the order in which a collection is held.
std::string Content(std::string dump) {
  constexpr size_t kTail = 8 + 2;  // the check sum, and the end of the line
  if (dump.starts_with("$") && dump.size() > kTail) {
    dump.resize(dump.size() - kTail);
    // Which bytes, and how many of each.
    std::array<size_t, 256> counts = {};
    for (const unsigned char c : dump) ++counts[c];
    dump.clear();
    for (size_t c = 0; c < counts.size(); ++c) dump.append(counts[c], static_cast<char>(c));
  }
  return dump;
}

}  // namespace

Caches::Caches(uint64_t id, bool broadcast) : broadcast_(broadcast) {
  client_.id = id;
  looker_.id = id + 1;
  for (command::Client* client : {&client_, &looker_}) {
    client->authenticated = true;
    client->protocol = 3;
  }
}

std::string Caches::Ask(engine::Engine& engine,
                        command::ServerHost& server,
                        command::Client& client,
                        std::string_view word,
                        std::string_view key) {
  const std::vector<std::string_view> args = {word, key};
  resp::Buffer out;
  engine.Execute(client, args, out, server);
  return std::string(out.view());
}

void Caches::Begin(engine::Engine& engine, command::ServerHost& server) {
  std::vector<std::string_view> args = {"CLIENT", "TRACKING", "ON"};
  if (broadcast_) args.push_back("BCAST");
  resp::Buffer out;
  engine.Execute(client_, args, out, server);
}

std::string Caches::Check(engine::Engine& engine, command::ServerHost& server, Draw& draw) {
  if (client_.tracking == nullptr) Begin(engine, server);
  // What a merge brings is told of prefixes at the end of the tick.
  const bool compares = !broadcast_ || !engine.merging();
  const std::map<std::string, std::string> kept = kept_;
  for (const auto& [key, value] : kept) {
    const std::string shown = Content(Ask(engine, server, looker_, "DUMP", key));
    // This look may have merged the key.
    if (!compares || kept_.count(key) == 0 || shown == value) continue;
    return "shows something else for '" + key + "', and who has read it was not told: " + Text(shown) + " is not " + Text(value);
  }
  if (kept_.size() >= kKeysMax) kept_.erase(kept_.begin());
  const std::string key = draw.OneIn(3) ? last_ : engine.keys().RandomKey(client_.db, draw.Next()).value_or("");
  if (key.empty()) return "";
  last_ = key;
  kept_[key] = Content(Ask(engine, server, client_, "DUMP", key));
  return "";
}

std::string Caches::Note(const resp::Value& message) {
  if (message.items.size() != 2 || message.items[0].text != "invalidate")
    return "tells who tracks keys: " + message.ToString();
  if (message.items[1].is_null()) {
    SOMETIMES(kCacheFlushed);
    kept_.clear();
  }
  for (const resp::Value& key : message.items[1].items) {
    if (kept_.erase(key.text) != 0) SOMETIMES(kCacheInvalidated);
  }
  return "";
}

}  // namespace polyarch::sim
