// Clients that wait for elements (BLPOP and the like): who waits for which keys, since when, until
// when; which of those keys have changed; and answers that were not taken yet. A book only:
// engine/blocking.cc runs the commands.
//
// Clients and hosts are the caller's; a client must be forgotten before it goes.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "command/context.h"

namespace polyarch::engine {

class Waiters {
 public:
  using Key = std::pair<uint8_t, std::string>;
  struct Waiter {
    command::Client* client = nullptr;
    command::ServerHost* server = nullptr;
    std::vector<std::string> arguments;
    crdt::Type type = crdt::Type::kString;
    bool writes = false;     // what it waits to do
    bool when_gone = false;  // serve it, too, if a key shows nothing or another type
    bool for_others = false; // waits for what leaders agree on: not in All()
    std::set<Key> keys;
    std::optional<std::string> group;  // of streams: waits for what is new to it
    std::string late;        // the error when its time is over; none: a null
    int64_t deadline_us = INT64_MAX;
    std::function<bool(resp::Writer&, bool over)> poll;  // as command::Wait says; or none
  };

  size_t size() const { return waiters_.size(); }
  // Clients are served in the order in which they were added. The client's state says that it
  // waits.
  void Add(Waiter waiter);
  const Waiter* Find(uint64_t client) const;
  // The client waits no more, and has an answer to take. `wrote`: the dot of the change of which it
  // tells, as bits; 0: of what this leader wrote last.
  void SetAnswer(uint64_t client, std::string reply, uint64_t wrote = 0);
  // The answer of a client that has one, which is then in no state any more.
  std::string TakeAnswer(command::Client& client);  // and notes what it `wrote`
  // Whatever is kept of a client that is gone.
  void Forget(uint64_t client);

  // A key has changed.
  void NoteChanged(uint8_t db, std::string_view key) {
    if (!by_key_.empty()) [[unlikely]]
      MarkReady(db, key);
  }
  bool any_ready() const { return !ready_.empty(); }
  // Keys with waiters that have changed, in the order of their first change since the last call.
  std::vector<Key> TakeReady();
  // One pass over those who wait for a key: each has at most one turn.
  class Pass {
   public:
    // There is nothing for this group: who else waits for what is new to it is passed over.
    void Skip(const std::string& group) { skipped_.insert(group); }

   private:
    friend class Waiters;
    // Of lines of one `when_gone` and type, by the number of who is next there: the group.
    using Heads = std::map<uint64_t, std::optional<std::string>>;
    std::map<std::pair<bool, crdt::Type>, Heads> heads_;
    std::set<std::string> skipped_;
    std::optional<std::tuple<bool, crdt::Type, std::optional<std::string>>> last_;  // the line that had the last turn
    uint64_t last_number_ = 0;
    bool begun_ = false;
  };
  // The client whose turn is next, of those whom a key may serve that shows elements of `shown`, or none: the longest
  // waiting first. The key is the same in all of the pass. Each line (those who wait alike) is looked at once when the
  // pass begins, and once for each of its turns: however many wait, nobody else is.
  std::optional<uint64_t> Next(const Key& key, std::optional<crdt::Type> shown, Pass& pass);
  // How often somebody had a turn, and how often a line was looked at for that.
  uint64_t turns() const { return turns_; }
  uint64_t lines_visited() const { return lines_visited_; }
  // How many wait for elements of this type there.
  size_t CountFor(const Key& key, crdt::Type type) const;
  // ... for what is new to this group of a stream.
  size_t CountForGroup(const Key& key, const std::string& group) const;
  // Who waits for elements.
  std::vector<uint64_t> All() const;
  // Who is asked at the end of each tick.
  const std::set<uint64_t>& Polled() const { return polled_; }
  // Whose time is over.
  std::vector<uint64_t> Expired(int64_t now_us) const;

 private:
  void Remove(uint64_t client);
  void MarkReady(uint8_t db, std::string_view key);

  using Line = std::map<uint64_t, uint64_t>;  // clients by number
  // Those who wait for one key, by `when_gone`, the type and the group.
  using LineName = std::tuple<bool, crdt::Type, std::optional<std::string>>;
  using Lines = std::map<LineName, Line>;
  // Who is next there behind `number` (0: the first) is to have a turn.
  void Enter(Pass& pass, const LineName& name, const Line& line, uint64_t number);

  std::map<uint64_t, std::pair<uint64_t, Waiter>> waiters_;  // by client, with its number
  std::map<Key, Lines> by_key_;
  std::map<std::pair<Key, std::string>, size_t> by_group_;
  std::set<std::pair<int64_t, uint64_t>> deadlines_;
  struct Answer {
    std::string reply;
    uint64_t wrote = 0;
  };
  std::map<uint64_t, Answer> answers_;
  std::set<uint64_t> polled_;
  std::vector<Key> ready_;
  std::set<Key> is_ready_;  // the same
  uint64_t next_number_ = 1;
  uint64_t turns_ = 0;
  uint64_t lines_visited_ = 0;
};

}  // namespace polyarch::engine
