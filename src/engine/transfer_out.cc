// A state transfer, the sender's side. It keeps nothing of its own on disk: the rows are those of
// the store, each with the position that it reflects, and the log is the log. What a receiver has
// already stays valid as long as this log continues the one that it was sent from.
#include <algorithm>

#include "base/hash.h"
#include "base/planted.h"
#include "engine/engine.h"
#include "engine/rows.h"

namespace polyarch::engine {

namespace {

constexpr size_t kSessionsMax = 4;
constexpr size_t kKeptPinsMax = 16;
// Less of a row in a message is mostly the message.
constexpr size_t kPieceBytesLeast = 512;
constexpr size_t kBacklogMax = 1 << 20;
constexpr int64_t kSyncUs = 100'000;
constexpr int64_t kSilentUs = 500'000;
// A checkpoint older than this that leaves so much log behind it is renewed first: rows are cheaper
// than frames.
constexpr int64_t kStaleUs = 30'000'000;
constexpr log::Position kStaleBytes = 16 << 20;

}  // namespace

bool Engine::ServesState() const {
  // One that was retired has to hand over what it holds, until it is refused.
  if (!admitted_ || refused_ || !status_.ok()) return false;
  if (PLANTED(kServeUnmerged)) return true;
  return !keyspace_.merging() && checkpoint_position_ >= barrier_;
}

// This leader's cut-over would end what it sends, so it is level itself before it begins to send. Of two that lack what
// only the other has the lower name comes first: each waits for lower ones only, so nobody for himself.
bool Engine::StagesBefore(LinkId link) const {
  return staged_ != nullptr && options_.leader_id < replica_.LeaderOf(link);
}

// The rule: whoever would have to be sent more than `state_instead_bytes` of the log, and more than
// four times what the state comes to, is not sent it. All of it is known here: where in the log it
// would begin, the memory that the keys take, and the log behind the checkpoint. After a transfer
// nobody lacks more than the latter.
bool Engine::PrefersState(log::Position from) {
  if (checkpoint_meta_.empty() || !ServesState()) return false;
  const uint64_t log_bytes = log_.end() - from;
  const uint64_t state_bytes = keyspace_.memory_bytes() + (log_.end() - checkpoint_position_);
  if (log_bytes <= options_.state_instead_bytes || log_bytes / 4 <= state_bytes) return false;
  ++transfers_.state_instead;
  return true;
}

bool Engine::CanResume(const wire::StateRequest& request) {
  // Our rows must be no older than what it holds, and no cut-over may lie between.
  if (checkpoint_position_ < request.base || barrier_ > request.base) return false;
  // Its rows may reflect more of the log than has come of it.
  const log::Position reflected = std::max(request.position, request.needed);
  if (request.position < request.base || reflected > log_.durable()) return false;
  if (!log_.Holds(request.position)) return false;
  // The process that sent it must have written this very log at least that far.
  for (size_t i = 0; i < epochs_.size(); ++i) {
    if (epochs_[i].second != request.epoch) continue;
    return i + 1 == epochs_.size() || reflected <= epochs_[i + 1].first;
  }
  return false;
}

void Engine::HandleStateRequest(LinkId link, const wire::StateRequest& request) {
  // What it had asked for before is this one's past; its old link may not have been found to be gone yet.
  for (auto it = sessions_.begin(); it != sessions_.end();) {
    const LinkId other = it->first;
    const Session& session = (it++)->second;
    if (session.id != request.id) continue;
    KeepPin(session);
    EndSession(other);
  }
  auto kept = kept_pins_.find(request.id);
  auto refuse = [&](wire::RefusalReason reason) {
    EndSession(link);
    if (kept != kept_pins_.end()) {
      if (reason == wire::RefusalReason::kLater) {
        kept->second.heard_us = now_.mono_us;  // it is still here, and will ask again
      } else {
        kept_pins_.erase(kept);
      }
    }
    replica_.SendState(link, wire::Encode(wire::StateRefusal{request.id, reason}));
  };
  if (!ServesState()) return refuse(wire::RefusalReason::kLater);
  if (sessions_.count(link) == 0 && sessions_.size() >= kSessionsMax) {
    return refuse(wire::RefusalReason::kLater);
  }
  if (request.epoch != 0) {
    if (!CanResume(request)) return refuse(wire::RefusalReason::kRestart);
  } else if (StagesBefore(link)) {
    return refuse(wire::RefusalReason::kLater);
  } else {
    const bool none = checkpoint_meta_.empty();
    const bool stale = log_.end() - checkpoint_position_ > kStaleBytes &&
                       (checkpoint_ended_us_ < 0 || now_.mono_us - checkpoint_ended_us_ > kStaleUs);
    if (none || stale) {
      if (!pass_) BeginCheckpoint();
      return refuse(wire::RefusalReason::kLater);
    }
  }
  Session session;
  session.id = request.id;
  session.heard_us = now_.mono_us;
  wire::StateOffer offer;
  offer.id = request.id;
  offer.epoch = replica_.nonce();
  offer.resumed = request.epoch != 0;
  offer.base = offer.resumed ? request.base : checkpoint_position_;
  offer.stamp = hlc_.last().bits;
  for (size_t i = 0; i < origins_.size(); ++i)
    offer.names.push_back(origins_.Get(static_cast<clock::OriginIndex>(i)));
  session.names_sent = offer.names.size();
  session.base = offer.base;
  session.pin = session.position = offer.resumed ? request.position : offer.base;
  // What has come may still be lost with the receiver's process.
  if (offer.resumed && kept != kept_pins_.end()) session.pin = std::min(session.pin, kept->second.pin);
  session.began_us = now_.mono_us;
  if (!offer.resumed) {
    session.behind = log_.end() - session.pin;
  } else if (kept != kept_pins_.end()) {
    session.behind = kept->second.behind;
    session.began_us = kept->second.began_us;
  }
  session.done = true;  // until it pulls
  std::string meta;
  if (PLANTED(kTransferVector)) meta = EncodeCheckpointMeta(checkpoint_position_);
  offer.ledger = ledger_.Buckets();
  session.ledger_end = ledger_.next_id();
  if (!offer.resumed) {
    const std::string& row = meta.empty() ? checkpoint_meta_ : meta;
    if (row.size() > PieceBytes()) {
      session.part = wire::StatePart::kBase;
      session.pieces = {kTransferBaseRowKey, row, base::ContentHash64(row, session.id), 0, true};
    } else {
      offer.checkpoint = row;
    }
  }
  ++transfers_.served;
  replica_.SendState(link, wire::Encode(offer));
  EndSession(link);
  if (kept != kept_pins_.end()) kept_pins_.erase(kept);
  sessions_[link] = std::move(session);
}

void Engine::HandlePull(LinkId link, const wire::StatePull& pull) {
  auto it = sessions_.find(link);
  if (it == sessions_.end() || it->second.id != pull.id) {
    replica_.SendState(
        link, wire::Encode(wire::StateRefusal{pull.id, wire::RefusalReason::kUnknown}));
    return;
  }
  Session& session = it->second;
  session.heard_us = now_.mono_us;
  if (pull.part == wire::StatePart::kStream && pull.stored <= log_.durable()) {
    session.pin = std::max(session.pin, pull.stored);
  }
  if (pull.generation < session.generation) return;
  if (pull.generation == session.generation) {
    session.credit = std::max(session.credit, pull.credit);
    return;
  }
  if (pull.part == wire::StatePart::kStream &&
      (pull.position < session.pin || pull.position > log_.durable() ||
       !log_.Holds(pull.position))) {
    replica_.SendState(
        link, wire::Encode(wire::StateRefusal{pull.id, wire::RefusalReason::kRestart}));
    EndSession(link);
    return;
  }
  if (pull.part == wire::StatePart::kBase &&
      (session.part != wire::StatePart::kBase || !session.pieces || !pull.after.empty())) {
    replica_.SendState(link, wire::Encode(wire::StateRefusal{pull.id, wire::RefusalReason::kUnknown}));
    EndSession(link);
    return;
  }
  session.generation = pull.generation;
  const bool same = pull.part == session.part && pull.after == session.after;
  // A row that is on its way need not be read again.
  if (!same) session.pieces.reset();
  // Nor what was passed over behind the last row that was sent: it would be begun anew with each pull that is repeated.
  const bool read_on = same && pull.part == wire::StatePart::kRows && pull.skip == session.skip;
  session.part = pull.part;
  session.after = pull.after;
  if (!read_on) session.scan = pull.after;
  session.row_offset = pull.row_offset;
  session.row_digest = pull.row_digest;
  if (session.pieces) ResumePieces(session);
  session.skip = pull.skip;
  session.digester.reset();
  // A chunk that was lost may have named some.
  session.names_sent = static_cast<size_t>(std::min<uint64_t>(pull.names, origins_.size()));
  session.credit = std::max<uint64_t>(pull.credit, 1);
  session.sent = 0;
  session.done = false;
  if (session.read_ticket != 0 && !read_on) {
    store_.DropRead(session.read_ticket);
    session.read_ticket = 0;
  }
  if (pull.part == wire::StatePart::kStream) session.position = pull.position;
}

void Engine::EndSessions() {
  for (const auto& [link, session] : sessions_) {
    if (session.read_ticket != 0) store_.DropRead(session.read_ticket);
    replica_.SendState(
        link, wire::Encode(wire::StateRefusal{session.id, wire::RefusalReason::kRestart}));
  }
  sessions_.clear();
  kept_pins_.clear();
}

// What a receiver needs of the log outlives its link: after a short cut it goes on where it was.
void Engine::KeepPin(const Session& session) {
  kept_pins_[session.id] = {session.pin, session.behind, session.began_us, session.heard_us};
  if (kept_pins_.size() <= kKeptPinsMax) return;
  kept_pins_.erase(std::min_element(kept_pins_.begin(), kept_pins_.end(), [](const auto& a, const auto& b) {
    return a.second.heard_us < b.second.heard_us;
  }));
}

// A state is sent no slower than twice what the log grows by, so the log grows by less than the state comes to while the
// rows are sent. Who needs more of it kept has a line that is slower than the cluster writes: it would never be level,
// and this disk would be full.
log::Position Engine::LogKeptForStates() const {
  const uint64_t quota = options_.log_quota_bytes;
  return low_space_ ? quota : quota + std::max<uint64_t>(quota, keyspace_.memory_bytes());
}

void Engine::EndSlowSessions() {
  const log::Position most = LogKeptForStates();
  // What was written between the checkpoint and the beginning is nobody's slowness.
  auto slow = [&](log::Position pin, uint64_t behind, int64_t began_us) {
    if (!low_space_ && now_.mono_us - began_us < options_.state_grace_us) return false;
    return log_.end() - pin > most + behind;
  };
  for (auto it = sessions_.begin(); it != sessions_.end();) {
    const LinkId link = it->first;
    const Session& session = (it++)->second;
    if (!slow(session.pin, session.behind, session.began_us)) continue;
    Report(1,
           "sending the state to " + replica_.LeaderOf(link) + " is too slow: " + std::to_string(log_.end() - session.pin) +
               " bytes of log are kept for it, more than twice the quota or than quota and state (at little room: than the "
               "quota); it is given up until later. A faster line, fewer writes or a higher --log-quota helps");
    replica_.SendState(link, wire::Encode(wire::StateRefusal{session.id, wire::RefusalReason::kTooSlow}));
    EndSession(link);
  }
  std::erase_if(kept_pins_, [&](const auto& kept) { 
    return slow(kept.second.pin, kept.second.behind, kept.second.began_us);
  });
}

// One chunk a session and tick at most, no faster than the bound, and only what the link takes: the
// clients of this leader come first.
void Engine::SendStates() {
  for (auto it = sessions_.begin(); it != sessions_.end();) {
    const LinkId link = it->first;
    Session& session = (it++)->second;
    const bool silent = now_.mono_us - session.heard_us > options_.state_timeout_us;
    if (silent || !replica_.IsUp(link)) {
      if (!silent) KeepPin(session);
      EndSession(link);
      continue;
    }
    if (session.done || session.sent >= session.credit || now_.mono_us < session.next_send_us ||
        host_.Backlog(link) > kBacklogMax) {
      continue;
    }
    wire::StateChunk chunk;
    chunk.id = session.id;
    chunk.generation = session.generation;
    chunk.part = session.part;
    chunk.end = log_.durable();
    storage::Slice slice;  // holds what the chunk looks at
    const bool filled = session.part == wire::StatePart::kStream ? FillStream(link, session, chunk)
                                                                 : FillRows(link, session, chunk, slice);
    if (!filled) continue;
    chunk.first_name = session.names_sent;
    for (; session.names_sent < origins_.size(); ++session.names_sent) {
      chunk.names.push_back(origins_.Get(static_cast<clock::OriginIndex>(session.names_sent)));
    }
    replica_.SendState(link, wire::Encode(chunk));
    session.sent_us = now_.mono_us;
    uint64_t bytes = 1;
    for (const auto& [end, frame] : chunk.frames)
      bytes += frame.size();
    for (const auto& [key, row] : chunk.rows)
      bytes += key.size() + row.size();
    if (!chunk.rows.empty()) MoveBehind(session, chunk);
    session.sent += bytes;
    // Reading for digests takes time of this leader's, too.
    if (session.part == wire::StatePart::kDigests) bytes += options_.state_chunk_bytes / 4;
    session.next_send_us =
        now_.mono_us + static_cast<int64_t>(bytes * 1'000'000 / pacer_.bytes_per_second());
  }
}

// The chunk is sent: the place from which on rows follow.
void Engine::MoveBehind(Session& session, const wire::StateChunk& chunk) {
  const std::string key(chunk.rows.back().first);
  if (session.part == wire::StatePart::kDigests) {
    session.after = SlotStart(SlotOfRowKey(key) + 1);
    return;
  }
  if (session.part == wire::StatePart::kBase) {  // kept until another part is pulled: it is not in the store
    session.pieces->sent += chunk.rows.back().second.size();
    return;
  }
  if (session.pieces) {
    session.pieces->sent += chunk.rows.back().second.size();
    if (session.pieces->sent < session.pieces->row.size()) return;
    session.pieces.reset();
    session.scan = key;
  }
  session.after = key;
}

// What is durable in the log, from where the session stands. False: nothing is to be sent now.
bool Engine::FillStream(LinkId link, Session& session, wire::StateChunk& chunk) {
  if (log_.durable() < log_.end() && now_.mono_us - last_transfer_sync_us_ > kSyncUs) {
    last_transfer_sync_us_ = now_.mono_us;
    log_.RequestSync();
  }
  // Only what a power cut cannot take: else these positions might come to mean other records.
  const log::Position durable = log_.durable();
  if (session.position > durable) return false;
  chunk.from = chunk.to = session.position;
  if (session.position < durable) {
    auto read =
        log_.Read(session.position, options_.state_chunk_bytes, [&](const log::Record& record) {
          if (record.end > durable) return false;
          if (record.type == log::RecordType::kFrame) {
            chunk.frames.emplace_back(record.end, record.payload);
          }
          chunk.to = record.end;
          return true;
        });
    if (!read.ok()) {
      Report(2, "cannot read the log for a state transfer: " + read.status().message());
      replica_.SendState(link, wire::Encode(wire::StateRefusal{session.id, wire::RefusalReason::kBroken}));
      EndSession(link);
      return false;
    }
  }
  // Nothing new: that is told once a pull, for the receiver to know that it is level.
  session.done = chunk.to == chunk.from;
  session.position = chunk.to;
  return true;
}

// A message bounds what a link takes (net/links.h), and nothing bounds a row but memory: a hash may hold many
// large fields, a register many large versions.
size_t Engine::PieceBytes() const {
  return std::max(options_.state_chunk_bytes, kPieceBytesLeast);
}

// Rows of the store (or digests of them), or a piece of a row. False: nothing is to be sent now.
bool Engine::FillRows(LinkId link,
                      Session& session,
                      wire::StateChunk& chunk,
                      storage::Slice& slice) {
  chunk.after = session.after;
  if (!session.pieces) {
    if (session.read_ticket == 0) StartSessionRead(session);
    auto read = store_.TakeRead(session.read_ticket);
    if (!read) return false;
    session.read_ticket = 0;
    slice = std::move(*read);
    if (!slice.status.ok()) {
      Report(2, "cannot read the store for a state transfer: " + slice.status.message());
      replica_.SendState(link, wire::Encode(wire::StateRefusal{session.id, wire::RefusalReason::kBroken}));
      EndSession(link);
      return false;
    }
    if (session.part == wire::StatePart::kDigests) slice.rows = session.digester->TakeFound();
    if (!slice.at_end) session.scan = slice.last_key;
    // A row beyond the size of a chunk is alone in what was read.
    if (slice.rows.size() == 1 && slice.rows.front().second.size() > PieceBytes()) {
      auto& [key, row] = slice.rows.front();
      const uint64_t digest = base::ContentHash64(row, session.id);
      session.pieces = {std::move(key), std::move(row), digest, 0, slice.at_end};
      ResumePieces(session);
    }
  }
  if (session.pieces) {
    const Pieces& p = *session.pieces;
    const std::string_view piece = std::string_view(p.row).substr(p.sent, PieceBytes());
    chunk.rows.emplace_back(p.key, piece);
    chunk.row_bytes = p.row.size();
    chunk.row_offset = p.sent;
    chunk.row_digest = p.digest;
    session.done = chunk.last = p.last && p.sent + piece.size() == p.row.size();
    return true;
  }
  for (const auto& [key, row] : slice.rows)
    chunk.rows.emplace_back(key, row);
  session.done = chunk.last = slice.at_end;
  // Many rows may be passed over before there is one to send: an empty chunk now and then tells that this goes on.
  const int64_t silent_us = now_.mono_us - session.sent_us;
  return !slice.rows.empty() || slice.at_end || session.part != wire::StatePart::kRows ||
         silent_us > std::min(kSilentUs, options_.state_timeout_us / 4);
}

// From where the receiver has the row, if what it has is of this one.
void Engine::ResumePieces(Session& session) {
  Pieces& p = *session.pieces;
  const bool same = p.digest == session.row_digest || PLANTED(kPiecesOfTwoRows);
  p.sent = same && session.row_offset < p.row.size() ? session.row_offset : 0;
}

}  // namespace polyarch::engine
