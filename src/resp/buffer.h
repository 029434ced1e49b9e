// A growing byte buffer for replies and socket output: append at the end, consume from the front.
// Contiguous, so that one write() takes all of it. Memory is given back when it drains after having
// been large.
//
// It may have a limit. What would make it larger than that drops all that it holds, and what is
// appended later is worth nothing: `overflowed` says so, for good. So one reply cannot fill memory,
// whatever its command puts together, and the connection is closed behind it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <utility>

#include "base/check.h"

namespace polyarch::resp {

class Buffer {
 public:
  Buffer() = default;
  ~Buffer() { std::free(data_); }
  Buffer(Buffer&& o) noexcept { swap(o); }
  Buffer& operator=(Buffer&& o) noexcept {
    swap(o);
    return *this;
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  size_t size() const { return end_ - begin_; }
  bool empty() const { return begin_ == end_; }
  const char* data() const { return data_ + begin_; }
  std::string_view view() const { return {data(), size()}; }
  size_t capacity() const { return capacity_; }
  // The memory that it has touched: what it holds and what was consumed in front of that.
  size_t held() const { return end_; }
  void SetLimit(size_t bytes) { limit_ = bytes; }
  bool overflowed() const { return overflowed_; }

  // Room for `n` more bytes; write there, then Advance by what was written.
  char* Reserve(size_t n) {
    if (end_ + n > capacity_) Grow(n);
    return data_ + end_;
  }
  void Advance(size_t n) { end_ += n; }
  void Append(std::string_view bytes) {
    if (bytes.empty()) return;  // memcpy must not see a null pointer, even for no bytes
    std::memcpy(Reserve(bytes.size()), bytes.data(), bytes.size());
    end_ += bytes.size();
  }
  void Append(char c) {
    *Reserve(1) = c;
    ++end_;
  }
  // Takes back what was appended since it held `size` bytes.
  void Truncate(size_t size) {
    if (size < this->size()) end_ = begin_ + size;
  }
  void Consume(size_t n) {
    begin_ += n;
    if (begin_ == end_) {
      begin_ = end_ = 0;
      if (capacity_ > kKeepBytes) Release();
    } else if (capacity_ > kKeepBytes && size() < capacity_ / 4) {
      Shrink();
    }
  }
  void clear() { Consume(size()); }
  void swap(Buffer& o) {
    std::swap(data_, o.data_);
    std::swap(begin_, o.begin_);
    std::swap(end_, o.end_);
    std::swap(capacity_, o.capacity_);
    std::swap(limit_, o.limit_);
    std::swap(overflowed_, o.overflowed_);
  }

 private:
  static constexpr size_t kKeepBytes = 256 * 1024;

  void Grow(size_t n) {
    size_t used = size();
    if (used + n > limit_) [[unlikely]] {
      overflowed_ = true;
      begin_ = end_ = used = 0;
      if (n <= capacity_) return;
    }
    if (used + n <= capacity_ && begin_ >= capacity_ / 2) {
      std::memmove(data_, data_ + begin_, used);
    } else {
      size_t wanted = capacity_ == 0 ? 1024 : capacity_ * 2;
      while (wanted < used + n)
        wanted *= 2;
      if (begin_ == 0) {
        // Large blocks are often extended, or moved by their page tables, without a copy.
        char* grown = static_cast<char*>(std::realloc(data_, wanted));
        CHECK(grown != nullptr);
        data_ = grown;
      } else {
        char* grown = static_cast<char*>(std::malloc(wanted));
        CHECK(grown != nullptr);
        if (used != 0) std::memcpy(grown, data_ + begin_, used);
        std::free(data_);
        data_ = grown;
      }
      capacity_ = wanted;
    }
    begin_ = 0;
    end_ = used;
  }
  // What a slow reader leaves is not to keep the memory of all that he has read.
  void Shrink() {
    const size_t used = size();
    const size_t wanted = used * 2 > kKeepBytes ? used * 2 : kKeepBytes;
    char* less = static_cast<char*>(std::malloc(wanted));
    if (less == nullptr) return;
    std::memcpy(less, data_ + begin_, used);
    std::free(data_);
    data_ = less;
    capacity_ = wanted;
    begin_ = 0;
    end_ = used;
  }
  void Release() {
    std::free(data_);
    data_ = nullptr;
    capacity_ = 0;
  }

  char* data_ = nullptr;
  size_t begin_ = 0;
  size_t end_ = 0;
  size_t capacity_ = 0;
  size_t limit_ = SIZE_MAX;  // looked at when it grows: memory is what counts
  bool overflowed_ = false;
};

}  // namespace polyarch::resp
