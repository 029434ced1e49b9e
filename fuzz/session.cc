// A stateful session: one real engine over a memory log and store, hostile or broken peers, clients,
// time, syncs that come late, checkpoints and restarts. The input is a sequence of operations; those
// of peers build messages that are right, nearly right or plain bytes.
//
// What must hold throughout: no crash; every origin is applied contiguously and behind its deps; the
// frames that wait stay within a window and one frame an origin; and a restart at any moment between
// two ticks gives the same vector and the same digest.
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <vector>

#include "base/check.h"
#include "engine/engine_test_util.h"
#include "engine/rows.h"
#include "fuzz/target.h"
#include "replication/replica_test_util.h"
#include "wire/state_message.h"
#include "wire/wire_test_util.h"

namespace polyarch::fuzz {

namespace {

constexpr size_t kWindow = 4000;
constexpr size_t kOperationsMax = 500;
constexpr size_t kPeers = 3;
constexpr int64_t kWallMs = 1'700'000'000'000;

class Session final : public engine::Host, public engine::Probe {
 public:
  explicit Session(std::string_view bytes)
      : input_(bytes), random_(input_.Byte()), mad_counters_(input_.Percent(15)) {
    for (size_t i = 0; i < kPeers; ++i) {
      authors_.emplace_back(clock::Origin{std::string(1, static_cast<char>('a' + i)), 100 + i});
      dictionaries_.emplace_back();
    }
    Start();
  }

  void Run() {
    for (size_t i = 0; i < kOperationsMax && !input_.empty(); ++i) {
      Operation();
      CheckBounds();
    }
    Tick(0);
    Restart();
    Tick(10);
  }

  // ---- engine::Host
  void Send(engine::LinkId link, std::string_view message) override {
    CHECK(links_.count(link) != 0);
    CHECK(++sent_ < 20'000);  // in one tick
    if (message[0] == static_cast<char>(wire::kStateRequestMessage)) {
      wire::StateRequest request;
      CHECK(wire::Decode(message.substr(1), request));
      asked_ = request.id;
    }
    if (message[0] != static_cast<char>(wire::MessageType::kHello)) return;
    wire::Hello hello;
    CHECK(wire::Decode(message.substr(1), hello));
    nonce_ = hello.process.nonce;
    incarnation_ = hello.process.incarnation;
    cluster_ = hello.cluster;
  }
  size_t Backlog(engine::LinkId) const override { return backlog_; }
  void CloseLink(engine::LinkId link) override { closing_.insert(link); }
  void Dial(const std::string& address) override { dialed_.insert(address); }
  void Resume(uint64_t) override {}
  void Push(uint64_t, std::string_view, bool) override {}
  void Report(int, const std::string& line) override { CHECK(line.size() < 4096); }

  // ---- engine::Probe
  void FrameApplied(const wire::Frame& frame, std::string_view, bool) override {
    uint64_t& last = applied_[frame.origin];
    CHECK(frame.first == last + 1);
    last = frame.last();
  }
  void FrameContext(const wire::Dictionary&, const clock::VersionVector&) override {}
  void CutOver(const engine::CutOverRecord&,
               log::Position,
               const clock::VersionVector& mine,
               const clock::VersionVector& theirs) override {
    for (const clock::VersionVector* vector : {&mine, &theirs}) {
      for (size_t i = 0; i < vector->index_end(); ++i) {
        const auto index = static_cast<clock::OriginIndex>(i);
        uint64_t& applied = applied_[engine_->origins().Get(index)];
        applied = std::max(applied, vector->Get(index));
      }
    }
  }

 private:
  void Start() {
    log_ = std::make_unique<log::MemoryLog>(disk_.log, 4 << 10);
    store_ = std::make_unique<storage::MemoryStore>(disk_.store);
    engine::Options options;
    options.leader_id = "me";
    options.advertise = "me:1";
    options.seed = ++seed_;
    options.window_bytes = kWindow;
    options.checkpoint_slice_keys = 3;
    options.ledger.entries_max = 20;
    engine_ = std::make_unique<engine::Engine>(options, *this, *log_, *store_);
    engine_->SetProbe(this);
    const base::Status status = engine_->Start(Now());
    if (!status.ok()) std::fprintf(stderr, "%s\n", status.ToString().c_str());
    CHECK(status.ok());
    client_ = command::Client{};
    client_.authenticated = true;
    engine_->BeginTick(Now());
  }

  // The process is killed between two ticks; what it had committed is there.
  void Restart() {
    engine_->EndTick();
    if (!engine_->status().ok()) return;
    const std::string vv = engine_->VersionVectorText();
    const std::string digest = engine_->DigestText();
    engine_.reset();
    log_.reset();
    store_.reset();
    links_.clear();
    closing_.clear();
    disk_.store->Crash(random_);
    // What Start writes itself comes on top: compare without it.
    engine::TestNode::Disk copy = disk_.Copy();
    CompareRecovered(copy, vv, digest);
    Start();
  }
  void CompareRecovered(engine::TestNode::Disk& disk, const std::string& vv, const std::string& digest) {
    log::MemoryLog log(disk.log, 4 << 10);
    storage::MemoryStore store(disk.store);
    engine::Options options;
    options.leader_id = "me";
    options.advertise = "me:1";
    options.seed = 12345;
    engine::Engine recovered(options, *this, log, store);
    const base::Status status = recovered.Start(Now());
    if (!status.ok()) std::fprintf(stderr, "%s\n", status.ToString().c_str());
    CHECK(status.ok());
    // A configuration record at most (its address): of an origin that nothing else is of.
    if (recovered.VersionVectorText() != vv || mad_counters_) return;
    CHECK(recovered.DigestText() == digest);
  }

  engine::Clocks Now() const { return {kWallMs + now_us_ / 1000 + wall_offset_ms_, now_us_}; }

  void Tick(int64_t ms) {
    engine_->EndTick();
    if (auto_sync_) Sync();
    sent_ = 0;
    now_us_ += ms * 1000;
    engine_->BeginTick(Now());
    for (engine::LinkId link : std::exchange(closing_, {})) {
      if (links_.erase(link) != 0) engine_->OnLinkDown(link);
    }
    for (const std::string& address : std::exchange(dialed_, {})) engine_->OnDialFailed(address);
  }
  void Sync() {
    while (log_->syncing()) log_->CompleteSync();
    while (store_->flushing()) store_->CompleteFlush();
  }

  void CheckBounds() {
    const size_t origins = engine_->origins().size();
    CHECK(engine_->replica().queued_bytes() <= origins * kWindow + frames_bytes_);
    CHECK(engine_->ledger().size() <= 20);
  }

  // ---- what peers say

  engine::LinkId SomeLink() {
    if (links_.empty()) return 0;
    auto it = links_.begin();
    std::advance(it, static_cast<ptrdiff_t>(input_.Below(links_.size())));
    return it->first;
  }
  void Message(const std::string& bytes) {
    const engine::LinkId link = SomeLink();
    if (link != 0) engine_->OnLinkMessage(link, bytes);
  }
  replication::Author& SomeAuthor() { return authors_[input_.Below(kPeers)]; }
  clock::Origin SomeOrigin() {
    switch (input_.Below(8)) {
      case 0: return {"me", incarnation_};
      case 1: return {std::string(input_.Text(20)), input_.Bits()};
      case 2: return {SomeAuthor().origin().leader, input_.Below(200)};
      default: return SomeAuthor().origin();
    }
  }
  void Greet(engine::LinkId link, size_t who) {
    wire::Hello hello;
    hello.cluster = cluster_;
    hello.process = {authors_[who].origin().leader, who + 1, kWallMs, "x:1", authors_[who].origin().incarnation};
    hello.heard = nonce_;
    engine_->OnLinkMessage(link, wire::Encode(hello));
    wire::Have have;
    have.full = true;
    have.wall_ms = kWallMs;
    for (const replication::Author& author : authors_) {
      have.entries.push_back({author.origin(), author.last(), author.last()});
    }
    engine_->OnLinkMessage(link, wire::Encode(have));
  }

  // About links: of these peers, of this process, of processes that are not there.
  std::string SomeLinkMessage() {
    auto nonce = [&] { return input_.Percent(20) ? nonce_ : input_.Below(6); };
    switch (input_.Below(4)) {
      case 0: {
        wire::Pulse pulse;
        pulse.wanted = input_.Percent(50);
        pulse.want_full = input_.Percent(30);
        pulse.have = input_.Below(5);
        pulse.hello = input_.Below(3);
        pulse.graph = input_.Bits();
        pulse.wall_ms = static_cast<int64_t>(input_.Bits());
        return wire::Encode(pulse);
      }
      case 1: {
        wire::LinkStates states;
        for (uint64_t n = input_.Below(4); n > 0; --n) {
          wire::LinkState state;
          state.process = {input_.Percent(20) ? "me" : SomeAuthor().origin().leader, nonce(),
                           static_cast<int64_t>(input_.Bits()), "y:1", input_.Below(200)};
          state.process.rival = nonce();
          state.number = input_.Percent(80) ? input_.Below(20) : input_.Bits() >> 16;
          std::set<uint64_t> neighbours;
          for (uint64_t k = input_.Below(4); k > 0; --k) neighbours.insert(nonce());
          state.neighbours.assign(neighbours.begin(), neighbours.end());
          states.entries.push_back(state);
        }
        return wire::Encode(states);
      }
      case 2: return wire::Encode(wire::LinkSummary{{{nonce(), input_.Below(20)}, {nonce(), input_.Bits() >> 16}}});
      default: return wire::Encode(wire::LinkWant{{nonce(), nonce(), input_.Bits()}});
    }
  }

  // An effect of a leader that may be mad, with dots by the author's dictionary.
  void AppendSomeEffect(std::string& body, const wire::Dictionary& dictionary, crdt::At at) {
    const uint64_t sequence = at.sequence;
    static constexpr std::string_view kKeys[] = {"k", "n", "m", "s:x", "member/b", "member/me", "policy/s:*", "priority",
                                                 "ended/a.0000000000000064", "topology", "address/me", "address/a", "cluster"};
    static constexpr std::string_view kValues[] = {"v", "10", "-1.5", "", "siblings", "priority a b", "lww DELETES",
                                                   "0000000000000001 a.0000000000000064:9", "x:2",
                                                   "ring me a b", "star b", "links me a a b", "links a"};
    base::Random random(input_.Byte());
    std::vector<clock::OriginIndex> origins;
    for (size_t i = 0; i < dictionary.size(); ++i) origins.push_back(dictionary.At(i));
    wire::OwnedEffect effect = wire::RandomEffect(random, origins);
    crdt::Effect e = effect.View();
    const uint8_t key = input_.Byte();
    e.db = key % 12 >= 4 ? crdt::kReservedDatabase : key % 2;
    if (e.kind == crdt::EffectKind::kFlush) {
      e.db = input_.Percent(20) ? crdt::kAllDatabases : 0;
    } else {
      e.key = kKeys[key % 12];
    }
    if (input_.Percent(80) && e.kind == crdt::EffectKind::kPut) e.value = kValues[input_.Below(std::size(kValues))];
    if (input_.Percent(80)) {
      e.expire_ms = kWallMs + now_us_ / 1000 + static_cast<int64_t>(input_.Byte()) * 20 - 1000;
      e.increment = e.total = crdt::Number::Integer(static_cast<int64_t>(input_.Byte()) - 100);
    }
    // A counter's life never goes back: an entry that is purged here and not there would show it.
    if (mad_counters_) {
      e.life = {1 + input_.Below(sequence + 2), static_cast<uint32_t>(input_.Below(3))};
    } else {
      e.life = at;
    }
    wire::AppendEffect(body, e, dictionary);
  }
  std::string NextFrame() {
    const size_t who = input_.Below(kPeers);
    replication::Author& author = authors_[who];
    replication::Author::Shape shape;
    shape.count = 1 + input_.Below(3);
    shape.solid = input_.Percent(50);
    shape.clock_ms = input_.Percent(97) ? kWallMs + now_us_ / 1000 : static_cast<int64_t>(input_.Bits());
    shape.stamp_ms = input_.Percent(97) ? static_cast<uint64_t>(shape.clock_ms) : input_.Bits() >> 16;
    for (replication::Author& other : authors_) {
      if (&other != &author && input_.Percent(30)) {
        shape.deps.emplace_back(other.origin(), input_.Percent(98) ? other.last() : input_.Bits() >> 16);
      }
    }
    if (input_.Percent(20)) {
      shape.deps.emplace_back(clock::Origin{"me", incarnation_}, input_.Percent(98) ? own_seen() : input_.Bits() >> 16);
    }
    std::erase_if(shape.deps, [](const auto& dep) { return dep.second == 0; });
    // The author's dictionary after this frame, by place.
    std::set<clock::Origin>& listed = dictionaries_[who];
    for (const auto& [origin, sequence] : shape.deps) listed.insert(origin);
    wire::Dictionary dictionary(clock::OriginIndex{0});
    for (size_t i = 1; i <= listed.size(); ++i) dictionary.Add(static_cast<clock::OriginIndex>(i));
    for (uint64_t c = 0; c < shape.count; ++c) {
      base::PutVarint(shape.body, input_.Byte());
      uint32_t index = 0;
      for (uint64_t n = input_.Below(4); n > 0; --n) {
        AppendSomeEffect(shape.body, dictionary, {author.last() + 1 + c, index++});
      }
      if (input_.Percent(5)) {
        shape.body.push_back('\x41');  // a later version of a kind
        base::PutBytes(shape.body, input_.Text(10));
      }
      shape.body.push_back(wire::kChangeEnd);
    }
    std::string frame = author.Next(shape);
    frames_bytes_ += frame.size();
    return frame;
  }
  uint64_t own_seen() const {
    auto it = applied_.find({"me", incarnation_});
    return it == applied_.end() ? 0 : it->second;
  }

  void Operation() {
    switch (input_.Below(28)) {
      case 0:
      case 20:
      case 21: {
        if (links_.size() >= 6) break;
        const engine::LinkId link = next_link_++;
        links_[link] = true;
        engine_->OnLinkUp(link, input_.Percent(20) ? "x:1" : "", "somewhere");
        if (input_.Percent(90)) Greet(link, input_.Below(kPeers));
        break;
      }
      case 1: {
        const engine::LinkId link = SomeLink();
        if (links_.erase(link) != 0) engine_->OnLinkDown(link);
        closing_.erase(link);
        break;
      }
      case 2: {  // any greeting
        wire::Hello hello;
        hello.format = input_.Percent(90) ? wire::kPeerFormat : input_.Byte();
        hello.cluster = input_.Percent(90) ? cluster_ : input_.Below(3);
        hello.process = {input_.Percent(70) ? SomeAuthor().origin().leader : std::string(input_.Text(30)), input_.Below(6),
                         static_cast<int64_t>(input_.Bits()), std::string(input_.Text(20)), input_.Below(200)};
        if (input_.Percent(10)) hello.process.leader = "me";
        hello.joining = input_.Percent(30);
        hello.join_nonce = input_.Below(4);
        hello.heard = input_.Percent(50) ? nonce_ : 0;
        Message(wire::Encode(hello));
        break;
      }
      case 3: {
        wire::Have have;
        have.full = input_.Percent(50);
        have.wall_ms = input_.Percent(80) ? kWallMs : static_cast<int64_t>(input_.Bits());
        for (const replication::Author& author : authors_) {
          have.entries.push_back({author.origin(), author.last(), author.last()});
        }
        for (uint64_t n = input_.Below(3); n > 0; --n) {
          have.entries.push_back({SomeOrigin(), input_.Bits() >> 16, input_.Bits() >> 16});
        }
        have.number = input_.Below(5);
        Message(wire::Encode(have));
        wire::HaveMore more;
        more.number = have.number + input_.Below(3);
        uint64_t number = input_.Below(4);
        for (uint64_t n = input_.Below(4); n > 0; --n) {
          wire::HaveMoreEntry entry;
          entry.origin = number;
          if (input_.Percent(60)) entry.name = SomeOrigin();
          entry.applied = input_.Percent(70) ? input_.Below(50) : input_.Bits() >> 16;
          entry.durable = entry.applied - std::min(entry.applied, input_.Below(3));
          more.entries.push_back(entry);
          number += 1 + input_.Below(input_.Percent(95) ? 3 : clock::kOriginsMax);
        }
        if (!more.entries.empty()) Message(wire::Encode(more));
        break;
      }
      case 4: case 5: case 6: case 7: Message(replication::FrameMessage(NextFrame())); break;
      case 8:
      case 22:
      case 23: {  // what comes next, as a good peer would
        const engine::LinkId link = SomeLink();
        if (link == 0) break;
        for (const replication::Author& author : authors_) {
          const uint64_t applied = applied_[author.origin()];
          for (const std::string& frame : author.frames()) {
            wire::FrameName name;
            CHECK(wire::ParseFrameName(frame, name));
            if (name.first > applied) engine_->OnLinkMessage(link, replication::FrameMessage(frame));
          }
        }
        break;
      }
      case 9: {  // one from before, again or out of order
        const replication::Author& author = SomeAuthor();
        if (author.frames().empty()) break;
        Message(replication::FrameMessage(author.frames()[input_.Below(author.frames().size())]));
        break;
      }
      case 10: {  // damaged
        const replication::Author& author = SomeAuthor();
        if (author.frames().empty()) break;
        std::string frame = author.frames()[input_.Below(author.frames().size())];
        frame[input_.Bits() % frame.size()] = static_cast<char>(input_.Byte());
        if (input_.Percent(30)) frame.resize(input_.Bits() % frame.size());
        frames_bytes_ += frame.size();
        Message(replication::FrameMessage(frame));
        break;
      }
      case 11: {  // a frame that is whole, by nobody's history
        wire::Frame frame;
        frame.origin = SomeOrigin();
        frame.first = 1 + input_.Below(20);
        frame.count = 1 + input_.Below(3);
        frame.durable = input_.Below(frame.first);
        for (uint64_t n = input_.Below(3); n > 0; --n) frame.deps_changed.emplace_back(input_.Below(5), input_.Bits());
        for (uint64_t n = input_.Below(4); n > 0; --n) frame.deps_new.emplace_back(SomeOrigin(), input_.Below(5));
        const std::string body(input_.Text(20));
        frame.body = body;
        std::string bytes;
        wire::AppendFrame(bytes, frame, input_.Percent(50) ? SomeAuthor().chain() : 0);
        frames_bytes_ += bytes.size();
        Message(replication::FrameMessage(bytes));
        break;
      }
      case 12:
        Message(wire::Encode(wire::Subscribe{SomeOrigin(), 1 + input_.Below(20), input_.Percent(50) ? 0 : input_.Bits(),
                                             input_.Bits(), input_.Below(10)}));
        break;
      case 13: Message(wire::Encode(wire::Credit{SomeOrigin(), input_.Below(10), input_.Bits()})); break;
      case 14:
        if (input_.Percent(40)) {
          Message(SomeLinkMessage());
          break;
        }
        Message(input_.Percent(50) ? wire::Encode(wire::Unsubscribe{SomeOrigin(), input_.Below(10)})
                                   : wire::Encode(wire::Fork{SomeOrigin(), input_.Bits() >> 16}));
        break;
      case 15: {
        const std::string bytes(input_.Text(60));
        frames_bytes_ += bytes.size();
        Message(bytes);
        break;
      }
      case 24:
      case 25:
      case 26: StateOperation(); break;
      case 16: Command(); break;
      case 17: {
        // Peers that are alive say so.
        for (const auto& [link, up] : links_) {
          if (closing_.count(link) == 0) engine_->OnLinkMessage(link, std::string(1, '\x7f'));
        }
        Tick(input_.Percent(90) ? input_.Byte() * 4 : input_.Byte() * 100);
        break;
      }
      case 18:
        switch (input_.Below(6)) {
          case 0: auto_sync_ = !auto_sync_; break;
          case 1: Sync(); break;
          case 2: engine_->StartCheckpoint(); break;
          case 3: wall_offset_ms_ = static_cast<int64_t>(input_.Bits() >> 24) - (int64_t{1} << 20); break;
          case 4: backlog_ = backlog_ == 0 ? size_t{1} << 30 : 0; break;
          default: Restart(); break;
        }
        break;
      default: Tick(10); break;
    }
  }

  // A peer that gives its state, or takes ours, well or badly.
  void StateOperation() {
    const uint64_t id = input_.Percent(90) ? asked_ : input_.Below(5);
    switch (input_.Below(7)) {
      case 0: {  // nobody's log holds what is there
        for (const auto& [link, up] : links_) {
          for (const replication::Author& author : authors_) {
            if (closing_.count(link) == 0) {
              engine_->OnLinkMessage(link, wire::Encode(wire::Gap{author.origin(), author.last()}));
            }
          }
        }
        break;
      }
      case 1: {
        wire::StateOffer offer{.id = id, .epoch = 1 + input_.Below(3), .base = input_.Percent(80) ? 1000 : input_.Bits() >> 20};
        offer.resumed = input_.Percent(10);
        offer.stamp = input_.Bits();
        engine::CheckpointRow row{.start = offer.base, .identity = {cluster_, "a", true, 1}, .nonce = 5};
        for (const replication::Author& author : authors_) {
          auto& r = row.rows.emplace_back();
          const auto index = static_cast<clock::OriginIndex>(offer.names.size());
          offer.names.push_back(author.origin());
          r.dictionary = wire::Dictionary(index);
          if (input_.Percent(20)) r.last = input_.Below(9);
          if (input_.Percent(20)) r.dictionary.Add(static_cast<clock::OriginIndex>(input_.Below(6)));
          if (input_.Percent(20)) r.deps.Set(static_cast<clock::OriginIndex>(input_.Below(6)), input_.Bits() >> 12);
        }
        if (input_.Percent(10)) offer.names.push_back(SomeOrigin());
        std::string bytes = engine::EncodeCheckpoint(row);
        if (input_.Percent(10)) bytes[input_.Bits() % bytes.size()] = static_cast<char>(input_.Byte());
        offer.checkpoint = bytes;
        frames_bytes_ += bytes.size();
        MessageToAll(wire::Encode(offer));
        break;
      }
      case 2:
      case 3: {
        wire::StateChunk chunk{.id = id, .generation = 1, .part = static_cast<wire::StatePart>(1 + input_.Below(2))};
        chunk.last = input_.Percent(70);
        chunk.end = 1000 + input_.Below(100);
        std::string key;
        std::string row;
        if (input_.Percent(50)) {
          crdt::KeyState state;
          state.versions.push_back({clock::Dot(static_cast<clock::OriginIndex>(input_.Below(4)), 1 + input_.Below(3)),
                                    clock::Hlc{input_.Bits()}, true, false, std::string(input_.Text(9))});
          key = engine::DataRowKey(static_cast<uint8_t>(input_.Below(18)), "k" + std::to_string(input_.Below(9)));
          row = engine::EncodeDataRow(1000 + input_.Below(50), state);
          if (input_.Percent(10)) row[input_.Bits() % row.size()] = static_cast<char>(input_.Byte());
          chunk.rows.emplace_back(key, row);
        }
        frames_bytes_ += row.size();
        MessageToAll(wire::Encode(chunk));
        break;
      }
      case 4: {
        wire::StateChunk chunk{.id = id, .part = wire::StatePart::kStream, .from = 1000};
        uint64_t position = chunk.from;
        for (const replication::Author& author : authors_) {
          for (const std::string& frame : author.frames()) {
            position += 8;
            chunk.frames.emplace_back(position, frame);
          }
        }
        chunk.to = position + input_.Below(200);
        chunk.end = chunk.to;
        MessageToAll(wire::Encode(chunk));
        break;
      }
      case 5:
        MessageToAll(wire::Encode(wire::StateRequest{1 + input_.Below(4), input_.Percent(60) ? 0 : nonce_,
                                                     input_.Bits() >> 40, input_.Bits() >> 40}));
        break;
      default:
        MessageToAll(wire::Encode(wire::StatePull{1 + input_.Below(4), input_.Below(6),
                                                  static_cast<wire::StatePart>(1 + input_.Below(3)),
                                                  std::string(input_.Text(9)), input_.Bits() >> 40, input_.Bits()}));
        if (input_.Percent(20)) {
          MessageToAll(wire::Encode(wire::StateRefusal{id, static_cast<wire::RefusalReason>(1 + input_.Below(5))}));
        }
        if (input_.Percent(10)) MessageToAll(wire::Encode(wire::StateEnd{1 + input_.Below(4)}));
    }
  }

  void MessageToAll(const std::string& bytes) {
    for (const auto& [link, up] : links_) {
      if (closing_.count(link) == 0) engine_->OnLinkMessage(link, bytes);
    }
  }

  void Command() {
    static constexpr std::string_view kWords[] = {
        "SET", "GET", "DEL", "INCR", "INCRBYFLOAT", "APPEND", "EXPIRE", "PEXPIRE", "PERSIST", "RENAME", "COPY", "MSET",
        "FLUSHALL", "FLUSHDB", "CONFLICT", "POLICY", "LEADER", "LINK", "POLYARCH", "SELECT", "SCAN", "KEYS", "RANDOMKEY",
        "DBSIZE", "INFO", "SETRANGE", "GETEX", "OBJECT", "DEBUG", "LIST", "COUNT", "LOG", "RESOLVE", "RESTORE", "CUT", "HEAL",
        "DELAY", "VV", "DIGEST", "CHECKPOINT", "siblings", "lww", "DELETES", "priority", "k", "n", "m", "s:x", "s:*", "a", "b",
        "me", "0", "1", "-1", "10", "9223372036854775807", "1e4932", "-1.5", "PX", "EX", "KEEPTTL", "NX", "XX", "*", "", "REPLACE"};
    std::vector<std::string> words;
    for (uint64_t n = 1 + input_.Below(5); n > 0; --n) {
      const uint8_t word = input_.Byte();
      words.emplace_back(word < std::size(kWords) * 3 ? kWords[word % std::size(kWords)] : input_.Text(8));
    }
    std::vector<std::string_view> arguments(words.begin(), words.end());
    resp::Buffer out;
    const engine::Outcome outcome = engine_->Execute(client_, arguments, out, server_);
    resp::ReplyReader reader;
    reader.Feed(out.view());
    if (outcome == engine::Outcome::kSuspended) return;
    const auto state = reader.Next();
    CHECK(state == resp::ReplyReader::State::kValue || out.view().empty());
  }

  Input input_;
  base::Random random_;
  const bool mad_counters_;  // leaders whose counters make no sense: only that nothing breaks
  engine::TestNode::Disk disk_;
  std::unique_ptr<log::MemoryLog> log_;
  std::unique_ptr<storage::MemoryStore> store_;
  std::unique_ptr<engine::Engine> engine_;
  engine::NullServer server_;
  command::Client client_;
  uint64_t seed_ = 0;
  int64_t now_us_ = 1'000'000;
  int64_t wall_offset_ms_ = 0;
  bool auto_sync_ = true;
  size_t backlog_ = 0;
  size_t sent_ = 0;
  uint64_t nonce_ = 0;
  uint64_t incarnation_ = 0;
  uint64_t cluster_ = 0;
  uint64_t asked_ = 0;  // the transfer that it has asked for
  std::map<engine::LinkId, bool> links_;
  engine::LinkId next_link_ = 1;
  std::set<engine::LinkId> closing_;
  std::set<std::string> dialed_;
  std::vector<replication::Author> authors_;
  std::vector<std::set<clock::Origin>> dictionaries_;  // what each has listed
  std::map<clock::Origin, uint64_t> applied_;
  size_t frames_bytes_ = 0;                             // of all frames ever made
};

}  // namespace

void Run(std::string_view bytes) {
  Session(bytes).Run();
}

std::string Sample(base::Random& random) {
  // Operations are one byte each, and most of what follows is small: noise is a fair session already.
  std::string out(200 + random.Below(3000), '\0');
  for (char& c : out) c = static_cast<char>(random.Next());
  // Let it begin with links that are up.
  const std::string begin("\1\xff\0\1\0\0\0\1\0\0\1\0\1\0\0\2", 16);
  out.replace(0, begin.size(), begin);
  return out;
}

}  // namespace polyarch::fuzz
