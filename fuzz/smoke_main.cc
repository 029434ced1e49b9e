// Runs a fuzz target without a fuzzer: fuzz_smoke_NAME [--runs N] [--seed S] [FILE | FOLDER]...
// First the files, then N inputs made of the seed: good ones, damaged ones and noise. An input that
// crashes is left in crash.input in the working folder, to be given as FILE. With --write FOLDER the
// inputs are written there instead: a corpus for libFuzzer to begin with.
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

#include "fuzz/target.h"

namespace {

std::string g_input;  // NOLINT: for the signal handler

void OnAbort(int signal) {
  if (FILE* file = std::fopen("crash.input", "wb")) {
    std::fwrite(g_input.data(), 1, g_input.size(), file);
    std::fclose(file);
    std::fputs("the input is in crash.input\n", stderr);
  }
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

void RunOne(std::string input) {
  g_input = std::move(input);
  // A block of its own, so that reading beyond it is noticed by a sanitizer.
  std::vector<char> exact(g_input.begin(), g_input.end());
  polyarch::fuzz::Run({exact.data(), exact.size()});
}

void RunFile(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  RunOne({std::istreambuf_iterator<char>(file), {}});
}

std::string Damage(std::string input, polyarch::base::Random& random) {
  for (uint64_t n = 1 + random.Below(6); n > 0; --n) {
    const size_t at = random.Below(input.size() + 1);
    switch (random.Below(4)) {
      case 0: input.insert(at, 1, static_cast<char>(random.Next())); break;
      case 1: input.resize(std::max(at, input.size() / 2)); break;
      case 2: input.insert(at, input.substr(random.Below(input.size() + 1), random.Below(40))); break;
      default:
        if (at < input.size()) input[at] = static_cast<char>(random.Percent(50) ? random.Next() : random.Below(4) - 2);
    }
  }
  return input;
}

}  // namespace

int main(int argc, char** argv) {
  using polyarch::base::Random;
  uint64_t runs = 1000;
  uint64_t seed = 1;
  std::string write;
  std::signal(SIGABRT, OnAbort);
  std::signal(SIGSEGV, OnAbort);
  size_t files = 0;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--runs") == 0 && i + 1 < argc) {
      runs = std::strtoull(argv[++i], nullptr, 10);
    } else if (std::strcmp(argv[i], "--seed") == 0 && i + 1 < argc) {
      seed = std::strtoull(argv[++i], nullptr, 10);
    } else if (std::strcmp(argv[i], "--write") == 0 && i + 1 < argc) {
      write = argv[++i];
    } else if (std::filesystem::is_directory(argv[i])) {
      for (const auto& entry : std::filesystem::directory_iterator(argv[i])) {
        RunFile(entry.path());
        ++files;
      }
    } else if (std::filesystem::exists(argv[i])) {
      RunFile(argv[i]);
      ++files;
    }
  }
  for (uint64_t n = 0; n < runs; ++n) {
    Random random(seed * 1'000'003 + n);
    std::string input;
    const uint64_t way = random.Below(10);
    if (way == 0) {
      input.resize(random.Below(300));
      for (char& c : input) c = static_cast<char>(random.Next());
    } else {
      input = polyarch::fuzz::Sample(random);
      if (way > 3) input = Damage(std::move(input), random);
    }
    if (write.empty()) {
      RunOne(std::move(input));
    } else {
      std::ofstream(write + "/" + std::to_string(n), std::ios::binary) << input;
    }
  }
  std::printf("%zu files and %llu inputs\n", files, static_cast<unsigned long long>(runs));
  return 0;
}
