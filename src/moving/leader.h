// The leader that an import writes to: commands go through one pipelined connection, and their
// replies are looked at. What a leader refuses is counted, the first ones are kept with their key;
// what no later write would get over (it is not admitted, its disk is full) ends the import.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "moving/link.h"

namespace polyarch::moving {

class Leader {
 public:
  static constexpr size_t kRefusalsKept = 20;
  static constexpr int kDatabases = 16;

  static base::Result<std::unique_ptr<Leader>> Open(const cli::Target& target);

  // The longest string that it takes: as an argument, and in a change.
  uint64_t string_bytes_max() const;

  // The database of what follows.
  base::Status Select(int database);
  int database() const { return database_; }
  // Which database it is in is not known: a transaction that selects may do nothing.
  void ForgetDatabase() { database_ = -1; }
  // Waits while too much is under way. `mark`: rises; acknowledged() is that of the last command
  // answered.
  // `if_none`: a literal; what it means, for people, if the answer is an array without items. It
  // counts as refused.
  base::Status Write(std::span<const std::string_view> words,
                     uint64_t mark,
                     std::string_view if_none = {});
  base::Status Write(std::initializer_list<std::string_view> words,
                     uint64_t mark,
                     std::string_view if_none = {}) {
    return Write({words.begin(), words.size()}, mark, if_none);
  }
  // Nothing is to be written for what ends at this mark.
  void Skip(uint64_t mark);
  // Takes replies; waits up to `wait_ms` for some if any are missing.
  base::Status Poll(int64_t wait_ms);
  // Until everything is answered.
  base::Status Flush();
  uint64_t acknowledged() const { return acknowledged_; }
  uint64_t written() const { return written_; }

  // FLUSHALL, with all functions; or of one database.
  base::Status Empty(std::optional<int> database);
  // One command by itself, behind all others.
  base::Result<resp::Value> Ask(std::initializer_list<std::string_view> words);
  // For several by themselves: everything before is answered, and the caller empties it.
  base::Result<Link*> Idle();

  void Refused(std::string line);
  uint64_t refused() const { return refused_; }
  const std::vector<std::string>& refusals() const { return refusals_; }  // lines for people

 private:
  struct Waiting {
    uint64_t mark;
    size_t bytes;
    std::string what;
    std::string_view if_none;
  };
  explicit Leader(std::unique_ptr<Link> link) : link_(std::move(link)) {}
  // Until no more than this is under way.
  base::Status Drain(size_t count, size_t bytes);
  void Take(resp::Value&& reply);
  void Check(const resp::Value& reply, const std::string& what);

  std::unique_ptr<Link> link_;
  std::deque<Waiting> waiting_;
  size_t waiting_bytes_ = 0;
  int database_ = 0;
  uint64_t argument_bytes_max_ = UINT64_MAX;
  uint64_t acknowledged_ = 0;
  uint64_t written_ = 0;
  uint64_t refused_ = 0;
  std::vector<std::string> refusals_;
  std::string fatal_;
};

}  // namespace polyarch::moving
