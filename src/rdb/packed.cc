#include "rdb/packed.h"

#include "base/codec.h"
#include "base/number.h"

namespace polyarch::rdb {

namespace {

constexpr uint8_t kEnd = 0xff;

// `size` bytes, little-endian, with their sign.
int64_t SignedOf(std::string_view bytes) {
  uint64_t value = 0;
  for (size_t i = 0; i < bytes.size(); ++i)
    value |= uint64_t{static_cast<uint8_t>(bytes[i])} << (8 * i);
  const unsigned unused = 64 - 8 * static_cast<unsigned>(bytes.size());
  return static_cast<int64_t>(value << unused) >> unused;
}

uint64_t UnsignedOf(std::string_view bytes) {
  uint64_t value = 0;
  for (size_t i = 0; i < bytes.size(); ++i)
    value |= uint64_t{static_cast<uint8_t>(bytes[i])} << (8 * i);
  return value;
}

void PutInteger(std::vector<std::string>& out, int64_t value) {
  out.push_back(base::FormatInt64(value));
}

// The next `size` bytes as a string.
bool PutString(base::Reader& in, uint64_t size, std::vector<std::string>& out) {
  const std::string_view text = in.Raw(size);
  if (!in.ok()) return false;
  out.emplace_back(text);
  return true;
}

// One entry of a listpack, without its length at the end.
bool ReadListpackEntry(base::Reader& in, uint8_t first, std::vector<std::string>& out) {
  if (first < 0x80) return PutInteger(out, first), true;
  if (first < 0xc0) return PutString(in, first & 0x3f, out);
  if (first < 0xe0) {
    const int value = (first & 0x1f) << 8 | in.Fixed8();
    PutInteger(out, value < 4096 ? value : value - 8192);
    return in.ok();
  }
  if (first < 0xf0) {
    const uint64_t size = static_cast<uint64_t>(first & 0x0f) << 8 | in.Fixed8();
    return PutString(in, size, out);
  }
  if (first == 0xf0) return PutString(in, in.Fixed32(), out);
  constexpr size_t kSizes[] = {2, 3, 4, 8};
  if (first > 0xf4) return false;
  const std::string_view bytes = in.Raw(kSizes[first - 0xf1]);
  if (!in.ok()) return false;
  PutInteger(out, SignedOf(bytes));
  return true;
}

// How long the entry before is, as a listpack says it behind the entry: seven bits a byte, the
// highest first.
bool ReadBackLength(base::Reader& in, uint64_t entry) {
  const int bytes = entry < 128         ? 1
                    : entry < 16383     ? 2
                    : entry < 2097151   ? 3
                    : entry < 268435455 ? 4
                                        : 5;
  uint64_t told = 0;
  for (int i = 0; i < bytes; ++i)
    told = told << 7 | (in.Fixed8() & 0x7f);
  return in.ok() && told == entry;
}

}  // namespace

bool ReadListpack(std::string_view bytes, std::vector<std::string>& out) {
  base::Reader in(bytes);
  if (in.Fixed32() != bytes.size()) return false;
  const uint64_t told = UnsignedOf(in.Raw(2));
  constexpr uint64_t kUnknown = 0xffff;
  uint64_t count = 0;
  while (in.ok()) {
    const size_t before = in.remaining();
    const uint8_t first = in.Fixed8();
    if (!in.ok()) return false;
    if (first == kEnd) return in.empty() && (told == kUnknown || told == count);
    if (!ReadListpackEntry(in, first, out) || !ReadBackLength(in, before - in.remaining()))
      return false;
    if (++count > kPackedEntriesMax) return false;
  }
  return false;
}

namespace {

bool ReadZiplistEntry(base::Reader& in, std::vector<std::string>& out) {
  const uint8_t first = in.Fixed8();
  switch (first >> 6) {
    case 0:
      return PutString(in, first & 0x3f, out);
    case 1: {
      const uint64_t size = static_cast<uint64_t>(first & 0x3f) << 8 | in.Fixed8();
      return PutString(in, size, out);
    }
    case 2: {
      if (first != 0x80) return false;
      uint64_t size = 0;
      for (int i = 0; i < 4; ++i)
        size = size << 8 | in.Fixed8();
      return PutString(in, size, out);
    }
    default:
      break;
  }
  size_t size = 0;
  switch (first) {
    case 0xc0:
      size = 2;
      break;
    case 0xd0:
      size = 4;
      break;
    case 0xe0:
      size = 8;
      break;
    case 0xf0:
      size = 3;
      break;
    case 0xfe:
      size = 1;
      break;
    default:
      if (first < 0xf1 || first > 0xfd) return false;
      PutInteger(out, (first & 0x0f) - 1);
      return true;
  }
  const std::string_view bytes = in.Raw(size);
  if (!in.ok()) return false;
  PutInteger(out, SignedOf(bytes));
  return true;
}

}  // namespace

bool ReadZiplist(std::string_view bytes, std::vector<std::string>& out) {
  base::Reader in(bytes);
  if (in.Fixed32() != bytes.size()) return false;
  in.Fixed32();  // where the last entry begins
  const uint64_t told = UnsignedOf(in.Raw(2));
  constexpr uint64_t kUnknown = 0xffff;
  constexpr uint8_t kLongLength = 0xfe;
  uint64_t count = 0;
  uint64_t last = 0;
  while (in.ok()) {
    const uint8_t first = in.Fixed8();
    if (!in.ok()) return false;
    if (first == kEnd) return in.empty() && (told == kUnknown || told == count);
    // Each entry begins with the size of the one before.
    const size_t begin = in.remaining() + 1;
    const uint64_t before = first == kLongLength ? in.Fixed32() : first;
    if (!in.ok() || before != last || !ReadZiplistEntry(in, out)) return false;
    last = begin - in.remaining();
    if (++count > kPackedEntriesMax) return false;
  }
  return false;
}

bool ReadZipmap(std::string_view bytes, std::vector<std::string>& out) {
  base::Reader in(bytes);
  constexpr uint8_t kLongLength = 0xfe;
  in.Fixed8();  // a count, or 254 for "many"
  while (in.ok() && out.size() <= kPackedEntriesMax) {
    for (bool value : {false, true}) {
      const uint8_t first = in.Fixed8();
      if (!in.ok()) return false;
      if (first == kEnd) return !value && in.empty();
      const uint64_t size = first == kLongLength ? in.Fixed32() : first;
      const uint64_t unused = value ? in.Fixed8() : 0;
      if (!PutString(in, size, out)) return false;
      in.Raw(unused);
    }
  }
  return false;
}

bool ReadIntset(std::string_view bytes, std::vector<std::string>& out) {
  base::Reader in(bytes);
  const uint64_t width = in.Fixed32();
  const uint64_t count = in.Fixed32();
  if (!in.ok() || (width != 2 && width != 4 && width != 8)) return false;
  if (count == 0 || count > kPackedEntriesMax || in.remaining() != count * width) return false;
  for (uint64_t i = 0; i < count; ++i)
    PutInteger(out, SignedOf(in.Raw(width)));
  return true;
}

}  // namespace polyarch::rdb
