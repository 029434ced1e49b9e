// Is this directory the one in which this leader's votes were written (docs/design/0021-sync.md),
// or a copy of it, or a restored one? A file `seat` tells its own inode, time of birth and file
// system: a copy of it has others, and a backup does not hold it.
//
// The order matters: first whoever reads the votes gives them up, durably, then Claim makes the
// directory its own. A crash in between finds it still foreign.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/status.h"

namespace polyarch::server {

// True if `dir` has a seat file that was written there.
bool IsOwnSeat(const std::string& dir);
// A number that belongs to this seat file, and to no other: under it rights are held (engine/escrow.h). Nothing, if
// there is none that was written here.
std::optional<uint64_t> HolderOfSeat(const std::string& dir);
// Writes one, with that number, which is fresh. On disk when it returns.
base::Status ClaimSeat(const std::string& dir, uint64_t holder);
// After a sync that failed: what the disk holds of the votes cannot be known any more, whatever it
// says later. The next start takes a new seat.
base::Status AbandonSeat(const std::string& dir);

}  // namespace polyarch::server
