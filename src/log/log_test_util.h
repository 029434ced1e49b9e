// What the tests of the log share.
#pragma once

#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdlib.h>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "base/random.h"
#include "log/log.h"

namespace polyarch::log {

class TempDir {
 public:
  TempDir() {
    std::string pattern = (std::filesystem::temp_directory_path() / "polyarch-log-XXXXXX").string();
    EXPECT_NE(::mkdtemp(pattern.data()), nullptr);
    path_ = pattern;
  }
  ~TempDir() { std::filesystem::remove_all(path_); }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  const std::string& path() const { return path_; }
  // Forgets everything and takes what `from` holds.
  void CopyFrom(const TempDir& from) const {
    std::filesystem::remove_all(path_);
    std::filesystem::copy(from.path_, path_);
  }
  std::vector<std::string> Files(const std::string& prefix) const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(path_)) {
      const std::string name = entry.path().filename().string();
      if (name.starts_with(prefix)) names.push_back(name);
    }
    std::sort(names.begin(), names.end());
    return names;
  }

 private:
  std::string path_;
};

inline std::string ReadFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

inline void WriteFile(const std::string& path, const std::string& bytes) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

// Overwrites bytes of an existing file.
inline void PatchFile(const std::string& path, uint64_t offset, const std::string& bytes) {
  std::fstream out(path, std::ios::binary | std::ios::in | std::ios::out);
  out.seekp(static_cast<std::streamoff>(offset));
  out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

// Payload `i` of a workload: its size varies, its content names it.
inline std::string Payload(uint64_t i, size_t size_max = 200) {
  base::Random random(i);
  std::string payload = std::to_string(i) + ":";
  for (uint64_t n = random.Below(size_max); n > 0; --n) {
    payload.push_back(static_cast<char>(random.Next()));
  }
  return payload;
}

struct Copied {
  Position position = 0;
  Position end = 0;
  RecordType type = RecordType::kFrame;
  std::string payload;
  friend bool operator==(const Copied&, const Copied&) = default;
};

// Everything from `from` to the end, in Reads of `bytes_max`.
inline std::vector<Copied> ReadAll(Log& log, Position from, size_t bytes_max = 1000) {
  std::vector<Copied> all;
  while (from < log.end()) {
    Position expected = from;
    auto next = log.Read(from, bytes_max, [&](const Record& record) {
      EXPECT_EQ(record.position, expected);
      expected = record.end;
      all.push_back({record.position, record.end, record.type, std::string(record.payload)});
      return true;
    });
    EXPECT_TRUE(next.ok()) << next.status().ToString();
    if (!next.ok()) return all;
    EXPECT_EQ(*next, expected);
    EXPECT_GT(*next, from);
    from = *next;
  }
  return all;
}

}  // namespace polyarch::log
