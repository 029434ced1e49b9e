#include "server/logging.h"

#include <memory>
#include <mutex>
#include <unistd.h>

#include <spdlog/sinks/base_sink.h>
#include <spdlog/spdlog.h>

#include "cli/text.h"
#include "server/line_writer.h"

namespace polyarch::server {

namespace {

// Standard error, of which the event loop must not have to wait: spdlog's own sink does, and its queue with a thread
// could not be ended while a pipe is full.
class Sink final : public spdlog::sinks::base_sink<std::mutex> {
 public:
  void Finish() {
    const std::lock_guard lock(mutex_);
    writer_.Finish(kFinishMs);
  }
  void Drain() {
    const std::lock_guard lock(mutex_);
    writer_.Drain();
  }
  uint64_t TakeDropped() {
    const std::lock_guard lock(mutex_);
    return writer_.TakeDropped();
  }
  uint64_t dropped() {
    const std::lock_guard lock(mutex_);
    return writer_.dropped();
  }

 private:
  static constexpr int kFinishMs = 1000;

  void sink_it_(const spdlog::details::log_msg& message) override {
    spdlog::memory_buf_t line;
    formatter_->format(message, line);
    writer_.Write({line.data(), line.size()});
  }
  void flush_() override { writer_.Drain(); }

  LineWriter writer_{STDERR_FILENO};
};

std::shared_ptr<Sink> g_sink;  // NOLINT: as spdlog's default logger, whose sink it is

// A line may hold what a client, a script or a peer says: it stays one line, and moves no terminal's cursor.
void Write(int severity, const std::string& text) {
  const std::string line = cli::Printable(text);
  if (severity < 0) {
    spdlog::debug("{}", line);
  } else if (severity == 0) {
    spdlog::info("{}", line);
  } else if (severity == 1) {
    spdlog::warn("{}", line);
  } else {
    spdlog::error("{}", line);
  }
}

void TellDropped() {
  if (!g_sink) return;
  if (const uint64_t dropped = g_sink->TakeDropped(); dropped != 0) {
    Write(1,
          std::to_string(dropped) +
              " lines of this log were dropped: nobody read standard error, or not quickly enough");
  }
}

}  // namespace

void StartLogging(const std::string& leader, const std::string& level) {
  g_sink = std::make_shared<Sink>();
  auto logger = std::make_shared<spdlog::logger>(leader, g_sink);
  logger->set_pattern("%Y-%m-%dT%H:%M:%S.%e %n %l: %v");
  logger->set_level(spdlog::level::from_str(level));
  spdlog::set_default_logger(logger);
}

void Log(int severity, const std::string& line) {
  TellDropped();
  Write(severity, line);
}

void DrainLog() {
  if (!g_sink) return;
  g_sink->Drain();
  TellDropped();
}

void FinishLog() {
  if (g_sink) g_sink->Finish();
}

uint64_t LogLinesDropped() {
  return g_sink ? g_sink->dropped() : 0;
}

}  // namespace polyarch::server
