// Replication without I/O: links, subscriptions, the causal gate, catching up from the log, claims
// and stability. Frames' bodies are opaque here. Driven by Engine; the same object runs in the
// simulator.
//
// Messages (wire/peer_message.h) are self-contained and idempotent: a lost, doubled or reordered
// one costs time, never correctness. What heals:
//   - a frame that does not fit the stream (gap) or a stream without progress: subscribe again,
//   from
//     what has been received so far;
//   - a silent link (kLinkTimeoutUs): closed, dialed again with back-off and jitter;
//   - an announcement or a link state that was lost: the heartbeat (Pulse) shows it.
//
// Links: those of the configured topology, and bypasses around what fails (healing.h). Each process
// floods its links (link_state.h), so each knows the live graph.
//
// Receiver-driven: for each origin this node subscribes at exactly one neighbour, the next one on the
// shortest path to the origin's live process; if that is dead, out of reach, or its way makes no
// progress, at whoever has more. Flow control is per origin: cumulative credit in bytes, of which one frame is always
// allowed; per link it could deadlock (two gates full of frames that wait for each other's heads).
//
// The gate: a frame whose deps are not covered waits in its origin's queue. The causally least
// missing frame is always at the head of some queue, so there is always progress.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/planted.h"
#include "base/random.h"
#include "base/status.h"
#include "clock/folds.h"
#include "clock/origin.h"
#include "clock/version_vector.h"
#include "log/log.h"
#include "replication/healing.h"
#include "replication/link_state.h"
#include "replication/origin_row.h"
#include "replication/topology.h"
#include "wire/frame.h"
#include "wire/peer_message.h"

namespace polyarch::replication {

using LinkId = uint64_t;

class ReplicaHost {
 public:
  virtual ~ReplicaHost() = default;
  virtual log::Position AppendFrame(std::string_view bytes) = 0;
  // Applies the body of a frame whose deps are covered; it is in the log already.
  virtual void ApplyFrame(const wire::Frame& frame,
                          std::string_view bytes,
                          const OriginRow& row,
                          clock::OriginIndex origin,
                          const clock::VersionVector& deps) = 0;
  virtual void Send(LinkId link, std::string_view message) = 0;
  virtual size_t Backlog(LinkId link) const = 0;
  // OnLinkDown follows later, never from within the call.
  virtual void CloseLink(LinkId link) = 0;
  // Why the peer of this link cannot be the leader of that name (its certificate is another's), for people. Empty: it may be.
  virtual std::string LinkRefusal(LinkId /*link*/, std::string_view /*leader*/) { return {}; }
  virtual void Dial(const std::string& address) = 0;
  virtual void Report(int severity, const std::string& line) = 0;
  virtual void ForkDetected(clock::OriginIndex origin) = 0;
  virtual void NameClash(const std::string& other_address) = 0;
  // A process asks to become a member (its directory is empty).
  virtual void JoinRequested(const std::string& leader,
                             uint64_t nonce,
                             const std::string& address) = 0;
  virtual void ClusterKnown(uint64_t cluster_id) = 0;
  // A member refuses links because this node's admission was retired. Mutual: so is its own, by what is known
  // here, and its word counts for no more than ours.
  virtual void RefusedAsRetired(const std::string& by, uint64_t join_nonce, bool mutual) = 0;
  // Should somebody who lacks what the log holds from there on take the state instead?
  virtual bool PrefersState(log::Position) { return false; }
  // A message of a state transfer (wire/state_message.h). False if it is malformed: the link is
  // closed then.
  virtual bool StateMessage(LinkId, uint8_t, std::string_view) { return true; }
  // Somebody waits for what is in the log to be durable.
  virtual void SyncWanted() {}
  // A number from outside of the process, for what must differ from a copy of it. 0: there is none.
  virtual uint64_t Entropy() { return 0; }
  // A client of another leader has published this; the views are for the call only.
  virtual void Published(bool /*shard*/, std::string_view /*channel*/, std::string_view /*message*/) {}
  // A message for this process (SendRouted); the view is for the call only.
  virtual void RoutedHere(std::string_view /*message*/) {}
};

struct Member {
  std::string name;
  std::string address;
  clock::VersionVector floor;  // what each of its admissions covers: its first claim
  bool away = false;           // further behind than the log's quota, by a record
  std::vector<clock::Dot> admissions;  // the records

  // Does what has this vector know that it is admitted? Without records there is nothing to know.
  bool Knows(const clock::VersionVector& vector) const {
    return admissions.empty() || PLANTED(kClaimBeforeAdmission) ||
           std::any_of(admissions.begin(), admissions.end(), [&](clock::Dot dot) { return vector.Covers(dot); });
  }
};

// A neighbour whose state would help.
struct StateSource {
  std::string leader;
  uint64_t more = 0;  // changes that it has and no neighbour's log holds
};

struct LinkStats {
  std::string leader;
  std::string state;   // up: a link of ours; routed: reached over others; cut; down: out of reach
  std::string next;    // the neighbour over which it is reached; empty: out of reach
  uint32_t hops = 0;
  uint64_t lag_changes = 0;
  int64_t lag_ms = 0;           // of what the last 30 s tell
  int64_t unreachable_ms = 0;   // out of reach since so long, as this process knows; 0: in reach
  uint64_t bytes_in = 0;
  uint64_t bytes_out = 0;
  uint64_t incarnation = 0;
  std::optional<int64_t> clock_difference_ms;  // of a link of ours
  int64_t delay_ms = 0;
  bool joining = false;
};

// What TOPOLOGY GET shows.
struct TopologyView {
  struct Route {
    std::string to;  // a leader
    std::string next;
    uint32_t hops = 0;
  };
  std::string configured;           // "ring a b c"
  std::vector<Edge> wanted;         // the configured links
  std::vector<Edge> live;           // all that this process can see
  std::vector<Edge> bypasses;       // live ones that are not configured
  std::vector<Route> routes;        // by leader
  std::vector<std::pair<std::string, std::string>> sources;  // origin, neighbour that it is pulled from
};

class Replica {
 public:
  struct Options {
    std::string leader;
    std::string advertise;
    std::vector<std::string> join;
    size_t window_bytes = 4 << 20;
    size_t backlog_bytes_max = 4 << 20;
    size_t pump_bytes = 256 << 10;  // a link and tick
  };
  struct Counters {
    uint64_t duplicates_dropped = 0;
    uint64_t frames_own = 0;  // written here
    uint64_t frames_in = 0;
    uint64_t frames_out = 0;
    uint64_t resubscribed = 0;
    uint64_t malformed = 0;
    uint64_t forks = 0;
    uint64_t moved = 0;
    uint64_t beyond_window = 0;    // frames for which there was no room: sent again later
    uint64_t orphans_dropped = 0;  // frames whose causes nobody in reach has
    uint64_t link_states_out = 0;  // sent: entries
    uint64_t bypasses = 0;         // links that came up and were not configured
    uint64_t drained = 0;          // links that nobody wanted any more
    uint64_t held_back = 0;        // flapping links that were not listed at once
    uint64_t gaps = 0;             // answers "not in my log any more", given
    uint64_t beyond_fold = 0;      // frames applied of origins beyond their fold
    // Messages between clients: from other leaders, come again, sent to a neighbour, and not sent because
    // of what was on its way there already.
    uint64_t publishes_in = 0;
    uint64_t publishes_again = 0;
    uint64_t publishes_out = 0;
    uint64_t publishes_dropped = 0;
    // Messages from process to process: for this one, passed on for others, and lost here.
    uint64_t routed_in = 0;
    uint64_t routed_on = 0;
    uint64_t routed_lost = 0;
  };

  Replica(Options options,
          ReplicaHost& host,
          log::Log& log,
          clock::OriginTable& origins,
          uint64_t seed);

  // ---- life
  void Start(int64_t mono_us, int64_t wall_ms);
  void SetTime(int64_t mono_us, int64_t wall_ms) {
    now_us_ = mono_us;
    wall_ms_ = wall_ms;
  }
  // Timers, pumping, announcements; at the end of each tick.
  void Tick();
  // Applies whatever the gate lets through. Not while a local frame is open.
  void ApplyReady();

  // ---- links
  void OnLinkUp(LinkId link, const std::string& dialed, const std::string& remote_address);
  void OnLinkMessage(LinkId link, std::string_view message);
  // A part of a message has come. Over a slow line a large change takes longer than a silent link or a
  // stream without progress is given: it must not be begun again and again.
  void OnLinkPart(LinkId link);
  // When that was last; INT64_MIN: never, or there is no such link.
  int64_t LastPart(LinkId link) const;
  void OnLinkDown(LinkId link);
  void OnDialFailed(const std::string& address);
  base::Status Cut(std::string_view leader);
  base::Status Heal(std::string_view leader);
  base::Status Delay(std::string_view leader, int64_t delay_ms);
  // Leaders whose link is cut or delayed here, members or not.
  std::set<std::string> drills() const;

  // ---- messages between clients (publish.cc)
  // Sends one to all leaders in reach, at most once to each.
  void Publish(bool shard, std::string_view channel, std::string_view message);
  // Passes on what has come since the last call. Behind Tick, so that frames go first.
  void ForwardPublished();

  // ---- messages from process to process (routed.cc)
  // To the nearest process of that leader. False: it is out of reach, or what is on its way there already is
  // too much. It may be lost all the same.
  bool SendRouted(const std::string& leader, std::string_view message);
  bool InReach(std::string_view leader) const { return graph_.Reaches(leader); }
  // The nonce of the process that is that leader, the nearer one of two; 0: out of reach.
  uint64_t ProcessOf(std::string_view leader) const {
    const auto found = graph_.leaders().find(leader);
    return found == graph_.leaders().end() ? 0 : found->second;
  }
  // Is another process of this leader's name in reach (CheckClash)?
  bool has_rival() const { return rival_ != 0; }
  // Its nonce, if it is in reach and has said that it knows this process: it is no earlier one. Else 0.
  uint64_t proven_rival() const { return proven_rival_; }
  // Rises with every change of who is in reach, and over which way.
  uint64_t graph_version() const { return graph_.version(); }
  // ---- receipts (receipts.cc)
  // For a little while from now on others are asked who holds this process's changes up to `sequence`.
  void WantReceipts(uint64_t sequence);
  // How many other members, away ones too, hold the change durably, as far as they have told.
  size_t Holders(clock::Dot dot) const;

  // ---- this node's frames
  // The origin of this process; minted (registered) at the first call.
  clock::OriginIndex Mint();
  std::optional<clock::OriginIndex> own() const { return own_; }
  // Ends this process's origin: the next write mints another (after a fork, or under another name).
  void ForgetOwn();
  // Fills frame.deps_changed / deps_new with what was applied since the own origin's previous frame
  // and adds new origins to its dictionary.
  void PrepareDeps(wire::Frame& frame, clock::VersionVector& deps);
  // The frame was given up: takes back what PrepareDeps added to the dictionary.
  void UndoDeps(const wire::Frame& frame);
  // The own frame that ends there in the log, and those behind it, are sent to nobody before they are durable. Called
  // before NoteOwn.
  void HoldOwn(log::Position end) {
    if (log_.durable() >= held_to_) {
      held_from_ = end;
      held_origins_.clear();
    }
    held_to_ = end;
    held_origins_.insert(*own_);
  }
  // An own frame was appended and its effects applied.
  void NoteOwn(const wire::Frame& frame,
               std::string_view bytes,
               const clock::VersionVector& deps,
               log::Position start,
               log::Position end);
  // Recovery: a frame found in the log. Its effects are applied by the caller with row and deps.
  base::Status NoteReplayed(const wire::Frame& frame,
                            std::string_view bytes,
                            log::Position start,
                            log::Position end,
                            clock::OriginIndex& origin,
                            clock::VersionVector& deps);
  void RaiseApplied(clock::OriginIndex origin, uint64_t sequence) {
    applied_.Raise(origin, sequence);
  }
  // From a checkpoint: applied and durable.
  void RestoreApplied(clock::OriginIndex origin, uint64_t sequence) {
    applied_.Raise(origin, sequence);
    durable_.Raise(origin, sequence);
  }
  void LogDurable(log::Position durable);

  // ---- what is known
  const clock::VersionVector& applied() const { return applied_; }
  const clock::VersionVector& durable() const { return durable_; }
  OriginRow& Row(clock::OriginIndex origin);
  // From a checkpoint.
  void RestoreRow(clock::OriginIndex origin, OriginRow row);
  // The row has changed.
  void NoteRow(clock::OriginIndex origin);
  const OriginRow& row(clock::OriginIndex origin) const { return rows_[clock::IndexOf(origin)]; }
  size_t row_count() const { return rows_.size(); }
  const std::vector<OriginRow>& rows() const { return rows_; }
  void SetMembers(std::map<std::string, Member> members);
  void SetTopology(const Topology& topology) { healing_.SetTopology(topology); }
  // The order in which leaders take the place of a star's hub.
  void SetPrecedence(const std::vector<std::string>& order) { healing_.SetPrecedence(order); }
  const Topology& topology() const { return healing_.topology(); }
  TopologyView ViewTopology() const;
  const LinkStates& graph() const { return graph_; }
  const std::map<std::string, Member>& members() const { return members_; }
  // Admissions (leader, join nonce) that count for nothing any more: no links with their processes.
  void SetRetired(std::set<std::pair<std::string, uint64_t>> retired);
  void SetEnded(clock::OriginIndex origin);
  // What is looked at often of all that is known of the origins of a leader.
  struct OfLeader {
    int64_t clock_ms = -1;                  // the highest that it has claimed
    std::vector<clock::OriginIndex> rows;  // rising: applied here, and not both ended and folded
  };
  const std::map<std::string, OfLeader, std::less<>>& leaders() const { return leaders_; }
  // Rows, streams and links that were looked at on time: what an idle leader costs.
  uint64_t steps() const { return steps_; }

  // ---- folding (folding.cc)
  // A record that was found in a frame, in a row, or in a state that is staged: it is true whoever
  // holds it, and says something of vectors that cover it only.
  void AddFold(const clock::Fold& fold);
  const clock::Folds& folds() const { return folds_; }
  // How far the origin is folded by records that are applied here; 0: not at all.
  uint64_t FoldedAt(clock::OriginIndex origin) const { return folds_.FoldedAt(origin, applied_); }
  // Is there nothing of the origin beyond the fold, as far as is known here?
  // Is the origin's process in reach, or this one? As far as is known.
  bool IsLive(clock::OriginIndex origin) const {
    const size_t i = clock::IndexOf(origin);
    return own() == origin || (i < streams_.size() && streams_[i].live);
  }
  bool IsFolded(clock::OriginIndex origin) const {
    return !folds_.empty() && applied_.Get(origin) != 0 && FoldedAt(origin) == applied_.Get(origin);
  }
  // What must be told of a vector for Expand to give it back. Both are of causally closed sets.
  std::vector<clock::VersionVector::Entry> Listed(const clock::VersionVector& vector) const {
    return folds_.Compress(vector, origins_);
  }
  void Expand(clock::VersionVector& vector) const { folds_.Expand(vector); }
  // As VersionVector::ToString, of what must be told. Equal sets of dots have equal texts.
  std::string Text(const clock::VersionVector& vector) const;
  // Origins of which nothing is kept but what a frame beyond the fold would need.
  size_t folded() const {
    return static_cast<size_t>(std::count_if(
        rows_.begin(), rows_.end(), [](const OriginRow& row) { return row.compact; }));
  }
  // Keeps less of the origins that were folded since the last call.
  void SettleFolds();
  // An effect of the frame under way names the origin: the author's dictionary must have it.
  void NameInFrame(wire::Frame& frame, const clock::VersionVector& deps, clock::OriginIndex origin);
  // 0: no cluster to admit anybody to, yet.
  void SetClusterId(uint64_t id) {
    const bool changed = cluster_id_ != id;
    cluster_id_ = id;
    if (changed) Regreet();
  }
  void SetJoining(bool joining, uint64_t nonce) {
    const bool changed = joining_ != joining || join_nonce_ != nonce;
    if (join_nonce_ != nonce) {
      for (auto& [id, link] : links_) link.refuses = false;
    }
    joining_ = joining;
    join_nonce_ = nonce;
    if (changed) Regreet();
  }
  // The leader whose state comes in (empty: none): whatever the topology says, there is to be a link with it.
  void SetCarrier(const std::string& leader) { carrier_ = leader; }
  // Further addresses to ask while joining: of leaders that are no members any more, say.
  void AddJoin(const std::string& address);
  void Rename(const std::string& leader);
  // Origins of this leader's name, not this process's, not ended, announced by no live process.
  std::vector<clock::OriginIndex> OriginsToEnd();

  // A member's claim; the minimum over members: everything below is stable.
  clock::VersionVector Claim(const std::string& member) const;
  clock::VersionVector Stable() const;
  // The same without away members. What it covers may still be news to them.
  clock::VersionVector StableOfCounting() const;
  // The same without these members.
  clock::VersionVector StableWithout(const std::set<std::string>& left_out) const;
  // The clock that the member last claimed, -1 if none.
  int64_t MemberClock(const std::string& member) const;

  // ---- gaps and state (gaps.cc)
  // The neighbours that have changes which no neighbour's log holds any more, those with most of such
  // first; empty while the log of some neighbour leads on, or of one that may yet be heard of might. Settled: it has been
  // so for a moment.
  std::vector<StateSource> StateSources() const;
  // For how long the logs of neighbours have led on to all that is known of, as far as those say that have a link; it
  // begins anew with each link. -1: they do not.
  int64_t FedForUs() const { return fed_since_us_ < 0 ? -1 : now_us_ - fed_since_us_; }
  // The link to a live process of this leader, if there is one.
  std::optional<LinkId> LinkOf(const std::string& leader) const;
  // The leaders at the other ends of links who do not ask for admission themselves.
  std::vector<std::string> LinkedLeaders() const;
  // The leader at its other end; empty if the link is gone.
  std::string LeaderOf(LinkId link) const;
  bool IsUp(LinkId link) const { return links_.count(link) != 0; }
  void SendState(LinkId link, std::string_view message);
  // Another leader's state was joined with ours by the local record that ends at `end`: `rows` by
  // our origin indices, each consistent with the changes up to its `last`. What the log does not
  // hold is never served: the answer to who asks is a gap.
  void JoinState(const std::vector<OriginRow>& rows, log::Position end);
  // As JoinState for the log's part before the checkpoint (its barrier was read from there).
  void RestoreFloor(const clock::VersionVector& floor) { floor_.Join(floor); }
  // The log begins further on, or was just opened.
  void NoteTrimmed();
  // What a segment's head says.
  clock::VersionVector ReadHead(std::string_view head) const;
  // What the member has on its disk, as far as we know: its claim, and what its process says.
  clock::VersionVector Holds(const std::string& member) const;
  // The frame's full deps from its author's previous ones in `row`; `added`: origins new to the
  // dictionary. False on a malformed frame.
  bool DecodeDeps(const wire::Frame& frame,
                  const OriginRow& row,
                  clock::VersionVector& deps,
                  std::vector<clock::OriginIndex>& added);
  // As OriginTable::Intern, but leaves room for what this node itself must name.
  clock::OriginIndex InternForeign(const clock::Origin& origin);

  size_t past() const { return past_have_.size(); }  // leaders without a link whose last words are kept
  size_t causal_waiting() const;
  size_t queued_bytes() const;     // of the frames that wait
  // Has any neighbour told what it has, or is there no other member? Before, behind() knows nothing.
  bool HasHeard() const;
  uint64_t behind() const;         // the most changes that a neighbour has and we have not
  bool synced_with_links() const;  // nothing queued, nothing behind any link's announcement
  // All that is applied here or was announced by a neighbour; nothing while one of them has announced nothing yet.
  std::optional<clock::VersionVector> Heard() const;
  // What those members had, when they had a link, that have none now; of `leaders` only, if given.
  clock::VersionVector LastWords(const std::set<std::string>* leaders = nullptr) const;
  std::vector<LinkStats> Links() const;
  const Counters& counters() const { return counters_; }
  // Who has called of late and belongs to another cluster, `us at 10.0.0.2:8400`; or nobody.
  std::string_view stranger() const;
  uint64_t nonce() const { return nonce_; }
  uint64_t incarnation() const { return incarnation_; }
  std::string SegmentHead() const;  // the log's head provider

 private:
  using Process = wire::ProcessInfo;
  struct Cursor {  // a subscription that we serve
    uint64_t next = 1;
    log::Position position = 0;
    uint64_t sent = 0;
    uint64_t credit = 0;
    uint64_t generation = 0;
    bool at_tail = false;
  };
  struct Link {
    LinkId id = 0;
    std::string dialed;
    bool greeted = false;  // their Hello has come
    Process peer;
    uint64_t peer_version = 0;  // of that Hello
    bool joining = false;
    uint64_t join_nonce = 0;   // of its admission
    int64_t refused_us = -1;   // when it was refused; closed a little later
    bool impostor = false;     // for a name that its certificate does not bear
    bool refuses = false;      // it has refused this process's present admission
    clock::VersionVector have;
    clock::VersionVector have_durable;
    clock::VersionVector gap;  // changes up to there are not in its log
    std::map<clock::OriginIndex, Cursor> cursors;
    clock::OriginIndex pump_next{};  // whose turn it is
    int64_t up_us = 0;
    int64_t heard_us = 0;
    int64_t part_us = INT64_MIN;  // when a part of a message came last
    int64_t hello_us = 0;         // when we last sent ours
    uint64_t hello_heard = 0;     // the version of ours that they have
    int64_t pulsed_us = 0;        // when we last sent a heartbeat
    uint64_t haves_sent = 0;      // the number of our last announcement
    uint64_t haves_seen = 0;      // of theirs, without gaps
    bool want_full = false;       // ours, since one of theirs was lost
    int64_t summary_us = 0;       // when we last sent one
    std::set<uint64_t> flood;     // processes whose link state is to be sent
    bool wanted = true;           // by us
    bool peer_wants = true;
    int64_t unwanted_us = 0;      // since when by neither
    int64_t draining_us = 0;      // not listed any more since then, to be closed
    int64_t listed_from_us = 0;   // a flapping link is not listed before
    bool deliberate = false;      // we close it, it does not fail
    clock::VersionVector sent_have;
    clock::VersionVector sent_durable;
    std::vector<bool> sent_name;  // by origin: named on this link since the last full announcement
    bool unsaid = false;          // there was no room for an announcement: the next one is of everything
    std::map<uint64_t, clock::OriginIndex> names;  // of origins, by the neighbour's numbers; kNoOrigin: no room
    int64_t clock_difference_ms = 0;
    uint64_t bytes_in = 0;
    uint64_t bytes_out = 0;
    std::deque<std::pair<int64_t, std::string>> delayed;       // to be handled then
    std::deque<std::pair<int64_t, std::string>> delayed_out;   // to be sent then
    size_t delayed_bytes = 0;      // of these
    size_t delayed_out_bytes = 0;
  };
  struct Pending {
    uint64_t first = 0;
    uint64_t last = 0;
    uint64_t chain = 0;
    std::string bytes;
  };
  static constexpr uint64_t kNever = ~uint64_t{0};
  struct Stream {       // what we receive of one origin
    LinkId source = 0;  // 0: none
    LinkId target = 0;  // where it should come from: the next hop to the origin's process; 0: none
    bool live = false;  // the origin's process is in reach, or is this one
    LinkId author = 0;  // the link to the origin's process itself; 0: none
    uint64_t return_at = kNever;  // back to the target when that has so much
    int64_t avoid_us = 0;         // not to the target before
    int64_t leaving_us = 0;       // since when the source runs dry, for the target; 0: it does not
    int64_t waiting_us = 0;       // since when somebody has more and nothing has come; 0: not
    int64_t unsubscribed_us = 0;  // when somebody was told again to stop
    uint64_t generation = 0;
    uint64_t next = 0;  // the next sequence to come
    uint64_t came = 0;  // bytes of this subscription: what its source has sent, when all of it is here
    uint64_t consumed = 0;
    uint64_t granted = 0;
    uint64_t queued_before = 0;  // bytes in the queue when it was subscribed
    int64_t progress_us = 0;
    int64_t subscribed_us = 0;
    int64_t backoff_us = 0;
    std::deque<Pending> queue;
    size_t queued_bytes = 0;
    clock::OriginIndex blocked_on = clock::kNoOrigin;
    uint64_t blocked_at = 0;
    int64_t forked_until_us = 0;
  };
  struct Dialing {
    int64_t next_us = 0;
    int64_t backoff_us = 0;
    bool under_way = false;
    int64_t began_us = 0;
  };
  struct Damping {  // of a flapping link
    int64_t hold_us = 0;
    int64_t down_us = 0;
  };

  void Handle(Link& link, std::string_view message);
  bool IsWhoItSays(Link& link, const Process& process);
  // A line that anybody who reaches the port can cause, as often as he likes: the same one once a minute, others once a second.
  void ReportStranger(const std::string& line);
  void HandleHello(Link& link, const wire::Hello& hello);
  void HandleRefused(Link& link, const wire::Refused& refused);
  void Refuse(Link& link, uint64_t join_nonce);
  void HeedRefusal(Link& link);
  bool IsRetired(const Process& process, uint64_t join_nonce) const {
    return retired_.count({process.leader, join_nonce}) != 0;
  }
  bool MayGreet(const Link& link) const;
  bool IsEstranged(const Link& link) const;
  void HandleSubscribe(Link& link, const wire::Subscribe& subscribe);
  void HandleFrame(Link& link, std::string_view bytes);
  void HandleCredit(Link& link, const wire::Credit& credit);
  void SendTo(Link& link, std::string_view message);
  int64_t DelayUs(const Link& link) const;
  void NoteLag(LinkStats& stats, const clock::VersionVector& have) const;
  clock::VersionVector SaidToHave(const std::string& leader) const;
  void SendHello(Link& link);
  void Regreet();  // there is something new to say of this process
  void Close(Link& link);  // deliberately

  // ---- announce.cc: what neighbours are told of what is applied here
  void AnnounceFull(Link& link);
  void AnnounceNews();
  bool IsUrgent(const Link& link, clock::OriginIndex origin) const;
  bool IsSaid(const Link& link, clock::OriginIndex origin) const;
  // What of a neighbour's vectors has grown, with what it was before.
  struct NewHaves {
    clock::Folds::Grown applied;
    clock::Folds::Grown durable;
  };
  void NoteSetBack(Link& link, clock::OriginIndex origin);
  void NoteHave(
      Link& link, clock::OriginIndex origin, uint64_t applied, uint64_t durable, NewHaves& grown);
  void ExpandHaves(Link& link, NewHaves grown);
  void NoteHaveNumber(Link& link, bool full, uint64_t number);
  void HandleHave(Link& link, const wire::Have& have);
  void HandleHaveMore(Link& link, const wire::HaveMore& have);

  // ---- neighbours.cc: heartbeats, link states, who is a neighbour
  Process Self() const;
  void SendPulse(Link& link);
  void HandlePulse(Link& link, const wire::Pulse& pulse);
  void HandleLinkStates(Link& link, const wire::LinkStates& states);
  void HandleLinkSummary(Link& link, const wire::LinkSummary& summary);
  void HandleLinkWant(Link& link, const wire::LinkWant& want);
  void SendSummary(Link& link);
  void Flood(uint64_t nonce, const Link* from);
  void FlushFloods();
  void SayLinks();        // this process's own link state, if it has changed
  void UpdateGraph();     // what follows from new link states
  void UpdateNeighbours();
  void Drain(Link& link);
  void NoteFlap(const Link& link);
  void NoteDialFailed(const std::string& address);
  void BackOff(Dialing& dialing);
  void DialMembers();

  // ---- publish.cc
  bool HandlePublish(Link& link, std::string_view message);
  void SendOn(uint64_t source, std::string_view message, const Link* from);

  // ---- routed.cc
  bool HandleRouted(std::string_view message);
  bool PassOn(uint64_t to, std::string_view message);
  // ---- receipts.cc
  struct Wish {  // another process's, for receipts
    uint64_t sequence = 0;
    uint64_t told = 0;
    int64_t until_us = 0;
    LinkId from = 0;
  };
  void SayWish(const clock::Origin& origin, clock::OriginIndex index, uint64_t sequence, LinkId except);
  void HandleWantReceipt(Link& link, const wire::WantReceipt& wish);
  void HandleReceipt(Link& link, const wire::Receipt& receipt);
  void TickReceipts();
  bool HasOnDisk(const std::string& member, clock::Dot dot) const;

  // ---- routing.cc: where each origin comes from
  void FindTargets();
  void Route();
  void RouteOrigin(clock::OriginIndex origin);
  Link* MostOf(clock::OriginIndex origin, uint64_t more_than, LinkId except);
  void DropOrphans(clock::OriginIndex origin, Stream& stream);
  void InferHave(clock::OriginIndex origin, const Stream& stream);
  void SubscribeAt(clock::OriginIndex origin, Stream& stream, Link& link);
  void Unsubscribe(clock::OriginIndex origin, Stream& stream);
  bool TryApply(clock::OriginIndex origin, Stream& stream);
  void HandleGap(Link& link, const clock::Origin& name, uint64_t floor);
  void AnswerGap(Link& link, clock::OriginIndex origin, uint64_t floor);
  static bool CanServe(const Link& link, clock::OriginIndex origin, uint64_t next) {
    return next > link.gap.Get(origin);
  }
  // Is nothing of it on its way from its source, as far as is known? It has sent all that it may (both sides count the
  // same bytes, and it stops with the frame that reaches the credit), or all that it has.
  static bool HasRunDry(const Link& source, clock::OriginIndex origin, const Stream& stream) {
    return stream.came >= stream.granted || source.have.Get(origin) < stream.next;
  }
  bool IsStarved(clock::OriginIndex origin) const;
  bool HasMetNeighbours() const;
  void NoteStarved(const std::set<clock::OriginIndex>& looked_at);
  void Grant(clock::OriginIndex origin, Stream& stream);
  void Forward(clock::OriginIndex origin,
               const wire::Frame& frame,
               std::string_view bytes,
               log::Position start,
               log::Position end);
  void Pump(Link& link);
  // Serves one, from the log: `budget` bytes are still to be sent to that link in this tick, `walk` to be read for it.
  bool PumpCursor(Link& link, clock::OriginIndex origin, Cursor& cursor, size_t& budget, size_t& walk);
  log::Position Locate(clock::OriginIndex origin, uint64_t sequence) const;
  void NoteIndex(clock::OriginIndex origin, uint64_t first, log::Position start);
  void NoteLogged(clock::OriginIndex origin, uint64_t last, log::Position end);
  void CheckClash();
  Link* LinkOfProcess(uint64_t nonce);
  bool IsCut(const std::string& leader) const { return cut_.count(leader) != 0; }
  Stream& StreamOf(clock::OriginIndex origin);

  Options options_;
  ReplicaHost& host_;
  log::Log& log_;
  // What was applied where a segment of the log begins, as its head says.
  mutable std::map<log::Position, clock::VersionVector> segment_heads_;
  // Own frames that end here or behind wait for the disk, as long as it does not hold the last one that must.
  log::Position held_from_ = 0;
  log::Position held_to_ = 0;
  std::set<clock::OriginIndex> held_origins_;  // of this process: it may have begun another one since
  bool IsHeld(clock::OriginIndex origin, log::Position end) const {
    return end >= held_from_ && log_.durable() < held_to_ && end > log_.durable() && held_origins_.count(origin) != 0;
  }
  clock::OriginTable& origins_;
  base::Random random_;

  int64_t now_us_ = 0;
  int64_t wall_ms_ = 0;
  int64_t started_ms_ = 0;
  uint64_t nonce_ = 0;
  uint64_t incarnation_ = 0;
  uint64_t cluster_id_ = 0;
  bool joining_ = false;
  uint64_t join_nonce_ = 0;
  std::optional<clock::OriginIndex> own_;

  clock::VersionVector applied_;
  clock::VersionVector durable_;
  clock::VersionVector floor_;  // changes up to there are not all in the log
  int64_t starved_since_us_ = -1;
  int64_t fed_since_us_ = -1;
  std::deque<std::tuple<log::Position, clock::OriginIndex, uint64_t>> undurable_;
  std::vector<OriginRow> rows_;
  std::map<std::string, OfLeader, std::less<>> leaders_;
  mutable uint64_t steps_ = 0;
  clock::Folds folds_;
  std::vector<clock::OriginIndex> unsettled_;  // folded since SettleFolds
  std::vector<Stream> streams_;
  std::vector<clock::OriginIndex> live_;  // whose process was in reach when targets were found last
  std::set<clock::OriginIndex> flowing_;  // streams that have a source or a target, and others
  std::set<clock::OriginIndex> queued_;   // streams with a queue, and others
  std::vector<std::vector<std::pair<uint64_t, log::Position>>> index_;  // by origin: sparse
  std::map<std::string, Member> members_;
  std::set<std::pair<std::string, uint64_t>> retired_;
  std::map<LinkId, Link> links_;
  std::string carrier_;
  std::map<std::string, std::pair<uint64_t, uint64_t>> past_bytes_;  // of ended links, in and out
  std::map<std::string, clock::VersionVector> past_have_;  // what leaders out of reach had
  std::set<std::string> cut_;
  std::map<std::string, int64_t> delay_ms_;
  std::map<std::string, Dialing> dialing_;
  std::deque<std::pair<int64_t, clock::VersionVector>> samples_;  // for lag in ms
  std::map<uint64_t, int64_t>
      own_name_seen_us_;  // other incarnations of our name: since when known
  uint64_t rival_ = 0;  // the nonce of another process of our name, as far as we have heard
  uint64_t proven_rival_ = 0;
  uint64_t hello_version_ = 1;
  LinkStates graph_;
  Healing healing_;
  std::string stranger_;  // of another cluster, and when it called
  int64_t stranger_us_ = 0;
  std::string stranger_line_;  // the last one that was told, and when
  int64_t stranger_told_us_ = INT64_MIN / 2;
  std::map<uint64_t, Damping> damping_;  // by nonce
  uint64_t graph_seen_ = 0;              // its version, when we last drew our conclusions
  bool links_changed_ = true;            // our own link state may be old
  int64_t said_us_ = 0;                  // when it was last new
  size_t targets_found_ = 0;             // for so many origins
  int64_t next_forget_us_ = 0;
  std::string clash_address_;
  int64_t next_route_us_ = 0;
  int64_t next_announce_us_ = 0;  // what is urgent
  int64_t next_spare_us_ = 0;     // everything
  clock::VersionVector noted_have_;     // what `news_` were found against
  clock::VersionVector noted_durable_;
  std::set<clock::OriginIndex> news_;   // changed since everything was announced last
  bool routes_changed_ = true;
  uint64_t next_generation_ = 1;
  // Of a process whose clients publish: the number of its last message that has come, and who is under
  // us in its tree, as of a version of the graph.
  struct Tree {
    uint64_t seen = 0;
    uint64_t version = 0;
    std::vector<uint64_t> children;
  };
  std::map<uint64_t, Tree> trees_;
  uint64_t trees_version_ = 0;
  uint64_t published_ = 0;
  std::map<clock::OriginIndex, Wish> wishes_;
  // For the own origin: by leader; how far they are wanted, until when, and how far that was said, when.
  std::map<std::string, uint64_t> receipts_;
  uint64_t wanted_receipts_ = 0;
  int64_t receipts_until_us_ = INT64_MIN;
  uint64_t said_receipts_ = 0;
  int64_t said_receipts_us_ = INT64_MIN / 2;
  std::vector<std::tuple<uint64_t, LinkId, std::string>> forwards_;  // source, whence, message
  Counters counters_;
};

}  // namespace polyarch::replication
