// polyarch-check-sample: prints a history of a made-up store, to try polyarch-check with.
#include <cstdio>
#include <string>

#include <CLI/CLI.hpp>

#include "history/made_store.h"

int main(int argc, char** argv) {
  using namespace polyarch::history;
  CLI::App app{"Prints a valid history of a made-up store, to try polyarch-check with"};
  MadeOptions options;
  bool linearizable = false;
  app.add_option("operations", options.operations, "how many")->required();
  app.add_option("--seed", options.seed, "of all draws")->capture_default_str();
  app.add_option("--leaders", options.leaders, "leaders")->capture_default_str();
  app.add_option("--sessions", options.sessions, "clients")->capture_default_str();
  app.add_option("--keys", options.keys, "registers, and as many counters")->capture_default_str();
  app.add_flag("--linearizable", linearizable, "of one map, instead of leaders that replicate");
  CLI11_PARSE(app, argc, argv);
  const std::string history = linearizable ? MakeLinearizableHistory(options) : MakeCausalHistory(options);
  return std::fwrite(history.data(), 1, history.size(), stdout) == history.size() ? 0 : 1;
}
