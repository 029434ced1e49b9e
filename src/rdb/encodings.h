// The bytes that name a value's encoding, and those of a file that are no value's.
#pragma once

#include <cstdint>

namespace polyarch::rdb {

// Before the source of a library of functions.
inline constexpr uint8_t kLibraryOpcode = 245;

// What else stands between the values of a file.
enum class Opcode : uint8_t {
  kLibrary = kLibraryOpcode,
  kLibraryOfCandidate = 246,  // of a release candidate of Redis 7.0
  kModuleAux = 247,
  kIdle = 248,
  kFrequency = 249,
  kAux = 250,
  kSizes = 251,
  kExpireMs = 252,
  kExpireS = 253,
  kDatabase = 254,
  kEnd = 255,
};

// Versions of the format: Redis 7.0 writes 10, Redis 7.2 writes 11, and what comes later is not known here.
inline constexpr uint16_t kVersionWritten = 10;
inline constexpr uint16_t kVersionReadMax = 11;

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
