// How messages lie in the bytes of a peer link: [u32 size][u32 CRC-32C of the payload][payload],
// little-endian. No I/O: the simulator cuts the same bytes anywhere.
#pragma once

#include <cstddef>
#include <string_view>

#include "resp/buffer.h"

namespace polyarch::net {

inline constexpr size_t kFrameHeaderBytes = 8;
// Appends the frame of `message`.
void AppendFrame(resp::Buffer& out, std::string_view message);

// What stands at the front of the bytes that have come.
struct FramedMessage {
  enum class State : unsigned char {
    kPart,    // not all of it has come
    kWhole,
    kBroken,  // longer than allowed, or damaged: nothing behind it can be trusted
  };
  State state = State::kPart;
  std::string_view message;  // kWhole: within the input
  size_t used = 0;           // kWhole: bytes of the input, header and all
  size_t missing = 0;        // kPart: bytes that it lacks; 0: its header has not come
};
FramedMessage NextFramed(std::string_view input, size_t message_bytes_max);

}  // namespace polyarch::net
