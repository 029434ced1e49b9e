#include "cli/top.h"

#include <algorithm>
#include <csignal>
#include <memory>
#include <time.h>
#include <unistd.h>
#include <utility>

#include "cli/commands.h"
#include "cli/options.h"
#include "cli/screen.h"
#include "cli/status.h"
#include "cli/text.h"

namespace polyarch::cli {

namespace {

int64_t MonoMs() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<int64_t>(t.tv_sec) * 1000 + t.tv_nsec / 1'000'000;
}

class Rates {
 public:
  Rates(const Snapshot& now, const std::optional<Snapshot>& before) : now_(now) {
    // Counters of another process begin anew.
    if (before && before->Text("run_id") == now.Text("run_id") && now.mono_ms > before->mono_ms) {
      before_ = &*before;
      seconds_ = static_cast<double>(now.mono_ms - before->mono_ms) / 1000;
    }
  }
  bool known() const { return before_ != nullptr; }
  double Of(const char* name) const {
    return known() ? Per(now_.Number(name) - before_->Number(name)) : 0;
  }
  const LeaderRow* Before(const std::string& id) const {
    for (size_t i = 0; known() && i < before_->leaders.size(); ++i) {
      if (before_->leaders[i].id == id) return &before_->leaders[i];
    }
    return nullptr;
  }
  double Per(int64_t difference) const {
    return difference > 0 && seconds_ > 0 ? static_cast<double>(difference) / seconds_ : 0;
  }

 private:
  const Snapshot& now_;
  const Snapshot* before_ = nullptr;
  double seconds_ = 0;
};

int64_t FieldNumber(const LeaderRow& row, const char* name) {
  const auto found = row.traffic.find(name);
  return found == row.traffic.end() ? 0 : std::strtoll(found->second.c_str(), nullptr, 10);
}

}  // namespace

std::vector<std::string> Frame(const Snapshot& s,
                               const std::optional<Snapshot>& before,
                               const FrameOptions& options) {
  const Rates rates(s, before);
  const auto bold = [&](const std::string& text) {
    return options.styled ? "\x1b[1m" + text + "\x1b[0m" : text;
  };
  const auto loud = [&](const std::string& text) {
    return options.styled ? "\x1b[7m" + text + "\x1b[0m" : text;
  };
  const auto rate = [&](double value) {
    return rates.known() ? HumanRate(value) : std::string("-");
  };
  const auto byte_rate = [&](double value) {
    return rates.known() ? HumanBytes(static_cast<uint64_t>(value)) : std::string("-");
  };

  std::vector<std::string> head;
  std::string uptime = HumanMillis(s.Number("uptime_in_seconds") * 1000);
  head.push_back(
      bold("polyarch top  " + Printable(s.Text("leader_id"))) + "  up " + uptime + ", " +
      HumanCount(static_cast<uint64_t>(std::max<int64_t>(0, s.Number("connected_clients")))) +
      " clients, " +
      HumanBytes(static_cast<uint64_t>(std::max<int64_t>(0, s.Number("used_memory_rss")))) +
      " resident");
  if (!options.notice.empty()) head.push_back(loud(options.notice));
  head.push_back("commands/s " + rate(rates.Of("total_commands_processed")) + "   writes/s local " +
                 rate(rates.Of("changes_local")) + ", remote " + rate(rates.Of("changes_remote")) +
                 "   clients in/s " + byte_rate(rates.Of("total_net_input_bytes")) + ", out/s " +
                 byte_rate(rates.Of("total_net_output_bytes")) + "   log/s " +
                 byte_rate(rates.Of("log_end")));
  head.emplace_back();

  std::vector<std::string> tail;
  tail.emplace_back();
  for (std::string& line : StateLines(s))
    tail.push_back(std::move(line));
  for (const std::string& alarm : Alarms(s))
    tail.push_back(loud("ATTENTION   " + alarm));

  Table table({"LEADER",
               "STATE",
               "LINK",
               "LAG",
               "CLOCK",
               "WRITES/S",
               "IN/S",
               "OUT/S",
               "UNCONFIRMED",
               "LOG KEPT"},
              {3, 4, 5, 6, 7, 8, 9});
  for (const LeaderRow& leader : s.leaders) {
    const LeaderRow* then = rates.Before(leader.id);
    const auto growth = [&](const char* field) {
      if (then == nullptr || leader.traffic.empty()) return std::string("-");
      return HumanBytes(
          static_cast<uint64_t>(rates.Per(FieldNumber(leader, field) - FieldNumber(*then, field))));
    };
    table.Add({Printable(leader.id) + (leader.self ? " *" : ""),
               Printable(leader.state),
               LinkWord(leader),
               LagWord(leader),
               ClockWord(leader),
               then == nullptr ? "-"
                               : HumanRate(rates.Per(static_cast<int64_t>(leader.changes) -
                                                     static_cast<int64_t>(then->changes))),
               growth("bytes_in"),
               growth("bytes_out"),
               HumanCount(static_cast<uint64_t>(std::max<int64_t>(0, leader.unclaimed))),
               leader.self || leader.retained_bytes < 0
                   ? "-"
                   : HumanBytes(static_cast<uint64_t>(leader.retained_bytes))});
  }
  std::vector<std::string> middle = table.Lines();
  middle.front() = bold(middle.front());
  const size_t taken = head.size() + tail.size();
  const size_t room = options.height > taken + 3 ? options.height - taken : 3;
  if (middle.size() > room) {
    const size_t left_out = middle.size() - room + 1;
    middle.resize(room - 1);
    middle.push_back("... and " + std::to_string(left_out) +
                     " more leaders: make the window higher");
  }

  std::vector<std::string> out = std::move(head);
  out.insert(out.end(), middle.begin(), middle.end());
  out.insert(out.end(), tail.begin(), tail.end());
  return out;
}

int RunTop(int argc, char** argv) {
  CLI::App app{
      "A live view of a leader and of what it sees of the others: state, links, lag, rates, "
      "conflicts, log, "
      "and who has not confirmed changes (which holds back purging). Keys: q ends, space "
      "refreshes.",
      "polyarch top"};
  TargetOptions target_options;
  target_options.AddTo(app);
  double interval_s = 1;
  bool once = false;
  app.add_option("--interval", interval_s, "seconds between two frames (default: 1)")
      ->check(CLI::Range(0.1, 3600.0));
  app.add_flag("--once", once, "print one frame, with rates over one interval, and end");
  if (auto code = Parse(app, argc, argv)) return *code;
  auto target = target_options.Resolve();
  if (!target.ok()) return Fail(target.status());
  const auto interval_ms = static_cast<int64_t>(interval_s * 1000);

  auto connection = Connection::Open(*target);
  if (!connection.ok()) return Fail(connection.status());
  std::unique_ptr<Connection> leader = std::move(*connection);
  auto first = Take(*leader);
  if (!first.ok()) return Fail(first.status());
  if (once) {
    ::usleep(static_cast<useconds_t>(interval_ms * 1000));
    auto second = Take(*leader);
    if (!second.ok()) return Fail(second.status());
    return Print(Frame(*second, *first, {.height = SIZE_MAX}));
  }

  if (base::Status s = Screen::Begin(); !s.ok()) return Fail(s);
  std::optional<Snapshot> before;
  Snapshot now = std::move(*first);
  std::string notice;
  int64_t next_ms = MonoMs() + interval_ms;
  for (;;) {
    Screen::Draw(
        Frame(now,
              before,
              {.height = static_cast<size_t>(Screen::height()), .styled = true, .notice = notice}));
    char key = 0;
    const Screen::Event event = Screen::Wait(std::max<int64_t>(0, next_ms - MonoMs()), key);
    if (event == Screen::Event::kQuit ||
        (event == Screen::Event::kKey && (key == 'q' || key == 'Q')))
      break;
    if (event == Screen::Event::kResize) continue;
    if (event == Screen::Event::kKey && key != ' ') continue;
    if (event == Screen::Event::kTimeout && MonoMs() < next_ms) continue;
    next_ms = MonoMs() + interval_ms;
    // A leader that does not answer must not freeze the screen for long: short waits, tried again.
    if (leader == nullptr) {
      Target quick = *target;
      quick.timeout_ms = std::min<int64_t>(quick.timeout_ms, 1000);
      auto again = Connection::Open(quick);
      if (!again.ok()) {
        notice = again.status().message();
        continue;
      }
      leader = std::move(*again);
    }
    auto next = Take(*leader);
    if (!next.ok()) {
      notice = next.status().message();
      leader.reset();
      continue;
    }
    notice.clear();
    before = std::move(now);
    now = std::move(*next);
  }
  Screen::End();
  const int number = Screen::signal_number();
  return number == 0 || number == SIGINT || number == SIGTERM ? 0 : 1;
}

}  // namespace polyarch::cli
