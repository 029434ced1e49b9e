// Hashes, each for one purpose: SipHash-1-3 with a secret key for tables whose keys clients choose
// (a client cannot make collisions); a 64-bit and a 128-bit content hash (XXH3) for chains of
// frames and digests of state; CRC-16/XMODEM for Redis Cluster's slots.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace polyarch::base {

struct SipKey {
  uint64_t k0 = 0;
  uint64_t k1 = 0;
};

// Aumasson, Bernstein: "SipHash: a fast short-input PRF" (2012), with 1 and 3 rounds.
uint64_t SipHash13(std::string_view bytes, const SipKey& key);

uint64_t ContentHash64(std::string_view bytes, uint64_t seed = 0);

// 128 bits under wrapping addition: the digest of a set is the sum of the digests of its members.
struct Digest128 {
  uint64_t low = 0;
  uint64_t high = 0;
  Digest128& operator+=(const Digest128& o);
  friend bool operator==(const Digest128&, const Digest128&) = default;
};
Digest128 ContentHash128(std::string_view bytes);

// ContentHash128 of bytes that come in parts.
class ContentHasher128 {
 public:
  ContentHasher128();
  ~ContentHasher128();
  ContentHasher128(const ContentHasher128&) = delete;
  ContentHasher128& operator=(const ContentHasher128&) = delete;
  void Add(std::string_view bytes);
  Digest128 Value() const;

 private:
  struct State;
  const std::unique_ptr<State> state_;
};
// 32 hexadecimal digits, as `xxhsum -H128` prints them.
std::string HexDigest(const Digest128& digest);

// The slot (0..16383) of a key, with {hash tags}, as in Redis Cluster.
uint16_t KeySlot(std::string_view key);

}  // namespace polyarch::base
