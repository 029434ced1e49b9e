// The pages of the HTTP port: /metrics, /healthz, /readyz.
#include <sys/resource.h>

#include "command/info.h"
#include "command/version.h"
#include "server/metrics.h"
#include "server/server.h"

namespace polyarch::server {

namespace {

// A disk that has not confirmed a write for so long is no working write path.
constexpr int64_t kSyncStalledUs = 10'000'000;

std::string Response(int code, const char* reason, const std::string& body) {
  return "HTTP/1.1 " + std::to_string(code) + " " + reason +
         "\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nCache-Control: no-store\r\n"
         "Connection: close\r\nContent-Length: " +
         std::to_string(body.size()) + "\r\n\r\n" + body;
}

std::string Verdict(const std::string& failure, const char* fine) {
  if (failure.empty()) return Response(200, "OK", std::string(fine) + "\n");
  return Response(503, "Service Unavailable", failure + "\n");
}

}  // namespace

void Server::WatchSyncs() {
  const uint64_t durable = log_->durable();
  const bool waiting = durable < log_->end() && engine_->durability() != engine::Durability::kNone;
  if (!waiting || durable != watched_durable_ || sync_waits_since_us_ == 0)
    sync_waits_since_us_ = now_.mono_us;
  watched_durable_ = durable;
}

// Empty: it lives, and writes reach the disk.
std::string Server::HealthFailure() const {
  if (!engine_->status().ok()) return "the write path has failed: " + engine_->status().message();
  const int64_t waits_us = now_.mono_us - sync_waits_since_us_;
  if (waits_us > kSyncStalledUs)
    return "the disk has not confirmed a write for " + std::to_string(waits_us / 1'000'000) + " s";
  return "";
}

// Empty: clients may be sent here.
std::string Server::ReadyFailure() {
  if (std::string failure = HealthFailure(); !failure.empty()) return failure;
  if (base::Status allowed = engine_->WriteAllowed(); !allowed.ok()) return allowed.message();
  for (const command::LeaderInfo& leader : engine_->Leaders()) {
    if (leader.self && leader.state != "alive") return "this leader is " + leader.state;
  }
  // It serves meanwhile, but what it shows is long behind the others.
  std::string info;
  engine_->InfoReplication(info);
  if (info.find("\nstate_transfer_in_progress:1") != std::string::npos)
    return "this leader gets its state from another";
  return "";
}

std::string Server::MetricsPage() {
  Metrics metrics;
  metrics.Add(
      "polyarch_info",
      "gauge",
      "1; the labels say who this is.",
      {{"leader", engine_->leader_id()}, {"version", std::string(command::kPolyarchVersion)}},
      "1");
  metrics.Add("polyarch_ready",
              "gauge",
              "1 if /readyz answers 200.",
              {},
              ReadyFailure().empty() ? "1" : "0");
  std::string info;
  for (const char* section : {"replication", "persistence", "clients", "memory", "stats"})
    command::AppendInfo(section, {*engine_, *this, engine_->keys()}, info);
  metrics.AddInfo(info);
  for (const command::LeaderInfo& leader : engine_->Leaders()) {
    if (leader.self || !leader.clock_difference_ms) continue;
    metrics.Add("polyarch_link_clock_difference_seconds",
                "gauge",
                "The peer's clock minus this one's, with the network's delay in it.",
                {{"peer", leader.id}},
                Seconds(*leader.clock_difference_ms));
  }
  for (uint8_t db = 0; db < 16; ++db) {
    const size_t keys = engine_->keys().Size(db);
    if (keys == 0 && db != 0) continue;
    metrics.Add("polyarch_keys",
                "gauge",
                "Keys of a database.",
                {{"db", std::to_string(db)}},
                std::to_string(keys));
  }
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto ms = [](const timeval& t) {
    return static_cast<int64_t>(t.tv_sec) * 1000 + t.tv_usec / 1000;
  };
  metrics.Add("process_cpu_seconds_total",
              "counter",
              "CPU time of all threads, user and system.",
              {},
              Seconds(ms(usage.ru_utime) + ms(usage.ru_stime)));
  metrics.Add(
      "process_start_time_seconds", "gauge", "When the process started.", {}, Seconds(started_ms_));
  return metrics.Text();
}

std::string Server::OnHttpGet(std::string_view path) {
  path = path.substr(0, path.find('?'));
  if (path == "/healthz") return Verdict(HealthFailure(), "ok");
  if (path == "/readyz") return Verdict(ReadyFailure(), "ready");
  if (path == "/metrics") return Response(200, "OK", MetricsPage());
  return Response(404, "Not Found", "there are /metrics, /healthz and /readyz\n");
}

}  // namespace polyarch::server
