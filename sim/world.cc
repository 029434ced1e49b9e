#include "sim/world.h"

#include <algorithm>

#include "base/hash.h"
#include "sim/marks.h"

namespace polyarch::sim {

void Trace::Add(std::string line) {
  if (mode_ == Mode::kPrint) {
    std::puts(line.c_str());
    return;
  }
  if (lines_.size() < kTailLines) {
    lines_.push_back(std::move(line));
  } else {
    lines_[next_] = std::move(line);
  }
  next_ = (next_ + 1) % kTailLines;
}

std::string Trace::Tail() const {
  std::string text;
  for (size_t i = 0; i < lines_.size(); ++i) {
    const size_t at = lines_.size() < kTailLines ? i : (next_ + i) % kTailLines;
    text += "  " + lines_[at] + "\n";
  }
  return text;
}

World::World(uint64_t seed, Trace& trace)
    : trace_(trace), draw_(seed), network_(scheduler_, draw_), checkers_(*this), feeds_(*this) {}

World::~World() = default;

void World::Trace_(const std::string& line) {
  char time[32];
  std::snprintf(time, sizeof(time), "%12.6f ", static_cast<double>(now_us()) / 1e6);
  trace_.Add(time + line);
}

Node& World::AddNode(Node::Options options, Disk disk) {
  nodes_.push_back(std::make_unique<Node>(*this, std::move(options), std::move(disk)));
  return *nodes_.back();
}

Node* World::Find(std::string_view leader) {
  for (auto& node : nodes_) {
    if (node->options().leader == leader) return node.get();
  }
  return nullptr;
}

std::vector<Node*> World::Writers() {
  std::vector<Node*> out;
  if (!writers_.empty()) {
    for (Node* node : writers_) {
      if (node->up()) out.push_back(node);
    }
    return out;
  }
  for (auto& node : nodes_) {
    if (node->up()) out.push_back(node.get());
  }
  return out;
}

void World::RunFor(int64_t us) {
  const int64_t end_us = now_us() + us;
  while (scheduler_.RunNext(end_us)) {
  }
}

bool World::RunUntil(int64_t us, int64_t step_us, const std::function<bool()>& done) {
  const int64_t end_us = now_us() + us;
  while (now_us() < end_us) {
    if (done()) return true;
    RunFor(step_us);
  }
  return done();
}

void World::ProcessFailed(Node& node) {
  // A failed sync tells nothing about what reached the disk.
  node.End(EndOfProcess::kPower);
  if (on_failed) on_failed(node);
}

void World::DiskChanged(Node& node, bool replaced) { checkers_.DiskChanged(node, replaced); }

void World::TickDone(Node& node) {
  if (node.engine().residue_given_up() > 0) SOMETIMES(kResidueGivenUp);  // gone with its process
  // Each check looks at all that was ever written: its share of a long run is kept bounded.
  const uint64_t every = std::max<uint64_t>(check_every_, history_.frames() / 8);
  if (check_every_ != 0 && draw_.OneIn(every)) checkers_.CheckNode(node);
  if (nodes_.size() < 12) checkers_.CheckLinkStates(node);
}

void World::Executed(Node& node, Op& op) {
  checkers_.Executed(node, op);
  travellers_.Executed(node, op);
}

void World::Released(Node& node, Op& op) {
  checkers_.Released(node, op);
  if (op.done) op.done(op, op.reply);
}

std::string World::Reported(Node&, int, const std::string& line) {
  if (line.find("forked") != std::string::npos || line.find("two contents") != std::string::npos ||
      line.find("other contents") != std::string::npos || line.find("malformed") != std::string::npos ||
      line.find("lacks changes") != std::string::npos || line.find("cannot read") != std::string::npos) {
    return "a node reports: " + line;
  }
  if (line.find("this one goes on as") != std::string::npos) {
    SOMETIMES(kRenamed);
    if (!clones_) return "a node takes another name although no copy runs: " + line;
  }
  if (line.find("it joins again as a new member") != std::string::npos) SOMETIMES(kRejoined);
  if (line.find("is given up: the disk of this leader is nearly full") != std::string::npos) SOMETIMES(kStateForRoom);
  if (line.find(" s ahead of the clock of ") != std::string::npos) SOMETIMES(kFarClock);
  return {};
}

uint64_t World::Fingerprint() {
  std::string text = std::to_string(draw_.Next()) + " " + std::to_string(scheduler_.events()) + " " +
                     std::to_string(history_.frames()) + " " + std::to_string(network_.bytes());
  for (auto& node : nodes_) {
    if (node->up()) text += " " + node->engine().VersionVectorText() + " " + node->engine().DigestText();
  }
  return base::ContentHash64(text);
}

}  // namespace polyarch::sim
