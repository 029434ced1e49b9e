#include "sim/node.h"

#include <algorithm>

#include "base/check.h"
#include "sim/marks.h"
#include "sim/world.h"

namespace polyarch::sim {

namespace {

// What a message of rows holds beside them, and a little piece of a large row in any case.
constexpr size_t kStateMessageBytes = 1500;

}  // namespace

Disk Disk::Copy() const {
  Disk copy;
  *copy.log = *log;
  *copy.store = *store;
  return copy;
}

Node::Node(World& world, Options options, Disk disk)
    : world_(world), options_(std::move(options)), disk_(std::move(disk)) {
  label_ = options_.leader + "@" + std::to_string(options_.place);
}

Node::~Node() = default;

// ---- clocks

int64_t Node::WallMs() const {
  const int64_t now_us = world_.now_us();
  const int64_t drift_us = (now_us - drift_since_us_) / 1000 * drift_ppm_ / 1000;
  return (kEpochUs + now_us + offset_us_ + drift_us) / 1000;
}

void Node::SetDrift(int64_t ppm) {
  drift_ppm_ = ppm;
  drift_since_us_ = world_.now_us();
}

engine::Clocks Node::Clocks() const { return {WallMs(), world_.now_us()}; }

// ---- life

void Node::Start() {
  CHECK(!process_);
  faulty_ = false;
  low_room_ = false;
  next_room_us_ = 0;
  ++boots_;
  ++serial_;
  process_ = std::make_unique<Process>();
  Process& p = *process_;
  p.log = std::make_unique<log::MemoryLog>(disk_.log, options_.segment_bytes);
  p.store = std::make_unique<storage::MemoryStore>(disk_.store);
  engine::Options engine_options = options_.engine;
  engine_options.leader_id = options_.leader;
  engine_options.advertise = options_.address;
  engine_options.join = options_.join;
  engine_options.seed = world_.draw().Next();
  // An empty disk holds nobody's votes.
  if (disk_.log->end == 0) {
    seat_place_ = disk_.log;
    holder_ = 0;
  }
  engine_options.new_seat = seat_place_ != disk_.log;
  if (engine_options.new_seat && !PLANTED(kEscrowOldDisk)) holder_ = 0;
  if (holder_ == 0) holder_ = world_.draw().Next() | 1;
  engine_options.holder = holder_;
  p.engine = std::make_unique<engine::Engine>(engine_options, *this, *p.log, *p.store);
  p.engine->SetProbe(this);
  for (int i = 0; i <= options_.clients; ++i) {  // and the operator
    auto client = std::make_unique<command::Client>();
    client->id = serial_ * 100 + static_cast<uint64_t>(i) + 1;
    client->authenticated = true;
    if (i == 2) client->db = 1;
    p.clients.push_back(std::move(client));
  }
  durable_ = world_.history().DiskVector(*disk_.log, disk_.log->end);
  Join(ever_durable_, durable_);
  p.applied = durable_;
  p.network_id = world_.network().Join(options_.place, options_.address, this);
  checkpoint_started_ = false;
  wall_ms_max_ = std::max(wall_ms_max_, WallMs());
  world_.Log([&] { return "start " + label_ + " with " + world_.history().Text(durable_); });
  base::Status status = p.engine->Start(Clocks());
  seat_claimed_ = disk_.log->end;
  ThrowNoted();
  if (!status.ok()) throw Violation(label_ + " does not start: " + status.ToString());
  CheckStarted();
  transfers_seen_ = {};
  oversized_us_ = 0;
  log_ends_.clear();
  NoteTransfers();
  AfterTick();
}

// Whoever holds it back is given up within some seconds, and may come back, be level, and hold it back
// again: the more of them, the longer.
void Node::CheckLogSize() {
  Process& p = *process_;
  constexpr size_t kFew = 5;
  const size_t members = p.engine->replica().members().size();
  const int64_t patience_us =
      14 * kSecond + 2 * kSecond * static_cast<int64_t>(members - std::min(members, kFew));
  const int64_t passed_us = std::min(world_.now_us() - sized_at_us_, 100 * kMs);
  sized_at_us_ = world_.now_us();
  const uint64_t quota = options_.engine.log_quota_bytes;
  // What came in the last seconds cannot have been claimed by all yet.
  constexpr int64_t kFreshUs = 8 * kSecond;
  if (log_ends_.empty() || world_.now_us() - log_ends_.back().first >= kSecond) {
    log_ends_.emplace_back(world_.now_us(), p.log->end());
  }
  while (log_ends_.size() > 1 && world_.now_us() - log_ends_[1].first >= kFreshUs) log_ends_.pop_front();
  const uint64_t fresh = p.log->end() - std::min(p.log->end(), log_ends_.front().second);
  // Receivers of this leader's state may hold as much of it as the state comes to.
  const uint64_t state = p.engine->keeps_log_for_states() ? p.engine->keys().memory_bytes() : 0;
  const bool beyond = p.log->end() - p.log->begin() > 3 * quota + state + 20'000 + fresh;
  if (!beyond || p.log->pinned() || p.engine->merging() || faulty_ || !p.engine->may_write()) {
    oversized_us_ = 0;
    return;
  }
  oversized_us_ += passed_us;
  if (oversized_us_ > patience_us) {
    throw Violation(label_ + " keeps " + std::to_string(p.log->end() - p.log->begin()) +
                    " bytes of log with a quota of " + std::to_string(quota) + ": from " +
                    std::to_string(p.log->begin()) + ", checkpoint at " +
                    std::to_string(p.engine->checkpoint_position()) + ", kept for" + [&] {
                      std::string text;
                      for (const command::LeaderInfo& info : p.engine->Leaders()) {
                        text += " " + info.id + " (" + info.state + ") " + std::to_string(info.retained_bytes);
                      }
                      return text;
                    }());
  }
}

void Node::NoteTransfers() {
  const engine::Engine::TransferStats& now = process_->engine->transfers();
  engine::Engine::TransferStats& seen = transfers_seen_;
  if (process_->engine->folds_without_all() > 0) SOMETIMES(kFoldedWithout);
  if (now.resumed > seen.resumed) SOMETIMES(kStateResumed);
  if (now.restarted > seen.restarted) SOMETIMES(kStateRestarted);
  if (now.replayed > seen.replayed) SOMETIMES(kCutOverReplayed);
  if (now.away_written > seen.away_written) SOMETIMES(kAway);
  if (now.present_written > seen.present_written) SOMETIMES(kPresent);
  if (now.trimmed_bytes > seen.trimmed_bytes) SOMETIMES(kTrimmed);
  if (now.slots_equal > seen.slots_equal) SOMETIMES(kSlotsEqual);
  if (now.state_instead > seen.state_instead) SOMETIMES(kStateInstead);
  if (process_->engine->received_of_row() > 0) SOMETIMES(kRowInPieces);
  if (now.resumed > seen.resumed && process_->engine->received_of_row() > 0) SOMETIMES(kRowGoesOn);
  if (process_->engine->keys().merged_on_access() > merged_seen_) SOMETIMES(kMergedOnAccess);
  merged_seen_ = process_->engine->keys().merged_on_access();
  seen = now;
}

void Node::CheckStarted() {
  Process& p = *process_;
  Vector found = world_.history().Convert(p.engine->applied(), p.engine->origins());
  Vector expected = p.applied;
  Normalize(expected);
  if (found != expected) {
    throw Violation(label_ + " has recovered another set of changes than its log holds: " +
                    world_.history().Text(found) + " instead of " + world_.history().Text(expected));
  }
  world_.CheckNode(*this);
}

void Node::End(EndOfProcess how) {
  CHECK(process_);
  Process& p = *process_;
  if (how == EndOfProcess::kStopped && p.log->status().ok()) {
    // What server/ does on SIGTERM: everything appended is committed and synced.
    (void)p.log->Commit();
    p.log->RequestSync();
    while (p.log->syncing()) p.log->CompleteSync();
    NoteDurable();
    Release();
  }
  if (checkpoint_started_) SOMETIMES(kCrashInPass);
  checkpoint_started_ = false;
  if (!disk_.store->unflushed.empty()) SOMETIMES(kStoreSuffix);
  if (p.engine->merging()) SOMETIMES(kCrashInMerge);
  world_.network().Leave(p.network_id, world_.draw().Percent(30));
  const Vector before = p.applied;
  std::vector<std::pair<AgreedOp::Of, uint64_t>> agreed;
  auto lose = [&](const AgreedOp& op) { agreed.emplace_back(op.of, op.call); };
  for (const auto* ops : {&p.agreed_commands, &p.agreed_waiting}) {
    for (const AgreedOp& op : *ops) lose(op);
  }
  for (const AgreedOp& op : p.agreed_executed) lose(op);
  for (const auto& [id, op] : p.agreed_suspended) lose(op);
  for (const auto& [of, call] : agreed) {
    switch (of) {
      case AgreedOp::Of::kAgreed: world_.agreed().Lost(call); break;
      case AgreedOp::Of::kJobs: world_.jobs().Lost(call); break;
      case AgreedOp::Of::kStocks: world_.stocks().Lost(call); break;
    }
  }
  if (how == EndOfProcess::kKilled && !p.stamps.empty()) stamp_durable_ = p.stamps.back().second;
  process_.reset();
  ++serial_;
  frame_.reset();
  dictionary_ = nullptr;

  if (how != EndOfProcess::kPower || disk_.log->durable >= seat_claimed_) seat_place_ = disk_.log;
  // As the server does: what is on the disk behind a sync that failed cannot be known.
  if (std::exchange(seat_abandoned_, false)) seat_place_ = nullptr;
  if (how == EndOfProcess::kPower) {
    const size_t records = disk_.log->records.size();
    disk_.log->Crash(world_.draw().random());
    if (disk_.log->records.size() < records) SOMETIMES(kTornTail);
  }
  disk_.store->Crash(world_.draw().random());
  durable_ = world_.history().DiskVector(*disk_.log, disk_.log->end);
  Join(ever_durable_, durable_);
  if (!Includes(durable_, before)) SOMETIMES(kLostUnacknowledged);
  // What was torn meets again, or never did; the rest is in the ledger, or noted again by the replay
  // (under the policies of then, as of the end of a frame: with changing ones it may come out otherwise).
  if (world_.policies_change()) met_.clear();
  std::erase_if(met_, [&](const auto& met) {
    return !Covers(durable_, met.second.first) || !Covers(durable_, met.second.second);
  });
  world_.DiskChanged(*this, false);
}

void Node::ReplaceDisk(Disk disk) {
  CHECK(!process_);
  disk_ = std::move(disk);
  disk_.store->Crash(world_.draw().random());
  durable_ = world_.history().DiskVector(*disk_.log, disk_.log->end);
  Join(ever_durable_, durable_);
  lost_data_ = true;
  stamp_durable_ = 0;
  met_.clear();
  world_.DiskChanged(*this, true);
}

void Node::Pause(int64_t until_us) {
  SOMETIMES(kPaused);
  paused_until_us_ = std::max(paused_until_us_, until_us);
  if (up()) process_->next_tick_us = -1;
  Wake(until_us);
}

void Node::Continue() {
  paused_until_us_ = 0;
  Wake(world_.now_us());
}

bool Node::paused() const { return world_.now_us() < paused_until_us_; }

void Node::FailSyncs() {
  if (!up()) return;
  SOMETIMES(kSyncFailed);
  faulty_ = true;
  seat_abandoned_ = true;
  process_->log->FailSyncs();
  Wake(world_.now_us());
}

void Node::FailFlushes() {
  if (!up()) return;
  SOMETIMES(kFlushFailed);
  faulty_ = true;
  process_->store->FailFlushes();
}

void Node::FailWrites() {
  if (!up()) return;
  SOMETIMES(kWriteFailed);
  faulty_ = true;
  process_->log->FailCommits(base::Status(base::Code::kFull, "no space left on the simulated disk"));
}

void Node::SetRoom(uint64_t bytes) {
  room_bytes_ = bytes;
  next_room_us_ = 0;
  Wake(world_.now_us());
}

uint64_t Node::DiskBytes() const {
  uint64_t bytes = disk_.log->end - disk_.log->begin;
  for (const auto& rows : disk_.store->rows) {
    for (const auto& [key, row] : rows) bytes += key.size() + row.size();
  }
  return bytes;
}

// As server/ does, each second.
void Node::LookAtRoom() {
  if ((room_bytes_ == kRoomForAll && !low_room_) || world_.now_us() < next_room_us_) return;
  next_room_us_ = world_.now_us() + kSecond;
  constexpr uint64_t kReserveSegments = 3;
  const uint64_t used = DiskBytes();
  const bool low = room_bytes_ != kRoomForAll && used + kReserveSegments * options_.segment_bytes > room_bytes_;
  if (low && !low_room_) SOMETIMES(kLittleRoom);
  if (low != low_room_) world_.Log([&] { return label_ + (low ? " has little room" : " has room again"); });
  low_room_ = low;
  process_->engine->SetLowSpace(low);
  if (low && used > room_bytes_) FailWrites();
}

// ---- ticks

void Node::Wake(int64_t at_us) {
  if (!process_) return;
  at_us = std::max(at_us, paused_until_us_);
  Process& p = *process_;
  if (p.next_tick_us >= 0 && p.next_tick_us <= at_us) return;
  p.next_tick_us = at_us;
  world_.scheduler().At(at_us, [this, serial = serial_, at_us] {
    if (serial != serial_ || process_->next_tick_us != at_us) return;
    if (paused()) {
      process_->next_tick_us = -1;
      Wake(paused_until_us_);
      return;
    }
    Tick();
  });
}

void Node::Tick() {
  Process& p = *process_;
  p.next_tick_us = -1;
  p.frames_in_tick = 0;
  p.written.clear();
  wall_ms_max_ = std::max(wall_ms_max_, WallMs());
  const bool was_failed = !p.log->status().ok();
  p.engine->BeginTick(Clocks());
  if (p.listener.subscribed == 0) Listen();
  LookAtRoom();
  CheckCaches();
  std::deque<Input> inputs = std::move(p.inputs);
  std::deque<Op> commands = std::move(p.commands);
  p.inputs.clear();
  p.commands.clear();
  std::vector<uint64_t> resumed = std::move(p.resumed);
  p.resumed.clear();
  for (uint64_t id : resumed) {
    if (auto agreed = p.agreed_suspended.find(id); agreed != p.agreed_suspended.end()) {
      AgreedOp op = std::move(agreed->second);
      p.agreed_suspended.erase(agreed);
      RunAgreed(std::move(op));
      continue;
    }
    auto it = p.suspended.find(id);
    if (it == p.suspended.end()) continue;
    Op op = std::move(it->second);
    p.suspended.erase(it);
    Run(std::move(op));
  }
  // A server takes what its sockets give, in any order.
  while (!inputs.empty() || !commands.empty()) {
    if (commands.empty() || (!inputs.empty() && world_.draw().Percent(50))) {
      Feed(inputs.front());
      inputs.pop_front();
    } else {
      Run(std::move(commands.front()));
      commands.pop_front();
    }
  }
  for (AgreedOp& op : std::exchange(p.agreed_commands, {})) RunAgreed(std::move(op));
  p.engine->EndTick();
  ThrowNoted();
  if (p.frames_in_tick > 1) SOMETIMES(kManyFramesInTick);
  NoteTransfers();
  CheckLogSize();
  if (!p.engine->status().ok()) {
    world_.Log([&] { return label_ + " fails: " + p.engine->status().ToString(); });
    // Nothing is acknowledged after a failure.
    p.executed.clear();
    world_.ProcessFailed(*this);
    return;
  }
  if (was_failed) throw Violation(label_ + " goes on after a failed sync");
  AfterTick();
  world_.TickDone(*this);
}

void Node::Listen() {
  Process& p = *process_;
  p.listener.id = serial_ * 100;
  p.listener.authenticated = true;
  p.listener.protocol = 3;
  const std::vector<std::string_view> args = {"SUBSCRIBE", kNewsChannel};
  resp::Buffer out;
  p.engine->Execute(p.listener, args, out, *this);
}

void Node::CheckCaches() {
  Process& p = *process_;
  // Every other process's client is told of all keys.
  // What was not told stays wrong: it need not be looked for each time.
  if (p.caches != nullptr && !world_.draw().OneIn(8)) return;
  if (p.caches == nullptr) p.caches = std::make_unique<Caches>(serial_ * 100 + 98, (serial_ + static_cast<uint64_t>(options_.place)) % 2 == 0);
  const std::string wrong = p.caches->Check(*p.engine, *this, world_.draw());
  if (!wrong.empty()) throw Violation(label_ + " " + wrong);
}

std::vector<std::string> Node::TakeTold() {
  std::vector<std::string> all;
  for (auto& [id, texts] : process_->told)
    all.insert(all.end(), texts.begin(), texts.end());
  process_->told.clear();
  return all;
}

void Node::AfterTick() {
  Process& p = *process_;
  NoteDurable();
  for (Op& op : p.executed) {
    op.hold = p.engine->hold_position();
    if (op.needs_tick) op.need = std::max(op.need, op.hold);
    p.waiting.push_back(std::move(op));
  }
  p.executed.clear();
  for (AgreedOp& op : std::exchange(p.agreed_executed, {})) {
    if (op.held) op.hold = p.engine->hold_position();
    p.agreed_waiting.push_back(std::move(op));
  }
  Release();
  ScheduleDisk();
  Wake(world_.now_us() + options_.timer_us);
}

void Node::Release() {
  Process& p = *process_;
  while (!p.agreed_waiting.empty() && p.log->durable() >= p.agreed_waiting.front().hold) {
    const AgreedOp op = std::move(p.agreed_waiting.front());
    p.agreed_waiting.pop_front();
    switch (op.of) {
      case AgreedOp::Of::kAgreed: world_.agreed().Answered(op.call, op.replies); break;
      case AgreedOp::Of::kJobs: world_.jobs().Answered(op.call, op.replies); break;
      case AgreedOp::Of::kStocks: world_.stocks().Answered(op.call, op.replies); break;
    }
  }
  const bool always = options_.engine.durability == engine::Durability::kAlways;
  while (!p.waiting.empty()) {
    Op& op = p.waiting.front();
    if (op.held && p.log->durable() < op.hold) return;
    if (op.held) op.last > op.first ? SOMETIMES(kHeldWrite) : SOMETIMES(kHeldRead);
    if (always && disk_.log->durable < op.need) {
      std::string text = label_ + " answers ";
      for (const std::string& arg : op.args) text += arg + " ";
      throw Violation(text + "with " + op.reply.ToString() + " before what the reply tells is on disk");
    }
    Op released = std::move(op);
    p.waiting.pop_front();
    world_.Released(*this, released);
  }
}

void Node::ScheduleDisk() {
  Process& p = *process_;
  if (p.log->syncing() && !p.sync_pending) {
    p.sync_pending = true;
    const int64_t delay_us = world_.draw().Scale(options_.sync_min_us, options_.sync_max_us);
    world_.scheduler().After(delay_us, [this, serial = serial_] {
      if (serial != serial_) return;
      process_->sync_pending = false;
      process_->log->CompleteSync();
      ScheduleDisk();
      Wake(world_.now_us());
    });
  }
  if (p.store->flushing() && !p.flush_pending) {
    p.flush_pending = true;
    world_.scheduler().After(world_.draw().Scale(1 * kMs, 200 * kMs), [this, serial = serial_] {
      if (serial != serial_) return;
      process_->flush_pending = false;
      process_->store->CompleteFlush();
      ScheduleDisk();
      Wake(world_.now_us());
    });
  }
}

void Node::NoteDurable() {
  Process& p = *process_;
  while (!p.undurable.empty() && std::get<0>(p.undurable.front()) <= disk_.log->durable) {
    Raise(durable_, std::get<1>(p.undurable.front()), std::get<2>(p.undurable.front()));
    Raise(ever_durable_, std::get<1>(p.undurable.front()), std::get<2>(p.undurable.front()));
    p.undurable.pop_front();
  }
  while (!p.stamps.empty() && p.stamps.front().first <= disk_.log->durable) {
    stamp_durable_ = p.stamps.front().second;
    p.stamps.pop_front();
  }
}

Vector Node::DurableNow() {
  if (up()) NoteDurable();
  return durable_;
}

void Node::Feed(const Input& input) {
  engine::Engine& engine = *process_->engine;
  switch (input.kind) {
    case Input::Kind::kUp: engine.OnLinkUp(input.link, input.text, input.remote); break;
    case Input::Kind::kMessage: engine.OnLinkMessage(input.link, *input.bytes); break;
    case Input::Kind::kPart: engine.OnLinkPart(input.link); break;
    case Input::Kind::kDown: engine.OnLinkDown(input.link); break;
    case Input::Kind::kDialFailed: engine.OnDialFailed(input.text); break;
  }
}

// ---- Endpoint

void Node::LinkUp(LinkId link, const std::string& dialed, const std::string& remote) {
  world_.Log([&] { return label_ + " link " + std::to_string(link) + " is up with " + remote; });
  process_->inputs.push_back({Input::Kind::kUp, link, dialed, remote, nullptr});
  Wake(world_.now_us());
}

void Node::Message(LinkId link, std::shared_ptr<const std::string> bytes) {
  process_->inputs.push_back({Input::Kind::kMessage, link, "", "", std::move(bytes)});
  Wake(world_.now_us() + options_.gather_us);
}

void Node::Part(LinkId link) {
  process_->inputs.push_back({Input::Kind::kPart, link, "", "", nullptr});
  Wake(world_.now_us() + options_.gather_us);
}

void Node::LinkDown(LinkId link) {
  world_.Log([&] { return label_ + " link " + std::to_string(link) + " is down"; });
  process_->inputs.push_back({Input::Kind::kDown, link, "", "", nullptr});
  Wake(world_.now_us() + options_.gather_us);
}

void Node::DialFailed(const std::string& address) {
  world_.Log([&] { return label_ + " cannot reach " + address; });
  process_->inputs.push_back({Input::Kind::kDialFailed, 0, address, "", nullptr});
  Wake(world_.now_us() + options_.gather_us);
}

// ---- engine::Host

// As in net/links.h, a message beyond what a link takes closes it. The bound is that of the rows of a state,
// scaled down with them: what a frame holds is bounded by what a command may bring.
void Node::Send(engine::LinkId link, std::string_view message) {
  wire::StateChunk chunk;
  if (message[0] == static_cast<char>(wire::kStateChunkMessage) && wire::Decode(message.substr(1), chunk) &&
      chunk.part != wire::StatePart::kDigests && chunk.part != wire::StatePart::kStream) {
    size_t beside = kStateMessageBytes + 8 * chunk.rows.size();
    for (const clock::Origin& name : chunk.names)
      beside += name.leader.size() + 16;
    if (message.size() > options_.engine.state_chunk_bytes + beside) return CloseLink(link);
    if (chunk.part == wire::StatePart::kBase) SOMETIMES(kBaseInPieces);
  }
  wire::StateOffer offer;
  if (message[0] == static_cast<char>(wire::kStateOfferMessage) && wire::Decode(message.substr(1), offer) &&
      offer.checkpoint.size() > options_.engine.state_chunk_bytes + kStateMessageBytes) {
    return CloseLink(link);
  }
  world_.network().Send(link, message);
}
size_t Node::Backlog(engine::LinkId link) const { return world_.network().Backlog(link); }
void Node::CloseLink(engine::LinkId link) {
  world_.Log([&] { return label_ + " closes link " + std::to_string(link); });
  world_.network().Close(link);
}
void Node::Dial(const std::string& address) { world_.network().Dial(process_->network_id, address); }

void Node::Push(uint64_t client_id, std::string_view bytes, bool) {
  resp::ReplyReader reader;
  reader.Feed(bytes);
  if (reader.Next() != resp::ReplyReader::State::kValue) throw Violation(label_ + " pushes no message");
  Process& p = *process_;
  if (client_id != p.listener.id && (p.caches == nullptr || client_id != p.caches->id())) {
    p.told[client_id].push_back(reader.value().ToString());
    return;
  }
  const std::string wrong = client_id == p.listener.id ? p.messages.Note(reader.value(), client_id)
                                                       : p.caches->Note(reader.value());
  if (!wrong.empty() && noted_.empty()) noted_ = label_ + " " + wrong;
}

void Node::Resume(uint64_t client_id) {
  process_->resumed.push_back(client_id);
  if (checkpoint_started_) SOMETIMES(kCheckpoint);
  Wake(world_.now_us() + 1);
}

void Node::Report(int severity, const std::string& line) {
  ++reports_[static_cast<size_t>(std::clamp(severity, 0, 2))];
  const std::string bad = world_.Reported(*this, severity, line);
  if (!bad.empty() && noted_.empty()) noted_ = bad;
  world_.Log([&] { return label_ + " reports (" + std::to_string(severity) + "): " + line; });
}

void Node::ForEachClient(const std::function<void(command::Client&)>& visit) {
  for (auto& client : process_->clients) visit(*client);
}

}  // namespace polyarch::sim
