// What leaders say to each other of bounded counters (docs/design/0030-escrow.md): who needs rights, and how many.
// Carried between processes by replication, which does not look inside; told apart from other messages by the first
// byte. docs/FORMATS.md, "need 1".
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace polyarch::wire {

inline constexpr char kEscrowMessage = 'E';
inline constexpr uint8_t kEscrowFormat = 1;

// Losing one costs time only; one that comes twice is recognised by its number.
struct Need {
  std::string leader;   // the one that needs them
  uint64_t holder = 0;  // and its holder
  uint64_t number = 0;  // grows with each need of that holder's
  uint8_t db = 0;
  std::string key;
  std::string stock;    // its id: another stock of that key has another one
  uint64_t must = 0;    // so many a client was refused
  uint64_t more = 0;    // so many would be good to have beside those
  bool all = false;     // everything that the asked one has: it is to be retired
  friend bool operator==(const Need&, const Need&) = default;
};

std::string Encode(const Need& need);
// False on malformed bytes, and on those of a later version.
bool Decode(std::string_view message, Need& need);

}  // namespace polyarch::wire
