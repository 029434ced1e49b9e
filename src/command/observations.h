// What was observed of the commands that a server has run: how often and how long each, errors, the slow
// ones (SLOWLOG), and spikes (LATENCY). Books only: times are passed in. One for each process.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "command/client.h"
#include "command/histogram.h"
#include "keyspace/keyspace.h"

namespace polyarch::command {

using Arguments = std::span<const std::string_view>;
struct Row;

// The newest commands that took long.
class Slowlog {
 public:
  struct Entry {
    int64_t id = 0;
    int64_t time_s = 0;  // since 1970, when it had ended
    int64_t micros = 0;
    std::vector<std::string> arguments;  // cut, and without secrets
    std::string address;
    std::string name;
  };
  static constexpr size_t kArgumentsMax = 32;
  static constexpr size_t kArgumentBytesMax = 128;

  void Add(Entry entry);
  // The newest first.
  const std::deque<Entry>& entries() const { return entries_; }
  void Clear() { entries_.clear(); }
  void SetSize(size_t entries);
  size_t size_max() const { return size_max_; }
  // What takes so long is noted; -1: nothing is.
  int64_t micros_min = 10'000;

 private:
  std::deque<Entry> entries_;
  size_t size_max_ = 128;
  int64_t next_id_ = 0;
};

// Spikes by event, at most one sample a second: the newest 160 of each.
class LatencyEvents {
 public:
  struct Sample {
    int64_t time_s = 0;
    int64_t millis = 0;
  };
  struct Event {
    std::deque<Sample> samples;  // the oldest first
    int64_t millis_max = 0;      // since it was reset
  };
  static constexpr size_t kSamplesMax = 160;

  // `event` is one of a few names of ours.
  void Note(std::string_view event, int64_t time_s, int64_t millis) {
    if (millis_min != 0 && millis >= millis_min) [[unlikely]]
      Add(event, time_s, millis);
  }
  const std::map<std::string, Event, std::less<>>& events() const { return events_; }
  // False: there is none of this name.
  bool Reset(std::string_view event);
  // What takes so long is noted; 0: nothing is.
  int64_t millis_min = 0;

 private:
  void Add(std::string_view event, int64_t time_s, int64_t millis);
  std::map<std::string, Event, std::less<>> events_;
};

// How fast a count grows: the mean of the newest samples, each of its growth since the one before.
class Rate {
 public:
  static constexpr size_t kSamples = 16;          // as in Redis, and so is
  static constexpr int64_t kSampleUs = 100'000;   // how often one is to be taken

  // Nothing has grown yet.
  void Reset(uint64_t total, int64_t mono_us);
  void Sample(uint64_t total, int64_t mono_us);
  uint64_t per_second() const;

 private:
  std::array<uint64_t, kSamples> samples_{};  // a second
  size_t next_ = 0;
  uint64_t total_ = 0;  // as of the last sample
  int64_t at_us_ = 0;
};

struct CommandStats {
  uint64_t calls = 0;
  uint64_t rejected = 0;  // before they were run: a wrong count of arguments, no right to it
  uint64_t failed = 0;    // their reply was an error
  int64_t nanos = 0;
  std::unique_ptr<Histogram> histogram;
};

// Everything, of one process.
class Observations {
 public:
  Observations();

  CommandStats& Of(const Row& row);
  const std::vector<CommandStats>& commands() const { return commands_; }  // by their rows
  // `error` with its prefix: "WRONGTYPE Operation ..."
  void NoteError(std::string_view error);
  const std::map<std::string, uint64_t, std::less<>>& errors() const { return errors_; }
  void ResetStatistics();
  // It has taken so long: for statistics.
  void NoteTime(CommandStats& stats, int64_t nanos);
  // If that was slow: for the slow log and the spikes. `client` is null for what a script has called.
  void NoteIfSlow(const Row& row,
                  Arguments args,
                  const Client* client,
                  int64_t nanos,
                  int64_t wall_us);
  // Whoever wants to know of such short times wants each command to be timed.
  bool precise() const {
    return (slowlog.micros_min >= 0 && slowlog.micros_min < kPreciseMicros) || latency.millis_min != 0;
  }

  Slowlog slowlog;
  LatencyEvents latency;
  bool tracks_latency = true;  // latency-tracking: histograms
  int64_t quick_nanos = 0;     // how long a quick command takes, about (CommandTimer)
  uint64_t expired_keys_base = 0;  // how many there were when statistics were reset
  uint64_t evicted_keys_base = 0;  // the same
  int64_t memory_exceeded_base_ms = 0;  // the same of the time beyond `maxmemory`
  keyspace::Keyspace::Lookups lookups_base;  // the same of keys that were looked up

 private:
  static constexpr int64_t kPreciseMicros = 2000;
  static constexpr size_t kErrorsMax = 128;  // names of errors that are told apart

  std::vector<CommandStats> commands_;
  std::map<std::string, uint64_t, std::less<>> errors_;
};

// The arguments as they may be shown: secrets are replaced.
std::vector<std::string_view> WithoutSecrets(const Row& row, Arguments args);

}  // namespace polyarch::command
