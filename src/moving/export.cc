#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <memory>
#include <optional>
#include <sys/stat.h>
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
// A collection of more elements, or more memory, is read in parts.
constexpr int64_t kLargeElements = 100'000;
constexpr int64_t kLargeBytes = 64 << 20;
// One of fewer is not asked for its memory.
constexpr int64_t kWeighedElements = 500;
// How often a key that changes meanwhile is read anew.
constexpr int kReadAgain = 3;
// A list that never stands still is read at once, if it is no larger.
constexpr uint64_t kListBytesAtOnce = 128 << 20;

// PATH.partial-XXXXXX beside it until it is whole; or standard output.
class Output {
 public:
  ~Output() {
    if (fd_ >= 0 && fd_ != STDOUT_FILENO) ::close(fd_);
    if (!partial_.empty()) ::unlink(partial_.c_str());
  }
  base::Status Open(const std::string& path, bool replace) {
    if (path == "-") {
      fd_ = STDOUT_FILENO;
      return {};
    }
    path_ = path;
    replace_ = replace;
    struct stat info {};
    if (::lstat(path.c_str(), &info) == 0) {
      if (!S_ISREG(info.st_mode))
        return base::Invalid(
            cli::Printable(path) +
            " is no regular file: give another path, or --out - for standard output");
      if (!replace) return Exists();
    }
    // A name of its own: two that write to one path do not write into one file.
    std::string partial = path + ".partial-XXXXXX";
    fd_ = ::mkostemp(partial.data(), O_CLOEXEC);
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
    if (replace_) {
      if (::rename(partial_.c_str(), path_.c_str()) != 0) return Failed("rename", partial_);
    } else {
      // Something may have come to be there meanwhile. Not each file system knows how to leave it.
      const char* from = partial_.c_str();
      const char* to = path_.c_str();
      const bool renamed = ::renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0;
      if (!renamed && ((errno != EINVAL && errno != ENOSYS) || ::link(from, to) != 0))
        return errno == EEXIST ? Exists() : Failed("rename", partial_);
      if (!renamed) ::unlink(from);
    }
    partial_.clear();
    return SyncDirectory();
  }

 private:
  base::Status Exists() const {
    return base::Invalid(cli::Printable(path_) +
                         " exists: give another path, or --replace to write over it");
  }
  // The name is to last, too.
  base::Status SyncDirectory() const {
    const size_t slash = path_.rfind('/');
    const std::string directory = slash == std::string::npos ? "." : path_.substr(0, slash + 1);
    const int fd = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return Failed("open", directory);
    const bool synced = ::fsync(fd) == 0;
    base::Status status = synced ? base::Status() : Failed("sync", directory);
    ::close(fd);
    return status;
  }
  static base::Status Failed(const std::string& what, const std::string& path) {
    return base::IoError("cannot " + what + " " + cli::Printable(path) + " (" +
                         std::strerror(errno) + ")");
  }

  int fd_ = -1;
  bool replace_ = false;
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
      if (!form_.Libraries(libraries->text))
        return base::Corrupt("the libraries of " + leader_.Name() +
                             " cannot be read here (FUNCTION DUMP): is this tool as new as the "
                             "leader? With --db DB they are left out");
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
    std::vector<bool> large(found.size());
    std::vector<size_t> weighed;
    size_t next = 0;
    for (size_t i = 0; i < found.size(); ++i) {
      const std::string& type = (*types)[i].text;
      if (LengthCommand(type).empty() || type == "string" || type == "stream") continue;
      const int64_t length = (*lengths)[next++].integer;
      large[i] = length > kLargeElements;
      if (large[i] || length < kWeighedElements) continue;
      leader_.Put({"MEMORY", "USAGE", found[i].text});
      weighed.push_back(i);
    }
    auto weights = leader_.Collect();
    if (!weights.ok()) return weights.status();
    for (size_t j = 0; j < weighed.size(); ++j)
      large[weighed[j]] = (*weights)[j].integer > kLargeBytes;
    for (size_t i = 0; i < found.size(); ++i) {
      if (large[i]) {
        TRY(Large(database, found[i].text, (*types)[i].text));
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

  base::Status Large(int database, const std::string& key, const std::string& type) {
    const auto flush = [this] {
      return Flush();
    };
    uint64_t bytes = 0;
    const auto take = [&](const std::vector<resp::Value>& items) -> base::Status {
      if (stop_.stop()) return base::IoError("stopped: nothing was exported");
      progress_.Show([&] {
        return "export: " + cli::HumanCount(keys_) + " keys, within " + cli::Printable(key);
      });
      for (const resp::Value& item : items)
        bytes += item.text.size();
      TRY(form_.Elements(items));
      return Flush();
    };
    for (int round = 0; round < kReadAgain; ++round) {
      bytes = 0;
      TRY(form_.BeginLarge(key, type));
      auto read = ReadLarge(leader_, key, type, take);
      if (!read.ok()) return read.status();
      // Its instant as of now: while it was read, it may have got another one, or have ended.
      auto expire = leader_.Ask({"PEXPIRETIME", key});
      if (!expire.ok()) return expire.status();
      if (expire->integer == -2) {
        form_.DropLarge();
        return {};
      }
      if (*read) {
        ++keys_;
        return form_.EndLarge(expire->integer >= 0 ? std::optional(expire->integer) : std::nullopt,
                              flush);
      }
      form_.DropLarge();
    }
    if (bytes <= kListBytesAtOnce) return Small(database, {key});
    Trouble(database, key, "it was written to all the time, and is too large to be read at once");
    return {};
  }

  base::Status Small(int database, std::vector<std::string> keys) {
    for (int round = 0; round < kReadAgain && !keys.empty(); ++round) {
      auto changed = ReadSmall(database, keys);
      if (!changed.ok()) return changed.status();
      keys = std::move(*changed);
    }
    for (const std::string& key : keys)
      Trouble(database, key, "its expiry changed whenever it was read");
    return {};
  }

  // The keys whose instant is not known, since it changed meanwhile.
  base::Result<std::vector<std::string>> ReadSmall(int database,
                                                   const std::vector<std::string>& keys) {
    std::vector<std::string> changed;
    // The value is one command's, the instant another's: it counts if it was the same on both
    // sides.
    for (const std::string& key : keys) {
      leader_.Put({"PEXPIRETIME", key});
      leader_.Put({"DUMP", key});
      leader_.Put({"PEXPIRETIME", key});
    }
    size_t at = 0;
    int64_t expire_ms = 0;
    resp::Value dump;
    base::Status status;
    int64_t heard = cli::MonotonicMs();
    const auto take = [&](resp::Value&& reply) {
      const std::string& key = keys[at / 3];
      switch (at++ % 3) {
        case 0:
          expire_ms = reply.integer;
          return;
        case 1:
          dump = std::move(reply);
          return;
        default:
          if (dump.is_error()) {
            Trouble(database, key, dump.text);
          } else if (!dump.is_null()) {  // else it is gone
            if (reply.integer != expire_ms || expire_ms == -2) {
              changed.push_back(key);
            } else if (form_.Key(key,
                                 dump.text,
                                 expire_ms >= 0 ? std::optional(expire_ms) : std::nullopt)) {
              ++keys_;
            } else {
              Trouble(database, key, "its dump is not readable here");
            }
          }
          dump = {};
          if (status.ok()) status = Flush();
      }
    };
    while (leader_.waiting() > 0) {
      const size_t before = leader_.waiting();
      const base::Status pumped = leader_.Pump(1000, take);
      TRY(status);
      if (!pumped.ok()) {
        return base::Status(pumped.code(),
                            pumped.message() + " at key " +
                                cli::Printable(keys[std::min(at / 3, keys.size() - 1)]) +
                                " of database " + std::to_string(database) +
                                ": see its log. A value whose dump is larger than 256 MiB "
                                "cannot be exported");
      }
      if (leader_.waiting() != before) heard = cli::MonotonicMs();
      if (cli::MonotonicMs() - heard > Link::kReplyMs)
        return base::IoError(leader_.Name() + " gives no answer: see its log");
    }
    return changed;
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
  bool replace = false;
  app.add_option("--out", out, "the file; -: standard output")->required();
  app.add_option(
      "--spool", spool, "the directory for a large collection on its way (default: /var/tmp)");
  app.add_flag("--commands", commands, "commands instead of an RDB file: SELECT and RESTORE");
  app.add_flag("--replace", replace, "write over a file that is there");
  app.add_option("-n,--db", database, "this database alone, without libraries")
      ->check(cli::Number(0, 15, "a database is 0 to 15"));
  if (auto code = cli::Parse(app, argc, argv)) return *code;
  auto target = target_options.Resolve();
  if (!target.ok()) return cli::Fail(target.status());
  auto link = Link::Open(*target, "the leader");
  if (!link.ok()) return cli::Fail(link.status());
  Output output;
  if (base::Status s = output.Open(out, replace); !s.ok()) return cli::Fail(s);
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
