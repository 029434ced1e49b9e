// What each reply must be given what the node showed just before: a leader agrees with itself at once.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "command/client.h"
#include "engine/engine.h"
#include "keyspace/keyspace.h"
#include "resp/reply.h"

namespace polyarch::sim {

// What one element shows. A member of a set has no text; a score of the workload is a whole number.
struct ShownElement {
  bool there = false;
  bool conflict = false;
  std::string text;
  friend bool operator==(const ShownElement&, const ShownElement&) = default;
};
ShownElement ShowElement(const keyspace::Collection& collection, std::string_view name);

// Of a stream's element: an entry's fields and values, each with a space behind it; of others nothing.
std::string StreamText(std::string_view name, std::string_view value);

// Looks at the keys of one command before it runs, and checks the reply and what the same node shows
// right after it. Keys that wait to be merged wait on.
class Expectation {
 public:
  Expectation(engine::Engine& engine,
              const command::Client& client,
              const std::vector<std::string_view>& args);
  void Check(const resp::Value& reply, bool wrote, const std::string& node);

 private:
  using Elements = std::map<std::string, ShownElement, std::less<>>;
  struct Seen {
    bool exists = false;
    bool conflict = false;
    crdt::Type type = crdt::Type::kString;
    std::string text;   // of a string
    Elements elements;  // of anything else
    int64_t expire_ms = crdt::kNever;
    // Live elements of several types: to remove some may bring another type to light.
    bool clash = false;

    bool is(crdt::Type wanted) const { return exists && type == wanted; }
  };
  // Nothing if it is as it must be.
  using Verdict = std::string;

  static Seen Look(keyspace::Keyspace& keys, uint8_t db, std::string_view key);
  Seen LookBefore(uint8_t db, std::string_view key) const;
  const Seen& Before(size_t arg) const;
  Verdict Judge(const resp::Value& reply);
  Verdict JudgeError(const std::string& text);
  Verdict JudgeString(const resp::Value& reply);
  Verdict JudgeKey(const resp::Value& reply);
  Verdict JudgeCopy(const resp::Value& reply);
  // Of RENAME, COPY and MOVE.
  std::string_view Target() const;
  Verdict JudgeHash(const resp::Value& reply);
  Verdict JudgeSet(const resp::Value& reply);
  Verdict JudgeSortedSet(const resp::Value& reply);
  Verdict JudgeStore(const resp::Value& reply);
  // Lists: expectation_list.cc.
  Verdict JudgeList(const resp::Value& reply);
  Verdict JudgeListPush(const resp::Value& reply, std::vector<std::string> values);
  Verdict JudgeListPop(const resp::Value& reply, std::vector<std::string> values);
  Verdict JudgeBlockingPop(const resp::Value& reply);
  Verdict JudgeListMove(const resp::Value& reply, std::vector<std::string> values);
  // BLMPOP, BZPOPMIN, BZPOPMAX and BZMPOP: expectation_waiting.cc.
  Verdict JudgeWaiting(const resp::Value& reply);
  // Streams: expectation_stream.cc.
  Verdict JudgeStream(const resp::Value& reply);
  // The type that the command is about; nothing if any will do.
  std::optional<crdt::Type> WantedType() const;
  bool IsWrongType() const;

  // What the node shows now.
  Verdict After(std::string_view key, const Seen& expected) const;
  // What it brought was given to clients that waited for it: what is there now is not all.
  bool HandedOut() const { return engine_.blocked_clients() < blocked_before_; }
  Verdict AfterIn(uint8_t db, std::string_view key, const Seen& expected) const;
  Verdict AfterText(std::string_view key, std::string text, int64_t expire_ms) const;
  Verdict AfterGone(std::string_view key) const;
  Verdict AfterDelete(std::string_view key) const;
  Verdict AfterDelete(std::string_view key, std::string_view field) const;
  // The elements of args[1], if it is, or becomes, of this type.
  Verdict AfterList(size_t arg, const std::vector<std::string>& values) const;
  Verdict AfterElements(size_t arg, crdt::Type type, Elements elements) const;

  engine::Engine& engine_;
  const command::Client& client_;
  std::vector<std::string_view> args_;
  std::map<std::string, Seen, std::less<>> before_;
  Seen target_;  // of RENAME, COPY and MOVE, in the database it goes to
  uint8_t target_db_ = 0;
  int64_t now_ms_ = 0;
  bool writes_ = false;
  size_t blocked_before_ = 0;
};

}  // namespace polyarch::sim
