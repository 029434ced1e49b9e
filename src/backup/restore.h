// From a backup to a directory with which a server starts. Nothing of a leader runs here.
#pragma once

#include <string>

#include "backup/manifest.h"
#include "base/status.h"

namespace polyarch::backup {

// A file in a directory whose restoring has not ended; a server does not start with it.
inline constexpr char kRestoringName[] = "RESTORING";

// Reads everything: the manifest, every file's size and checksum, the formats. One line with cause
// and remedy if anything is not as it should be.
base::Result<Manifest> Verify(const std::string& path);

// Verifies, and only then makes `dir` from it; it must be absent (its parent exists) or empty. What
// is written is verified again on the way and synced. After a failure `dir` holds kRestoringName.
base::Result<Manifest> Restore(const std::string& path, const std::string& dir);

}  // namespace polyarch::backup
