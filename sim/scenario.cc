#include "sim/scenario.h"

#include <algorithm>
#include <fstream>
#include <map>
#include <optional>
#include <set>
#include <sstream>
#include <vector>

#include "base/glob.h"
#include "sim/backups.h"
#include "sim/world.h"

namespace polyarch::sim {

namespace {

constexpr int64_t kSettleUs = 120 * kSecond;
constexpr int64_t kStillUs = 3 * kSecond;  // nothing applied or written for so long
constexpr int64_t kReplyUs = 60 * kSecond;

struct Line {
  int number = 0;
  std::string text;
};

class Failure : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

std::vector<std::string> Words(const std::string& text) {
  std::vector<std::string> words;
  for (size_t i = 0; i < text.size();) {
    if (text[i] == ' ') {
      ++i;
    } else if (text[i] == '"') {
      const size_t end = std::min(text.find('"', i + 1), text.size());
      words.push_back(text.substr(i + 1, end - i - 1));
      i = end + 1;
    } else {
      const size_t end = std::min(text.find(' ', i), text.size());
      words.push_back(text.substr(i, end - i));
      i = end;
    }
  }
  return words;
}

// "500ms", "-1h", "+3y".
int64_t ParseTime(const std::string& text) {
  size_t digits = 0;
  const int64_t number = std::stoll(text, &digits);
  const std::string unit = text.substr(digits);
  if (unit == "ms") return number * kMs;
  if (unit == "s") return number * kSecond;
  if (unit == "m") return number * 60 * kSecond;
  if (unit == "h") return number * kHour;
  if (unit == "d") return number * kDay;
  if (unit == "y") return number * kYear;
  throw Failure("no time: " + text);
}

class Story {
 public:
  Story(uint64_t seed, const std::string& topology, Trace& trace) : world_(seed, trace), topology_(topology) {
    world_.network().weather() = Weather{};
    world_.SetCheckEvery(10);
    options_.timer_us = 20 * kMs;
  }

  void Run(const std::vector<Line>& lines) {
    for (const Line& line : lines) {
      try {
        world_.Log([&] { return "---- " + line.text; });
        RunLine(line.text);
        world_.checkers().CheckAll();
      } catch (const std::exception& e) {
        throw Failure("line " + std::to_string(line.number) + " (" + line.text + "): " + e.what());
      }
    }
  }

 private:
  Node& Of(const std::string& name) {
    Node* node = world_.Find(name);
    if (node == nullptr) {
      auto it = named_.find(name);
      if (it == named_.end()) throw Failure("no such node: " + name);
      node = it->second;
    }
    return *node;
  }

  std::string Substitute(const std::string& word) {
    if (word.size() < 2 || word[0] != '$') return word;
    auto it = kept_.find(word);
    if (it == kept_.end()) throw Failure("nothing kept as " + word);
    return it->second;
  }

  void Command(const std::string& name, const std::string& text) {
    const size_t arrow = text.find(" -> ");
    const std::string expected = arrow == std::string::npos ? "" : text.substr(arrow + 4);
    Op op;
    for (const std::string& word : Words(text.substr(0, arrow))) op.args.push_back(Substitute(word));
    KeysOf(op.args, 0, op.keys, op.whole);
    op.id = world_.NextOp();
    std::optional<resp::Value> reply;
    op.done = [&](Op&, const resp::Value& value) { reply = value; };
    Node& node = Of(name);
    if (!node.up()) throw Failure(name + " is down");
    node.Submit(std::move(op));
    if (!world_.RunUntil(kReplyUs, 1 * kMs, [&] { return reply.has_value(); })) throw Failure("no reply");
    if (expected.empty()) return;
    if (expected[0] == '$') {
      const resp::Value& value = reply->items.empty() ? *reply : reply->items[0];
      kept_[expected] = value.text;
      return;
    }
    std::string found = reply->ToString();
    std::string plain = reply->type == resp::Value::Type::kBulk ? reply->text : found;
    if (reply->type == resp::Value::Type::kSimple) plain = reply->text;
    if (!base::GlobMatch(expected, found) && !base::GlobMatch(expected, plain) && expected != found) {
      throw Failure(name + " answers " + found);
    }
  }

  void Block(const std::string& from, const std::string& to, bool blocked) {
    world_.network().SetBlocked(Of(from).options().place, Of(to).options().place, blocked);
  }

  void SetCut(const std::vector<std::string>& words, bool blocked) {
    if (words.size() == 1) {
      if (blocked) throw Failure("cut what?");
      world_.network().UnblockAll();
      return;
    }
    const size_t direction = words[1].find('>');
    if (direction != std::string::npos) {
      Block(words[1].substr(0, direction), words[1].substr(direction + 1), blocked);
      return;
    }
    for (auto& other : world_.nodes()) {
      const std::string name = NameIn(*other);
      if (name == words[1] || (words.size() > 2 && name != words[2])) continue;
      Block(words[1], name, blocked);
      Block(name, words[1], blocked);
    }
  }

  std::string NameIn(const Node& node) {
    for (const auto& [name, other] : named_) {
      if (other == &node) return name;
    }
    return node.options().leader;
  }

  // Until nothing has been appended anywhere for a while. The links of a healed network need a moment
  // to come up.
  void Settle() {
    const int64_t begin_us = world_.now_us();
    const bool still = world_.RunUntil(kSettleUs, 100 * kMs, [&] {
      if (world_.now_us() - begin_us < kStillUs) return false;
      for (auto& node : world_.nodes()) {
        if (!node->up()) continue;
        if (world_.now_us() - node->last_nonempty_us() < kStillUs) return false;
        if (!node->engine().receiving_from().empty() || node->engine().merging()) return false;
      }
      return true;
    });
    if (!still) throw Failure("nothing settles");
  }

  // `to` hears `from`, and nobody else anybody.
  void Deliver(const std::string& to, const std::string& from) {
    std::vector<std::pair<int, int>> before;
    for (auto& a : world_.nodes()) {
      for (auto& b : world_.nodes()) {
        const std::pair link{a->options().place, b->options().place};
        if (a == b || world_.network().IsBlocked(link.first, link.second)) continue;
        before.push_back(link);
        world_.network().SetBlocked(link.first, link.second, true);
      }
    }
    Block(from, to, false);
    Block(to, from, false);
    Node& receiver = Of(to);
    Node& sender = Of(from);
    const Vector wanted = sender.applied();
    const bool done = world_.RunUntil(kSettleUs, 50 * kMs, [&] { return Includes(receiver.applied(), wanted); });
    Block(from, to, true);
    Block(to, from, true);
    for (const auto& [a, b] : before) world_.network().SetBlocked(a, b, false);
    if (!done) throw Failure(to + " does not get what " + from + " has");
  }

  void ExpectLogged(const std::string& value) {
    bool found = false;
    for (auto& node : world_.nodes()) {
      if (!node->up()) continue;
      node->engine().ledger().Visit(0, [&](const conflict::LedgerEntry& e) {
        found = found || e.lost.value == value;
        return true;
      });
    }
    if (!found) throw Failure("no leader's log holds it");
  }

  void ExpectConverged() {
    std::string why;
    // Nodes that are down are not asked.
    Vector vector;
    bool first = true;
    for (auto& node : world_.nodes()) {
      if (!node->up()) continue;
      Vector applied = node->applied();
      Normalize(applied);
      if (!first && applied != vector) {
        throw Failure(node->name() + " has " + world_.history().Text(applied) + " instead of " +
                      world_.history().Text(vector));
      }
      first = false;
      vector = applied;
    }
  }

  void RunLine(const std::string& text) {
    const std::vector<std::string> words = Words(text);
    const std::string& verb = words[0];
    auto need = [&](size_t count) {
      if (words.size() < count) throw Failure("too few words");
    };
    if (verb == "each") {
      const size_t colon = text.find(':');
      if (colon == std::string::npos) throw Failure("no command");
      for (size_t i = 1; i < words.size(); ++i) {
        std::string name = words[i];
        const bool last = name.back() == ':';
        if (last) name.pop_back();
        Command(name, text.substr(colon + 2));
        if (last) break;
      }
      return;
    }
    if (verb.back() == ':') return Command(verb.substr(0, verb.size() - 1), text.substr(verb.size() + 1));
    if (verb == "durability") {
      options_.engine.durability = words[1] == "always"     ? engine::Durability::kAlways
                                   : words[1] == "everysec" ? engine::Durability::kEverySecond
                                                            : engine::Durability::kNone;
    } else if (verb == "checkpoint-every") {
      options_.engine.checkpoint_log_bytes = std::stoull(words[1]);
      options_.engine.checkpoint_slice_keys = 1;
    } else if (verb == "quota-bytes") {
      // With it what makes a small log trim: small segments, frequent checkpoints, little patience.
      options_.engine.log_quota_bytes = std::stoull(words.at(1));
      options_.segment_bytes = std::max<uint64_t>(200, options_.engine.log_quota_bytes / 16);
      options_.engine.checkpoint_log_bytes = options_.engine.log_quota_bytes / 4;
      options_.engine.state_timeout_us = 3 * kSecond;
    } else if (verb == "residue-quota") {
      options_.engine.residue_quota = std::stoull(words.at(1));
    } else if (verb == "state-chunk") {
      options_.engine.state_chunk_bytes = std::stoull(words.at(1));
      options_.engine.state_window_bytes = std::stoull(words.at(1));
      options_.engine.state_near_bytes = 1;
      options_.engine.state_bytes_per_second = std::stoull(words.at(1)) * 5;
    } else if (verb == "state-instead") {
      options_.engine.state_instead_bytes = std::stoull(words.at(1));
    } else if (verb == "merge-slice") {
      options_.engine.merge_slice_keys = std::stoull(words.at(1));
    } else if (verb == "frame-bytes") {
      options_.engine.frame_bytes_max = std::stoull(words.at(1));
    } else if (verb == "window-bytes") {
      options_.engine.window_bytes = std::stoull(words.at(1));
    } else if (verb == "nodes") {
      BuildNodes({words.begin() + 1, words.end()});
    } else if (verb == "join") {
      need(2);
      Node& node = NewNode(words[1]);
      node.mutable_options().join = {world_.nodes()[0]->options().address};
      node.Start();
    } else if (verb == "cut" || verb == "heal") {
      SetCut(words, verb == "cut");
    } else if (verb == "delay") {
      need(4);
      const int a = Of(words[1]).options().place;
      const int b = Of(words[2]).options().place;
      world_.network().SetDelay(a, b, ParseTime(words[3]));
      world_.network().SetDelay(b, a, ParseTime(words[3]));
    } else if (verb == "deliver") {
      need(4);
      Deliver(words[1], words[3]);
    } else if (verb == "settle") {
      Settle();
    } else if (verb == "run") {
      need(2);
      world_.RunFor(ParseTime(words[1]));
    } else if (verb == "leap") {
      need(2);
      world_.scheduler().Leap(ParseTime(words[1]));
    } else if (verb == "expect-converged") {
      ExpectConverged();
    } else if (verb == "expect-silent") {
      ExpectSilent();
    } else if (verb == "expect-folded") {
      world_.checkers().CheckFolded();
    } else if (verb == "expect-states") {
      need(3);
      const uint64_t found = Of(words[1]).engine().transfers().completed;
      if (std::to_string(found) != words[2]) throw Failure("it was " + std::to_string(found));
    } else if (verb == "expect-at-most") {
      need(4);
      const engine::Engine& engine = Of(words[2]).engine();
      const uint64_t found = words[1] == "log"       ? engine.hold_position() - engine.log_begin()
                             : words[1] == "residue" ? Of(words[2]).engine().keys().residue_keys().size()
                             : words[1] == "memory"  ? Of(words[2]).engine().keys().memory_bytes()
                                                     : throw Failure("unknown measure");
      if (found > std::stoull(words[3])) throw Failure("it was " + std::to_string(found));
    } else if (verb == "expect-equal-slots") {
      need(3);
      const uint64_t found = Of(words[1]).engine().transfers().slots_equal;
      if (found < std::stoull(words[2])) throw Failure("it was " + std::to_string(found));
    } else if (verb == "expect-away" || verb == "expect-present") {
      need(2);
      for (auto& node : world_.nodes()) {
        if (!node->up() || node.get() == &Of(words[1])) continue;
        const auto& members = node->engine().replica().members();
        auto member = members.find(words[1]);
        const bool away = member != members.end() && member->second.away;
        if (away != (verb == "expect-away")) throw Failure("not so at " + node->name());
      }
    } else if (verb == "until-receiving") {
      need(2);
      Node& node = Of(words[1]);
      const bool began = world_.RunUntil(
          kSettleUs, 1 * kMs, [&] { return node.engine().received_bytes() > 0; });
      if (!began) throw Failure("no state comes");
    } else if (verb == "told") {
      const size_t arrow = text.find(" -> ");
      if (arrow == std::string::npos) throw Failure("told what?");
      std::string all;
      for (const std::string& told : Of(words.at(1)).TakeTold())
        all += (all.empty() ? "" : " ") + told;
      if (all.empty()) all = "nothing";
      if (!base::GlobMatch(text.substr(arrow + 4), all) && text.substr(arrow + 4) != all) throw Failure("it was told " + all);
    } else if (verb == "expect-logged") {
      need(2);
      ExpectLogged(words[1]);
    } else if (verb == "topology") {
      need(2);
      SetTopology(text.substr(verb.size() + 1));
    } else if (verb == "count-transfers") {
      frames_before_ = world_.history().frames();
      sent_before_ = Sum(&replication::Replica::Counters::frames_out);
      duplicates_before_ = Sum(&replication::Replica::Counters::duplicates_dropped);
    } else if (verb == "expect-transfers") {
      need(2);
      ExpectTransfers(std::stoull(words[1]));
    } else if (verb == "await-links") {
      need(3);
      AwaitLinks(words);
    } else if (verb == "expect-route") {
      need(5);
      ExpectRoute(words);
    } else if (verb == "expect-no-conflicts") {
      world_.checkers().CheckNoConflicts();
    } else {
      need(2);
      RunNodeVerb(words);
    }
  }

  void RunNodeVerb(const std::vector<std::string>& words) {
    const std::string& verb = words[0];
    Node& node = Of(words[1]);
    if (verb == "crash") {
      node.End(EndOfProcess::kPower);
    } else if (verb == "kill") {
      node.End(EndOfProcess::kKilled);
    } else if (verb == "stop") {
      node.End(EndOfProcess::kStopped);
    } else if (verb == "start") {
      node.Start();
    } else if (verb == "rejoin") {
      if (node.up()) node.End(EndOfProcess::kStopped);
      node.mutable_options().engine.rejoin = true;
      node.Start();
    } else if (verb == "pause") {
      node.Pause(INT64_MAX / 2);
    } else if (verb == "continue") {
      node.Continue();
    } else if (verb == "room") {
      node.SetRoom(words.at(2) == "all" ? Node::kRoomForAll : node.DiskBytes() + std::stoull(words[2]));
    } else if (verb == "sync") {
      Node::Options& options = node.mutable_options();
      options.sync_min_us = words.at(2) == "fast" ? Node::Options().sync_min_us : ParseTime(words[2]);
      options.sync_max_us = words[2] == "fast" ? Node::Options().sync_max_us : options.sync_min_us;
    } else if (verb == "clock") {
      node.SetOffset(ParseTime(words.at(2)));
    } else if (verb == "backup") {
      backups_[words.at(2)] = node.disk().Copy();
    } else if (verb == "backup-begin") {
      running_.erase(words.at(2));
      running_.emplace(words.at(2), Backup(node));
    } else if (verb == "backup-end") {
      Backup& backup = running_.at(words.at(2));
      while (!backup.Cut()) world_.RunFor(kSecond);
      backups_[words.at(2)] = backup.disk().Copy();
    } else if (verb == "restore") {
      if (node.up()) node.End(EndOfProcess::kKilled);
      node.ReplaceDisk(backups_.at(words.at(2)).Copy());
      node.Start();
    } else if (verb == "wipe") {
      if (node.up()) node.End(EndOfProcess::kKilled);
      node.ReplaceDisk({});
      for (auto& other : world_.nodes()) {
        if (other.get() != &node) node.mutable_options().join.push_back(other->options().address);
      }
      node.Start();
    } else if (verb == "clone") {
      Disk disk = words.size() > 4 ? backups_.at(words[4]).Copy() : node.disk().Copy();
      disk.store->Crash(world_.draw().random());
      Node::Options options = options_;
      options.leader = node.options().leader;
      Place(options);
      Node& clone = world_.AddNode(options, std::move(disk));
      clone.SetWallMax(node);
      clone.SetLostData();
      world_.SetClones();
      node.SetLostData();
      named_[words.at(3)] = &clone;
      clone.Start();
    } else {
      throw Failure("no such verb");
    }
  }

  void Place(Node::Options& options) {
    options.place = static_cast<int>(world_.nodes().size());
    options.address = "10.0.0." + std::to_string(options.place + 1) + ":8400";
  }

  Node& NewNode(const std::string& name) {
    Node::Options options = options_;
    options.leader = name;
    Place(options);
    return world_.AddNode(options);
  }

  void BuildNodes(const std::vector<std::string>& names) {
    for (const std::string& name : names) {
      Node& node = NewNode(name);
      if (world_.nodes().size() > 1) node.mutable_options().join = {world_.nodes()[0]->options().address};
      node.Start();
    }
    if (!world_.RunUntil(30 * kSecond, 50 * kMs, [&] { return world_.checkers().Converged(); })) {
      throw Failure("the cluster does not form");
    }
    Settle();
    if (topology_ == "mesh" || names.size() < 3) return;
    std::string text = topology_;
    if (topology_ == "star") text += " " + names[0];
    if (topology_ == "ring") {
      for (const std::string& name : names) text += " " + name;
    }
    if (topology_ == "chain") {
      text = "links";
      for (size_t i = 1; i < names.size(); ++i) text += " " + names[i - 1] + "-" + names[i];
    }
    SetTopology(text);
  }

  Node& FirstUp() {
    for (auto& node : world_.nodes()) {
      if (node->up()) return *node;
    }
    throw Failure("all are down");
  }

  void SetTopology(const std::string& text) {
    Command(NameIn(FirstUp()), "TOPOLOGY SET " + text + " -> OK");
    world_.RunFor(10 * kSecond);  // links come, streams move, other links go
    Settle();
  }

  uint64_t Sum(uint64_t replication::Replica::Counters::* counter) {
    uint64_t total = 0;
    for (auto& node : world_.nodes()) {
      if (node->up()) total += node->engine().replica().counters().*counter;
    }
    return total;
  }

  void ExpectTransfers(uint64_t times) {
    using Counters = replication::Replica::Counters;
    const uint64_t frames = world_.history().frames() - frames_before_;
    const uint64_t sent = Sum(&Counters::frames_out) - sent_before_;
    if (frames == 0) throw Failure("no frame was made");
    if (sent != frames * times) {
      throw Failure(std::to_string(frames) + " frames were sent " + std::to_string(sent) + " times");
    }
    if (Sum(&Counters::duplicates_dropped) != duplicates_before_) throw Failure("some came twice");
  }

  void AwaitLinks(const std::vector<std::string>& words) {
    std::set<std::string> wanted(words.begin() + 2, words.end());
    Node& node = Of(words[1]);
    std::string found;
    const bool there = world_.RunUntil(30 * kSecond, 50 * kMs, [&] {
      for (auto& other : world_.nodes()) {
        if (!other->up() || (other.get() != &node && !node.up())) continue;
        std::set<std::string> live;
        for (const replication::Edge& edge : other->engine().replica().graph().edges())
          live.insert(replication::EdgeText(edge));
        if (live == wanted) continue;
        found = other->name() + " sees";
        for (const std::string& edge : live) found += " " + edge;
        return false;
      }
      return true;
    });
    if (!there) throw Failure(found);
  }

  void ExpectRoute(const std::vector<std::string>& words) {
    for (const auto& link : Of(words[1]).engine().replica().Links()) {
      if (link.leader != words[2]) continue;
      const std::string hops = std::to_string(link.hops);
      if (link.next == words[3] && hops == words[4]) return;
      throw Failure("the way is over " + link.next + " in " + hops + " steps");
    }
    throw Failure(words[1] + " does not know " + words[2]);
  }

  void ExpectSilent() {
    constexpr int64_t kQuietUs = 10 * kSecond;
    const bool silent = world_.RunUntil(120 * kSecond, 500 * kMs, [&] {
      return std::all_of(world_.nodes().begin(), world_.nodes().end(), [&](const auto& node) {
        return !node->up() || world_.now_us() - node->last_append_us() > kQuietUs;
      });
    });
    if (!silent) throw Failure("they go on writing");
    world_.checkers().CheckResidue();
    world_.checkers().CheckPresent();
  }

  World world_;
  const std::string topology_;
  uint64_t frames_before_ = 0;
  uint64_t sent_before_ = 0;
  uint64_t duplicates_before_ = 0;
  Node::Options options_;
  std::map<std::string, std::string> kept_;
  std::map<std::string, Disk> backups_;
  std::map<std::string, Backup> running_;  // by the name they will have
  std::map<std::string, Node*> named_;  // clones, by the story's name for them
};

// `repeat N ... end` written out.
std::vector<Line> Unroll(const std::vector<Line>& lines) {
  std::vector<Line> out;
  for (size_t i = 0; i < lines.size(); ++i) {
    if (lines[i].text.rfind("repeat ", 0) != 0) {
      out.push_back(lines[i]);
      continue;
    }
    const size_t begin = i + 1;
    while (i < lines.size() && lines[i].text != "end") ++i;
    const int times = std::stoi(lines[begin - 1].text.substr(7));
    for (int n = 1; n <= times; ++n) {
      for (size_t j = begin; j < i; ++j) {
        Line line = lines[j];
        for (size_t at; (at = line.text.find("{n}")) != std::string::npos;)
          line.text.replace(at, 3, std::to_string(n));
        out.push_back(std::move(line));
      }
    }
  }
  return out;
}

// The story with each order of the lines of its first `permute` block.
std::vector<std::vector<Line>> Orders(const std::vector<Line>& lines) {
  auto begin = std::find_if(lines.begin(), lines.end(), [](const Line& l) { return l.text == "permute"; });
  if (begin == lines.end()) return {lines};
  auto end = std::find_if(begin, lines.end(), [](const Line& l) { return l.text == "end"; });
  std::vector<Line> inner(begin + 1, end);
  auto by_number = [](const Line& a, const Line& b) { return a.number < b.number; };
  std::sort(inner.begin(), inner.end(), by_number);
  std::vector<std::vector<Line>> out;
  do {
    std::vector<Line> order(lines.begin(), begin);
    order.insert(order.end(), inner.begin(), inner.end());
    if (end != lines.end()) order.insert(order.end(), end + 1, lines.end());
    for (auto& rest : Orders(order)) out.push_back(std::move(rest));
  } while (std::next_permutation(inner.begin(), inner.end(), by_number));
  return out;
}

}  // namespace

std::vector<std::string> ScenarioTopologies() { return {"mesh", "ring", "star", "chain"}; }

std::string RunScenarioFile(const std::string& path, const std::string& topology, bool verbose) {
  std::ifstream file(path);
  if (!file) return "cannot read it";
  std::vector<Line> lines;
  uint64_t seeds = 1;
  int number = 0;
  for (std::string text; std::getline(file, text);) {
    ++number;
    const size_t begin = text.find_first_not_of(" \t");
    if (begin == std::string::npos || text[begin] == '#') continue;
    text = text.substr(begin, text.find_last_not_of(" \t\r") - begin + 1);
    if (text.rfind("seeds ", 0) == 0) {
      seeds = std::stoull(text.substr(6));
    } else if (text.rfind("topologies ", 0) == 0) {
      const std::vector<std::string> told = Words(text);
      if (std::find(told.begin() + 1, told.end(), topology) == told.end()) return {};
    } else {
      lines.push_back({number, text});
    }
  }
  for (const auto& order : Orders(Unroll(lines))) {
    for (uint64_t seed = 1; seed <= seeds; ++seed) {
      Trace trace(verbose ? Trace::Mode::kPrint : Trace::Mode::kTail);
      try {
        Story story(seed, topology, trace);
        story.Run(order);
      } catch (const std::exception& e) {
        std::string text = std::string(e.what()) + " (seed " + std::to_string(seed) + ")";
        if (!verbose) text += "\n" + trace.Tail();
        return text;
      }
    }
  }
  return {};
}

}  // namespace polyarch::sim
