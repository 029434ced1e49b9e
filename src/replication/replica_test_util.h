// For tests and fuzzing of the replica: an author that makes the frames of one origin, the peer at the
// other end of a link, and a host that checks what it is told to apply.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/check.h"
#include "log/memory_log.h"
#include "replication/replica.h"

namespace polyarch::replication {

// Makes frames as a leader would, or nearly so: what is wrong with one is for the test to say.
class Author {
 public:
  explicit Author(clock::Origin origin) : origin_(std::move(origin)) { places_[origin_] = 0; }

  struct Shape {
    uint64_t count = 1;                                        // changes, each with one effect
    size_t value_bytes = 1;
    std::vector<std::pair<clock::Origin, uint64_t>> deps;      // what else is covered: totals
    bool solid = true;
    int64_t clock_ms = 1'700'000'000'000;
    uint64_t stamp_ms = 1'700'000'000'000;
    std::string body;                                          // instead of simple ones, with `count`
  };

  // The next frame; deps are written as differences, as the format wants.
  std::string Next(const Shape& shape) {
    wire::Frame frame;
    frame.origin = origin_;
    frame.first = last_ + 1;
    frame.count = shape.count;
    frame.durable = last_;
    frame.solid = shape.solid;
    frame.base = clock::Hlc::FromMs(shape.stamp_ms);
    frame.clock_ms = shape.clock_ms;
    for (const auto& [origin, sequence] : shape.deps) {
      auto [place, fresh] = places_.try_emplace(origin, places_.size());
      if (fresh) {
        frame.deps_new.emplace_back(origin, sequence);
      } else if (sequence > deps_[origin]) {
        frame.deps_changed.emplace_back(place->second, sequence - deps_[origin]);
      }
      deps_[origin] = std::max(deps_[origin], sequence);
    }
    const std::string body = shape.body.empty() ? Body(shape.count, shape.value_bytes) : shape.body;
    frame.body = body;
    std::string bytes;
    wire::AppendFrame(bytes, frame, chain_);
    chain_ = frame.chain;
    last_ += shape.count;
    frames_.push_back(bytes);
    return bytes;
  }
  std::string Next() { return Next(Shape{}); }

  static std::string Body(uint64_t count, size_t value_bytes) {
    const wire::Dictionary dictionary(clock::OriginIndex{0});
    const std::string value(value_bytes, 'v');
    std::string body;
    for (uint64_t i = 0; i < count; ++i) {
      base::PutVarint(body, i == 0 ? 0 : 1);
      crdt::Effect effect{.kind = crdt::EffectKind::kPut, .flags = crdt::kWipes | crdt::kNeverFlag, .key = "k"};
      effect.value = value;
      wire::AppendEffect(body, effect, dictionary);
      body.push_back(wire::kChangeEnd);
    }
    return body;
  }

  const clock::Origin& origin() const { return origin_; }
  uint64_t last() const { return last_; }
  uint64_t chain() const { return chain_; }
  size_t dictionary_size() const { return places_.size(); }
  const std::vector<std::string>& frames() const { return frames_; }

 private:
  clock::Origin origin_;
  uint64_t last_ = 0;
  uint64_t chain_ = 0;
  std::map<clock::Origin, uint64_t> places_;
  std::map<clock::Origin, uint64_t> deps_;
  std::vector<std::string> frames_;
};

// Records what the replica does, and stops the test where it does what it must not.
class CheckingHost : public ReplicaHost {
 public:
  CheckingHost(log::Log& log, clock::OriginTable& origins) : log_(log), origins_(origins) {}

  log::Position AppendFrame(std::string_view bytes) override {
    return log_.Append(log::RecordType::kFrame, bytes);
  }
  void ApplyFrame(const wire::Frame& frame,
                  std::string_view bytes,
                  const OriginRow&,
                  clock::OriginIndex origin,
                  const clock::VersionVector& deps) override {
    CHECK(frame.first == applied_.Get(origin) + 1);
    CHECK(applied_.Includes(deps));
    CHECK(origins_.Get(origin) == frame.origin);
    applied_.Set(origin, frame.last());
    applied_frames.emplace_back(bytes);
  }
  void Send(LinkId link, std::string_view message) override { sent[link].emplace_back(message); }
  size_t Backlog(LinkId link) const override {
    auto it = backlog.find(link);
    return it == backlog.end() ? 0 : it->second;
  }
  void CloseLink(LinkId link) override { closed.push_back(link); }
  std::string LinkRefusal(LinkId link, std::string_view leader) override {
    auto bound = certificates.find(link);
    return bound == certificates.end() || bound->second == leader ? "" : "its certificate is for '" + bound->second + "'";
  }
  void Dial(const std::string& address) override { dialed.push_back(address); }
  void Report(int severity, const std::string& line) override {
    ++reports[severity];
    last_report = line;
  }
  void ForkDetected(clock::OriginIndex origin) override { forks.push_back(origins_.Get(origin)); }
  void NameClash(const std::string&) override { ++clashes; }
  void JoinRequested(const std::string& leader, uint64_t, const std::string&) override {
    joins.push_back(leader);
  }
  void ClusterKnown(uint64_t id) override { cluster = id; }
  void RefusedAsRetired(const std::string&, uint64_t, bool mutual) override {
    ++refusals;
    mutual_refusals += mutual ? 1 : 0;
  }
  void RoutedHere(std::string_view message) override { routed.emplace_back(message); }
  void SyncWanted() override { ++syncs_wanted; }

  const clock::VersionVector& applied() const { return applied_; }
  // An own frame: it counts as applied, too.
  void NoteOwn(clock::OriginIndex own, uint64_t last) { applied_.Raise(own, last); }

  std::map<LinkId, std::vector<std::string>> sent;
  std::map<LinkId, size_t> backlog;
  std::vector<LinkId> closed;
  std::map<LinkId, std::string> certificates;  // whose each link shows; none: anybody's
  std::vector<std::string> dialed;
  std::map<int, int> reports;
  std::string last_report;
  std::vector<std::string> routed;
  std::vector<clock::Origin> forks;
  std::vector<std::string> joins;
  int clashes = 0;
  int refusals = 0;
  int mutual_refusals = 0;
  int syncs_wanted = 0;
  uint64_t cluster = 0;
  std::vector<std::string> applied_frames;

 private:
  log::Log& log_;
  clock::OriginTable& origins_;
  clock::VersionVector applied_;
};

inline std::string FrameMessage(std::string_view bytes) {
  return std::string(1, static_cast<char>(wire::MessageType::kFrame)) + std::string(bytes);
}

}  // namespace polyarch::replication
