#include "crdt/hyperloglog.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/planted.h"

namespace polyarch::crdt {

namespace {

constexpr unsigned kIndexBits = 14;
constexpr unsigned kRankBits = 64 - kIndexBits;
constexpr uint8_t kDense = 0;
constexpr uint8_t kSparse = 1;
constexpr size_t kEncodingAt = 4;
constexpr size_t kCountAt = 8;
constexpr uint8_t kInvalidBit = 0x80;  // of the last byte of the count

// ---- sparse: opcodes of one or two bytes

constexpr size_t kZeroMax = 64;         // 00xxxxxx: so many zeros, less one
constexpr size_t kLongZeroMax = 16384;  // 01xxxxxx yyyyyyyy
constexpr size_t kValueMax = 32;        // 1vvvvvxx: a value, less one, and how often, less one
constexpr size_t kValueRunMax = 4;
// With so few registers that are not 0 a sparse one always fits: an opcode for each, one for the
// zeros before each, and a second byte where those are more than kZeroMax, which happens 252 times
// at most.
constexpr size_t kSparseSetMax = 1360;
static_assert(kHllHeaderBytes + 2 * kSparseSetMax + 1 + kHllRegisters / (kZeroMax + 1) <=
              kHllSparseBytesMax);

struct Run {
  size_t bytes = 0;
  size_t length = 0;
  uint8_t value = 0;  // 0: zeros
};

// The opcode at `at`, which is within `bytes`; of 0 bytes if it is cut off.
Run RunAt(std::string_view bytes, size_t at) {
  const auto first = static_cast<uint8_t>(bytes[at]);
  if ((first & 0x80) != 0)
    return {1, static_cast<size_t>(first & 3) + 1, static_cast<uint8_t>(((first >> 2) & 31) + 1)};
  if ((first & 0x40) == 0) return {1, static_cast<size_t>(first & 63) + 1, 0};
  if (at + 1 >= bytes.size()) return {};
  return {2, (static_cast<size_t>(first & 63) << 8 | static_cast<uint8_t>(bytes[at + 1])) + 1, 0};
}

char ValueOpcode(uint8_t value, size_t length) {
  return static_cast<char>(0x80 | (value - 1) << 2 | static_cast<int>(length - 1));
}

void PutZeros(std::string& out, size_t length) {
  if (length == 0) return;
  if (length > kZeroMax) {
    out.push_back(static_cast<char>(0x40 | (length - 1) >> 8));
    out.push_back(static_cast<char>((length - 1) & 0xff));
  } else {
    out.push_back(static_cast<char>(length - 1));
  }
}

// ---- dense: six bits a register, the lowest first

uint8_t DenseRegister(std::string_view bytes, size_t index) {
  const size_t bit = index * 6;
  const char* at = bytes.data() + kHllHeaderBytes + bit / 8;
  unsigned word = static_cast<uint8_t>(at[0]);
  if (bit % 8 > 2) word |= static_cast<unsigned>(static_cast<uint8_t>(at[1])) << 8;
  return static_cast<uint8_t>((word >> (bit % 8)) & 63);
}

void SetDenseRegister(std::string& bytes, size_t index, uint8_t value) {
  const size_t bit = index * 6;
  char* at = bytes.data() + kHllHeaderBytes + bit / 8;
  const unsigned shift = bit % 8;
  const unsigned clear = ~(63U << shift);
  const unsigned set = static_cast<unsigned>(value) << shift;
  at[0] = static_cast<char>((static_cast<uint8_t>(at[0]) & clear) | set);
  if (shift > 2) at[1] = static_cast<char>((static_cast<uint8_t>(at[1]) & (clear >> 8)) | set >> 8);
}

std::string Header(uint8_t encoding) {
  std::string bytes("HYLL");
  bytes.resize(kHllHeaderBytes, '\0');
  bytes[kEncodingAt] = static_cast<char>(encoding);
  return bytes;
}

// Calls `visit(index, length, value)` for each run; false if the bytes are malformed.
template <typename Visit>
bool ForEachRun(std::string_view bytes, Visit visit) {
  size_t index = 0;
  for (size_t at = kHllHeaderBytes; at < bytes.size();) {
    const Run run = RunAt(bytes, at);
    if (run.bytes == 0 || run.length > kHllRegisters - index) return false;
    visit(index, run.length, run.value);
    index += run.length;
    at += run.bytes;
  }
  return index == kHllRegisters;
}

// MurmurHash64A (Austin Appleby, public domain), as Redis uses it.
uint64_t Hash(std::string_view bytes) {
  constexpr uint64_t kMultiplier = 0xc6a4a7935bd1e995;
  constexpr uint64_t kSeed = 0xadc83b19;
  uint64_t hash = kSeed ^ (bytes.size() * kMultiplier);
  auto mix = [](uint64_t word) {
    word *= kMultiplier;
    word ^= word >> 47;
    return word * kMultiplier;
  };
  size_t at = 0;
  for (; at + 8 <= bytes.size(); at += 8) {
    uint64_t word = 0;
    for (size_t i = 0; i < 8; ++i)
      word |= uint64_t{static_cast<uint8_t>(bytes[at + i])} << (8 * i);
    hash = (hash ^ mix(word)) * kMultiplier;
  }
  if (at < bytes.size()) {
    uint64_t word = 0;
    for (size_t i = 0; at + i < bytes.size(); ++i)
      word |= uint64_t{static_cast<uint8_t>(bytes[at + i])} << (8 * i);
    hash = (hash ^ word) * kMultiplier;
  }
  hash = (hash ^ (hash >> 47)) * kMultiplier;
  return hash ^ (hash >> 47);
}

HllSet RaiseDense(std::string& bytes, size_t index, uint8_t value) {
  if (DenseRegister(bytes, index) >= value) return HllSet::kUnchanged;
  SetDenseRegister(bytes, index, value);
  return HllSet::kChanged;
}

HllSet Promote(std::string& bytes, size_t index, uint8_t value) {
  if (!MakeHllDense(bytes)) return HllSet::kMalformed;
  return RaiseDense(bytes, index, value);
}

// Joins runs of equal values that now stand side by side, in the few opcodes from `at` on.
void JoinRuns(std::string& bytes, size_t at) {
  for (int i = 0; i < 5 && at < bytes.size(); ++i) {
    const Run run = RunAt(bytes, at);
    if (run.bytes == 0) return;
    if (run.value != 0 && at + 1 < bytes.size()) {
      const Run next = RunAt(bytes, at + 1);
      if (next.value == run.value && run.length + next.length <= kValueRunMax) {
        bytes[at + 1] = ValueOpcode(run.value, run.length + next.length);
        bytes.erase(at, 1);
        continue;
      }
    }
    at += run.bytes;
  }
}

HllSet RaiseSparse(std::string& bytes, size_t index, uint8_t value) {
  if (value > kValueMax) return Promote(bytes, index, value);
  // The run that holds the register, and the one before it.
  size_t at = kHllHeaderBytes;
  size_t before = at;
  size_t first = 0;
  Run run;
  for (; at < bytes.size(); at += run.bytes, first += run.length) {
    run = RunAt(bytes, at);
    if (run.bytes == 0) return HllSet::kMalformed;
    if (index < first + run.length) break;
    before = at;
  }
  if (at >= bytes.size()) return HllSet::kMalformed;
  if (run.value >= value) return HllSet::kUnchanged;
  if (run.length == 1 && run.bytes == 1) {
    bytes[at] = ValueOpcode(value, 1);
  } else {
    std::string opcodes;
    const size_t head = index - first;
    const size_t tail = first + run.length - index - 1;
    auto put_rest = [&](size_t length) {
      if (run.value == 0) {
        PutZeros(opcodes, length);
      } else if (length > 0) {
        opcodes.push_back(ValueOpcode(run.value, length));
      }
    };
    put_rest(head);
    opcodes.push_back(ValueOpcode(value, 1));
    put_rest(tail);
    if (opcodes.size() > run.bytes &&
        bytes.size() + opcodes.size() - run.bytes > kHllSparseBytesMax)
      return Promote(bytes, index, value);
    bytes.replace(at, run.bytes, opcodes);
  }
  JoinRuns(bytes, before);
  return HllSet::kChanged;
}

// ---- the estimate: O. Ertl, "New cardinality estimation algorithms for HyperLogLog sketches"

double Sigma(double x) {
  if (x == 1.0) return std::numeric_limits<double>::infinity();
  double y = 1;
  double z = x;
  double before = 0;
  do {
    x *= x;
    before = z;
    z += x * y;
    y += y;
  } while (before != z);
  return z;
}

double Tau(double x) {
  if (x == 0.0 || x == 1.0) return 0.0;
  double y = 1.0;
  double z = 1 - x;
  double before = 0;
  do {
    x = std::sqrt(x);
    before = z;
    y *= 0.5;
    z -= std::pow(1 - x, 2) * y;
  } while (before != z);
  return z / 3;
}

std::string WriteSparse(const HllRegisters& registers) {
  std::string bytes = Header(kSparse);
  for (size_t i = 0; i < kHllRegisters;) {
    const uint8_t value = registers[i];
    const size_t limit = value == 0 ? kLongZeroMax : kValueRunMax;
    size_t length = 1;
    while (length < limit && i + length < kHllRegisters && registers[i + length] == value)
      ++length;
    if (value == 0) {
      PutZeros(bytes, length);
    } else {
      bytes.push_back(ValueOpcode(value, length));
    }
    i += length;
  }
  return bytes;
}

std::string WriteDense(const HllRegisters& registers) {
  std::string bytes = Header(kDense);
  bytes.resize(kHllDenseBytes, '\0');
  for (size_t i = 0; i < kHllRegisters; ++i)
    SetDenseRegister(bytes, i, registers[i]);
  return bytes;
}

}  // namespace

bool HasHllHeader(std::string_view bytes) {
  if (bytes.size() < kHllHeaderBytes || !bytes.starts_with("HYLL")) return false;
  const auto encoding = static_cast<uint8_t>(bytes[kEncodingAt]);
  return encoding == kSparse || (encoding == kDense && bytes.size() == kHllDenseBytes);
}

std::string NewHll() {
  std::string bytes = Header(kSparse);
  PutZeros(bytes, kHllRegisters);
  return bytes;
}

bool MaximizeHll(std::string_view bytes, HllRegisters& registers) {
  if (!HasHllHeader(bytes)) return false;
  if (IsHllDense(bytes)) {
    for (size_t i = 0; i < kHllRegisters; ++i)
      registers[i] = std::max(registers[i], DenseRegister(bytes, i));
    return true;
  }
  return ForEachRun(bytes, [&](size_t index, size_t length, uint8_t value) {
    if (value == 0) return;
    for (size_t i = index; i < index + length; ++i)
      registers[i] = std::max(registers[i], value);
  });
}

bool ReadHll(std::string_view bytes, HllRegisters& registers) {
  registers.fill(0);
  return MaximizeHll(bytes, registers);
}

HllSet RaiseInHll(std::string& bytes, size_t index, uint8_t value) {
  return IsHllDense(bytes) ? RaiseDense(bytes, index, value) : RaiseSparse(bytes, index, value);
}

HllSet AddToHll(std::string& bytes, std::string_view element) {
  const uint64_t hash = Hash(element);
  const uint64_t rest = (hash >> kIndexBits) | (uint64_t{1} << kRankBits);
  return RaiseInHll(
      bytes, hash & (kHllRegisters - 1), static_cast<uint8_t>(std::countr_zero(rest) + 1));
}

bool MakeHllDense(std::string& bytes) {
  if (IsHllDense(bytes)) return true;
  HllRegisters registers;
  if (!ReadHll(bytes, registers)) return false;
  std::string dense = WriteDense(registers);
  // All else of the header stays.
  std::copy_n(bytes.begin() + kEncodingAt + 1,
              kHllHeaderBytes - kEncodingAt - 1,
              dense.begin() + kEncodingAt + 1);
  bytes = std::move(dense);
  return true;
}

std::optional<uint64_t> CachedHllCount(std::string_view bytes) {
  if ((static_cast<uint8_t>(bytes[kCountAt + 7]) & kInvalidBit) != 0) return std::nullopt;
  uint64_t count = 0;
  for (size_t i = 0; i < 8; ++i)
    count |= uint64_t{static_cast<uint8_t>(bytes[kCountAt + i])} << (8 * i);
  return count;
}

void InvalidateHllCount(std::string& bytes) {
  bytes[kCountAt + 7] = static_cast<char>(static_cast<uint8_t>(bytes[kCountAt + 7]) | kInvalidBit);
}

uint64_t EstimateHll(const HllRegisters& registers) {
  constexpr double kAlpha = 0.721347520444481703680;  // 0.5 / ln 2
  std::array<int, 64> histogram{};
  for (uint8_t value : registers)
    ++histogram[value & 63];
  const double m = kHllRegisters;
  double z = m * Tau((m - histogram[kRankBits + 1]) / m);
  for (unsigned rank = kRankBits; rank >= 1; --rank) {
    z += histogram[rank];
    z *= 0.5;
  }
  z += m * Sigma(histogram[0] / m);
  return static_cast<uint64_t>(std::llroundl(kAlpha * m * m / z));
}

std::optional<uint64_t> CountHll(std::string_view bytes) {
  if (const auto cached = CachedHllCount(bytes)) return cached;
  HllRegisters registers;
  if (!ReadHll(bytes, registers)) return std::nullopt;
  return EstimateHll(registers);
}

std::optional<std::string> UniteHlls(std::span<const std::string_view> all) {
  if (all.empty()) return std::nullopt;
  HllRegisters registers{};
  bool dense = false;
  for (std::string_view bytes : all) {
    if (PLANTED(kSketchRegisterLost)) {
      HllRegisters own;
      if (!ReadHll(bytes, own)) return std::nullopt;
      for (size_t i = 0; i < kHllRegisters; ++i)
        if (i % 8 != 0 || &bytes == &all[0]) registers[i] = std::max(registers[i], own[i]);
    } else if (!MaximizeHll(bytes, registers)) {
      return std::nullopt;
    }
    dense = dense || IsHllDense(bytes);
  }
  // Dense by a rule that holds for a union if it holds for a part of it, so that the order of
  // uniting is not to be seen in the bytes.
  const auto set =
      kHllRegisters - static_cast<size_t>(std::count(registers.begin(), registers.end(), 0));
  dense = dense || set > kSparseSetMax ||
          *std::max_element(registers.begin(), registers.end()) > kValueMax;
  std::string bytes = dense ? WriteDense(registers) : WriteSparse(registers);
  InvalidateHllCount(bytes);
  return bytes;
}

std::string DescribeSparseHll(std::string_view bytes) {
  std::string text;
  for (size_t at = kHllHeaderBytes; at < bytes.size();) {
    const Run run = RunAt(bytes, at);
    if (run.bytes == 0) break;
    if (!text.empty()) text.push_back(' ');
    if (run.value == 0) {
      text.append(run.bytes == 1 ? "z:" : "Z:").append(std::to_string(run.length));
    } else {
      text.append("v:").append(std::to_string(run.value));
      text.append(",").append(std::to_string(run.length));
    }
    at += run.bytes;
  }
  return text;
}

}  // namespace polyarch::crdt
