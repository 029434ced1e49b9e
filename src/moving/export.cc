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

#include "base/number.h"
#include "base/try.h"
#include "cli/dial.h"
#include "cli/options.h"
#include "cli/text.h"
#include "moving/commands.h"
#include "moving/expiry.h"
#include "moving/leader.h"
#include "moving/link.h"
#include "moving/progress.h"
#include "moving/stop.h"
#include "rdb/file_writer.h"
#include "rdb/value.h"

namespace polyarch::moving {

namespace {

constexpr size_t kWriteBytes = 1 << 20;
constexpr std::string_view kScanCount = "200";
constexpr size_t kTroublesShown = 20;

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

// The two forms.
class Form {
 public:
  virtual ~Form() = default;
  virtual void Libraries(std::string_view payload) = 0;
  virtual void Database(int database) = 0;
  virtual void Key(std::string_view key,
                   std::string_view payload,
                   std::optional<int64_t> expire_ms) = 0;
  virtual void End() = 0;
  virtual size_t size() const = 0;
  virtual std::string Take() = 0;
};

class AsRdb : public Form {
 public:
  explicit AsRdb(int64_t now_ms) {
    writer_.Aux("redis-ver", "7.0.15");
    writer_.Aux("redis-bits", "64");
    writer_.Aux("ctime", base::FormatInt64(now_ms / 1000));
  }
  void Libraries(std::string_view payload) override {
    if (const auto body = rdb::BodyOfDump(payload)) writer_.Libraries(*body);
  }
  void Database(int database) override { writer_.Database(database); }
  void Key(std::string_view key,
           std::string_view payload,
           std::optional<int64_t> expire_ms) override {
    if (const auto body = rdb::BodyOfDump(payload)) writer_.Key(key, *body, expire_ms);
  }
  void End() override { writer_.End(); }
  size_t size() const override { return writer_.size(); }
  std::string Take() override { return writer_.Take(); }

 private:
  rdb::FileWriter writer_;
};

class AsCommands : public Form {
 public:
  void Libraries(std::string_view payload) override {
    resp::AppendRequest(out_, {"FUNCTION", "RESTORE", payload, "REPLACE"});
  }
  void Database(int database) override {
    resp::AppendRequest(out_, {"SELECT", base::FormatInt64(database)});
  }
  void Key(std::string_view key,
           std::string_view payload,
           std::optional<int64_t> expire_ms) override {
    resp::AppendRequest(
        out_,
        {"RESTORE", key, base::FormatInt64(expire_ms.value_or(0)), payload, "REPLACE", "ABSTTL"});
  }
  void End() override {}
  size_t size() const override { return out_.size(); }
  std::string Take() override { return std::exchange(out_, {}); }

 private:
  std::string out_;
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

  base::Status Keys(int database, const std::vector<resp::Value>& keys) {
    for (const resp::Value& key : keys) {
      leader_.Put({"PEXPIRETIME", key.text});
      leader_.Put({"DUMP", key.text});
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
          Trouble(database, keys[at / 2].text, reply.text);
        } else if (!reply.is_null()) {  // else it is gone
          form_.Key(keys[at / 2].text,
                    reply.text,
                    expire_ms >= 0 ? std::optional(expire_ms) : std::nullopt);
          ++keys_;
        }
        ++at;
        if (form_.size() >= kWriteBytes && status.ok()) {
          std::string taken = form_.Take();
          bytes_ += taken.size();
          status = output_.Write(taken);
        }
      });
      TRY(status);
      if (!pumped.ok()) {
        return base::Status(pumped.code(),
                            pumped.message() + " at key " +
                                cli::Printable(keys[std::min(at / 2, keys.size() - 1)].text) +
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
  int database = -1;
  bool commands = false;
  app.add_option("--out", out, "the file; -: standard output")->required();
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
    form = std::make_unique<AsCommands>();
  } else {
    form = std::make_unique<AsRdb>(WallMs());
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
