// A running Redis, followed: a copy of what it holds, then what it writes, until it is cut over.
// Until then the leader's data is the import's.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"
#include "moving/leader.h"
#include "moving/load.h"
#include "moving/progress.h"
#include "moving/replica.h"
#include "moving/stop.h"
#include "resp/parser.h"

namespace polyarch::moving {

struct FollowOptions {
  std::optional<int> database;
  bool merge = false;         // what the leader holds stays
  bool flush = false;         // it holds something that is to go
  bool until_synced = false;  // cut over as soon as it is level
  bool publish = false;       // messages, too
  int64_t pause_ms = 0;       // how long the source's clients are paused for the cut-over
  std::string spool_directory;
  int64_t patience_ms = 0;
};

class Follower {
 public:
  enum class End : uint8_t { kCutOver, kStopped };

  Follower(const cli::Target& source,
           Leader& leader,
           FollowOptions options,
           Progress& progress,
           Stop& stop);

  base::Result<End> Run();

  // After an error or kStopped: what the leader holds now, and what to do, for people.
  std::string Left() const;
  uint64_t keys() const { return counts_.keys; }
  uint64_t commands() const { return commands_; }
  uint64_t copies() const { return copy_.number; }
  uint64_t reconnects() const { return replica_.health().reconnects; }

 private:
  // What INFO tells of the source.
  struct Standing {
    uint64_t offset = 0;
    std::string history;
    bool replica = false;
    bool master_lost = false;
  };

  // The leader has all that has come from the source, with its true instants.
  bool whole() const;
  // `followed`: not all that was read need be answered.
  base::Result<End> RunCopies(bool& followed);
  base::Status LookAtSource();
  base::Status CompareClocks();
  base::Status NextCopy();
  base::Status TakeCopy();
  base::Result<End> FollowStream(bool& again);
  // `drained`: nothing more had come.
  base::Status ReadStream(int64_t wait_ms, bool& drained);
  base::Status SelectDatabase();
  bool FlushOfMerge(const std::vector<std::string_view>& words, const std::string& name);
  base::Status Apply(const std::vector<std::string_view>& words);
  base::Status ApplyToDatabase(const std::vector<std::string_view>& words, const std::string& name);
  void LeaveTransaction();
  base::Status Settle();
  base::Status NextToSettle();
  base::Status SettleKeys(int database, const std::vector<std::string>& keys);
  base::Status SettleMoved();
  bool settled() const { return settling_ == kSettled; }
  base::Status Connect();
  base::Result<Standing> AskStanding();
  // Asks the source how far it is; again later, if it does not say.
  base::Status SeekGoal();
  base::Status AskGoal();
  base::Status PauseSource();
  void UnpauseSource();
  uint64_t lag() const;
  std::string Line(std::string_view phase) const;
  // What cuts over: how to say so here.
  std::string HowToEnd() const;
  bool wanted() const { return !options_.database || *options_.database == source_database_; }

  static constexpr int kSettled = Leader::kDatabases;
  static constexpr int kLater = -1;  // the copy is not level yet: instants are moved

  const cli::Target source_;
  Leader& leader_;
  FollowOptions options_;
  Progress& progress_;
  Stop& stop_;
  Replica replica_;
  std::unique_ptr<Link> asking_;  // a client of the source

  Copy copy_;
  LoadCounts counts_;
  resp::Parser parser_;
  std::string in_;
  size_t at_ = 0;
  uint64_t offset_ = 0;  // of replication: what has been read
  int source_database_ = 0;
  bool in_transaction_ = false;
  int transaction_database_ = 0;  // the leader's where it began
  std::optional<uint64_t> goal_;  // the source's offset when it was asked last
  int64_t goal_asked_ms_ = 0;
  int64_t goal_next_ms_ = 0;  // when it is asked again
  int64_t goal_well_ms_ = 0;  // when it answered last, or could not
  std::string goal_trouble_;  // why there is none
  bool paused_ = false;       // the source may hold its writes back
  bool was_level_ = false;    // with this copy
  bool another_history_ = false;
  bool renew_ = false;  // something that only a new copy can follow
  std::string renew_why_;
  uint64_t commands_ = 0;
  // Instants that are set right: the database under way, and where in it.
  int settling_ = kLater;
  std::string settle_cursor_ = "0";
  std::set<std::pair<int, std::string>>
      settle_moved_;  // keys that took another one's instant meanwhile
};

}  // namespace polyarch::moving
