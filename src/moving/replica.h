// The side that a running Redis sees: a replica. A thread of its own keeps the connection, takes
// the snapshot and what is written after it into a spool, says how far the leader has it (REPLCONF
// ACK), and goes on after a lost connection with PSYNC where it stopped. Where the source cannot go
// on from there, a new copy begins.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "base/status.h"
#include "cli/connection.h"
#include "cli/dial.h"
#include "moving/spool.h"

namespace polyarch::moving {

// One copy: the RDB, and behind it commands.
struct Copy {
  uint64_t number = 0;     // from 1
  uint64_t histories = 0;  // how often the source began another history before it
  std::shared_ptr<Spool> spool;
  // As the source announces it; nothing while it makes it, or if it does not.
  std::optional<uint64_t> rdb_bytes;
  struct Stream {
    uint64_t begin = 0;   // the place in the spool
    uint64_t offset = 0;  // of replication, there
  };
  std::optional<Stream> stream;  // once the RDB is here
};

class Replica {
 public:
  struct Health {
    bool connected = false;
    uint64_t received = 0;    // offset of replication
    uint64_t reconnects = 0;  // connections lost and made again
    std::string trouble;      // why it is not connected
    std::string history;      // the replication id to which offsets belong
  };

  // `patience_ms`: a source that is out of reach for longer ends it.
  Replica(cli::Target source, std::string spool_directory, int64_t patience_ms);
  ~Replica();
  Replica(const Replica&) = delete;
  Replica& operator=(const Replica&) = delete;

  // The copy under way; its number is 0 while there is none. An error is final.
  base::Result<Copy> Current() const;
  Health health() const;
  // The leader has everything up to this offset.
  void Acknowledge(uint64_t offset) { acknowledged_ = offset; }
  // When what ends at this offset of the stream came, in ms since 1970, to within 100 ms. Offsets
  // rise from call to call.
  int64_t ArrivedMs(uint64_t offset);
  // Tells the source at once, since it asked.
  void AnswerNow();
  // A new copy, whatever there is.
  void Restart();
  // When a new copy begins, what has come of the last one is read to its end first; else it is
  // dropped.
  void KeepWhatCame(bool keep) { keep_ = keep; }

 private:
  void Run();
  base::Status Session();
  base::Status Handshake();
  base::Status Psync();
  base::Status ReceiveSnapshot();
  base::Status ReceiveStream();
  base::Status BeginCopy();

  base::Result<std::string> Line(int64_t wait_ms);
  base::Status Ask(std::initializer_list<std::string_view> words, std::string& reply);
  base::Status Fill(int64_t wait_ms);
  base::Status Send(std::initializer_list<std::string_view> words);
  base::Status SendAcknowledgement();
  void Wake();
  void SleepMs(int64_t ms);
  void SetHealth(bool connected, const std::string& trouble);

  const cli::Target source_;
  const std::string spool_directory_;
  const int64_t patience_ms_;
  int wake_[2] = {-1, -1};
  std::atomic<bool> stopping_ = false;
  std::atomic<bool> restart_ = false;
  std::atomic<bool> answer_now_ = false;
  std::atomic<bool> keep_ = false;
  std::atomic<uint64_t> acknowledged_ = 0;

  // The thread's own.
  std::unique_ptr<cli::Stream> stream_;
  std::string in_;
  size_t at_ = 0;
  std::string replication_id_;
  uint64_t received_ = 0;
  bool whole_ = false;  // the copy under way has its RDB
  int unfinished_ = 0;  // copies that were begun since one had
  bool final_ = false;  // the failure at hand is not one that trying again would mend
  int64_t last_well_ms_ = 0;

  mutable std::mutex mutex_;
  Copy copy_;
  std::deque<std::pair<uint64_t, int64_t>> arrivals_;  // offsets, and when they had come
  Health health_;
  base::Status failure_;
  std::thread thread_;
};

}  // namespace polyarch::moving
