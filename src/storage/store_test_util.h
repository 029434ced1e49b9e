// A workload for stores, and what it should come to: batch i (from 1) writes several families at
// once, so that a torn or missing one shows.
#pragma once

#include <array>
#include <filesystem>
#include <map>
#include <stdlib.h>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/random.h"
#include "storage/store.h"

namespace polyarch::storage {

using Model = std::array<std::map<std::string, std::string>, kFamilies>;

inline std::string WorkloadKey(uint64_t n) {
  return "key " + std::to_string(n);
}

inline Batch WorkloadBatch(uint64_t i, size_t value_bytes) {
  base::Random random(i);
  Batch batch;
  for (int n = 0; n < 5; ++n) {
    const auto family = static_cast<Family>(random.Below(kFamilies));
    const std::string key = WorkloadKey(random.Below(50));
    if (random.Percent(25)) {
      batch.Delete(family, key);
    } else {
      batch.Put(family, key, std::to_string(i) + std::string(random.Below(value_bytes + 1), 'v'));
    }
  }
  if (random.Percent(10)) {
    batch.ClearPrefix(static_cast<Family>(random.Below(kFamilies)),
                      WorkloadKey(random.Below(5)));  // one key, or eleven
  }
  for (size_t family = 0; family < kFamilies; ++family) {
    batch.Put(static_cast<Family>(family), "last", std::to_string(i));
  }
  return batch;
}

// What the first `count` batches come to.
inline Model WorkloadModel(uint64_t count, size_t value_bytes) {
  Model model;
  for (uint64_t i = 1; i <= count; ++i) {
    const Batch batch = WorkloadBatch(i, value_bytes);
    for (const auto& [family, prefix] : batch.cleared_prefixes()) {
      std::erase_if(model[static_cast<size_t>(family)],
                    [&](const auto& row) { return row.first.starts_with(prefix); });
    }
    for (const Batch::Operation& operation : batch.operations()) {
      auto& rows = model[static_cast<size_t>(operation.family)];
      if (operation.is_delete) {
        rows.erase(operation.key);
      } else {
        rows[operation.key] = operation.value;
      }
    }
  }
  return model;
}

inline Model ReadModel(Store& store) {
  Model model;
  for (size_t family = 0; family < kFamilies; ++family) {
    std::string previous;
    const base::Status status =
        store.Scan(static_cast<Family>(family), [&](std::string_view key, std::string_view value) {
          EXPECT_LT(previous, key);
          previous = key;
          model[family].emplace(key, value);
          return true;
        });
    EXPECT_TRUE(status.ok()) << status.ToString();
  }
  return model;
}

// How many batches the rows speak of; what they hold must be just that.
inline uint64_t CheckPrefix(Store& store, size_t value_bytes) {
  const Model model = ReadModel(store);
  const auto last = model[0].find("last");
  const uint64_t count = last == model[0].end() ? 0 : std::stoull(last->second);
  EXPECT_EQ(model, WorkloadModel(count, value_bytes));
  return count;
}

class TempDir {
 public:
  TempDir() {
    std::string pattern =
        (std::filesystem::temp_directory_path() / "polyarch-store-XXXXXX").string();
    EXPECT_NE(::mkdtemp(pattern.data()), nullptr);
    path_ = pattern;
  }
  ~TempDir() { std::filesystem::remove_all(path_); }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace polyarch::storage
