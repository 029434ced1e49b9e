// Streams of frames: subscribing, the causal gate, serving from the log.
#include <algorithm>

#include "base/check.h"
#include "base/codec.h"
#include "base/planted.h"
#include "base/remedy.h"
#include "replication/replica.h"

namespace polyarch::replication {

namespace {

constexpr int64_t kResubscribeUs = 50'000;
// So much of the log may be read for what is sent of it, most of which is other origins'.
constexpr size_t kWalkPerPump = 16;
constexpr int64_t kForkPauseUs = 5'000'000;
constexpr int64_t kSayAgainUs = 200'000;  // before a neighbour is told again to send no more
constexpr log::Position kIndexBytes = 256 << 10;

std::string FrameMessage(std::string_view bytes) {
  std::string message;
  message.reserve(bytes.size() + 1);
  message.push_back(static_cast<char>(wire::MessageType::kFrame));
  message.append(bytes);
  return message;
}

}  // namespace

Replica::Stream& Replica::StreamOf(clock::OriginIndex origin) {
  size_t i = clock::IndexOf(origin);
  if (streams_.size() <= i) streams_.resize(i + 1);
  Stream& stream = streams_[i];
  if (stream.queue.empty() && stream.next <= applied_.Get(origin))
    stream.next = applied_.Get(origin) + 1;
  return stream;
}

// ---- receiving: subscriptions

void Replica::SubscribeAt(clock::OriginIndex origin, Stream& stream, Link& link) {
  if (stream.source != 0 && stream.source != link.id) {
    ++counters_.moved;
    auto old = links_.find(stream.source);
    if (old != links_.end()) {
      SendTo(old->second, wire::Encode(wire::Unsubscribe{origins_.Get(origin), stream.generation}));
    }
    if (PLANTED(kSubscribeFromZero)) ++stream.next;
  }
  if (stream.source != link.id) stream.leaving_us = 0;
  stream.source = link.id;
  flowing_.insert(origin);
  stream.generation = next_generation_++;
  stream.subscribed_us = now_us_;
  stream.came = stream.consumed = 0;
  stream.queued_before = stream.queued_bytes;
  stream.granted = std::max<uint64_t>(1,
                                      options_.window_bytes > stream.queued_bytes
                                          ? options_.window_bytes - stream.queued_bytes
                                          : 1);
  wire::Subscribe subscribe;
  subscribe.origin = origins_.Get(origin);
  subscribe.from = stream.next;
  subscribe.chain = stream.queue.empty() ? Row(origin).chain : stream.queue.back().chain;
  subscribe.credit = stream.granted;
  subscribe.generation = stream.generation;
  SendTo(link, wire::Encode(subscribe));
}

void Replica::Unsubscribe(clock::OriginIndex origin, Stream& stream) {
  auto it = links_.find(stream.source);
  if (it != links_.end()) {
    SendTo(it->second, wire::Encode(wire::Unsubscribe{origins_.Get(origin), stream.generation}));
  }
  stream.source = 0;
}

void Replica::Grant(clock::OriginIndex origin, Stream& stream) {
  if (stream.leaving_us != 0) return;  // its source is to run dry
  // What was queued before this subscription takes room until it is applied.
  const uint64_t room = stream.consumed + options_.window_bytes;
  const uint64_t credit = room > stream.queued_before ? room - stream.queued_before : 1;
  if (credit <= stream.granted) return;
  if (credit - stream.granted < std::max<uint64_t>(1, options_.window_bytes / 2)) return;
  auto it = links_.find(stream.source);
  if (it == links_.end()) return;
  stream.granted = credit;
  SendTo(it->second, wire::Encode(wire::Credit{origins_.Get(origin), stream.generation, credit}));
}

// ---- receiving: frames

void Replica::HandleFrame(Link& link, std::string_view bytes) {
  wire::FrameName name;
  if (!wire::ParseFrameName(bytes, name)) {
    ++counters_.malformed;
    host_.Report(
        1, "malformed frame from " + link.peer.leader + "; the link is closed and opened again");
    host_.CloseLink(link.id);
    return;
  }
  auto index = origins_.Find({std::string(name.leader), name.incarnation});
  if (!index || (own_ && *index == *own_)) return;
  if (PLANTED(kFoldCap) && FoldedAt(*index) != 0) return;
  // Ours is announced before its first write: nobody else may begin it.
  if (name.incarnation == incarnation_ && name.leader == options_.leader) return;
  ++counters_.frames_in;
  Stream& stream = StreamOf(*index);
  if (stream.forked_until_us > now_us_) return;
  if (link.id == stream.source) stream.came += bytes.size();
  const uint64_t last = name.first + name.count - 1;
  if (const uint64_t before = link.have.Get(*index); before < last) {
    link.have.Set(*index, last);
    (void)folds_.Expand(link.have, {{*index, before}});
  }
  if (name.first == stream.next) {
    // Beyond what was granted (one frame is always allowed). It will be asked for again.
    if (stream.queued_bytes >= options_.window_bytes) {
      ++counters_.beyond_window;
      return;
    }
    if (PLANTED(kWindowPerLink)) {
      size_t queued = 0;
      for (const Stream& other : streams_)
        queued += other.source == link.id ? other.queued_bytes : 0;
      if (queued >= options_.window_bytes) return;
    }
    wire::Frame frame;
    if (!wire::ParseFrame(bytes, frame)) {
      ++counters_.malformed;
      host_.CloseLink(link.id);
      return;
    }
    stream.queue.push_back({name.first, last, frame.chain, std::string(bytes)});
    stream.queued_bytes += bytes.size();
    queued_.insert(*index);
    stream.next = last + 1;
    stream.progress_us = now_us_;
    stream.waiting_us = 0;
    if (link.id == stream.source && (stream.target == 0 || stream.target == stream.source)) stream.backoff_us = 0;
    if (link.id == stream.source && stream.leaving_us != 0 && HasRunDry(link, *index, stream)) routes_changed_ = true;
  } else if (last < stream.next) {
    ++counters_.duplicates_dropped;
    if (link.id != stream.source && now_us_ - stream.unsubscribed_us > kSayAgainUs) {
      // It has not heard that we get it elsewhere. No generation is newer than this.
      stream.unsubscribed_us = now_us_;
      SendTo(link, wire::Encode(wire::Unsubscribe{origins_.Get(*index), next_generation_ - 1}));
    }
    if (PLANTED(kSkipDedup)) {
      wire::Frame frame;
      if (wire::ParseFrame(bytes, frame) && last <= applied_.Get(*index)) {
        host_.ApplyFrame(frame, bytes, Row(*index), *index, Row(*index).deps);
      }
    }
  } else if (link.id == stream.source && now_us_ - stream.subscribed_us > kResubscribeUs) {
    ++counters_.resubscribed;  // something on the way was lost
    SubscribeAt(*index, stream, link);
  }
}

void Replica::ApplyReady() {
  bool progress = true;
  while (progress) {
    progress = false;
    for (auto it = queued_.begin(); it != queued_.end();) {
      const clock::OriginIndex origin = *it;
      const size_t i = clock::IndexOf(origin);
      while (!streams_[i].queue.empty() && TryApply(origin, streams_[i]))
        progress = true;
      it = streams_[i].queue.empty() ? queued_.erase(it) : std::next(it);
    }
  }
}

bool Replica::DecodeDeps(const wire::Frame& frame,
                         const OriginRow& row,
                         clock::VersionVector& deps,
                         std::vector<clock::OriginIndex>& added) {
  deps = row.deps;
  if (row.compact && !PLANTED(kFoldNotExpanded)) folds_.Expand(deps);
  clock::Folds::Grown grown;
  for (const auto& [place, increase] : frame.deps_changed) {
    clock::OriginIndex origin = row.dictionary.At(place);
    if (place == 0 || origin == clock::kNoOrigin || increase >> 48 != 0) return false;
    uint64_t sequence = deps.Get(origin) + increase;
    if (sequence >> 48 != 0) return false;
    grown.emplace_back(origin, deps.Get(origin));
    deps.Set(origin, sequence);
  }
  for (const auto& [name, sequence] : frame.deps_new) {
    clock::OriginIndex origin = InternForeign(name);
    if (origin == clock::kNoOrigin) return false;
    uint64_t place = 0;
    if (row.dictionary.Find(origin, place)) return false;
    if (std::find(added.begin(), added.end(), origin) != added.end()) return false;
    // It may have been there, folded and so not listed.
    if (sequence == 0 || sequence < deps.Get(origin)) return false;
    grown.emplace_back(origin, deps.Get(origin));
    deps.Set(origin, sequence);
    added.push_back(origin);
  }
  if (folds_.empty() || PLANTED(kFoldNotExpanded)) return true;
  // Its own earlier changes may have been records, too.
  const clock::OriginIndex self = row.dictionary.At(0);
  deps.Set(self, frame.first - 1);
  grown.emplace_back(self, row.followed);
  (void)folds_.Expand(deps, std::move(grown));
  deps.Set(self, 0);
  return true;
}

bool Replica::TryApply(clock::OriginIndex origin, Stream& stream) {
  if (stream.blocked_on != clock::kNoOrigin) {
    if (applied_.Get(stream.blocked_on) < stream.blocked_at) return false;
    stream.blocked_on = clock::kNoOrigin;
  }
  const uint64_t have = applied_.Get(origin);
  if (stream.queue.front().last <= have) {
    stream.queued_bytes -= stream.queue.front().bytes.size();
    stream.queue.pop_front();
    return true;
  }
  wire::Frame frame;
  const std::string& bytes = stream.queue.front().bytes;
  CHECK(wire::ParseFrame(bytes, frame));
  if (!PLANTED(kSubscribeFromZero)) CHECK(frame.first == have + 1);
  // Before the gate: deps of a frame that is not its author's might never be met.
  const bool forked =
      wire::ChainOf(bytes, frame, Row(origin).chain) != frame.chain && !PLANTED(kSubscribeFromZero);
  clock::VersionVector deps;
  std::vector<clock::OriginIndex> added;
  bool well_formed = !forked && DecodeDeps(frame, Row(origin), deps, added);
  if (well_formed && !PLANTED(kNoGate)) {
    deps.ForEachAbove(applied_, [&](clock::OriginIndex other, uint64_t needed, uint64_t) {
      stream.blocked_on = other;
      stream.blocked_at = needed;
      return false;
    });
    if (stream.blocked_on != clock::kNoOrigin) {
      InferHave(origin, stream);
      return false;
    }
  }
  if (well_formed) {
    wire::Dictionary& dictionary = Row(origin).dictionary;
    for (clock::OriginIndex o : added)
      dictionary.Add(o);
    well_formed = wire::ValidateBody(frame.body, frame.base, frame.count, dictionary);
    if (!well_formed) dictionary.RemoveLast(added.size());
  }
  if (!well_formed || forked) {
    const std::string what = origins_.Get(origin).ToString() + ":" + std::to_string(frame.first);
    auto source = links_.find(stream.source);
    if (forked) {
      ++counters_.forks;
      host_.Report(2,
                   "two contents for change " + what +
                       ": its history forked; both leaders begin a new incarnation");
      if (source != links_.end()) {
        SendTo(source->second, wire::Encode(wire::Fork{origins_.Get(origin), frame.first}));
      }
      host_.ForkDetected(origin);
    } else {
      ++counters_.malformed;
      host_.Report(
          2,
          "malformed change " + what + " is refused; upgrade or repair the leader that wrote it");
    }
    stream.queue.clear();
    stream.queued_bytes = 0;
    stream.next = have + 1;
    stream.forked_until_us = now_us_ + kForkPauseUs;
    Unsubscribe(origin, stream);
    return false;
  }
  Pending pending = std::move(stream.queue.front());
  stream.queue.pop_front();
  stream.queued_bytes -= pending.bytes.size();
  wire::ParseFrame(pending.bytes, frame);  // views into the moved string
  const log::Position start = log_.end();
  const log::Position end = host_.AppendFrame(pending.bytes);
  if (Row(origin).compact) {
    ++counters_.beyond_fold;
    unsettled_.push_back(origin);
  }
  // Rows may grow while effects are applied (records name origins): no reference is kept across.
  host_.ApplyFrame(frame, pending.bytes, Row(origin), origin, deps);
  Row(origin).Note(frame, deps, origin);
  NoteRow(origin);
  applied_.Raise(origin, frame.last());
  NoteIndex(origin, frame.first, start);
  NoteLogged(origin, frame.last(), end);
  Forward(origin, frame, pending.bytes, start, end);
  Stream& same = StreamOf(origin);
  same.consumed += pending.bytes.size();
  Grant(origin, same);
  return true;
}

// ---- this node's frames

void Replica::PrepareDeps(wire::Frame& frame, clock::VersionVector& deps) {
  const clock::OriginIndex self = Mint();
  frame.deps_changed.clear();
  frame.deps_new.clear();
  deps = applied_;
  deps.Set(self, 0);
  OriginRow& row = Row(self);
  // New ones that a fold record tells of are not listed, unless the list alone would not lead to it.
  std::vector<std::pair<clock::OriginIndex, uint64_t>> fresh;
  bool any_folded = false;
  deps.ForEachAbove(row.deps, [&](clock::OriginIndex origin, uint64_t sequence, uint64_t before) {
    uint64_t place = 0;
    if (row.dictionary.Find(origin, place)) {
      frame.deps_changed.emplace_back(place, sequence - before);
    } else {
      fresh.emplace_back(origin, sequence);
      any_folded |= !folds_.empty() && FoldedAt(origin) != 0;
    }
    return true;
  });
  std::vector<clock::VersionVector::Entry> listed;
  if (any_folded) {
    clock::VersionVector full = deps;
    full.Set(self, row.last);
    listed = Listed(full);
  }
  for (const auto& [origin, sequence] : fresh) {
    if (any_folded && !std::binary_search(listed.begin(), listed.end(), std::pair(origin, sequence))) continue;
    row.dictionary.Add(origin);
    frame.deps_new.emplace_back(origins_.Get(origin), sequence);
  }
  frame.origin = origins_.Get(self);
  frame.first = row.last + 1;
  frame.durable = durable_.Get(self);
  frame.clock_ms = wall_ms_;
}

void Replica::NoteOwn(const wire::Frame& frame,
                      std::string_view bytes,
                      const clock::VersionVector& deps,
                      log::Position start,
                      log::Position end) {
  Row(*own_).Note(frame, deps, *own_);
  NoteRow(*own_);
  applied_.Raise(*own_, frame.last());
  ++counters_.frames_own;
  NoteIndex(*own_, frame.first, start);
  NoteLogged(*own_, frame.last(), end);
  Forward(*own_, frame, bytes, start, end);
  if (frame.first == 1) next_announce_us_ = 0;  // peers subscribe when they hear of it
}

base::Status Replica::NoteReplayed(const wire::Frame& frame,
                                   std::string_view bytes,
                                   log::Position start,
                                   log::Position end,
                                   clock::OriginIndex& origin,
                                   clock::VersionVector& deps) {
  origin = origins_.Intern(frame.origin);
  if (origin == clock::kNoOrigin)
    return base::Corrupt("the log names more origins than a directory can know" + std::string(base::kDirectoryRemedy));
  OriginRow& row = Row(origin);
  if (frame.first != row.last + 1) {
    return base::Corrupt("the log skips changes of " + frame.origin.ToString() + " before " +
                         std::to_string(frame.first) +
                         "" + std::string(base::kDirectoryRemedy));
  }
  std::vector<clock::OriginIndex> added;
  if (!DecodeDeps(frame, row, deps, added) ||
      wire::ChainOf(bytes, frame, row.chain) != frame.chain) {
    return base::Corrupt("the log does not fit the checkpoint at " + frame.origin.ToString() + ":" +
                         std::to_string(frame.first) +
                         "" + std::string(base::kDirectoryRemedy));
  }
  for (clock::OriginIndex o : added)
    Row(origin).dictionary.Add(o);
  Row(origin).Note(frame, deps, origin);
  NoteRow(origin);
  applied_.Raise(origin, frame.last());
  NoteIndex(origin, frame.first, start);
  NoteLogged(origin, frame.last(), end);
  return {};
}

void Replica::UndoDeps(const wire::Frame& frame) {
  Row(*own_).dictionary.RemoveLast(frame.deps_new.size());
}

// ---- serving

void Replica::HandleSubscribe(Link& link, const wire::Subscribe& subscribe) {
  // One that is not known here yet will be: its author is on the way that the subscriber chose.
  const clock::OriginIndex known = InternForeign(subscribe.origin);
  if (known == clock::kNoOrigin) return;
  const clock::OriginIndex* origin = &known;
  const OriginRow& row = Row(known);
  auto present = link.cursors.find(*origin);
  if (present != link.cursors.end() && subscribe.generation < present->second.generation) return;
  if (subscribe.from > 1 && subscribe.from == row.last + 1 && subscribe.chain != row.chain) {
    ++counters_.forks;
    host_.Report(2,
                 link.peer.leader + " holds other contents for " + subscribe.origin.ToString() +
                     " up to " + std::to_string(row.last) +
                     ": its history forked; both leaders begin a new incarnation");
    SendTo(link, wire::Encode(wire::Fork{subscribe.origin, row.last}));
    link.cursors.erase(*origin);
    host_.ForkDetected(*origin);
    return;
  }
  if (subscribe.from > row.last + 1) NoteSetBack(link, *origin);
  if (subscribe.from <= floor_.Get(*origin) && subscribe.from <= row.last) {
    link.cursors.erase(*origin);
    AnswerGap(link, *origin, floor_.Get(*origin));
    return;
  }
  Cursor cursor;
  cursor.next = subscribe.from;
  cursor.credit = subscribe.credit;
  cursor.generation = subscribe.generation;
  cursor.at_tail = subscribe.from > row.last;
  cursor.position = cursor.at_tail ? log_.end() : Locate(*origin, subscribe.from);
  if (!cursor.at_tail && host_.PrefersState(cursor.position)) {
    // As if it were not in the log: the subscriber comes back when it has taken over a state.
    link.cursors.erase(*origin);
    AnswerGap(link, *origin, row.last);
    return;
  }
  link.cursors[*origin] = cursor;
}

void Replica::HandleCredit(Link& link, const wire::Credit& credit) {
  auto origin = origins_.Find(credit.origin);
  if (!origin) return;
  auto it = link.cursors.find(*origin);
  if (it == link.cursors.end() || it->second.generation != credit.generation) return;
  it->second.credit = std::max(it->second.credit, credit.credit);
}

void Replica::Forward(clock::OriginIndex origin,
                      const wire::Frame& frame,
                      std::string_view bytes,
                      log::Position start,
                      log::Position end) {
  std::string message;
  const bool held = IsHeld(origin, end);
  for (auto& [id, link] : links_) {
    auto it = link.cursors.find(origin);
    if (it == link.cursors.end() || !it->second.at_tail) continue;
    Cursor& cursor = it->second;
    if (frame.last() < cursor.next) continue;  // the subscriber is ahead of us
    if (!held && cursor.next == frame.first && cursor.sent < cursor.credit &&
        host_.Backlog(id) < options_.backlog_bytes_max) {
      if (message.empty()) message = FrameMessage(bytes);
      SendTo(link, message);
      ++counters_.frames_out;
      cursor.sent += bytes.size();
      cursor.next = frame.last() + 1;
      cursor.position = end;
    } else {
      cursor.at_tail = false;
      cursor.position = start;
    }
  }
  if (PLANTED(kForwardTwice)) {
    for (auto& [id, link] : links_) {
      if (!link.greeted || link.cursors.count(origin) != 0) continue;
      SendTo(link, FrameMessage(bytes));
      ++counters_.frames_out;
      break;
    }
  }
}

// In turn, beginning behind the one that was served last: neither one far behind nor what all pass over on their way
// may take the tick.
void Replica::Pump(Link& link) {
  size_t budget = options_.pump_bytes;
  size_t walk = kWalkPerPump * options_.pump_bytes;
  auto next = link.cursors.lower_bound(link.pump_next);
  for (size_t i = link.cursors.size(); i > 0 && budget > 0 && walk > 0; --i) {
    if (next == link.cursors.end()) next = link.cursors.begin();
    auto& [origin, cursor] = *next;
    if (!cursor.at_tail && !PumpCursor(link, origin, cursor, budget, walk)) {
      next = link.cursors.erase(next);
      break;
    }
    ++next;
  }
  link.pump_next = next == link.cursors.end() ? clock::OriginIndex{} : next->first;
}

bool Replica::PumpCursor(
    Link& link, clock::OriginIndex origin, Cursor& cursor, size_t& budget, size_t& walk) {
  const clock::Origin& name = origins_.Get(origin);
  bool stopped = false;
  bool gap = false;
  if (cursor.next <= floor_.Get(origin)) {
    AnswerGap(link, origin, floor_.Get(origin));
    return false;
  }
  // All that there is was sent: what comes next comes by Forward.
  auto level = [&] { return cursor.next > Row(origin).last; };
  auto at_tail = [&] {
    cursor.at_tail = true;
    cursor.position = log_.end();
    return true;
  };
  if (level()) return at_tail();
  cursor.position = std::max(cursor.position, log_.begin());
  const log::Position from = cursor.position;
  if (cursor.sent >= cursor.credit || host_.Backlog(link.id) >= options_.backlog_bytes_max)
    return true;
  auto result = log_.Read(cursor.position, std::min(budget * 4 + 1, walk), [&](const log::Record& record) {
    ++steps_;
    wire::FrameName frame;
    if (record.type == log::RecordType::kFrame && wire::ParseFrameName(record.payload, frame) &&
        frame.incarnation == name.incarnation && frame.leader == name.leader &&
        frame.first + frame.count > cursor.next) {
      if (frame.first > cursor.next) {
        gap = true;
        return false;
      }
      if (cursor.sent >= cursor.credit || budget == 0 || IsHeld(origin, record.end) ||
          host_.Backlog(link.id) >= options_.backlog_bytes_max) {
        stopped = true;
        return false;
      }
      SendTo(link, FrameMessage(record.payload));
      ++counters_.frames_out;
      cursor.sent += record.payload.size();
      cursor.next = frame.first + frame.count;
      budget -= std::min(budget, record.payload.size());
    }
    cursor.position = record.end;
    return !level();
  });
  walk -= std::min<size_t>(walk, cursor.position - from);
  // Too many open files, say: the log is tried again.
  if (!result.ok() && result.status().code() == base::Code::kBusy) return true;
  if (!result.ok()) {
    host_.Report(2,
                 "cannot read the log for " + link.peer.leader + ": " + result.status().message() +
                     "; it takes the state instead");
    AnswerGap(link, origin, Row(origin).last);
    return false;
  }
  if (gap) {
    host_.Report(2,
                 "the log lacks changes of " + name.ToString() + " before those that " +
                     link.peer.leader + " asked for; it takes the state instead");
    AnswerGap(link, origin, Row(origin).last);
    return false;
  }
  if (level() || (!stopped && cursor.position >= log_.end())) return at_tail();
  return true;
}

log::Position Replica::Locate(clock::OriginIndex origin, uint64_t sequence) const {
  size_t i = clock::IndexOf(origin);
  if (i < index_.size()) {
    const auto& entries = index_[i];
    auto after = std::upper_bound(
        entries.begin(), entries.end(), sequence, [](uint64_t s, const auto& entry) {
          return s < entry.first;
        });
    if (after != entries.begin()) return std::max(std::prev(after)->second, log_.begin());
  }
  // Before what this process has indexed: the last segment that begins without the change.
  log::Position position = log_.begin();
  segment_heads_.erase(segment_heads_.begin(), segment_heads_.lower_bound(log_.begin()));
  for (const log::SegmentHead& head : log_.Heads()) {
    // Read once: of thousands of folds that is work. A head lists what was not folded when it was written, so what is
    // folded later changes nothing in it.
    auto [read, fresh] = segment_heads_.try_emplace(head.position);
    if (fresh) read->second = ReadHead(head.head);
    if (read->second.Get(origin) >= sequence) break;
    position = head.position;
  }
  return position;
}

void Replica::NoteIndex(clock::OriginIndex origin, uint64_t first, log::Position start) {
  size_t i = clock::IndexOf(origin);
  if (index_.size() <= i) index_.resize(i + 1);
  if (index_[i].empty() || start - index_[i].back().second >= kIndexBytes)
    index_[i].emplace_back(first, start);
}

}  // namespace polyarch::replication
