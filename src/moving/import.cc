#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/dial.h"
#include "cli/options.h"
#include "cli/text.h"
#include "moving/commands.h"
#include "moving/follow.h"
#include "moving/leader.h"
#include "moving/load.h"
#include "moving/progress.h"
#include "moving/stop.h"
#include "moving/verify.h"

namespace polyarch::moving {

namespace {

constexpr int kRedisPort = 6379;
constexpr int kAllDatabases = -1;

struct Options {
  std::string from;
  std::string file;
  std::string to;
  int database = kAllDatabases;
  bool replace = false;
  bool merge = false;
  bool until_synced = false;
  bool verify = false;
  bool verify_only = false;
  bool publish = false;
  double pause_s = 0;
  double patience_s = 60;
  double tolerance_s = 1;
  std::string spool = "/var/tmp";

  cli::TlsOptions tls;
  cli::Target source;
  cli::Target leader;
  std::optional<int> chosen() const {
    return database == kAllDatabases ? std::nullopt : std::optional(database);
  }
};

void Define(CLI::App& app, Options& o) {
  app.set_help_flag("--help", "print this and end");
  auto* from = app.add_option("--from",
                              o.from,
                              "a running Redis: redis://[[USER]:PASSWORD@]HOST[:PORT][/DB], or rediss://... for TLS. With "
                              "/DB that database alone. The password "
                              "may stand in POLYARCH_SOURCE_PASSWORD instead, which other users of "
                              "this machine cannot see");
  app.add_option("--file", o.file, "an RDB file, of Redis up to 7.2; -: standard input")
      ->excludes(from);
  app.add_option("--to",
                 o.to,
                 "the leader: HOST:PORT, or redis://[:PASSWORD@]HOST:PORT (default: "
                 "127.0.0.1:7400). The password may stand in "
                 "POLYARCH_PASSWORD");
  app.add_option("-n,--db", o.database, "this database alone")
      ->check(cli::Number(0, 15, "a database is 0 to 15"));
  auto* replace =
      app.add_flag("--replace", o.replace, "empty the leader first (with --db: that database)");
  app.add_flag(
         "--merge", o.merge, "add to what the leader holds; keys of the same name are replaced")
      ->excludes(replace);
  app.add_flag("--until-synced", o.until_synced, "cut over by itself once the leader is level")
      ->needs(from);
  app.add_option(
         "--pause",
         o.pause_s,
         "at the cut-over, pause the source's writes for so many seconds (Redis from 6.2 on)")
      ->check(cli::Number(0.1, 3600, "0.1 to 3600 seconds"))
      ->needs(from);
  app.add_flag("--publish", o.publish, "pass messages of PUBLISH on, too")->needs(from);
  app.add_flag("--verify", o.verify, "then compare source and leader, key by key")->needs(from);
  app.add_flag("--verify-only", o.verify_only, "compare, and import nothing")->needs(from);
  app.add_option(
         "--ttl-tolerance", o.tolerance_s, "seconds by which times to live may differ (default: 1)")
      ->check(cli::Number(0, 86400, "0 to 86400 seconds"));
  app.add_option("--patience",
                 o.patience_s,
                 "seconds for which the source may be out of reach (default: 60)")
      ->check(cli::Number(0, 86400, "0 to 86400 seconds"));
  app.add_option("--spool",
                 o.spool,
                 "the directory for what has come and is not written yet (default: /var/tmp)");
  o.tls.AddTo(app, /*with_switch=*/false);  // of source and leader, where a URI begins with rediss://
}

base::Status Resolve(Options& o) {
  if (const char* password = std::getenv(kLeaderPasswordVariable)) o.leader.password = password;
  if (const char* password = std::getenv(kSourcePasswordVariable)) o.source.password = password;
  o.tls.Apply(o.source);
  o.tls.Apply(o.leader);
  if (!o.to.empty()) {
    if (base::Status s = ParseAddress(o.to, o.leader); !s.ok()) return s;
  }
  if (o.from.empty()) return {};
  o.source.port = kRedisPort;
  o.source.database = kAllDatabases;
  if (base::Status s = ParseAddress(o.from, o.source); !s.ok()) return s;
  if (o.source.database != kAllDatabases) o.database = o.source.database;
  o.source.database = 0;
  return {};
}

// How many keys the leader holds where the import is to go.
base::Result<uint64_t> KeysOf(Leader& leader, std::optional<int> database) {
  uint64_t keys = 0;
  for (int i = 0; i < Leader::kDatabases; ++i) {
    if (database && *database != i) continue;
    if (base::Status s = leader.Select(i); !s.ok()) return s;
    auto reply = leader.Ask({"DBSIZE"});
    if (!reply.ok()) return reply.status();
    if (reply->integer == 0) continue;
    // It counts keys that only wait for their removal.
    auto scan = leader.Ask({"RANDOMKEY"});
    if (!scan.ok()) return scan.status();
    if (!scan->is_null()) keys += static_cast<uint64_t>(reply->integer);
  }
  return keys;
}

class File : public rdb::FileSource {
 public:
  explicit File(int fd) : fd_(fd) {}
  ~File() override { ::close(fd_); }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  base::Result<size_t> Read(char* into, size_t size) override {
    for (;;) {
      const ssize_t n = ::read(fd_, into, size);
      if (n >= 0) return static_cast<size_t>(n);
      if (errno != EINTR)
        return base::IoError(std::string("cannot read the file (") + std::strerror(errno) + ")");
    }
  }

 private:
  const int fd_;
};

base::Status ImportFile(const Options& o, Leader& leader, Progress& progress, const Stop& stop) {
  const int fd = o.file == "-" ? ::dup(STDIN_FILENO) : ::open(o.file.c_str(), O_RDONLY | O_CLOEXEC);
  struct stat info {};
  if (fd < 0 || ::fstat(fd, &info) != 0)
    return base::IoError("cannot open " + cli::Printable(o.file) + " (" + std::strerror(errno) +
                         ")");
  File file(fd);
  const auto size = static_cast<uint64_t>(info.st_size);
  LoadCounts counts;
  const int64_t begin = cli::MonotonicMs();
  const auto tick = [&]() -> base::Status {
    if (stop.stop())
      return base::IoError(
          "stopped: the leader holds a part of the file; begin again with --replace");
    progress.Show([&] {
      return "import: " + Bar(counts.bytes, size) + " " + cli::HumanBytes(counts.bytes) + ", " +
             cli::HumanCount(counts.keys) + " keys";
    });
    return {};
  };
  base::Status status = Load(
      file,
      leader,
      LoadOptions{.database = o.chosen(), .later_expiry = false, .empty = o.replace, .alone = true},
      0,
      counts,
      tick);
  if (!status.ok()) {
    const bool file_bad =
        status.code() == base::Code::kCorrupt || status.code() == base::Code::kIncompatible;
    static_cast<void>(leader.Flush());
    return base::Status(status.code(),
                        file_bad
                            ? cli::Printable(o.file) + ": " + status.message() + ". " +
                                  cli::HumanCount(counts.keys) + " keys before it were imported"
                            : status.message());
  }
  for (const std::string& module : counts.modules)
    progress.Milestone("passed over: what the module " + module + " keeps beside its keys");
  progress.Milestone(
      "imported " + cli::HumanCount(counts.keys) + " keys from " + cli::Printable(o.file) + ", " +
      cli::HumanBytes(counts.bytes) + ", in " + cli::HumanMillis(cli::MonotonicMs() - begin) +
      (counts.expired > 0 ? "; " + cli::HumanCount(counts.expired) + " had expired" : ""));
  return {};
}

base::Status ImportLive(
    const Options& o, Leader& leader, bool flush, Progress& progress, Stop& stop) {
  FollowOptions options;
  options.database = o.chosen();
  options.merge = o.merge;
  options.flush = flush;
  options.until_synced = o.until_synced;
  options.publish = o.publish;
  options.pause_ms = static_cast<int64_t>(o.pause_s * 1000);
  options.patience_ms = static_cast<int64_t>(o.patience_s * 1000);
  options.spool_directory = o.spool;
  const int64_t begin = cli::MonotonicMs();
  Follower follower(o.source, leader, options, progress, stop);
  auto end = follower.Run();
  if (!end.ok()) {
    // A source that is gone for good leaves what it had sent.
    const std::string left = follower.Left();
    return base::Status(end.status().code(),
                        end.status().message() + (left.empty() ? "" : "; " + left));
  }
  if (*end == Follower::End::kStopped) {
    const std::string left = follower.Left();
    return base::IoError("stopped before the cut-over" + (left.empty() ? "" : ": " + left));
  }
  progress.Milestone(
      "cut over, lag 0: the leader has all that the source had written; " +
      cli::HumanCount(follower.keys()) + " keys and " + cli::HumanCount(follower.commands()) +
      " commands in " + cli::HumanMillis(cli::MonotonicMs() - begin) +
      (follower.reconnects() > 0
           ? ", " + std::to_string(follower.reconnects()) + " times reconnected"
           : "") +
      (follower.copies() > 1 ? ", " + std::to_string(follower.copies()) + " copies" : ""));
  return {};
}

int ReportRefusals(const Leader& leader) {
  if (leader.refused() == 0) return 0;
  std::fprintf(stderr,
               "polyarch: the leader refused %s commands or values; the first ones:\n",
               cli::HumanCount(leader.refused()).c_str());
  for (const std::string& line : leader.refusals())
    std::fprintf(stderr, "  %s\n", line.c_str());
  return 1;
}

int RunVerify(const Options& o, Progress& progress, const Stop& stop) {
  auto report =
      Verify(o.source,
             o.leader,
             VerifyOptions{.database = o.chosen(),
                           .others_allowed = o.merge,
                           .ttl_tolerance_ms = static_cast<int64_t>(o.tolerance_s * 1000)},
             progress,
             stop);
  if (!report.ok()) return cli::Fail(report.status());
  progress.Milestone("compared " + cli::HumanCount(report->keys) + " keys of the source: " +
                     (report->differences == 0 ? "no difference"
                                               : cli::HumanCount(report->differences) + " differ"));
  if (const int code = cli::Print(report->lines); code != 0) return code;
  return report->differences == 0 ? 0 : 1;
}

}  // namespace

int RunImport(int argc, char** argv) {
  CLI::App app{
      "Moves data from Redis to a leader; the other leaders get it from there. --from follows a "
      "running Redis as a replica of it until it is "
      "cut over: by the signal SIGUSR1, by typing cutover, or by --until-synced. Exit code 0: all "
      "is there; 1: something failed, was refused, "
      "or differs.",
      "polyarch import"};
  Options o;
  Define(app, o);
  if (auto code = cli::Parse(app, argc, argv)) return *code;
  if (o.from.empty() == o.file.empty()) {
    std::fprintf(stderr,
                 "polyarch import: give --from URI or --file PATH; see polyarch import --help\n");
    return 2;
  }
  if (o.verify_only && (o.until_synced || o.pause_s > 0 || o.publish || o.replace)) {
    std::fprintf(stderr,
                 "polyarch import: --verify-only imports nothing: leave out %s\n",
                 o.until_synced    ? "--until-synced"
                 : o.pause_s > 0   ? "--pause"
                 : o.publish       ? "--publish"
                                   : "--replace");
    return 2;
  }
  if (base::Status s = Resolve(o); !s.ok()) {
    std::fprintf(stderr, "polyarch import: %s\n", s.message().c_str());
    return 2;
  }
  Progress progress;
  Stop stop;
  if (o.verify_only) return RunVerify(o, progress, stop);
  auto leader = Leader::Open(o.leader);
  if (!leader.ok()) return cli::Fail(leader.status());
  auto keys = KeysOf(**leader, o.chosen());
  if (!keys.ok()) return cli::Fail(keys.status());
  if (*keys > 0 && !o.replace && !o.merge) {
    return cli::Fail(base::Invalid(
        "the leader holds " + cli::HumanCount(*keys) +
        " keys already: give --replace to empty it first, or --merge to add to them"));
  }
  const base::Status status = o.file.empty() ? ImportLive(o, **leader, o.replace, progress, stop)
                                             : ImportFile(o, **leader, progress, stop);
  const int refused = ReportRefusals(**leader);
  if (!status.ok()) return cli::Fail(status);
  const int differs = o.verify ? RunVerify(o, progress, stop) : 0;
  return refused != 0 ? refused : differs;
}

}  // namespace polyarch::moving
