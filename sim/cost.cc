#include "sim/cost.h"

#include <algorithm>
#include <cstdio>

#include "sim/world.h"
#include "wire/peer_message.h"

namespace polyarch::sim {

namespace {

using wire::MessageType;

constexpr int64_t kWithinUs = 2 * kMs;
constexpr int64_t kBetweenUs[3][3] = {{kWithinUs, 80 * kMs, 150 * kMs},
                                      {80 * kMs, kWithinUs, 120 * kMs},
                                      {150 * kMs, 120 * kMs, kWithinUs}};
constexpr int kSingleWrites = 30;
constexpr int64_t kLoadUs = 10 * kSecond;
constexpr int64_t kWriteEveryUs = 100 * kMs;  // at each leader, under load
constexpr size_t kValueBytes = 100;

class Scene {
 public:
  Scene(const std::string& shape, int leaders) : trace_(Trace::Mode::kOff), world_(17, trace_), shape_(shape) {
    world_.SetCheckEvery(0);
    world_.network().weather() = Weather{};
    for (int i = 0; i < leaders; ++i) {
      Node::Options options;
      options.leader = (i < 10 ? "n0" : "n") + std::to_string(i);
      options.place = i;
      options.address = "10.0.0." + std::to_string(i + 1) + ":8400";
      if (i > 0) options.join = {"10.0.0.1:8400"};
      world_.AddNode(options);
    }
    const bool gateways = shape == "gateways";
    auto region = [&](int i) { return i * (gateways ? 2 : 3) / leaders; };
    for (int a = 0; a < leaders; ++a) {
      for (int b = 0; b < leaders; ++b) {
        if (a == b) continue;
        const int64_t us = gateways ? (region(a) == region(b) ? 1 * kMs : 80 * kMs) : kBetweenUs[region(a)][region(b)];
        world_.network().SetDelay(a, b, us);
      }
    }
    for (auto& node : world_.nodes()) node->Start();
    Await(60 * kSecond);
    Command(0, TopologyWords(leaders));
    world_.RunFor(20 * kSecond);  // new links, streams moved, old links gone, claims
    Await(60 * kSecond);
  }

  Cost Measure() {
    Cost cost;
    const size_t leaders = world_.nodes().size();
    uint64_t bytes = world_.network().bytes();
    world_.RunFor(10 * kSecond);
    cost.bytes_quiet_s = static_cast<double>(world_.network().bytes() - bytes) / 10 / static_cast<double>(leaders);
    for (int i = 0; i < kSingleWrites; ++i) {
      const int64_t begin_us = world_.now_us();
      const size_t at = world_.draw().Below(leaders);
      Command(at, {"SET", "k", "single"});
      world_.RunFor(1);
      const Vector wanted = world_.nodes()[at]->applied();  // not the claims that follow
      const bool there = world_.RunUntil(60 * kSecond, 1 * kMs, [&] {
        return std::all_of(world_.nodes().begin(), world_.nodes().end(),
                           [&](const auto& node) { return Includes(node->applied(), wanted); });
      });
      if (!there) throw Violation("a write does not reach all");
      const double ms = static_cast<double>(world_.now_us() - begin_us) / kMs;
      cost.reach_ms += ms / kSingleWrites;
      cost.reach_max_ms = std::max(cost.reach_max_ms, ms);
      world_.RunFor(5 * kSecond);  // claims
    }
    bytes = world_.network().bytes();
    const uint64_t frame_bytes = BytesOf({MessageType::kFrame});
    const uint64_t announced = BytesOf({MessageType::kHave, MessageType::kHaveMore});
    const uint64_t frames = world_.history().frames();
    const uint64_t sent = Sent();
    uint64_t changes = 0;
    const std::string value(kValueBytes, 'x');
    for (const int64_t end_us = world_.now_us() + kLoadUs; world_.now_us() < end_us;) {
      for (size_t i = 0; i < leaders; ++i) {
        Command(i, {"SET", "k" + std::to_string(world_.draw().Below(1000)), value});
        ++changes;
        world_.RunFor(kWriteEveryUs / static_cast<int64_t>(leaders));
      }
    }
    Await(60 * kSecond);
    cost.bytes_per_change = static_cast<double>(world_.network().bytes() - bytes) / static_cast<double>(changes);
    cost.frames_per_change = static_cast<double>(BytesOf({MessageType::kFrame}) - frame_bytes) / static_cast<double>(changes);
    cost.announced_per_change =
        static_cast<double>(BytesOf({MessageType::kHave, MessageType::kHaveMore}) - announced) / static_cast<double>(changes);
    cost.transfers = static_cast<double>(Sent() - sent) / static_cast<double>(world_.history().frames() - frames);
    return cost;
  }

 private:
  std::vector<std::string> TopologyWords(int leaders) {
    std::vector<std::string> words = {"TOPOLOGY", "SET"};
    auto name = [&](int i) { return world_.nodes()[static_cast<size_t>(i)]->options().leader; };
    if (shape_ == "mesh") {
      words.push_back("mesh");
    } else if (shape_ == "star") {
      words.push_back("star");
      words.push_back(name(0));
    } else if (shape_ == "ring") {
      words.push_back("ring");
      for (int i = 0; i < leaders; ++i) words.push_back(name(i));
    } else {
      words.push_back("links");
      const int half = (leaders + 1) / 2;
      for (int begin : {0, half}) {
        const int end = begin == 0 ? half : leaders;
        for (int gate = begin; gate < std::min(begin + 2, end); ++gate) {
          for (int i = gate + 1; i < end; ++i) words.push_back(name(gate) + "-" + name(i));
        }
      }
      words.push_back(name(0) + "-" + name(half));
      if (leaders - half > 1) words.push_back(name(1) + "-" + name(half + 1));
    }
    return words;
  }

  void Command(size_t at, std::vector<std::string> args) {
    Op op;
    op.id = world_.NextOp();
    KeysOf(args, 0, op.keys, op.whole);
    op.args = std::move(args);
    world_.nodes()[at]->Submit(std::move(op));
  }

  void Await(int64_t us) {
    std::string why;
    if (world_.RunUntil(us, 1 * kMs, [&] { return world_.checkers().Converged(&why); })) return;
    throw Violation(shape_ + " of " + std::to_string(world_.nodes().size()) + ": " + why);
  }

  uint64_t BytesOf(std::initializer_list<MessageType> types) {
    uint64_t sum = 0;
    for (MessageType type : types) sum += world_.network().bytes_of(static_cast<uint8_t>(type));
    return sum;
  }

  uint64_t Sent() {
    uint64_t sum = 0;
    for (auto& node : world_.nodes()) sum += node->engine().replica().counters().frames_out;
    return sum;
  }

  Trace trace_;
  World world_;
  std::string shape_;
};

}  // namespace

Cost MeasureCost(const std::string& shape, int leaders) { return Scene(shape, leaders).Measure(); }

void PrintCosts(const std::string& only_shape, int only_leaders) {
  std::printf("| topology | leaders | until all have a write, ms | at most | transfers a frame | bytes a change | "
              "of that frames | announcements | quiet, bytes/s a leader |\n|---|---|---|---|---|---|---|---|---|\n");
  for (const char* shape : {"mesh", "ring", "star", "gateways"}) {
    if (!only_shape.empty() && only_shape != shape) continue;
    for (int leaders : {3, 5, 10, 20, 50}) {
      if (only_leaders != 0 && only_leaders != leaders) continue;
      const Cost cost = MeasureCost(shape, leaders);
      std::printf("| %s | %d | %.0f | %.0f | %.2f | %.0f | %.0f | %.0f | %.0f |\n", shape, leaders, cost.reach_ms,
                  cost.reach_max_ms, cost.transfers, cost.bytes_per_change, cost.frames_per_change,
                  cost.announced_per_change, cost.bytes_quiet_s);
      std::fflush(stdout);
    }
  }
}

}  // namespace polyarch::sim
