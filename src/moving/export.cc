#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <memory>
#include <optional>
#include <unistd.h>
#include <utility>
#include <vector>

#include "base/try.h"
#include "cli/dial.h"
#include "cli/options.h"
#include "cli/text.h"
#include "moving/commands.h"
#include "moving/expiry.h"
#include "moving/export_form.h"
#include "moving/leader.h"
#include "moving/link.h"
#include "moving/progress.h"
#include "moving/stop.h"

namespace polyarch::moving {

namespace {

constexpr size_t kWriteBytes = 1 << 20;
constexpr std::string_view kScanCount = "200";
constexpr size_t kTroublesShown = 20;
// A collection of more elements is read in parts.
constexpr int64_t kLargeElements = 100'000;

// PATH.partial until it is whole; or standard output.
class Output {
 public:
  ~Output() {
    if (fd_ >= 0 && fd_ != STDOUT_FILENO) ::close(fd_);
    if (!partial_.empty()) ::unlink(partial_.c_str());
  }
  base::Status Open(const std::string& path) {
    if (path == "-") {
      fd_ = STDOUT_FILENO;
      return {};
    }
    path_ = path;
    const std::string partial = path + ".partial";
    fd_ = ::open(partial.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd_ < 0) return Failed("make", partial);
    partial_ = partial;
    return {};
  }
  base::Status Write(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t n = ::write(fd_, bytes.data(), bytes.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return Failed("write to", partial_.empty() ? "standard output" : partial_);
      bytes.remove_prefix(static_cast<size_t>(n));
    }
    return {};
  }
  base::Status Finish() {
    if (partial_.empty()) return {};
    if (::fsync(fd_) != 0) return Failed("write to", partial_);
    if (::rename(partial_.c_str(), path_.c_str()) != 0) return Failed("rename", partial_);
    partial_.clear();
    return {};
  }

 private:
  static base::Status Failed(const std::string& what, const std::string& path) {
    return base::IoError("cannot " + what + " " + cli::Printable(path) + " (" +
                         std::strerror(errno) + ")");
  }

  int fd_ = -1;
  std::string path_;
  std::string partial_;  // there, and not whole
};

class Export {
 public:
  Export(Link& leader, Form& form, Output& output, Progress& progress, const Stop& stop)
      : leader_(leader), form_(form), output_(output), progress_(progress), stop_(stop) {}

  base::Status Run(std::optional<int> only) {
    if (!only) {
      auto libraries = leader_.Ask({"FUNCTION", "DUMP"});
      if (!libraries.ok()) return libraries.status();
      form_.Libraries(libraries->text);
    }
    for (int database = 0; database < Leader::kDatabases; ++database) {
      if (only && *only != database) continue;
      if (auto reply = leader_.Ask({"SELECT", std::to_string(database)}); !reply.ok())
        return reply.status();
      TRY(Database(database));
    }
    form_.End();
    TRY(output_.Write(form_.Take()));
    return output_.Finish();
  }

  uint64_t keys() const { return keys_; }
  uint64_t bytes() const { return bytes_; }
  uint64_t troubles() const { return troubles_; }
  const std::vector<std::string>& lines() const { return lines_; }

 private:
  base::Status Database(int database) {
    bool named = false;
    std::string cursor = "0";
    do {
      if (stop_.stop()) return base::IoError("stopped: nothing was exported");
      auto reply = leader_.Ask({"SCAN", cursor, "COUNT", kScanCount});
      if (!reply.ok()) return reply.status();
      if (reply->items.size() != 2)
        return base::Invalid(leader_.Name() + " answers SCAN with something else");
      cursor = reply->items[0].text;
      const std::vector<resp::Value>& found = reply->items[1].items;
      if (!found.empty() && !std::exchange(named, true)) form_.Database(database);
      TRY(Keys(database, found));
      progress_.Show([&] {
        return "export: " + cli::HumanCount(keys_) + " keys, " + cli::HumanBytes(bytes_);
      });
    } while (cursor != "0");
    return {};
  }

  base::Status Keys(int database, const std::vector<resp::Value>& found) {
    std::vector<std::string> keys;
    for (const resp::Value& key : found)
      leader_.Put({"TYPE", key.text});
    auto types = leader_.Collect();
    if (!types.ok()) return types.status();
    for (size_t i = 0; i < found.size(); ++i) {
      const std::string& type = (*types)[i].text;
      const std::string_view length = LengthCommand(type);
      if (length.empty() || type == "string" || type == "stream") continue;
      leader_.Put({length, found[i].text});
    }
    auto lengths = leader_.Collect();
    if (!lengths.ok()) return lengths.status();
    size_t next = 0;
    for (size_t i = 0; i < found.size(); ++i) {
      const std::string& type = (*types)[i].text;
      const std::string_view length = LengthCommand(type);
      const bool counted = !length.empty() && type != "string" && type != "stream";
      if (counted && (*lengths)[next++].integer > kLargeElements) {
        TRY(Large(found[i].text, type));
      } else {
        keys.push_back(found[i].text);
      }
    }
    return Small(database, keys);
  }

  base::Status Flush() {
    if (form_.size() < kWriteBytes) return {};
    const std::string taken = form_.Take();
    bytes_ += taken.size();
    return output_.Write(taken);
  }

  base::Status Large(const std::string& key, const std::string& type) {
    auto expire = leader_.Ask({"PEXPIRETIME", key});
    if (!expire.ok()) return expire.status();
    if (expire->integer == -2) return {};
    const auto flush = [this] {
      return Flush();
    };
    TRY(form_.BeginLarge(key, type));
    const auto take = [&](const std::vector<resp::Value>& items) -> base::Status {
      if (stop_.stop()) return base::IoError("stopped: nothing was exported");
      progress_.Show([&] {
        return "export: " + cli::HumanCount(keys_) + " keys, within " + cli::Printable(key);
      });
      TRY(form_.Elements(items));
      return Flush();
    };
    TRY(ReadLarge(leader_, key, type, take));
    ++keys_;
    return form_.EndLarge(expire->integer >= 0 ? std::optional(expire->integer) : std::nullopt,
                          flush);
  }

  base::Status Small(int database, const std::vector<std::string>& keys) {
    if (keys.empty()) return {};
    for (const std::string& key : keys) {
      leader_.Put({"PEXPIRETIME", key});
      leader_.Put({"DUMP", key});
    }
    size_t at = 0;
    int64_t expire_ms = 0;
    base::Status status;
    int64_t heard = cli::MonotonicMs();
    while (leader_.waiting() > 0) {
      const size_t before = leader_.waiting();
      const base::Status pumped = leader_.Pump(1000, [&](resp::Value&& reply) {
        if (at % 2 == 0) {
          expire_ms = reply.integer;
        } else if (reply.is_error()) {
          Trouble(database, keys[at / 2], reply.text);
        } else if (!reply.is_null()) {  // else it is gone
          form_.Key(
              keys[at / 2], reply.text, expire_ms >= 0 ? std::optional(expire_ms) : std::nullopt);
          ++keys_;
        }
        ++at;
        if (status.ok()) status = Flush();
      });
      TRY(status);
      if (!pumped.ok()) {
        return base::Status(pumped.code(),
                            pumped.message() + " at key " +
                                cli::Printable(keys[std::min(at / 2, keys.size() - 1)]) +
                                " of database " + std::to_string(database) +
                                ": see its log. A value whose dump is larger than 256 MiB "
                                "cannot be exported");
      }
      if (leader_.waiting() != before) heard = cli::MonotonicMs();
      if (cli::MonotonicMs() - heard > Link::kReplyMs)
        return base::IoError(leader_.Name() + " gives no answer: see its log");
    }
    return {};
  }

  void Trouble(int database, std::string_view key, std::string_view text) {
    ++troubles_;
    if (lines_.size() < kTroublesShown)
      lines_.push_back("db" + std::to_string(database) + " " + cli::Printable(key) + ": " +
                       cli::Printable(text));
  }

  Link& leader_;
  Form& form_;
  Output& output_;
  Progress& progress_;
  const Stop& stop_;
  uint64_t keys_ = 0;
  uint64_t bytes_ = 0;
  uint64_t troubles_ = 0;
  std::vector<std::string> lines_;
};

}  // namespace

int RunExport(int argc, char** argv) {
  CLI::App app{
      "Writes a leader's data, of all databases, as an RDB file that Redis 7.0 loads, or as "
      "commands for redis-cli --pipe. The leader goes on "
      "serving: each key is as it was when it was read. Exit code 1: something failed, or a key "
      "could not be read.",
      "polyarch export"};
  cli::TargetOptions target_options;
  target_options.AddTo(app);
  std::string out;
  std::string spool = "/var/tmp";
  int database = -1;
  bool commands = false;
  app.add_option("--out", out, "the file; -: standard output")->required();
  app.add_option(
      "--spool", spool, "the directory for a large collection on its way (default: /var/tmp)");
  app.add_flag("--commands", commands, "commands instead of an RDB file: SELECT and RESTORE");
  app.add_option("-n,--db", database, "this database alone")
      ->check(cli::Number(0, 15, "a database is 0 to 15"));
  if (auto code = cli::Parse(app, argc, argv)) return *code;
  auto target = target_options.Resolve();
  if (!target.ok()) return cli::Fail(target.status());
  auto link = Link::Open(*target, "the leader");
  if (!link.ok()) return cli::Fail(link.status());
  Output output;
  if (base::Status s = output.Open(out); !s.ok()) return cli::Fail(s);
  std::unique_ptr<Form> form;
  if (commands) {
    form = MakeCommandsForm();
  } else {
    form = MakeRdbForm(WallMs(), spool);
  }
  Progress progress;
  Stop stop;
  Export run(**link, *form, output, progress, stop);
  if (base::Status s = run.Run(database < 0 ? std::nullopt : std::optional(database)); !s.ok())
    return cli::Fail(s);
  progress.Milestone("exported " + cli::HumanCount(run.keys()) + " keys to " + cli::Printable(out));
  if (run.troubles() == 0) return 0;
  std::fprintf(stderr,
               "polyarch: %s keys could not be read; the first ones:\n",
               cli::HumanCount(run.troubles()).c_str());
  for (const std::string& line : run.lines())
    std::fprintf(stderr, "  %s\n", line.c_str());
  return 1;
}

}  // namespace polyarch::moving
