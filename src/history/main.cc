// polyarch-check: reads a history and says whether what clients saw can be explained. See docs/checking.md.
#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "base/glob.h"
#include "history/causal.h"
#include "history/history.h"
#include "history/linearizable.h"

namespace polyarch::history {
namespace {

constexpr int kFine = 0;
constexpr int kViolated = 1;
constexpr int kBadInput = 2;
constexpr int kUndecided = 3;

bool ReadAll(const std::string& path, std::string& out) {
  std::FILE* file = path == "-" ? stdin : std::fopen(path.c_str(), "rb");
  if (file == nullptr) return false;
  static char buffer[1 << 16];
  size_t count = 0;
  while ((count = std::fread(buffer, 1, sizeof buffer, file)) > 0) out.append(buffer, count);
  const bool fine = std::ferror(file) == 0;
  if (file != stdin) std::fclose(file);
  return fine;
}

int Fail(const std::string& path, const base::Status& status) {
  std::fprintf(stderr, "polyarch-check: %s: %s\n", path.c_str(), status.message().c_str());
  return kBadInput;
}

void Print(const Verdict& verdict) {
  for (const Violation& violation : verdict.violations)
    std::printf("line %u: %s: %s\n", violation.lines.front(), violation.rule.c_str(), violation.text.c_str());
  if (verdict.count > verdict.violations.size())
    std::printf("and %llu more\n", static_cast<unsigned long long>(verdict.count - verdict.violations.size()));
  for (const std::string& reason : verdict.undecided) std::printf("undecided: %s\n", reason.c_str());
}

int Main(int argc, char** argv) {
  CLI::App app{
      "Says whether a history of operations can be explained: causal consistency, or linearizability.\n"
      "Exit code: 0 it can; 1 it cannot, one line for each violation; 2 bad input; 3 undecided"};
  bool causal = false;
  bool linearizable = false;
  CausalOptions causal_options;
  LinearizableOptions linearizable_options;
  std::vector<std::string> sync;
  std::string path;
  size_t memory_mib = causal_options.clocks_bytes_max >> 20;
  auto* causal_flag = app.add_flag("--causal", causal, "causal consistency, session guarantees, counters (the default)");
  auto* convergent_flag = app.add_flag("--convergent", causal_options.convergent,
                                       "that, and one order of all concurrent writes: for policy lww");
  auto* linearizable_flag = app.add_flag("--linearizable", linearizable, "linearizability of every key");
  causal_flag->excludes(convergent_flag)->excludes(linearizable_flag);
  convergent_flag->excludes(linearizable_flag);
  app.add_option("--sync", sync, "keys of this pattern must be linearizable, all others as said; may be repeated")
      ->excludes(linearizable_flag)
      ->allow_extra_args(false);
  app.add_option("--memory", memory_mib, "MiB for the clocks of the causal check")->capture_default_str();
  app.add_option("--work", linearizable_options.work_max, "sets of operations a key that the search for an order may look at")
      ->capture_default_str();
  app.add_option("FILE", path, "the history; - is the standard input")->required();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kFine : kBadInput;
  }
  causal_options.clocks_bytes_max = memory_mib << 20;

  const auto began = std::chrono::steady_clock::now();
  std::string text;
  if (!ReadAll(path, text)) {
    std::fprintf(stderr, "polyarch-check: %s: cannot be read\n", path.c_str());
    return kBadInput;
  }
  auto history = History::Parse(std::move(text));
  if (!history.ok()) return Fail(path, history.status());

  // Each key goes to one of the two.
  const size_t keys = history->keys().size();
  causal_options.skip.assign(keys, linearizable);
  linearizable_options.skip.assign(keys, !linearizable);
  for (uint32_t key = 0; key < keys; ++key) {
    for (const std::string& pattern : sync) {
      if (pattern != "*" && !base::GlobMatch(pattern, history->keys()[key])) continue;
      causal_options.skip[key] = true;
      linearizable_options.skip[key] = false;
    }
  }
  auto first = CheckCausal(*history, causal_options);
  if (!first.ok()) return Fail(path, first.status());
  auto second = CheckLinearizable(*history, linearizable_options);
  if (!second.ok()) return Fail(path, second.status());
  Print(*first);
  Print(*second);

  const uint64_t count = first->count + second->count;
  const bool undecided = !first->undecided.empty() || !second->undecided.empty();
  const char* level = linearizable ? "linearizable" : causal_options.convergent ? "causally convergent" : "causally consistent";
  std::printf("%zu operations, %zu sessions, %zu keys, %.1f s: ", history->operations().size(), history->sessions().size(),
              keys, std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count());
  if (count > 0) {
    std::printf("%llu violations\n", static_cast<unsigned long long>(count));
    return kViolated;
  }
  std::printf("%s\n", undecided ? "undecided" : level);
  return undecided ? kUndecided : kFine;
}

}  // namespace
}  // namespace polyarch::history

int main(int argc, char** argv) { return polyarch::history::Main(argc, argv); }
