#include "net/framing.h"

#include <cstdint>
#include <cstring>

#include "base/codec.h"
#include "base/crc32c.h"

namespace polyarch::net {
namespace {

void StoreFixed32(char* p, uint32_t v) {
  for (int i = 0; i < 4; ++i)
    p[i] = static_cast<char>(v >> (8 * i));
}

}  // namespace

void AppendFrame(resp::Buffer& out, std::string_view message) {
  char* p = out.Reserve(kFrameHeaderBytes + message.size());
  StoreFixed32(p, static_cast<uint32_t>(message.size()));
  StoreFixed32(p + 4, base::Crc32c(message));
  if (!message.empty()) std::memcpy(p + kFrameHeaderBytes, message.data(), message.size());
  out.Advance(kFrameHeaderBytes + message.size());
}

FramedMessage NextFramed(std::string_view input, size_t message_bytes_max) {
  FramedMessage next;
  if (input.size() < kFrameHeaderBytes) return next;
  const size_t size = base::LoadFixed32(input.data());
  if (size > message_bytes_max) {
    next.state = FramedMessage::State::kBroken;
    return next;
  }
  const size_t have = input.size() - kFrameHeaderBytes;
  if (have < size) {
    next.missing = size - have;
    return next;
  }
  next.message = input.substr(kFrameHeaderBytes, size);
  next.used = kFrameHeaderBytes + size;
  const bool intact = base::Crc32c(next.message) == base::LoadFixed32(input.data() + 4);
  next.state = intact ? FramedMessage::State::kWhole : FramedMessage::State::kBroken;
  return next;
}

}  // namespace polyarch::net
