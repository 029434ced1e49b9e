#include "server/server.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "backup/restore.h"
#include "base/check.h"
#include "base/remedy.h"
#include "command/rights.h"
#include "command/support.h"
#include "log/faulty_io.h"
#include "server/logging.h"
#include "server/seat.h"

namespace polyarch::server {

namespace {

constexpr int64_t kLongTurnUs = 1'000'000;

uint64_t RandomSeed() {
  uint64_t seed = 0;
  CHECK(getrandom(&seed, sizeof seed, 0) == sizeof seed);
  return seed;
}

int64_t NowMicros(clockid_t clock) {
  timespec t{};
  clock_gettime(clock, &t);
  return static_cast<int64_t>(t.tv_sec) * 1'000'000 + t.tv_nsec / 1000;
}

// Is this path open as standard output or error? `2> DIR/log` makes it before we look.
bool IsOurOutput(const std::filesystem::path& path) {
  struct stat named {};
  if (::stat(path.c_str(), &named) != 0) return false;
  for (int fd : {STDOUT_FILENO, STDERR_FILENO}) {
    struct stat open {};
    if (::fstat(fd, &open) == 0 && open.st_dev == named.st_dev && open.st_ino == named.st_ino) return true;
  }
  return false;
}

// A name in a directory that holds something and no leader's data: another program's, whose files would lie among ours.
// Empty: there is none. What begins with a dot is the file system's, or a shell's; sockets are no data.
std::string NameOfOthers(const std::string& dir, const std::string& config_file, std::error_code& error) {
  namespace fs = std::filesystem;
  std::error_code none;
  // A RocksDB directory has a LOCK, too: our own store, say.
  const bool ours = fs::exists(dir + "/store/CURRENT", none) ||
                    (fs::exists(dir + "/LOCK", none) && !fs::exists(dir + "/CURRENT", none)) ||
                    fs::exists(dir + "/" + backup::kRestoringName, none) ||
                    fs::exists(dir + "/" + backup::kManifestName, none);
  if (ours) return {};
  for (fs::directory_iterator it(dir, error); !error && it != fs::directory_iterator(); it.increment(error)) {
    const std::string name = it->path().filename().string();
    const bool passed = name.starts_with('.') || name == "lost+found" || it->is_socket(none) || IsOurOutput(it->path()) ||
                        (!config_file.empty() && fs::equivalent(it->path(), config_file, none));
    if (!passed) return name;
  }
  return {};
}

// What the operating system says of a file tells the cause only.
base::Status WithRemedy(const base::Status& status) {
  std::string_view remedy;
  if (status.code() == base::Code::kIo) remedy = ": mend the disk, or give the server's user the right to it";
  if (status.code() == base::Code::kFull) remedy = ": make room on the disk";
  if (status.code() == base::Code::kBusy && status.message().find("open files") != std::string::npos)
    remedy = ": raise the limit of open files (ulimit -n, LimitNOFILE=)";
  return remedy.empty() ? status : base::Status(status.code(), status.message() + std::string(remedy));
}

}  // namespace

Server::Server(Config config) : config_(std::move(config)) {}

Server::~Server() {
  backups_.reset();
  engine_.reset();
  // Nobody knows what is on such a disk, wherever it was that it failed.
  if (log_ && log_->sync_failed()) (void)AbandonSeat(config_.dir);
  log_.reset();
  store_.reset();
  if (lock_fd_ >= 0) close(lock_fd_);
}

engine::Clocks Server::ReadClocks() const {
  return {NowMicros(CLOCK_REALTIME) / 1000 + config_.clock_offset_ms, NowMicros(CLOCK_MONOTONIC)};
}

base::Status Server::LockDirectory() {
  std::error_code error;
  std::filesystem::path dir = std::filesystem::absolute(config_.dir, error).lexically_normal();
  if (!dir.has_filename()) dir = dir.parent_path();  // it ended with a slash
  // The directories whose names of others must outlive a power cut.
  std::vector<std::filesystem::path> parents{dir.parent_path()};
  while (!error && !std::filesystem::exists(parents.back(), error) && parents.back().has_relative_path()) {
    parents.push_back(parents.back().parent_path());
  }
  if (!error) std::filesystem::create_directories(dir, error);
  if (error) {
    return base::IoError("cannot create the directory " + config_.dir + " (" + error.message() +
                         "): give another --dir or the right to write there");
  }
  const std::string others = NameOfOthers(config_.dir, config_.file, error);
  if (error) {
    return base::IoError("cannot look into the directory " + config_.dir + " (" + error.message() +
                         "): give another --dir or the right to read it");
  }
  if (!others.empty()) {
    return base::Invalid("the directory " + config_.dir + " holds no leader's data, but other files ('" + others +
                         "'): give a --dir that is empty or a leader's (is the volume mounted?); nothing was changed");
  }
  std::string path = config_.dir + "/LOCK";
  lock_fd_ = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (lock_fd_ < 0) {
    return base::IoError("cannot write to the directory " + config_.dir + " (" +
                         std::strerror(errno) +
                         "): give another --dir or the right to write there");
  }
  if (flock(lock_fd_, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) {
      return base::IoError("cannot lock " + path + " (" + std::strerror(errno) +
                           "): give a --dir on a file system that has locks");
    }
    return base::IoError("the directory " + config_.dir +
                         " is in use by another process: stop that one or give another --dir");
  }
  const bool restoring = std::filesystem::exists(config_.dir + "/" + backup::kRestoringName, error);
  if (error) {
    return base::IoError("cannot look into the directory " + config_.dir + " (" + error.message() +
                         "): give another --dir or the right to read it");
  }
  if (restoring) {
    return base::Corrupt("a restore into the directory " + config_.dir +
                         " did not end: empty it and restore again");
  }
  if (std::filesystem::exists(config_.dir + "/" + backup::kManifestName, error)) {
    return base::Invalid("the directory " + config_.dir + " is a backup, which a leader would spoil: " +
                         "make a leader's directory of it with polyarch restore " + config_.dir + " --dir NEW_DIR");
  }
  for (const char* sub : {"/log", "/store"}) {
    std::filesystem::create_directories(config_.dir + sub, error);
    if (error) {
      return base::IoError("cannot create " + config_.dir + sub + " (" + error.message() +
                           "): give another --dir or the right to write there");
    }
  }
  // The names must outlive a power cut as what is in them does.
  if (base::Status synced = log::PosixIo().SyncDirectory(config_.dir); !synced.ok()) return WithRemedy(synced);
  for (const std::filesystem::path& parent : parents) {
    if (base::Status synced = log::PosixIo().SyncDirectory(parent.string()); !synced.ok()) return WithRemedy(synced);
  }
  return {};
}

base::Status Server::Start() {
  started_ms_ = NowMicros(CLOCK_REALTIME) / 1000;
  net::LoopOptions options;
  options.bind = config_.bind;
  options.peer_bind = config_.peer_bind;
  options.port = config_.has_plain_port() ? config_.port : -1;
  options.tls_port = config_.tls_port != 0 ? config_.tls_port : -1;
  options.peer_port = config_.peer_port;
  options.http_port = config_.http_port;
  options.maxclients = config_.maxclients;
  options.unix_socket = config_.unix_socket;
  options.limits.bulk_bytes_max = config_.bulk_bytes_max;
  options.input_bytes_max = std::max<size_t>(options.input_bytes_max, config_.bulk_bytes_max * 2);
  loop_ = std::make_unique<net::Loop>(options, *this);
  // Ports first: what cannot run leaves no directory behind.
  base::Status status = LoadTls();
  if (!status.ok()) return status;
  status = loop_->Listen();
  if (!status.ok()) return status;
  status = LockDirectory();
  if (!status.ok()) return status;
  const int64_t began_us = ReadClocks().mono_us;
  loop_->AnswerLoading();
  config_.port = loop_->port();
  config_.peer_port = loop_->peer_port();
  config_.http_port = loop_->http_port();
  if (config_.advertise.empty()) {
    const std::string& host = config_.peer_bind.front();
    const bool v6 = host.find(':') != std::string::npos;
    config_.advertise =
        (v6 ? "[" + host + "]" : host) + ":" + std::to_string(config_.peer_port);
  }

  // An empty directory holds nobody's votes: it is claimed at once. A founder whose seat was lost between its first votes and
  // the claim could not be replaced by anybody.
  const std::optional<uint64_t> seat = HolderOfSeat(config_.dir);
  const uint64_t holder = seat ? *seat : RandomSeed() | 1;
  bool own_seat = seat.has_value();
  auto empty = [this](const char* part) {
    std::error_code none;
    return std::filesystem::is_empty(config_.dir + part, none) ||
           none == std::errc::no_such_file_or_directory;
  };
  if (!own_seat && empty("/log") && empty("/store")) {
    status = ClaimSeat(config_.dir, holder);
    if (!status.ok()) return status;
    own_seat = true;
  }
  auto store = storage::RocksStore::Open({.dir = config_.dir + "/store"});
  if (!store.ok()) return WithRemedy(store.status());
  store_ = std::move(*store);
  if (config_.io == "power-cut") {
    io_ = std::make_unique<log::FaultyIo>(log::FaultyIo::Options{.seed = RandomSeed()});
  }
  log::SegmentedLog::Options log_options;
  log_options.dir = config_.dir + "/log";
  log_options.segment_bytes = config_.log_segment_bytes;
  log_options.ring_bytes = config_.log_ring_bytes;
  log_options.verify_from = engine::Engine::CheckpointPosition(*store_);
  log_options.durable = engine::Engine::ReflectedPosition(*store_);
  log_options.io = io_.get();
  log_options.on_durable = [loop = loop_.get()] {
    loop->Wake();
  };
  auto log = log::SegmentedLog::Open(log_options);
  if (!log.ok()) return WithRemedy(log.status());
  log_ = std::move(*log);
  if (log_->bytes_dropped() > 0) {
    Log(1,
        "dropped " + std::to_string(log_->bytes_dropped()) +
            " bytes at the end of the log: they had not been synced when the power went or the process ended");
  }

  engine::Options engine_options;
  engine_options.leader_id = config_.id;
  engine_options.advertise = config_.advertise;
  engine_options.join = config_.join;
  engine_options.rejoin = config_.rejoin;
  engine_options.durability = *ParseDurability(config_.durability);
  engine_options.clock_skew_ms_max = config_.clock_skew_ms_max;
  engine_options.seed = RandomSeed();
  engine_options.checkpoint_log_bytes = config_.checkpoint_bytes;
  engine_options.log_quota_bytes = config_.log_quota_bytes;
  engine_options.residue_quota = config_.residue_quota;
  engine_options.state_timeout_us = config_.state_timeout_ms * 1000;
  engine_options.ledger = {
      config_.conflict_log_entries, config_.conflict_log_bytes, config_.conflict_log_age_s * 1000};
  engine_options.new_seat = !own_seat;
  engine_options.holder = holder;
  join_watch_ = std::make_unique<JoinWatch>(config_.join, config_.advertise);
  engine_ = std::make_unique<engine::Engine>(engine_options, *this, *log_, *store_);
  engine_->users().SetLocalPassword(config_.requirepass);
  for (const auto& [name, value] : {std::pair("maxmemory", config_.maxmemory),
                                    std::pair("maxmemory-policy", config_.maxmemory_policy),
                                    std::pair("maxmemory-samples", config_.maxmemory_samples)}) {
    if (base::Status fits = ConfigSet(name, value); !fits.ok())
      return base::Invalid("--" + std::string(name) + ": " + fits.message());
  }
  status = engine_->Start(ReadClocks());
  if (!status.ok()) return WithRemedy(status);
  if (engine_->users().default_is_shared() && !config_.requirepass.empty()) {
    Log(1, "requirepass is not used: the user 'default' was set by ACL SETUSER, for all leaders");
  }
  status = log_->Sync();
  if (!status.ok()) return WithRemedy(status);
  // The votes of another place are given up, and that is durable.
  if (!own_seat) status = ClaimSeat(config_.dir, holder);
  if (!status.ok()) return status;
  backups_ = std::make_unique<Backups>(
      Backups::Options{.data_dir = config_.dir,
                       .reserve_bytes = SpaceReserve(),
                       .wake = [loop = loop_.get()] { loop->Wake(); },
                       .resume = [loop = loop_.get()](uint64_t client) { loop->Resume(client); },
                       .report = [](int severity, const std::string& line) { Log(severity, line); }},
      *engine_,
      *log_,
      *store_);
  constexpr int64_t kLongStartUs = 1'000'000;
  if (const int64_t lasted_us = ReadClocks().mono_us - began_us; lasted_us >= kLongStartUs) {
    Log(0,
        "the start took " + std::to_string(lasted_us / 1000) + " ms: rows of the store, and " +
            std::to_string((log_->end() - engine_->checkpoint_position()) >> 20) + " MiB of log behind them");
  }
  Log(0,
      "leader " + engine_->leader_id() + " serves clients on port " +
          (config_.has_plain_port() ? std::to_string(config_.port) : "") +
          (config_.has_plain_port() && config_.tls_port != 0 ? " and " : "") +
          (config_.tls_port != 0 ? std::to_string(config_.tls_port) + " (TLS)" : "") + ", peers on " +
          config_.advertise + (config_.peers_use_tls() ? " (TLS)" : "") +
          (config_.http_port > 0 ? ", http on port " + std::to_string(config_.http_port) : ""));
  return {};
}

uint64_t Server::NewHolder() {
  const uint64_t holder = RandomSeed() | 1;
  return ClaimSeat(config_.dir, holder).ok() ? holder : 0;
}

uint64_t Server::Entropy() {
  return RandomSeed();
}

// After the log or the store has failed.
std::string Server::WhatIsSafe(const base::Status& status) const {
  if (status.code() == base::Code::kCorrupt) return std::string(base::kDirectoryRemedy);
  if (*ParseDurability(config_.durability) == engine::Durability::kAlways) {
    return "; what was acknowledged is safe: mend the disk and start again";
  }
  return "; what was acknowledged since the last sync is not on this disk (durability " + config_.durability +
         "), the other leaders have what had been sent: mend the disk and start again";
}

int Server::Run() {
  loop_->Run();
  FinishLog();  // so that there is room for the last lines
  if (!engine_->status().ok()) {
    backups_->Stop();
    Log(2, "stopped: " + engine_->status().message() + WhatIsSafe(engine_->status()));
    return 1;
  }
  engine_->PrepareStop();
  base::Status status = log_->Sync();
  // Behind the sync: its thread may wait for a disk that does not answer.
  backups_->Stop();
  if (!status.ok()) {
    Log(2, "stopped: " + status.message() + WhatIsSafe(status));
    return 1;
  }
  Log(0, "stopped");
  return 0;
}

void Server::OnTimer() {
  Measure();
  ReloadIfAsked();
  DrainLog();
  if (now_.mono_us < next_space_check_us_) return;
  next_space_check_us_ = now_.mono_us + 1'000'000;
  if (join_watch_ && engine_->admitted()) join_watch_.reset();
  if (join_watch_) {
    for (const std::string& line : join_watch_->Due(now_.mono_us)) Log(1, line);
  }
  struct statvfs space {};
  if (statvfs(config_.dir.c_str(), &space) != 0) return;
  const uint64_t free_bytes = static_cast<uint64_t>(space.f_bavail) * space.f_frsize;
  const bool low = free_bytes < SpaceReserve();
  if (low != low_space_) {
    Log(low ? 2 : 0, low ? "only " + std::to_string(free_bytes >> 20) + " MiB are free in " + config_.dir +
                               ": client writes are refused until there is room; make some"
                         : "there is room on the disk again: writes are accepted");
  }
  low_space_ = low;
  engine_->SetLowSpace(low);
}

void Server::RequestStop() {
  loop_->RequestStop();
}

// ---- ticks

// A client that waits for seconds wants to know why; so does who reads the log afterwards.
void Server::WatchTurns(const net::Clocks& now) {
  if (loop_->stats().ticks < 2) return;
  if (now.busy_us >= kLongTurnUs) {
    Report(1,
           "one turn of the event loop took " + std::to_string(now.busy_us / 1000) + " ms, of it " +
               std::to_string(end_of_turn_us_ / 1000) +
               " ms in writing the log and in duties: clients waited (a long command, a slow disk or a busy machine)");
  }
  const int64_t missed_us = now.mono_us - now_.mono_us - now.busy_us - 1000LL * loop_->timer_ms();
  if (missed_us >= kLongTurnUs) {
    Report(1,
           "this process did not run for " + std::to_string(missed_us / 1000) +
               " ms: clients waited (it was stopped, or the machine is too busy)");
  }
}

void Server::TickBegin(const net::Clocks& now) {
  WatchTurns(now);
  now_ = {now.wall_ms + config_.clock_offset_ms, now.mono_us, now.busy_us};
  engine_->BeginTick(now_);
}

void Server::TickEnd() {
  const int64_t begun_us = NowMicros(CLOCK_MONOTONIC);
  engine_->EndTick();
  backups_->AfterTick(now_.wall_ms, low_space_);
  end_of_turn_us_ = NowMicros(CLOCK_MONOTONIC) - begun_us;
  observations().latency.Note("end-of-turn", now_.wall_ms / 1000, end_of_turn_us_ / 1000);
  WatchSyncs();
  if (!engine_->status().ok() && !failed_) {
    failed_ = true;
    if (log_->sync_failed()) (void)AbandonSeat(config_.dir);
    // With `everysec` replies do not wait for the disk, but they promise that the log has taken the
    // write: those of this tick must not leave.
    loop_->Abort();
  }
}

std::unique_ptr<net::Session> Server::OpenClient(net::ClientId id,
                                                 std::string address,
                                                 std::string local_address) {
  auto session = std::make_unique<ClientSession>();
  session->client.id = id;
  session->client.address = std::move(address);
  session->client.local_address = std::move(local_address);
  // Who was let in stays so, whatever password is set later.
  engine_->users().Welcome(session->client);
  session->client.created_ms = session->client.active_ms = now_.wall_ms;
  clients_[id] = session.get();
  return session;
}

void Server::ClientIsDead(net::Session& session) {
  static_cast<ClientSession&>(session).client.gone = true;
}

void Server::CloseClient(net::ClientId id, net::Session&) {
  engine_->ForgetClient(id);
  clients_.erase(id);
}

net::Outcome Server::Execute(net::ClientId,
                             net::Session& session,
                             std::span<const std::string_view> arguments,
                             resp::Buffer& out) {
  command::Client& client = static_cast<ClientSession&>(session).client;
  client.active_ms = now_.wall_ms;
  const size_t before = out.size();
  const engine::Outcome outcome = engine_->Execute(client, arguments, out, *this);
  // What waits is counted when it has its answer, however often it is run until then.
  if (outcome != engine::Outcome::kSuspended) {
    ++commands_;
    NoteRan(client, arguments, out, before);
  }
  last_of_turn_ = false;
  switch (outcome) {
    case engine::Outcome::kReplied:
      return net::Outcome::kReplied;
    case engine::Outcome::kHeld:
      return net::Outcome::kHeld;
    case engine::Outcome::kSuspended:
      return net::Outcome::kSuspended;
    case engine::Outcome::kClose:
      return net::Outcome::kClose;
    case engine::Outcome::kHeldClose:
      return net::Outcome::kHeldClose;
  }
  return net::Outcome::kReplied;
}

void Server::NoteRan(const command::Client& client,
                     command::Arguments arguments,
                     const resp::Buffer& out,
                     size_t before) {
  const std::string_view reply = out.view().substr(std::min(before, out.size()));
  if (client.ran != nullptr) [[likely]]
    return timer_.Ran(*client.ran, arguments, &client, reply, last_of_turn_);
  if (client.refused != nullptr) ++observations().Of(*client.refused).rejected;
  if (reply.starts_with('-')) observations().NoteError(reply.substr(1));
}

bool Server::IsAuthenticated(const net::Session& session) const {
  return !engine_->users().must_authenticate() || static_cast<const ClientSession&>(session).client.authenticated;
}

bool Server::Listens(const net::Session& session) const {
  const command::Client& client = static_cast<const ClientSession&>(session).client;
  return client.subscribed != 0 || client.monitors;
}

void Server::UsersChanged(uint64_t acting) {
  const command::Users& users = engine_->users();
  std::vector<net::ClientId> gone;
  for (auto& [id, session] : clients_) {
    command::Client& client = session->client;
    if (users.just_changed().count(client.user) == 0) continue;
    if (users.Refresh(client) && command::MayStillListen(users, engine_->subscriptions(), client)) continue;
    if (id == acting) {
      client.expelled = true;
    } else {
      gone.push_back(id);
    }
  }
  for (net::ClientId id : gone) {
    command::StopListening(*engine_, id);
    loop_->CloseClientNow(id);
  }
}

void Server::OnLinkUp(net::LinkId link, std::string dialed, std::string remote_address) {
  if (join_watch_) join_watch_->LinkUp(link, dialed);
  engine_->OnLinkUp(link, dialed, remote_address);
}
void Server::OnLinkMessage(net::LinkId link, std::string_view message) {
  if (join_watch_) join_watch_->Heard(link);
  engine_->OnLinkMessage(link, message);
}
void Server::OnLinkDown(net::LinkId link) {
  if (join_watch_) join_watch_->LinkDown(link);
  engine_->OnLinkDown(link);
}
void Server::OnDialFailed(std::string address, std::string reason) {
  Log(-1, "cannot reach " + address + ": " + reason);
  if (join_watch_) join_watch_->DialFailed(address, reason);
  engine_->OnDialFailed(address);
}

void Server::OnSendRefused(net::LinkId link, std::string reason) {
  const std::string leader = engine_->replica().LeaderOf(link);
  Report(2, "the link with " + (leader.empty() ? "a peer" : leader) + " is closed: " + reason);
}

void Server::Report(int severity, const std::string& line) {
  Log(severity, line);
}

// ---- command::ServerHost

void Server::ForEachClient(const std::function<void(command::Client&)>& visit) {
  // One that is gone is closed at the end of the tick.
  for (auto& [id, session] : clients_) {
    if (!session->client.gone) visit(session->client);
  }
}

bool Server::KillClient(uint64_t id) {
  const auto it = clients_.find(id);
  if (it == clients_.end() || it->second->client.gone) return false;
  loop_->CloseClientNow(id);
  return true;
}

uint64_t Server::Secret() {
  return RandomSeed();
}

void Server::Sleep(double seconds) {
  timespec t{};
  t.tv_sec = static_cast<time_t>(seconds);
  t.tv_nsec =
      static_cast<long>((seconds - static_cast<double>(t.tv_sec)) * 1e9);  // NOLINT: timespec
  nanosleep(&t, nullptr);
}

int64_t Server::WallMicros() {
  return NowMicros(CLOCK_REALTIME) + config_.clock_offset_ms * 1000;
}

int64_t Server::MonotonicNanos() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<int64_t>(t.tv_sec) * 1'000'000'000 + t.tv_nsec;
}

int64_t Server::MonotonicMicros() {
  return NowMicros(CLOCK_MONOTONIC);
}

void Server::ScriptLog(int level, std::string_view line) {
  // A script in a loop must not fill the disk.
  constexpr int kLinesASecond = 100;
  const int64_t now_us = MonotonicMicros();
  if (now_us - script_log_since_us_ >= 1'000'000) {
    script_log_since_us_ = now_us;
    script_log_lines_ = 0;
  }
  if (++script_log_lines_ > kLinesASecond) return;
  Log(level <= 1 ? -1 : level - 2, "script: " + std::string(line));
}

}  // namespace polyarch::server
