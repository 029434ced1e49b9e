// The plain elements of a small collection in one allocation, one behind another: those of one
// version, and those that are a counter of one origin, with short names and values. There is no
// index: whoever looks for one walks over all.
//
// An element is three bytes, its name, its value (of a counter its fields), and dot and stamp as
// varint differences from those of the first element of the origin that came, its base; nothing at
// all if there is no difference. The three bytes: its size; its name's size, and whether it is
// stored; which base, and the size of the differences, or that it is a counter. Bases, at most
// kOriginsMax, stand before the elements.
//
// A command looks for the same element several times: where the last one was found is remembered.
//
// A place (`at`) is valid until the next change. Places and text belong to this object.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

#include "clock/hlc.h"
#include "clock/origin.h"
#include "keyspace/entry.h"

namespace polyarch::keyspace {

class Packed {
 public:
  static constexpr size_t kElementsMax = 128;
  static constexpr size_t kTextBytesMax = 64;        // of a name, and of a value,
  static constexpr size_t kLongValueBytesMax = 160;  // but in a list

  // What an element holds apart from its name.
  struct Plain {
    std::string_view value;  // of a counter the bytes of its CounterPart
    clock::Dot dot;          // not of a counter
    clock::Hlc hlc;          // nor this
    bool counter = false;
    bool stored = false;  // see Entry::kStored
  };

  Packed() = default;
  ~Packed();
  Packed(const Packed&) = delete;
  Packed& operator=(const Packed&) = delete;

  size_t count() const { return data_ == nullptr ? 0 : header().count; }
  size_t counters() const { return data_ == nullptr ? 0 : header().counters; }
  size_t memory_bytes() const { return data_ == nullptr ? 0 : header().capacity; }

  // ---- looking
  const char* begin() const {
    return data_ == nullptr ? nullptr : data_ + sizeof(Header) + header().origins * sizeof(Base);
  }
  const char* end() const { return data_ == nullptr ? nullptr : data_ + header().used; }
  static const char* Next(const char* at) { return at + SizeOf(at); }
  // Null if there is none.
  const char* Find(std::string_view name) const;

  static std::string_view NameOf(const char* at) { return {at + kHeadBytes, NameBytes(at)}; }
  static std::string_view ValueOf(const char* at) {
    return {at + kHeadBytes + NameBytes(at), ValueBytes(at)};
  }
  // The last eight bytes of a value, or all of a shorter one, as the upper bytes of a number.
  static uint64_t LastBytesOf(const char* at) {
    const size_t bytes = ValueBytes(at);
    if (bytes == 0) return 0;
    // Before the value there is more than eight bytes of this object: the header.
    uint64_t number = 0;
    std::memcpy(&number, at + kHeadBytes + NameBytes(at) + bytes - sizeof number, sizeof number);
    const size_t others = bytes < sizeof number ? 8 * (sizeof number - bytes) : 0;
    return number >> others << others;
  }
  static bool IsStored(const char* at) { return (Byte(at, 1) & kFlag) != 0; }
  static bool IsCounter(const char* at) { return (Byte(at, 2) & 0xfU) == kCounter; }
  static CounterPart CounterOf(const char* at) {
    CounterPart counter;
    std::memcpy(&counter, ValueOf(at).data(), sizeof counter);
    return counter;
  }
  // Not of counters.
  ValuePart VersionOf(const char* at) const;

  // ---- changing. False, and nothing done, if it cannot be held: it is too long, of one origin too
  // many, or too far from its base. There must be fewer than kElementsMax.
  static bool Fits(std::string_view name, const Plain& plain, bool in_list) {
    return name.size() <= kTextBytesMax &&
           plain.value.size() <= (in_list ? kLongValueBytesMax : kTextBytesMax);
  }
  // A new one before the place `at` (or end()). `name` and `plain` must not be part of this object.
  bool Insert(const char* at, std::string_view name, const Plain& plain);
  // Other content for the one at `at`, which keeps name and place.
  bool Replace(const char* at, const Plain& plain);
  void Erase(const char* at);
  void SetStored(const char* at);
  void Clear();

 private:
  struct Header {
    uint16_t used;  // all in bytes
    uint16_t capacity;
    uint8_t count;
    uint8_t counters;
    uint8_t origins;
    uint16_t found;  // where Find found something, since the last change; or 0
  };
  using Base = ValuePart;
  // How an element says dot and stamp.
  struct Stamp {
    size_t base = 0;
    size_t bytes = 0;
    char text[20] = {};
  };

  static constexpr size_t kHeadBytes = 3;
  static constexpr uint8_t kFlag = 0x80;
  static constexpr size_t kOriginsMax = 16;
  static constexpr size_t kStampBytesMax = 14;
  static constexpr uint8_t kCounter = 15;  // in the place of the size of the differences
  static constexpr size_t kElementBytesMax =
      kHeadBytes + kTextBytesMax + kLongValueBytesMax + kStampBytesMax;
  static_assert(kElementBytesMax <= UINT8_MAX);
  static_assert(kElementsMax * kElementBytesMax + kOriginsMax * sizeof(Base) + sizeof(Header) <
                (1 << 15));
  static_assert(sizeof(CounterPart) <= kTextBytesMax);

  static uint8_t Byte(const char* at, size_t i) { return static_cast<uint8_t>(at[i]); }
  static size_t SizeOf(const char* at) { return Byte(at, 0); }
  static size_t NameBytes(const char* at) { return Byte(at, 1) & 0x7fU; }
  static size_t BaseIndex(const char* at) { return Byte(at, 2) >> 4; }
  static size_t StampBytes(const char* at) { return IsCounter(at) ? 0 : Byte(at, 2) & 0xfU; }
  static size_t ValueBytes(const char* at) {
    return SizeOf(at) - kHeadBytes - NameBytes(at) - StampBytes(at);
  }

  Header& header() { return *reinterpret_cast<Header*>(data_); }
  const Header& header() const { return *reinterpret_cast<const Header*>(data_); }
  Base BaseAt(size_t index) const {
    Base base;
    std::memcpy(&base, data_ + sizeof(Header) + index * sizeof(Base), sizeof base);
    return base;
  }
  bool MakeStamp(const Plain& plain, Stamp& stamp);
  // A base that no element needs, or a new one; kOriginsMax if there is none.
  size_t FreeBase();
  // Makes `old_bytes` at `offset` to be `new_bytes`. What they are is the caller's.
  char* Resize(size_t offset, size_t old_bytes, size_t new_bytes);
  void Reserve(size_t bytes);
  static void Write(char* at, size_t name_bytes, const Plain& plain, const Stamp& stamp);

  char* data_ = nullptr;
};

}  // namespace polyarch::keyspace
