#include "cli/status.h"

#include <algorithm>
#include <utility>

#include "cli/options.h"
#include "cli/text.h"

namespace polyarch::cli {

namespace {

// Clocks that differ by more deserve a look long before --max-clock-skew refuses to follow them.
constexpr int64_t kClockDifferenceMs = 1000;

uint64_t Positive(int64_t number) {
  return number > 0 ? static_cast<uint64_t>(number) : 0;
}

std::string Plural(uint64_t count, const char* one, const char* many) {
  return HumanCount(count) + " " + (count == 1 ? one : many);
}

std::string PurgingLine(const Snapshot& s) {
  const uint64_t residue = Positive(s.Number("residue_keys"));
  const auto holding = s.HoldingBack();
  std::string line = "purging     " + Plural(residue, "key waits", "keys wait");
  if (holding.empty()) return line + "; every member has confirmed all";
  line += "; not confirmed yet:";
  constexpr size_t kShown = 4;
  for (size_t i = 0; i < holding.size() && i < kShown; ++i) {
    const LeaderRow& leader = *holding[i];
    line += std::string(i == 0 ? " " : ", ") + HumanCount(static_cast<uint64_t>(leader.unclaimed)) +
            " by " + Printable(leader.id);
    if (leader.state != "alive") line += " (" + Printable(leader.state) + ")";
  }
  if (holding.size() > kShown) line += " and " + std::to_string(holding.size() - kShown) + " more";
  return line;
}

// Nothing where the leader has no quota.
std::string RetentionWords(const Snapshot& s) {
  const int64_t quota = s.Number("log_quota_bytes");
  return quota > 0 ? " of a quota of " + HumanBytes(Positive(quota)) : "";
}

resp::Value Numbers(const Snapshot& s,
                    std::initializer_list<std::pair<const char*, const char*>> names) {
  resp::Value map = Map();
  for (const auto& [key, name] : names) {
    if (s.Has(name)) Put(map, key, Number(s.Number(name)));
  }
  return map;
}

}  // namespace

std::string LinkWord(const LeaderRow& leader) {
  if (leader.self) return "-";
  const auto state = leader.traffic.find("state");
  // INFO knows better than LEADER LIST that a link is down; LEADER LIST knows that it is delayed.
  if (state != leader.traffic.end() && state->second != "up") return Printable(state->second);
  return leader.link.empty() ? "-" : Printable(leader.link);
}

std::string ClockWord(const LeaderRow& leader) {
  if (leader.self || leader.state != "alive" || !leader.clock_difference_ms) return "-";
  return (*leader.clock_difference_ms > 0 ? "+" : "") + HumanMillis(*leader.clock_difference_ms);
}

std::string LagWord(const LeaderRow& leader) {
  if (leader.self) return "-";
  if (leader.lag_changes == 0 && leader.state == "alive") return "0";
  return HumanCount(Positive(leader.lag_changes)) + " / " +
         (leader.lag_ms >= kLagMsMax ? "> " + HumanMillis(kLagMsMax) : HumanMillis(leader.lag_ms));
}

namespace {

// A retired leader that still counts: those whose confirmation its retirement waits for, and who cannot give it.
std::string RetirementLine(const Snapshot& s, const LeaderRow& retired) {
  std::string names;
  std::string commands;
  for (const LeaderRow& other : s.leaders) {
    if (other.self || !other.counts || other.unclaimed == 0 || other.state == "alive" || other.state == "retired")
      continue;
    names += (names.empty() ? "" : ", ") + Printable(other.id) + " (" + Printable(other.state) + ")";
    commands += (commands.empty() ? "" : ", ") + ("LEADER RETIRE " + Printable(other.id));
  }
  if (names.empty()) return {};
  return Printable(retired.id) + " is retired, and waits for the confirmation of " + names +
         ": start what is to come back, retire the rest as well (" + commands + ")";
}

}  // namespace

std::vector<std::string> Alarms(const Snapshot& s) {
  std::vector<std::string> out;
  const LeaderRow* self = s.self();
  const bool out_of_it = self != nullptr && self->state == "retired";
  if (out_of_it) out.push_back("this leader was retired: stop it, or start it with --rejoin");
  if (s.Has("admitted") && s.Number("admitted") == 0)
    out.push_back(
        "not admitted yet: writes answer -HISTORY until a member that is reachable admits this "
        "leader");
  for (const LeaderRow& leader : s.leaders) {
    if (leader.self || out_of_it) continue;
    if (leader.state == "retired" && leader.counts) {
      if (std::string line = RetirementLine(s, leader); !line.empty()) out.push_back(std::move(line));
    }
    if (LinkWord(leader) == "cut") {
      out.push_back("the link to " + Printable(leader.id) + " is cut by command: LINK HEAL " +
                    Printable(leader.id) + " resumes it");
    } else if (leader.state == "unreachable") {
      out.push_back(Printable(leader.id) + " is unreachable" +
                    (leader.unreachable_ms >= 0 ? " for " + HumanMillis(leader.unreachable_ms) : "") +
                    ": is it running, and is " + Printable(leader.address) +
                    " reachable from here?");
    }
    if (leader.state == "alive" && std::abs(leader.clock_difference_ms.value_or(0)) > kClockDifferenceMs) {
      out.push_back("the clock of " + Printable(leader.id) + " differs by " +
                    HumanMillis(*leader.clock_difference_ms) + ": set the wrong one right (NTP)");
    }
  }
  if (s.Has("sync_quorum") && s.Number("sync_quorum") == 0) {
    const std::string lost = Printable(s.Text("electors_lost"));
    out.push_back("no majority of the electors (" + Printable(s.Text("electors")) + ") " +
                  (s.Number("sync_quorum_lost") != 0
                       ? "has its votes, since the directory of " + lost + " was replaced: writes under policy sync answer "
                         "NOQUORUM until LEADER ELECTORS FORCE id... says who is to vote"
                       : "is in reach: writes under policy sync answer NOQUORUM here; bring them back, or, if they are gone "
                         "for good, LEADER ELECTORS FORCE id... with those that are to vote"));
  } else if (const std::string lost = Printable(s.Text("electors_lost")); !lost.empty()) {
    out.push_back("elector " + lost + " has lost its votes (its directory was replaced): the others admit it again by "
                  "themselves, unless LEADER ELECTORS leaves it out");
  }
  // Of the other reasons a line tells already.
  if (const std::string refused = s.Text("writes_refused");
      !refused.empty() && refused != "no" && refused != "history" && refused != "retired") {
    out.push_back(refused == "diskfull"
                      ? "the disk of this leader is nearly full: clients' writes answer DISKFULL until there is room; make some "
                        "(old backups; who holds back log: LOG KEPT, and LEADER RETIRE of one that is gone for good)"
                      : "this leader refuses clients' writes (" + Printable(refused) + "): see its log");
  }
  if (const std::string stranger = s.Text("other_cluster"); !stranger.empty()) {
    out.push_back("leader " + Printable(stranger) +
                  " belongs to another cluster: one of the two was started with a new directory and without --join (is its "
                  "volume mounted?): stop that one, and start it with its volume, or empty and with --join");
  }
  if (s.Number("forks_detected") > 0)
    out.push_back(HumanCount(Positive(s.Number("forks_detected"))) +
                  " forks detected: keep copies of the directories and report it");
  if (s.Number("stamps_from_the_future") > 0)
    out.push_back(
        HumanCount(Positive(s.Number("stamps_from_the_future"))) +
        " frames came with a clock far ahead since the start: see the leader's log for whose");
  if (s.Number("backups_failed") > 0)
    out.push_back(HumanCount(Positive(s.Number("backups_failed"))) +
                  " backups failed since the start: see the leader's log");
  return out;
}

std::vector<std::string> StateLines(const Snapshot& s) {
  std::vector<std::string> out;
  out.push_back("conflicts   " + HumanCount(Positive(s.Number("conflicts_open"))) + " open, " +
                HumanCount(Positive(s.Number("conflicts_logged"))) + " decided ones in the log, " +
                HumanCount(Positive(s.Number("conflicts_detected"))) + " detected since the start");
  const uint64_t behind = Positive(s.Number("log_end") - s.Number("log_durable"));
  out.push_back("log         " + HumanBytes(Positive(s.Number("log_end") - s.Number("log_begin"))) +
                " kept" + RetentionWords(s) + ", " +
                (behind == 0 ? "all on disk" : HumanBytes(behind) + " not on disk yet"));
  std::string checkpoint = "checkpoint  ";
  if (s.Has("checkpoint_age_ms")) {
    checkpoint += s.Number("checkpoints_done") > 0
                      ? HumanMillis(s.Number("checkpoint_age_ms")) + " ago, "
                      : "none since the start, ";
  }
  checkpoint += HumanBytes(Positive(s.Number("log_end") - s.Number("checkpoint_position"))) +
                " of log to replay, " + Plural(Positive(s.Number("dirty_keys")), "key", "keys") +
                " changed since";
  if (s.Number("checkpoint_in_progress") > 0) checkpoint += "; one is under way";
  out.push_back(checkpoint);
  out.push_back(PurgingLine(s));
  if (s.Number("state_transfer_in_progress") > 0) {
    const std::string from = s.Text("state_transfer_from");
    out.push_back("transfer    state comes" + (from.empty() ? "" : " from " + Printable(from)) +
                  (s.Has("state_transfer_percent")
                       ? ", " + std::to_string(s.Number("state_transfer_percent")) + " %"
                       : "") +
                  (s.Has("state_transfer_bytes")
                       ? ", " + HumanBytes(Positive(s.Number("state_transfer_bytes")))
                       : ""));
  }
  if (s.Number("state_transfers_serving") > 0)
    out.push_back("transfer    state goes to " +
                  Plural(Positive(s.Number("state_transfers_serving")), "leader", "leaders"));
  if (s.Number("backup_in_progress") > 0) out.push_back("backup      under way");
  return out;
}

std::vector<std::string> StatusLines(const Snapshot& s) {
  std::vector<std::string> out;
  const LeaderRow* self = s.self();
  out.push_back("leader " + Printable(s.Text("leader_id")) +
                (self != nullptr ? " at " + Printable(self->address) : "") + ", Polyarch " +
                Printable(s.Text("polyarch_version")) + ", up " +
                HumanMillis(s.Number("uptime_in_seconds") * 1000) + ", durability " +
                Printable(s.Text("durability")));
  out.emplace_back();
  // How much log is kept for each, where the leader says so.
  const bool retained =
      std::any_of(s.leaders.begin(), s.leaders.end(), [](const LeaderRow& leader) {
        return leader.retained_bytes >= 0;
      });
  std::vector<std::string> titles = {
      "LEADER", "STATE", "ADDRESS", "LINK", "LAG", "CLOCK", "IN", "OUT"};
  if (retained) titles.emplace_back("LOG KEPT");
  Table table(std::move(titles), {4, 5, 6, 7, 8});
  for (const LeaderRow& leader : s.leaders) {
    const auto bytes = [&](const char* name) {
      const auto found = leader.traffic.find(name);
      if (found == leader.traffic.end()) return std::string("-");
      return HumanBytes(static_cast<uint64_t>(std::strtoull(found->second.c_str(), nullptr, 10)));
    };
    std::vector<std::string> cells = {Printable(leader.id) + (leader.self ? " *" : ""),
                                      Printable(leader.state),
                                      Printable(leader.address),
                                      LinkWord(leader),
                                      LagWord(leader),
                                      ClockWord(leader),
                                      bytes("bytes_in"),
                                      bytes("bytes_out")};
    if (retained) cells.push_back(leader.self ? "-" : HumanBytes(Positive(leader.retained_bytes)));
    table.Add(std::move(cells));
  }
  for (std::string& line : table.Lines())
    out.push_back(std::move(line));
  out.emplace_back();
  for (std::string& line : StateLines(s))
    out.push_back(std::move(line));
  out.push_back("memory      " + HumanBytes(Positive(s.Number("used_memory"))) + " of data, " +
                HumanBytes(Positive(s.Number("used_memory_rss"))) + " resident");
  out.push_back("vv          " + Printable(s.vv));
  for (const std::string& alarm : Alarms(s))
    out.push_back("ATTENTION   " + alarm);
  return out;
}

resp::Value StatusValue(const Snapshot& s) {
  resp::Value out = Map();
  Put(out, "leader", Text(s.Text("leader_id")));
  Put(out, "version", Text(s.Text("polyarch_version")));
  Put(out, "uptime_s", Number(s.Number("uptime_in_seconds")));
  Put(out, "durability", Text(s.Text("durability")));
  Put(out, "admitted", Boolean(s.Number("admitted") != 0));
  if (s.Has("writes_refused")) Put(out, "writes_refused", Text(s.Text("writes_refused")));
  resp::Value leaders = Array();
  for (size_t i = 0; i < s.leaders.size(); ++i) {
    const LeaderRow& leader = s.leaders[i];
    resp::Value map =
        s.raw_leaders.items[i];  // all that LEADER LIST says, also what is newer than this
    map.type = resp::Value::Type::kMap;
    for (const auto& [name, value] : leader.traffic) {
      if (name == "state") {
        Put(map, "link_state", Text(value));
      } else if (Find(map, name) == nullptr) {
        const bool number =
            !value.empty() && value.find_first_not_of("-0123456789") == std::string::npos;
        Put(map, name, number ? Number(std::strtoll(value.c_str(), nullptr, 10)) : Text(value));
      }
    }
    Put(map, "unclaimed_changes", Number(leader.unclaimed));
    leaders.items.push_back(std::move(map));
  }
  Put(out, "leaders", std::move(leaders));
  Put(out,
      "conflicts",
      Numbers(s,
              {{"open", "conflicts_open"},
               {"logged", "conflicts_logged"},
               {"detected", "conflicts_detected"}}));
  resp::Value log = Numbers(s,
                            {{"begin", "log_begin"},
                             {"end", "log_end"},
                             {"durable", "log_durable"},
                             {"quota", "log_quota_bytes"}});
  Put(log, "kept_bytes", Number(s.Number("log_end") - s.Number("log_begin")));
  Put(out, "log", std::move(log));
  resp::Value checkpoint = Numbers(s,
                                   {{"age_ms", "checkpoint_age_ms"},
                                    {"position", "checkpoint_position"},
                                    {"done", "checkpoints_done"},
                                    {"dirty_keys", "dirty_keys"}});
  Put(checkpoint, "replay_bytes", Number(s.Number("log_end") - s.Number("checkpoint_position")));
  Put(out, "checkpoint", std::move(checkpoint));
  resp::Value purging = Numbers(s, {{"residue_keys", "residue_keys"}});
  resp::Value holding = Array();
  for (const LeaderRow* leader : s.HoldingBack()) {
    resp::Value map = Map();
    Put(map, "leader", Text(leader->id));
    Put(map, "unclaimed_changes", Number(leader->unclaimed));
    holding.items.push_back(std::move(map));
  }
  Put(purging, "held_back_by", std::move(holding));
  Put(out, "purging", std::move(purging));
  Put(out, "vv", Text(s.vv));
  resp::Value alarms = Array();
  for (std::string& alarm : Alarms(s))
    alarms.items.push_back(Text(std::move(alarm)));
  Put(out, "attention", std::move(alarms));
  return out;
}

int RunStatus(int argc, char** argv) {
  CLI::App app{
      "Shows what a leader knows of itself and of the others: state, links, lag, conflicts, log, "
      "checkpoint, "
      "and who holds back purging. Lines that begin with ATTENTION say what to do.",
      "polyarch status"};
  TargetOptions target;
  target.AddTo(app);
  bool json = false;
  app.add_flag("--json", json, "the same as one JSON object");
  if (auto code = Parse(app, argc, argv)) return *code;
  auto connection = target.Connect();
  if (!connection.ok()) return Fail(connection.status());
  auto snapshot = Take(**connection);
  if (!snapshot.ok()) return Fail(snapshot.status());
  return json ? Print(Json(StatusValue(*snapshot))) : Print(StatusLines(*snapshot));
}

}  // namespace polyarch::cli
