// What a fuzz target defines. Foreign bytes may be refused, but nothing may crash, hang, read beyond
// its end or break an invariant that the target checks (CHECK aborts).
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "base/random.h"

namespace polyarch::fuzz {

// One input.
void Run(std::string_view input);

// A good input of random content, for the smoke test to damage: decoders refuse plain noise early.
std::string Sample(base::Random& random);

// Takes an input apart; beyond its end all is zero.
class Input {
 public:
  explicit Input(std::string_view bytes) : bytes_(bytes) {}
  bool empty() const { return bytes_.empty(); }
  uint8_t Byte() {
    if (bytes_.empty()) return 0;
    const auto byte = static_cast<uint8_t>(bytes_[0]);
    bytes_.remove_prefix(1);
    return byte;
  }
  uint64_t Below(uint64_t bound) { return bound == 0 ? 0 : (bound <= 256 ? Byte() : Bits()) % bound; }
  bool Percent(unsigned chance) { return Byte() * 100U < chance * 256U; }
  // A number of any magnitude.
  uint64_t Bits() {
    const unsigned size = Byte() % 9;
    uint64_t value = 0;
    for (unsigned i = 0; i < size; ++i) value = value << 8 | Byte();
    return value;
  }
  std::string_view Text(size_t max) {
    const size_t wanted = Below(max + 1);
    const size_t size = std::min(wanted, bytes_.size());
    std::string_view text = bytes_.substr(0, size);
    bytes_.remove_prefix(size);
    return text;
  }
  std::string_view Rest() { return std::exchange(bytes_, {}); }

 private:
  std::string_view bytes_;
};

}  // namespace polyarch::fuzz
