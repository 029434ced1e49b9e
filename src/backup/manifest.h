// What a backup says of itself: the file MANIFEST in its directory. Text for people, one fact a
// line, and its own checksum at the end. docs/FORMATS.md, "Backup 1".
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/hash.h"
#include "base/status.h"
#include "log/log.h"

namespace polyarch::backup {

inline constexpr int kManifestVersion = 1;
inline constexpr char kManifestName[] = "MANIFEST";
// A manifest names a file a line: this is a store of millions of files.
inline constexpr size_t kManifestBytesMax = 256 << 20;

struct FileEntry {
  std::string name;  // below the backup's directory: "store/000012.sst"
  uint64_t bytes = 0;
  base::Digest128 digest;
};

struct Manifest {
  std::string polyarch_version;
  std::string leader;
  std::string cluster;   // 16 hexadecimal digits
  int64_t taken_ms = 0;  // since 1970, by the leader's clock
  std::string vv;        // what the backup holds; a VV's text form
  std::string store_format;
  uint32_t log_format = 0;
  log::Position log_begin = 0;
  log::Position checkpoint = 0;  // where recovery begins
  log::Position log_end = 0;
  std::vector<FileEntry> files;  // by name

  uint64_t bytes() const;  // of all files
};

std::string Encode(const Manifest& manifest);

// kCorrupt when it is not a whole manifest as Encode wrote it, kIncompatible when it is of a newer
// version. Every name in the result stays below the directory it is put into.
base::Result<Manifest> Parse(std::string_view text);

}  // namespace polyarch::backup
