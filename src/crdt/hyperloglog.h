// HyperLogLog in the bytes of a string, as Redis stores it: 16384 registers of 6 bits, behind a
// header of 16 bytes ("HYLL", encoding, a cached cardinality), either sparse (runs of equal
// registers) or dense. Pure functions of bytes; malformed bytes are refused, never read past.
//
// Registers only grow, and two HyperLogLogs united are the maximum of each register: commutative,
// associative, idempotent. So concurrent versions of one need no policy (conflict/policy.h).
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace polyarch::crdt {

inline constexpr size_t kHllRegisters = 16384;
inline constexpr size_t kHllHeaderBytes = 16;
inline constexpr size_t kHllDenseBytes = kHllHeaderBytes + kHllRegisters * 6 / 8;
// A sparse one that would become larger becomes dense (Redis's hll-sparse-max-bytes).
inline constexpr size_t kHllSparseBytesMax = 3000;

using HllRegisters = std::array<uint8_t, kHllRegisters>;

// Does it look like one: the header, and a dense one's size? Its registers may still be malformed.
bool HasHllHeader(std::string_view bytes);
inline bool IsHllDense(std::string_view bytes) {
  return bytes[4] == 0;
}

// An empty one, sparse.
std::string NewHll();
// The registers; nothing if the bytes are malformed.
bool ReadHll(std::string_view bytes, HllRegisters& registers);
// The same, and each register of `registers` becomes the greater of both.
bool MaximizeHll(std::string_view bytes, HllRegisters& registers);

enum class HllSet : uint8_t { kUnchanged, kChanged, kMalformed };
// Counts an element in. The bytes are those that Redis would make, but for the cached cardinality,
// which the caller invalidates.
HllSet AddToHll(std::string& bytes, std::string_view element);
// Raises one register to `value`.
HllSet RaiseInHll(std::string& bytes, size_t index, uint8_t value);
// False if the bytes are malformed.
bool MakeHllDense(std::string& bytes);

// The cached cardinality, if it is valid.
std::optional<uint64_t> CachedHllCount(std::string_view bytes);
void InvalidateHllCount(std::string& bytes);
uint64_t EstimateHll(const HllRegisters& registers);
// Whether PFCOUNT would find it in order.
std::optional<uint64_t> CountHll(std::string_view bytes);

// The union of several: a function of their registers and of whether one is dense. Nothing if one
// is malformed, or if there is none. (That of a single one is its registers written anew.)
std::optional<std::string> UniteHlls(std::span<const std::string_view> all);

// The opcodes of a sparse one for people, as PFDEBUG DECODE shows them: "Z:16384 v:3,1 z:5".
std::string DescribeSparseHll(std::string_view bytes);

}  // namespace polyarch::crdt
