// The nodes in which Redis keeps a stream's entries, and dumps them: listpacks of some entries
// each, whose ids and fields are told by their difference from the first one's. Foreign bytes: what
// is malformed is refused.
#pragma once

#include <string>
#include <vector>

#include "rdb/value.h"

namespace polyarch::rdb {

// Appends the entries of a node whose items are these; `first` is its id. Ids must rise, also over what
// there is. Names of fields that entries share are copied for each: what that takes goes from `room` (bytes); false with
// no room left if it is too much.
bool ReadStreamNode(crdt::StreamId first,
                    std::vector<std::string>&& items,
                    std::vector<StreamValue::Entry>& out,
                    size_t& room);

struct StreamNode {
  crdt::StreamId first;
  std::string listpack;
};
std::vector<StreamNode> WriteStreamNodes(const std::vector<StreamValue::Entry>& entries);

// 16 bytes, big-endian.
std::string StreamIdBytes(crdt::StreamId id);

}  // namespace polyarch::rdb
