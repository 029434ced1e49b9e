// Writing values of a file to a leader: small ones by one command, large ones in pieces, so that no
// command is more than a leader takes in one change, nor stops its other clients for long.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/status.h"
#include "moving/leader.h"
#include "rdb/file_reader.h"

namespace polyarch::moving {

// The reader's limits that go with it.
rdb::ReaderLimits LimitsFor(const Leader& leader);

// `item`: a kValue. `expire_ms`: what the key is to have, its instant moved or not. What cannot be
// written is counted at the leader as refused; the status is one of the connection.
base::Status WriteValue(Leader& leader,
                        const rdb::FileItem& item,
                        std::optional<int64_t> expire_ms,
                        uint64_t mark);

}  // namespace polyarch::moving
