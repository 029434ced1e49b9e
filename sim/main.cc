// polyarch-sim: runs seeds, planted bugs and scenarios. A seed reproduces everything: the same binary
// runs the same seed the same way on any machine.
#include <csignal>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "base/planted.h"
#include "sim/cost.h"
#include "sim/marks.h"
#include "sim/scenario.h"
#include "sim/simulation.h"

namespace polyarch::sim {
namespace {

constexpr uint64_t kPlantedSeedsMax = 2000;
constexpr int kReportedMax = 20;
constexpr uint64_t kLongRun = 20000;  // from so many seeds on, a mark that none has passed is a failure
// So many histories of agreed keys may be too large to be checked.
constexpr uint64_t kUndecidedPercentMax = 2;

using SteadyClock = std::chrono::steady_clock;

double SecondsSince(SteadyClock::time_point begin) {
  return std::chrono::duration<double>(SteadyClock::now() - begin).count();
}

// What workers and parent share. A worker that dies (a failed CHECK) leaves its seed here.
struct Shared {
  std::atomic<uint64_t> next;
  std::atomic<uint64_t> passed;
  std::atomic<uint64_t> failed;
  std::atomic<uint64_t> acknowledged;
  std::atomic<uint64_t> frames;
  std::atomic<uint64_t> events;
  std::atomic<uint64_t> simulated_s;
  std::atomic<uint64_t> agreed_checked;
  std::atomic<uint64_t> agreed_undecided;
  std::atomic<uint64_t> first_failure;  // the lowest seed that failed
  char reason[160];                     // of the latest failure
  std::atomic<uint64_t> marks[static_cast<size_t>(Mark::kCount)];
  struct Worker {
    std::atomic<uint64_t> seed;
    std::atomic<bool> busy;
  } workers[64];
};

struct Plan {
  uint64_t from = 1;
  uint64_t seeds = 1;
  uint64_t twice = 0;       // this many of the first seeds run twice
  double minutes = 0;       // 0: no limit
  int jobs = 1;
  bool verbose = false;
  bool stop_at_failure = false;
  bool quiet = false;       // print no failures (planted bugs)
  Size size;                // of the clusters
  bool record = false;      // clients whose histories are judged
  std::string history;      // the file that the history of one seed goes to
};

void PrintFailure(uint64_t seed, const std::string& reason, const Plan& plan) {
  std::string how;
  if (plan.size.most != 0) how = " --leaders " + std::to_string(plan.size.least) + ".." + std::to_string(plan.size.most);
  if (plan.record) how += " --history FILE";
  std::printf("seed %llu FAILED: %s\n  replay: polyarch-sim %llu -v%s\n",
              static_cast<unsigned long long>(seed), reason.c_str(), static_cast<unsigned long long>(seed), how.c_str());
  std::fflush(stdout);
}

// Once more, with the story, which costs time and is therefore not kept the first time.
void PrintStory(uint64_t seed, const Plan& plan) {
  Trace trace(Trace::Mode::kTail);
  RunSeed(seed, trace, plan.size, plan.record);
  std::printf("  the last events:\n%s", trace.Tail().c_str());
  std::fflush(stdout);
}

void WriteHistory(const std::string& path, const std::string& text) {
  std::FILE* file = std::fopen(path.c_str(), "wb");
  const bool written = file != nullptr && std::fwrite(text.data(), 1, text.size(), file) == text.size();
  if (file == nullptr || std::fclose(file) != 0 || !written) {
    std::fprintf(stderr, "polyarch-sim: cannot write %s\n", path.c_str());
    _exit(2);
  }
}

bool RunOne(uint64_t seed, const Plan& plan, Shared& shared) {
  Trace trace(plan.verbose ? Trace::Mode::kPrint : Trace::Mode::kOff);
  SeedResult result = RunSeed(seed, trace, plan.size, plan.record);
  if (!plan.history.empty()) WriteHistory(plan.history, result.history);
  if (result.passed && seed - plan.from < plan.twice) {
    Trace again_trace(Trace::Mode::kOff);
    SeedResult again = RunSeed(seed, again_trace, plan.size, plan.record);
    if (!again.passed || again.fingerprint != result.fingerprint || again.history != result.history) {
      result.passed = false;
      result.reason = "two runs of this seed differ " + again.reason;
    }
  }
  shared.acknowledged += result.acknowledged;
  shared.frames += result.frames;
  shared.events += result.events;
  shared.simulated_s += static_cast<uint64_t>(result.simulated_us / kSecond);
  shared.agreed_checked += result.agreed_checked;
  shared.agreed_undecided += result.agreed_undecided;
  if (result.passed) {
    ++shared.passed;
    return true;
  }
  std::snprintf(shared.reason, sizeof(shared.reason), "%s", result.reason.c_str());
  const bool report = !plan.quiet && shared.failed.load() < kReportedMax;
  ++shared.failed;
  if (report) {
    PrintFailure(seed, result.reason, plan);
    if (!plan.verbose && shared.failed.load() == 1) PrintStory(seed, plan);
  }
  return false;
}

void Work(int place, const Plan& plan, Shared& shared, SteadyClock::time_point begin) {
  while (true) {
    const uint64_t n = shared.next.fetch_add(1);
    if (n >= plan.seeds) break;
    if (plan.minutes > 0 && SecondsSince(begin) > plan.minutes * 60) break;
    const uint64_t seed = plan.from + n;
    shared.workers[place].seed = seed;
    shared.workers[place].busy = true;
    const bool passed = RunOne(seed, plan, shared);
    shared.workers[place].busy = false;
    if (!passed) {
      uint64_t lowest = shared.first_failure.load();
      while (seed < lowest && !shared.first_failure.compare_exchange_weak(lowest, seed)) {
      }
      if (plan.stop_at_failure) shared.next = plan.seeds;
    }
  }
  for (size_t i = 0; i < static_cast<size_t>(Mark::kCount); ++i) {
    shared.marks[i] += MarkCounts()[i];
    MarkCounts()[i] = 0;
  }
}

pid_t Fork(int place, const Plan& plan, Shared& shared, SteadyClock::time_point begin) {
  std::fflush(stdout);
  pid_t pid = fork();
  if (pid != 0) return pid;
  if (plan.quiet) {
    // What a failed CHECK prints belongs to the bug that was planted.
    std::FILE* null = std::freopen("/dev/null", "w", stderr);
    (void)null;
  }
  Work(place, plan, shared, begin);
  std::fflush(stdout);
  _exit(0);
}

// Runs the plan in child processes, so that a failed CHECK ends one seed and not all.
void RunPlan(const Plan& plan, Shared& shared) {
  new (&shared) Shared();
  shared.first_failure = UINT64_MAX;
  const auto begin = SteadyClock::now();
  std::vector<pid_t> pids;
  for (int i = 0; i < plan.jobs; ++i) pids.push_back(Fork(i, plan, shared, begin));
  for (int running = plan.jobs; running > 0;) {
    int status = 0;
    pid_t pid = wait(&status);
    if (pid < 0) break;
    auto it = std::find(pids.begin(), pids.end(), pid);
    if (it == pids.end()) continue;
    const int place = static_cast<int>(it - pids.begin());
    Shared::Worker& worker = shared.workers[place];
    if (worker.busy.load()) {
      // It died in the middle of a seed.
      const uint64_t seed = worker.seed.load();
      worker.busy = false;
      ++shared.failed;
      std::snprintf(shared.reason, sizeof(shared.reason), "the process died");
      uint64_t lowest = shared.first_failure.load();
      if (seed < lowest) shared.first_failure = seed;
      if (!plan.quiet) {
        PrintFailure(seed, "the process died: signal " + std::to_string(WTERMSIG(status)), plan);
      }
      if (plan.stop_at_failure) shared.next = plan.seeds;
      *it = Fork(place, plan, shared, begin);
      continue;
    }
    --running;
  }
}

void PrintMarks(const Shared& shared) {
  std::printf("sometimes:\n");
  for (size_t i = 0; i < static_cast<size_t>(Mark::kCount); ++i) {
    const auto count = static_cast<unsigned long long>(shared.marks[i].load());
    std::printf("  %-36s %10llu%s\n", std::string(NameOf(static_cast<Mark>(i))).c_str(), count,
                count == 0 ? "  NEVER" : "");
  }
}

Shared* NewShared() {
  void* memory = mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    std::perror("polyarch-sim: mmap");
    std::exit(1);
  }
  return new (memory) Shared();
}

int RunSeeds(const Plan& plan) {
  Shared& shared = *NewShared();
  const auto begin = SteadyClock::now();
  RunPlan(plan, shared);
  const double seconds = SecondsSince(begin);
  const uint64_t ran = shared.passed.load() + shared.failed.load();
  if (ran > 1) PrintMarks(shared);
  std::printf("%llu seeds in %.1f s: %llu writes acknowledged, %llu frames, %llu events, %llu simulated hours\n",
              static_cast<unsigned long long>(ran), seconds,
              static_cast<unsigned long long>(shared.acknowledged.load()),
              static_cast<unsigned long long>(shared.frames.load()),
              static_cast<unsigned long long>(shared.events.load()),
              static_cast<unsigned long long>(shared.simulated_s.load() / 3600));
  // What so many seeds never do is not tested any more; nor is what cannot be told.
  bool missed = false;
  const uint64_t checked = shared.agreed_checked.load();
  const uint64_t undecided = shared.agreed_undecided.load();
  if (checked != 0) {
    std::printf("%llu histories of agreed keys, of which %llu were too large to be checked\n",
                static_cast<unsigned long long>(checked),
                static_cast<unsigned long long>(undecided));
  }
  if (undecided > kUndecidedPercentMax * checked / 100 + 1) {
    missed = true;
    std::printf("too many histories of agreed keys could not be checked\n");
  }
  for (size_t i = 0; ran >= kLongRun && i < static_cast<size_t>(Mark::kCount); ++i) {
    if (shared.marks[i].load() != 0) continue;
    missed = true;
    std::printf("never in %llu seeds: %s\n", static_cast<unsigned long long>(ran),
                std::string(NameOf(static_cast<Mark>(i))).c_str());
  }
  std::printf("%llu passed, %llu failed\n", static_cast<unsigned long long>(shared.passed.load()),
              static_cast<unsigned long long>(shared.failed.load()));
  return shared.failed.load() == 0 && ran > 0 && !missed ? 0 : 1;
}

#ifdef POLYARCH_PLANTED
// The first scenario that fails, if any.
std::string FailingScenario(const std::vector<std::string>& files) {
  for (const std::string& topology : ScenarioTopologies()) {
    for (const std::string& file : files) {
      if (!RunScenarioFile(file, topology, false).empty()) return file + " in topology " + topology;
    }
  }
  return "";
}

// By seeds; what they miss, by `scenarios`.
int RunPlanted(const std::string& only, const Plan& base_plan, const std::vector<std::string>& scenarios) {
  Shared& shared = *NewShared();
  uint64_t found = 0;
  uint64_t missed = 0;
  for (int i = 1; i < static_cast<int>(base::Bug::kCount); ++i) {
    // Those of agreement are looked for by a scheduler of its own (src/sync/sync_test.cc).
    if (i >= static_cast<int>(base::Bug::kSyncVolatilePromise) && i <= static_cast<int>(base::Bug::kSyncKeepVotes)) continue;
    const auto bug = static_cast<base::Bug>(i);
    const std::string name(base::NameOf(bug));
    if (!only.empty() && name != only) continue;
    base::g_planted_bug = bug;
    Plan plan = base_plan;
    plan.seeds = base_plan.seeds == 0 ? 0 : kPlantedSeedsMax;
    plan.stop_at_failure = true;
    plan.quiet = true;
    const auto begin = SteadyClock::now();
    RunPlan(plan, shared);
    const uint64_t first = shared.first_failure.load();
    std::string scenario;
    if (first == UINT64_MAX) scenario = FailingScenario(scenarios);
    if (!scenario.empty()) {
      std::printf("%-22s found by scenario %s (%.0f s)\n", name.c_str(), scenario.c_str(), SecondsSince(begin));
      ++found;
    } else if (first == UINT64_MAX) {
      std::printf("%-22s not found in %llu seeds (%.0f s)\n", name.c_str(),
                  static_cast<unsigned long long>(shared.passed.load()), SecondsSince(begin));
      ++missed;
    } else {
      std::printf("%-22s found after %llu seeds (%.1f s), by seed %llu: %.90s\n", name.c_str(),
                  static_cast<unsigned long long>(shared.passed.load() + shared.failed.load()),
                  SecondsSince(begin), static_cast<unsigned long long>(first), shared.reason);
      ++found;
    }
    std::fflush(stdout);
  }
  std::printf("%llu passed, %llu failed\n", static_cast<unsigned long long>(found),
              static_cast<unsigned long long>(missed));
  return missed == 0 && found > 0 ? 0 : 1;
}
#else
int RunPlanted(const std::string&, const Plan&, const std::vector<std::string>&) {
  std::fprintf(stderr, "polyarch-sim: planted bugs exist only in the build of preset 'planted'\n");
  return 2;
}
#endif

int RunScenarios(const std::vector<std::string>& files, const std::string& only, bool verbose) {
  int passed = 0;
  int failed = 0;
  for (const std::string& file : files) {
    bool fine = true;
    for (const std::string& topology : ScenarioTopologies()) {
      if (!only.empty() && topology != only) continue;
      std::string reason = RunScenarioFile(file, topology, verbose);
      if (reason.empty()) continue;
      fine = false;
      std::printf("%s: FAILED in topology %s\n  %s\n  replay: polyarch-sim --scenario %s --topology %s -v\n",
                  file.c_str(), topology.c_str(), reason.c_str(), file.c_str(), topology.c_str());
    }
    if (fine) std::printf("%s: passed\n", file.c_str());
    ++(fine ? passed : failed);
    std::fflush(stdout);
  }
  std::printf("%d passed, %d failed\n", passed, failed);
  return failed == 0 && passed > 0 ? 0 : 1;
}

bool ParseSize(const std::string& text, Size& size) {
  char* end = nullptr;
  size.least = std::strtoul(text.c_str(), &end, 10);
  size.most = size.least;
  if (end[0] == '.' && end[1] == '.') size.most = std::strtoul(end + 2, &end, 10);
  return *end == '\0' && size.least >= 2 && size.least <= size.most && size.most <= 60;
}

int Main(int argc, char** argv) {
  CLI::App app{"Simulates whole clusters: 2 to 7 leaders on a simulated network, disk and clocks"};
  Plan plan;
  uint64_t seed = 0;
  bool twice = false;
  bool planted = false;
  std::string planted_name;
  std::string scenario;
  std::string scenarios;
  std::string leaders;
  bool cost = false;
  std::string topology;
  auto* seed_option = app.add_option("seed", seed, "run this one seed");
  app.add_option("--seeds", plan.seeds, "how many seeds");
  app.add_option("--from", plan.from, "the first of them");
  auto* minutes = app.add_option("--minutes", plan.minutes, "stop after this long");
  app.add_option("--jobs", plan.jobs, "processes")->check(CLI::Range(1, 64));
  app.add_flag("--twice", twice, "run each seed twice: both must end in the same state");
  app.add_option("--twice-first", plan.twice, "run only so many of the first seeds twice");
  app.add_option("--planted", planted_name, "find the planted bugs, or the one of this name")
      ->expected(0, 1)
      ->each([&](const std::string&) { planted = true; });
  app.add_option("--scenario", scenario, "run one scenario file");
  app.add_option("--scenarios", scenarios, "run all scenario files of a folder");
  app.add_option("--topology", topology, "scenarios, or costs, in this topology only: mesh, ring, star, chain; gateways");
  app.add_option("--leaders", leaders, "clusters of so many leaders: 20, or 20..50 (up to 60)")
      ->check(CLI::Validator(
          [&](std::string& text) {
            return ParseSize(text, plan.size) ? std::string() : "from 2 to 60 leaders: 20, or 20..50";
          },
          "N..M"));
  app.add_flag("--cost", cost, "print the table of what each topology costs, by number of leaders; --topology and --leaders choose a part");
  app.add_flag("--histories", plan.record, "with clients whose histories are judged by the causal check of polyarch-check");
  app.add_option("--history", plan.history, "the same, of one seed; writes the history to this file")->needs(seed_option);
  app.add_flag("-v", plan.verbose, "tell everything");
  CLI11_PARSE(app, argc, argv);
  if (app.count("--planted") > 0) planted = true;

  if (cost) {
    PrintCosts(topology, static_cast<int>(plan.size.most));
    return 0;
  }
  if (!scenario.empty() && !planted) return RunScenarios({scenario}, topology, plan.verbose);
  std::vector<std::string> files;
  if (!scenarios.empty()) {
    for (const auto& entry : std::filesystem::directory_iterator(scenarios)) {
      if (entry.path().extension() == ".txt") files.push_back(entry.path().string());
    }
    std::sort(files.begin(), files.end());
  }
  if (planted && !scenario.empty()) return RunPlanted(planted_name, plan, {scenario});
  if (planted) return RunPlanted(planted_name, plan, files);
  if (!scenarios.empty()) return RunScenarios(files, topology, plan.verbose);
  if (!seed_option->empty()) {
    plan.from = seed;
    plan.seeds = 1;
    plan.jobs = 1;
  } else if (!minutes->empty() && app.count("--seeds") == 0) {
    plan.seeds = UINT64_MAX / 2;
  }
  if (twice) plan.twice = plan.seeds;
  if (!plan.history.empty()) plan.record = true;
  return RunSeeds(plan);
}

}  // namespace
}  // namespace polyarch::sim

int main(int argc, char** argv) { return polyarch::sim::Main(argc, argv); }
