// A state transfer, the receiver's side: asking, staging, the cut-over, and what comes after it.
// While it stages, this leader serves, writes and forwards as ever; nothing of what is staged can be
// seen. docs/design/0009-state-transfer.md.
#include <algorithm>

#include "base/check.h"
#include "base/hash.h"
#include "base/planted.h"
#include "crdt/stream.h"
#include "engine/engine.h"
#include "engine/rows.h"

namespace polyarch::engine {

namespace {

constexpr int64_t kAskUs = 500'000;        // between two requests
constexpr size_t kUnansweredMax = 3;
constexpr int64_t kOfferUs = 2'000'000;    // before a request that was not answered is repeated
constexpr int64_t kPullUs = 1'000'000;     // before a pull that was not answered is repeated
constexpr int64_t kCheckUs = 200'000;
constexpr int64_t kFedUs = 10'000'000;     // so long logs lead on before a state is not needed
constexpr int64_t kPartsUs = 600'000'000;  // parts of other messages are no progress for longer than this
constexpr log::Position kStoreBytesMax = 64 << 20;  // of the stream: between two flushes
}  // namespace

bool Engine::StateMessage(LinkId link, uint8_t type, std::string_view payload) {
  switch (type) {
    case wire::kStateRequestMessage: {
      wire::StateRequest request;
      if (!wire::Decode(payload, request)) return false;
      HandleStateRequest(link, request);
      return true;
    }
    case wire::kStateOfferMessage: {
      wire::StateOffer offer;
      if (!wire::Decode(payload, offer)) return false;
      if (HandleOffer(link, offer)) return true;
      ++transfers_.malformed;
      DropStaged("the offer is malformed; upgrade or repair its sender");
      return false;
    }
    case wire::kStateRefusalMessage: {
      wire::StateRefusal refusal;
      if (!wire::Decode(payload, refusal)) return false;
      HandleRefusal(link, refusal);
      return true;
    }
    case wire::kStatePullMessage: {
      wire::StatePull pull;
      if (!wire::Decode(payload, pull)) return false;
      HandlePull(link, pull);
      return true;
    }
    case wire::kStateChunkMessage: {
      wire::StateChunk chunk;
      return wire::Decode(payload, chunk) && HandleChunk(link, chunk);
    }
    case wire::kStateEndMessage: {
      wire::StateEnd end;
      if (!wire::Decode(payload, end)) return false;
      auto it = sessions_.find(link);
      if (it != sessions_.end() && it->second.id == end.id) EndSession(link);
      kept_pins_.erase(end.id);
      return true;
    }
    default:
      return true;  // of a later version
  }
}

// ---- the steps

void Engine::ReceiveState() {
  if (keyspace_.merging()) {
    const size_t keys = Pacer::Rows(now_.mono_us, rows_since_us_, options_.merge_slice_keys);
    if (keys == 0) return;
    rows_since_us_ = now_.mono_us;
    if (keyspace_.MergeSome(keys)) return;
    Report(0, "the state that was taken over is merged");
    ResumeWaiters(merge_waiters_);
  }
  if (barrier_ > checkpoint_position_) {  // the merge is not durable yet
    if (!pass_) BeginCheckpoint();
    return;
  }
  if (staged_ == nullptr) {
    if (staged_rows_) ClearStaged();
    if (!low_space_) AskForState();
    return;
  }
  using Step = Incoming::Step;
  if (incoming_.digests_here) CompareSlots();
  if (staged_ == nullptr) return;
  if (incoming_.progress_us == 0) incoming_.progress_us = now_.mono_us;
  if (incoming_.step == Step::kFlushing) {
    if (store_.flushed() >= incoming_.flush_ticket) CutOver();
    return;
  }
  // What comes would take the rest, and the log could not be written any more. Not at once again: what is freed now may be
  // just the room that the state lacks.
  if (low_space_) {
    DropStaged("the disk of this leader is nearly full: make room. A state is asked for again when there is, in " +
               std::to_string(options_.state_pause_us / 1'000'000) + " s or later");
    next_state_us_ = PLANTED(kStateForgotten) ? INT64_MAX : now_.mono_us + options_.state_pause_us;
    return;
  }
  // Over a slow line one message takes long: its parts show that the sender sends.
  int64_t progress_us = incoming_.progress_us;
  if (incoming_.step == Step::kPulling) progress_us = std::max(progress_us, replica_.LastPart(incoming_.link));
  if (now_.mono_us - progress_us > options_.state_timeout_us ||
      now_.mono_us - incoming_.progress_us > std::max(kPartsUs, options_.state_timeout_us)) {
    DropStaged(incoming_.told_later ? "its sender is not ready" : "its sender sends nothing");
    return;
  }
  FlushStream();
  if (FallsBehind()) return;
  if (!IsNeeded()) {
    DropStaged("it is not needed, neighbours' logs lead on");
    --transfers_.restarted;
    return;
  }
  const StagedProgress& p = staged_->progress;
  if (incoming_.step != Step::kAsk && !replica_.IsUp(incoming_.link)) {
    // A sender of the version before takes what we tell it of our rows for malformed, each time.
    if (incoming_.step == Step::kOffered && p.needed > p.position && ++incoming_.unanswered >= kUnansweredMax) {
      DropStaged("its sender does not answer; it may be of an earlier version");
      return;
    }
    incoming_.step = Step::kAsk;
  }
  switch (incoming_.step) {
    case Step::kAsk:
      AskForState();
      break;
    case Step::kOffered:
      if (now_.mono_us - incoming_.asked_us > kOfferUs) incoming_.step = Step::kAsk;
      break;
    case Step::kPulling:
      // While we compare, nothing is wanted of the sender.
      if (!incoming_.digests_here) {
        Pull(now_.mono_us - std::max(incoming_.asked_us, progress_us) > kPullUs);
      }
      KeepSession();
      break;
    case Step::kFlushing:
      break;
  }
}

// Those that may be asked for their state now, best first.
std::vector<replication::StateSource> Engine::Sources() {
  std::vector<replication::StateSource> sources = replica_.StateSources();
  std::erase_if(avoided_, [&](const auto& avoided) { return now_.mono_us >= avoided.second; });
  std::erase_if(sources, [&](const auto& source) { return avoided_.count(source.leader) != 0; });
  return sources;
}

// Of those that have about as much as the best one, any one but `except`: receivers that come at one time are not to
// take the same. Empty if there is none.
std::string Engine::ChooseAmong(std::vector<replication::StateSource> sources, const std::string& except) {
  if (sources.empty()) return {};
  const uint64_t least = sources.front().more - sources.front().more / 16;
  std::erase_if(sources, [&](const auto& source) { return source.more < least || source.leader == except; });
  return sources.empty() ? std::string() : sources[random_.Below(sources.size())].leader;
}

void Engine::AskForState() {
  if (now_.mono_us < incoming_.next_ask_us) return;
  if (staged_ == nullptr) {
    if (now_.mono_us < next_state_us_) return;
    next_state_us_ = now_.mono_us + kCheckUs;
    std::vector<replication::StateSource> sources = Sources();
    if (sources.empty()) return;
    // Whoever gave up on us is the last choice.
    if (sources.size() > 1) std::erase_if(sources, [&](const auto& s) { return s.leader == last_sender_; });
    const std::string sender = ChooseAmong(std::move(sources), "");
    if (sender.empty()) return;
    last_sender_.clear();
    ForgetIncoming();
    incoming_.progress_us = now_.mono_us;
    // Without a checkpoint there are no rows here that could be the same.
    const bool compares = !checkpoint_meta_.empty();
    staged_ = std::make_unique<Staged>(
        replica_,
        keyspace_,
        StagedProgress{.id = random_.Next() | 1,
                       .sender = sender,
                       .part = compares ? wire::StatePart::kDigests : wire::StatePart::kRows});
    Report(0,
           "no neighbour's log reaches back to what is missing here: asking " +
               staged_->progress.sender + " for its state");
  }
  incoming_.next_ask_us = now_.mono_us + kAskUs;
  const StagedProgress& p = staged_->progress;
  const auto link = replica_.LinkOf(p.sender);
  if (!link) return;
  incoming_.link = *link;
  incoming_.step = Incoming::Step::kOffered;
  incoming_.asked_us = now_.mono_us;
  const log::Position needed = p.needed > p.position ? p.needed : 0;
  replica_.SendState(*link, wire::Encode(wire::StateRequest{p.id, p.epoch, p.base, p.position, needed}));
}

void Engine::DropStaged(const std::string& why) {
  Report(1, "the state transfer from " + staged_->progress.sender + " is given up: " + why);
  last_sender_ = staged_->progress.sender;
  replica_.SendState(incoming_.link, wire::Encode(wire::StateEnd{staged_->progress.id}));
  staged_.reset();
  ForgetIncoming();
  ++transfers_.restarted;
  next_state_us_ = now_.mono_us + kAskUs;
}

// What is on disk here the sender need not keep. Seldom: a flush costs, and little is kept for us between two.
void Engine::FlushStream() {
  Incoming& in = incoming_;
  const StagedProgress& p = staged_->progress;
  if (in.storing != 0 && store_.flushed() >= in.store_ticket) {
    in.stored = in.storing;
    in.storing = 0;
  }
  if (p.part != wire::StatePart::kStream || in.storing != 0) return;
  if (p.position - std::max(in.stored, p.base) < std::min(kStoreBytesMax, options_.log_quota_bytes / 8)) return;
  in.storing = p.position;
  in.store_ticket = store_.Flush();
}

// The line is slower than what the sender's log grows by: what comes would fill this disk, and the state never be level.
// The least of some time against the least of the time before, for writes may come in bursts.
bool Engine::FallsBehind() {
  Incoming& in = incoming_;
  const StagedProgress& p = staged_->progress;
  if (in.step != Incoming::Step::kPulling || p.part != wire::StatePart::kStream || in.sender_end < p.position) return false;
  in.behind = std::min(in.behind, in.sender_end - p.position);
  if (in.watched_us == 0) in.watched_us = now_.mono_us;
  if (now_.mono_us - in.watched_us < options_.state_pause_us) return false;
  if (in.behind >= in.behind_before) {
    Avoid(p.sender);
    DropStaged("it falls behind: " + std::to_string(in.behind) + " bytes of log were lacking, and " +
               std::to_string(in.behind_before) +
               " before. More is written than the line takes: a faster line or fewer writes help");
    return true;
  }
  in.behind_before = in.behind;
  in.behind = UINT64_MAX;
  in.watched_us = now_.mono_us;
  return false;
}

// A neighbour that was not in reach when the state was asked for may hold in its log what is missing. With no link to the
// sender nobody may be there to tell that something is.
bool Engine::IsNeeded() const {
  return replica_.FedForUs() < kFedUs || replica_.behind() > kLevelChanges || !replica_.LinkOf(staged_->progress.sender);
}

void Engine::ForgetIncoming() {
  if (incoming_.read_ticket != 0) store_.DropRead(incoming_.read_ticket);
  incoming_ = {};
}

void Engine::ClearStaged() {
  storage::Batch batch;
  batch.Clear(storage::Family::kStaged);
  batch.Clear(storage::Family::kSpool);
  batch.Delete(storage::Family::kMeta, kTransferRowKey);
  batch.Delete(storage::Family::kMeta, kTransferBaseRowKey);
  batch.Delete(storage::Family::kMeta, kTransferSlotsRowKey);
  store_.Write(std::move(batch));
  staged_rows_ = false;
}

// Asks for more: anew from where we are, or by further credit.
void Engine::Pull(bool anew) {
  if (store_.pending_bytes() > kStagedPendingMax) return;
  const uint64_t window = options_.state_window_bytes;
  if (anew) {
    incoming_.generation = next_pull_generation_++;
    incoming_.consumed = 0;
    incoming_.granted = window;
  } else {
    if (incoming_.granted >= incoming_.consumed + window / 2 + 1) return;
    incoming_.granted = incoming_.consumed + window;
  }
  SendPull();
}

// A sender that hears nothing for `state_timeout` gives up. Digests are few and take long: no further
// credit is due for all of them.
void Engine::KeepSession() {
  const int64_t keep_us = std::min(kPullUs, options_.state_timeout_us / 4);
  if (now_.mono_us - std::max(incoming_.asked_us, incoming_.kept_us) <= keep_us) return;
  const int64_t asked_us = incoming_.asked_us;
  SendPull();
  incoming_.asked_us = asked_us;  // what is lost is asked for again all the same
  incoming_.kept_us = now_.mono_us;
}

// Each pull says all: the one that began its generation may be lost, or come later. One without the slots
// to be left out would make the sender send what is staged here already.
void Engine::SendPull() {
  const StagedProgress& p = staged_->progress;
  const bool base = incoming_.offer.has_value();
  std::string skip;
  if (p.part == wire::StatePart::kRows && !base) skip = staged_->equal_slots;
  if (p.part == wire::StatePart::kLedger) skip = incoming_.ledger_skip;
  incoming_.asked_us = now_.mono_us;
  replica_.SendState(incoming_.link,
                     wire::Encode(wire::StatePull{p.id,
                                                  incoming_.generation,
                                                  base ? wire::StatePart::kBase : p.part,
                                                  base ? std::string() : p.after,
                                                  p.position,
                                                  incoming_.granted,
                                                  incoming_.map.size(),
                                                  std::move(skip),
                                                  incoming_.partial.row.size(),
                                                  incoming_.partial.digest,
                                                  incoming_.stored}));
}

// ---- what the sender says

void Engine::HandleRefusal(LinkId link, const wire::StateRefusal& refusal) {
  if (staged_ == nullptr || refusal.id != staged_->progress.id || link != incoming_.link) return;
  if (incoming_.step == Incoming::Step::kFlushing) return;
  if (refusal.reason == wire::RefusalReason::kRestart) {
    DropStaged("its sender cannot go on with it");
    last_sender_.clear();
    return;
  }
  if (refusal.reason == wire::RefusalReason::kTooSlow) {
    Avoid(staged_->progress.sender);
    DropStaged("it is too slow: its sender writes more than the line takes, and keeps no more of its log for it. A faster "
               "line, fewer writes or a higher --log-quota there helps");
    return;
  }
  if (refusal.reason == wire::RefusalReason::kBroken) {
    Avoid(staged_->progress.sender);
    DropStaged("its sender cannot read its own store or log: restore it, or empty its directory and join again");
    return;
  }
  incoming_.step = Incoming::Step::kAsk;
  incoming_.next_ask_us = now_.mono_us;
  if (refusal.reason != wire::RefusalReason::kLater) return;
  incoming_.next_ask_us += kAskUs;
  // As long as nothing has come any other one will do.
  StagedProgress& p = staged_->progress;
  if (p.epoch != 0) return;
  incoming_.told_later = true;
  const std::string other = ChooseAmong(Sources(), p.sender);
  if (other.empty()) return;
  replica_.SendState(link, wire::Encode(wire::StateEnd{p.id}));  // an earlier request may be on its way
  p.sender = other;
}

bool Engine::NoteNames(uint64_t first, const std::vector<clock::Origin>& names) {
  std::vector<clock::OriginIndex>& map = incoming_.map;
  if (first > map.size()) return false;
  std::vector<bool> known;  // by our index: none may come twice
  auto is_new = [&known](clock::OriginIndex index) {
    const size_t i = clock::IndexOf(index);
    if (known.size() <= i) known.resize(i + 1);
    const bool fresh = !known[i];
    known[i] = true;
    return fresh;
  };
  for (const clock::OriginIndex index : map)
    (void)is_new(index);
  for (size_t i = 0; i < names.size(); ++i) {
    const clock::OriginIndex index = replica_.InternForeign(names[i]);
    if (index == clock::kNoOrigin) return false;
    if (first + i < map.size()) {
      if (map[first + i] != index) return false;
      continue;
    }
    if (!is_new(index)) return false;
    map.push_back(index);
  }
  return true;
}

void Engine::PutNewOrigins(storage::Batch& batch) {
  for (; stored_origins_ < origins_.size(); ++stored_origins_) {
    const auto index = static_cast<clock::OriginIndex>(stored_origins_);
    batch.Put(storage::Family::kMeta,
              OriginRowKey(stored_origins_),
              EncodeOriginRow(origins_.Get(index)));
  }
}

bool Engine::HandleOffer(LinkId link, const wire::StateOffer& offer) {
  if (staged_ == nullptr || offer.id != staged_->progress.id || link != incoming_.link) return true;
  // The request was repeated, and both were answered, with a checkpoint in between: nothing is taken yet, and the sender
  // goes by its newer offer.
  const bool again = incoming_.step == Incoming::Step::kPulling && incoming_.offer.has_value();
  if (incoming_.step != Incoming::Step::kOffered && !again) return true;
  if (offer.resumed != (staged_->progress.epoch != 0)) return false;
  incoming_.map.clear();
  incoming_.offer.reset();
  if (!NoteNames(0, offer.names)) return false;
  if (offer.resumed || !offer.checkpoint.empty()) return TakeOffer(offer);
  incoming_.offer = offer;
  incoming_.step = Incoming::Step::kPulling;
  incoming_.progress_us = now_.mono_us;
  Pull(true);
  return true;
}

// A piece of the sender's checkpoint row; with the last one the offer is whole. Nothing of it is durable before.
bool Engine::TakeBasePiece(wire::StateChunk& chunk) {
  // Something on the way was lost: it will be pulled again.
  if (chunk.first_name > incoming_.map.size() || !FitsPartial(chunk)) return true;
  if (!NoteNames(chunk.first_name, chunk.names) || !TakePiece(chunk)) return false;
  incoming_.progress_us = now_.mono_us;
  if (incoming_.partial.row.size() < chunk.row_bytes) {
    Pull(false);
    return true;
  }
  const std::string row = std::move(incoming_.partial.row);
  incoming_.partial = {};
  wire::StateOffer offer = std::move(*incoming_.offer);
  incoming_.offer.reset();
  offer.checkpoint = row;
  return TakeOffer(offer);
}

bool Engine::TakeOffer(const wire::StateOffer& offer) {
  StagedProgress& p = staged_->progress;
  storage::Batch batch;
  if (!offer.resumed) {
    CheckpointRow base;
    // A sender's checkpoint may be from before it knew its cluster: 0.
    if (!DecodeCheckpoint(offer.checkpoint, offer.names.size(), base) || base.start != offer.base ||
        (cluster_id_ != 0 && base.identity.cluster != 0 && base.identity.cluster != cluster_id_)) {
      return false;
    }
    bool fits = Remap(base, incoming_.map);
    // Nobody else has begun what this process writes, or will: its origin is announced before it writes.
    const auto own = origins_.Find({options_.leader_id, replica_.incarnation()});
    for (replication::OriginRow& row : base.rows) {
      fits = fits && !(own && row.dictionary.At(0) == *own && row.last > replica_.applied().Get(*own));
    }
    if (!fits) return false;
    batch.Put(storage::Family::kMeta, kTransferBaseRowKey, EncodeCheckpoint(base));
    p.base = p.position = p.needed = offer.base;
    p.stamp = offer.stamp;
    if (!staged_->TakeBase(std::move(base))) return false;
    if (p.part == wire::StatePart::kDigests && keyspace_.dirty_count() > 0) {
      if (!pass_) BeginCheckpoint();
      incoming_.own_pass = checkpoints_started_;
    }
  } else {
    p.stamp = std::max(p.stamp, offer.stamp);
    ++transfers_.resumed;
  }
  incoming_.ledger_skip = ledger_.EqualBuckets(offer.ledger);
  p.epoch = offer.epoch;
  PutNewOrigins(batch);  // as late as this: what has been put there counts as stored
  batch.Put(storage::Family::kMeta, kTransferRowKey, EncodeProgress(p));
  store_.Write(std::move(batch));
  staged_rows_ = true;
  incoming_.step = Incoming::Step::kPulling;
  incoming_.progress_us = now_.mono_us;
  incoming_.told_later = false;
  Report(0,
         std::string("state transfer from ") + p.sender + (offer.resumed ? " goes on" : " begins") +
             " at " + std::to_string(p.bytes) + " bytes");
  Pull(true);
  return true;
}

// Does the piece follow what is here of its row, or begin another one?
bool Engine::FitsPartial(const wire::StateChunk& piece) const {
  const Incoming::Partial& partial = incoming_.partial;
  const bool same = piece.rows.front().first == partial.key &&
                    ((piece.row_bytes == partial.bytes && piece.row_digest == partial.digest) ||
                     PLANTED(kPiecesOfTwoRows));
  return piece.row_offset == (same ? partial.row.size() : 0);
}

// Adds it to its row; with the last one `piece` holds the row. False if it is none.
bool Engine::TakePiece(wire::StateChunk& piece) {
  Incoming::Partial& partial = incoming_.partial;
  auto& [key, bytes] = piece.rows.front();
  if (key <= staged_->progress.after) return false;
  if (piece.row_offset == 0) partial = {std::string(key), {}, piece.row_bytes, piece.row_digest};
  // By what has come: a size that is only claimed takes no memory.
  partial.row.append(bytes);
  if (partial.row.size() < piece.row_bytes) {
    staged_->progress.bytes += key.size() + bytes.size();
    incoming_.consumed += 1 + key.size() + bytes.size();
    return true;
  }
  bytes = partial.row;
  return base::ContentHash64(bytes, piece.id) == partial.digest || PLANTED(kPiecesOfTwoRows);
}

bool Engine::HandleChunk(LinkId link, wire::StateChunk& chunk) {
  if (staged_ == nullptr || chunk.id != staged_->progress.id || link != incoming_.link ||
      incoming_.step != Incoming::Step::kPulling) {
    return true;
  }
  StagedProgress& p = staged_->progress;
  // Whichever pull it answers: what counts is that it follows what is here.
  if (chunk.part == wire::StatePart::kBase) {
    if (!incoming_.offer || TakeBasePiece(chunk)) return true;
    ++transfers_.malformed;
    DropStaged("its checkpoint row is malformed; upgrade or repair its sender");
    return false;
  }
  if (incoming_.offer) return true;
  if (chunk.part != p.part || incoming_.digests_here) return true;
  const bool fits =
      p.part == wire::StatePart::kStream ? chunk.from == p.position : chunk.after == p.after;
  // Something on the way was lost: it will be pulled again.
  if (!fits || chunk.first_name > incoming_.map.size()) return true;
  const bool piece = chunk.row_bytes != 0;
  if (piece && !FitsPartial(chunk)) return true;
  bool good = NoteNames(chunk.first_name, chunk.names) && (!piece || TakePiece(chunk));
  if (good && piece && incoming_.partial.row.size() < chunk.row_bytes) {
    incoming_.progress_us = now_.mono_us;
    Pull(false);
    return true;
  }
  storage::Batch batch;
  good = good && TakeChunk(chunk, batch);
  incoming_.partial = {};
  if (!good) {
    ++transfers_.malformed;
    DropStaged("it is malformed; upgrade or repair its sender");
    return false;
  }
  PutNewOrigins(batch);
  incoming_.progress_us = now_.mono_us;
  incoming_.sender_end = chunk.end;
  batch.Put(storage::Family::kMeta, kTransferRowKey, EncodeProgress(p));
  store_.Write(std::move(batch));
  if (chunk.part != p.part) {
    Pull(true);
    return true;
  }
  if (incoming_.digests_here) return true;
  const bool level = p.part == wire::StatePart::kStream &&
                     p.position + options_.state_near_bytes >= chunk.end &&
                     staged_->complete();
  if (level) {
    incoming_.step = Incoming::Step::kFlushing;
    incoming_.flush_ticket = store_.Flush();
  } else {
    Pull(false);
  }
  return true;
}

bool Engine::TakeChunk(const wire::StateChunk& chunk, storage::Batch& batch) {
  StagedProgress& p = staged_->progress;
  uint64_t bytes = 0;
  const auto own = origins_.Find({options_.leader_id, replica_.incarnation()});
  auto ours_alone = [&](clock::OriginIndex origin, uint64_t sequence) {
    return own && origin == *own && sequence > replica_.applied().Get(origin);
  };
  if (chunk.part == wire::StatePart::kDigests && !TakeDigests(chunk)) return false;
  for (const auto& [key, row] : chunk.rows) {
    if (chunk.part == wire::StatePart::kDigests) {
      bytes += key.size() + row.size();
      continue;
    }
    if (key.empty() || key <= p.after) return false;
    bytes += key.size() + row.size() - chunk.row_offset;  // the pieces before are counted
    p.after = key;
    if (chunk.part == wire::StatePart::kLedger) {
      conflict::LedgerEntry entry;
      if (conflict::Ledger::Decode(key, row, entry)) {
        batch.Put(storage::Family::kStaged, kStagedLedgerPrefix + std::string(key), std::string(row));
        staged_->TakeLedger(std::move(entry));
      } else if (key.size() != 8) {
        return false;
      }
      continue;
    }
    DataRowName name;
    DataRow data;
    if (!ParseDataRowKey(key, name) || RowKeyOf(name) != key ||
        !DecodeAnyRow(name, row, data) || data.position > chunk.end ||
        (data.state.empty() && data.spilled == 0) || !Remap(data.state, incoming_.map)) {
      return false;
    }
    bool foreign = true;
    auto check = [&](const crdt::Register& of) {
      for (const crdt::Version& v : of.versions)
        foreign = foreign && !ours_alone(v.dot.origin(), v.dot.sequence());
      for (const crdt::CounterEntry& e : of.counters)
        foreign = foreign && !ours_alone(e.origin, e.at.sequence);
    };
    check(data.state);
    for (const crdt::Element& e : data.state.elements)
      check(e);
    for (const crdt::ExpiryVersion& x : data.state.expiries)
      foreign = foreign && !ours_alone(x.dot.origin(), x.dot.sequence());
    if (!foreign) return false;
    batch.Put(storage::Family::kStaged, std::string(key), EncodeAnyRow(name, data));
    if (!staged_->TakeRow(name, std::move(data))) return false;
  }
  // A row that is *not* there tells something, too, and so does the ledger: all that the sender's
  // store has heard of by now must have come by its log before the state is consistent.
  if (chunk.part != wire::StatePart::kStream && !PLANTED(kCutOverEarly)) {
    p.needed = std::max(p.needed, chunk.end);
  }
  for (const auto& [end, frame] : chunk.frames) {
    bytes += frame.size();
    wire::FrameName name;
    if (!wire::ParseFrameName(frame, name)) return false;
    if (name.leader == options_.leader_id && name.incarnation == replica_.incarnation() &&
        (!replica_.own() ||
         name.first + name.count - 1 > replica_.applied().Get(*replica_.own()))) {
      return false;
    }
    if (!staged_->TakeFrame(end, frame)) return false;
    batch.Put(storage::Family::kSpool, SpoolKey(end), std::string(frame));
  }
  p.bytes += bytes;
  // A chunk counts a byte more than what is in it, as at its sender: an endless row of empty ones takes credit, too.
  incoming_.consumed += 1 + bytes;
  if (chunk.part == wire::StatePart::kStream) {
    staged_->Advance(chunk.to);
  } else if (chunk.last && chunk.part != wire::StatePart::kDigests) {
    p.after.clear();
    p.part = chunk.part == wire::StatePart::kRows ? wire::StatePart::kLedger
                                                  : wire::StatePart::kStream;
  }
  return true;
}

// ---- the cut-over

void Engine::CutOver() {
  FinishFrame();
  // A pass under way would write rows of keys that are not merged yet. What it has written already
  // holds: each row by its own position. One that has walked through all keys may end.
  if (pass_ && !pass_->walked) {
    pass_.reset();
    keyspace_.RestartVisitDirty();
  }
  const StagedProgress p = staged_->progress;
  const log::Position end =
      log_.Append(log::RecordType::kLocal, EncodeCutOver({p.id, p.position}));
  position_ = end;
  replica_.SendState(incoming_.link, wire::Encode(wire::StateEnd{p.id}));
  EndSessions();
  ++transfers_.completed;
  Report(0,
         "cut over: the state of " + p.sender + " (" + std::to_string(p.bytes) +
             " bytes) is taken over; keys are merged as they are used, and in the background");
  JoinStaged(end);
  sync_wanted_ = true;
  WritePresent();
}

void Engine::JoinStaged(log::Position end) {
  const clock::VersionVector mine = replica_.applied();
  // Both are whole: nothing is left out of a vector in memory (staged.cc, docs/design/0012-folding.md).
  clock::VersionVector theirs = staged_->applied();
  if (PLANTED(kMergeUnexpanded)) theirs = clock::VersionVector::Over(nullptr, replica_.Listed(theirs));
  const CutOverRecord record{staged_->progress.id, staged_->progress.position};
  theirs.ForEachAbove(mine, [&](clock::OriginIndex origin, uint64_t sequence, uint64_t) {
    barrier_floor_.Raise(origin, sequence);
    return true;
  });
  replica_.JoinState(staged_->rows(), end);
  nonempty_.Join(staged_->nonempty());
  barrier_ = end;
  barrier_transfer_ = record.transfer;
  keyspace_.BeginMerge(staged_->ReleaseKeys(), mine, theirs);
  // Who is a member and which policy decides must be known before any other key is merged.
  keyspace_.MergeDatabase(crdt::kReservedDatabase);
  users_.NoteAll();
  flushed_at_ = any_written_at_ = log_.end();  // every key may have changed
  ReadConfiguration();
  if (!replaying_ && probe_ != nullptr) probe_->CutOver(record, end, mine, theirs);
  for (conflict::LedgerEntry entry : staged_->ledger()) {
    if (IsNoted()) break;
    entry.id = 0;
    ledger_.Note(std::move(entry));
  }
  (void)hlc_.Observe(
      clock::Hlc{staged_->progress.stamp}, now_.wall_ms, options_.clock_skew_ms_max);
  // As with frames, what is empty obliges to nothing. In a ring of leaders that all take states, claims that only
  // answer claims would go round and round: each is missing in the log of whoever takes it over, so that the next one
  // needs a state for it, too.
  owes_claim_ |= !mine.Includes(staged_->nonempty());
  records_due_ = true;
  staged_.reset();
  ForgetIncoming();
}

void Engine::Merged(uint8_t db,
                    std::string_view key,
                    const crdt::KeyState& mine,
                    const crdt::KeyState& merged) {
  if (db == crdt::kReservedDatabase) return;
  static const crdt::Register kNothing;
  MergedRegister(db, key, crdt::Type::kString, {}, mine, merged);
  for (const crdt::Element& e : merged.elements) {
    if (e.versions.size() < 2 || !crdt::MayConflict(e.type, e.name)) continue;
    const crdt::Element* before = mine.FindElement(e.type, e.name);
    if (before == nullptr) {
      MergedRegister(db, key, e.type, e.name, kNothing, e);
    } else {
      MergedRegister(db, key, e.type, e.name, *before, e);
    }
  }
}

void Engine::MergedRegister(uint8_t db,
                            std::string_view key,
                            crdt::Type type,
                            std::string_view element,
                            const crdt::Register& mine,
                            const crdt::Register& merged) {
  if (!conflict::IsConflict(merged.versions)) return;
  auto had = [&](const crdt::Version& v) {
    return std::any_of(mine.versions.begin(), mine.versions.end(), [&](const crdt::Version& m) {
      return m.dot == v.dot;
    });
  };
  if (std::all_of(merged.versions.begin(), merged.versions.end(), had)) return;
  ++conflicts_detected_;
  const conflict::Policy& policy = policies_.ForRegister(key, type, element);
  const conflict::View view = conflict::Resolve(
      policy, policies_.default_order(), merged.versions, origins_, conflict::SubjectOf(key, type, element));
  if (view.kind == conflict::View::Kind::kConflict) return;
  const crdt::Version& winner = merged.versions[view.index];
  for (const crdt::Version& v : merged.versions) {
    if (v.dot == winner.dot || view.Keeps(v) || (had(v) && had(winner))) continue;
    // The order in which keys are merged is nobody's to know: the next id, whichever it is.
    NoteLost(db, key, type, element, policy, winner, v, /*by_position=*/false);
  }
}

void Engine::WritePresent() {
  auto self = replica_.members().find(options_.leader_id);
  if (!may_write() || self == replica_.members().end() || !self->second.away) return;
  if (PLANTED(kAwayForEver)) return;
  last_present_us_ = now_.mono_us;
  ++transfers_.present_written;
  PutReserved("away/" + options_.leader_id, "present");
  FinishFrame();
  ReadConfiguration();
  Report(0, "level with the others again: counted for log trimming and expiry");
}

}  // namespace polyarch::engine
