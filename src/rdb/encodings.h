// The bytes that name a value's encoding.
#pragma once

#include <cstdint>

namespace polyarch::rdb {

// Before the source of a library of functions.
inline constexpr uint8_t kLibraryOpcode = 245;

enum class Encoding : uint8_t {
  kString = 0,
  kList = 1,
  kSet = 2,
  kSortedSetText = 3,  // scores as decimals
  kHash = 4,
  kSortedSet = 5,
  kModule = 6,
  kModule2 = 7,
  kHashZipmap = 9,
  kListZiplist = 10,
  kSetIntset = 11,
  kSortedSetZiplist = 12,
  kHashZiplist = 13,
  kListQuicklist = 14,
  kStream = 15,
  kHashListpack = 16,
  kSortedSetListpack = 17,
  kListQuicklist2 = 18,
  kStream2 = 19,
  kSetListpack = 20,  // from here on Redis 7.2
  kStream3 = 21,
};

}  // namespace polyarch::rdb
