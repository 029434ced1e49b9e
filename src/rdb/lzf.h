// The door to liblzf, with which Redis compresses strings.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace polyarch::rdb {

// No byte of a compressed string stands for more than this many.
inline constexpr size_t kLzfRatioMax = 264;

// The `size` bytes that `packed` stands for; nothing if it does not stand for so many.
std::optional<std::string> LzfUnpack(std::string_view packed, size_t size);

}  // namespace polyarch::rdb
