// What the bitmap commands share. Whatever returns nothing has given the error reply.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "command/context.h"
#include "command/table.h"

namespace polyarch::command {

// A bit's place within what a string may hold. With `unit` not 0, "#3" means the third time that
// many bits.
std::optional<uint64_t> ReadBitOffset(Context& c, std::string_view text, unsigned unit);
// The value of a key that holds a string, or "" of a missing one; nothing if it holds anything
// else.
std::optional<std::string> ReadBitmap(Context& c, std::string_view key, bool* exists);

void AddBitfieldRows(std::vector<Row>& rows);  // bitfield.cc

}  // namespace polyarch::command
