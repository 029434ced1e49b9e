#include "rdb/lzf.h"

#include <cstdint>
#include <lzf.h>

namespace polyarch::rdb {

std::optional<std::string> LzfUnpack(std::string_view packed, size_t size) {
  if (packed.empty() || size == 0 || size > UINT32_MAX || packed.size() > UINT32_MAX ||
      size / kLzfRatioMax > packed.size()) {
    return std::nullopt;
  }
  std::string out(size, '\0');
  const unsigned written = lzf_decompress(
      packed.data(), static_cast<unsigned>(packed.size()), out.data(), static_cast<unsigned>(size));
  if (written != size) return std::nullopt;
  return out;
}

}  // namespace polyarch::rdb
