// Connecting, and waiting for a socket: what all clients in this program share.
#pragma once

#include <cstdint>

#include "base/status.h"

namespace polyarch::cli {

struct Target;

int64_t MonotonicMs();

inline constexpr int64_t kNoDeadline = INT64_MAX;

// A connected socket, which does not block; the caller closes it. Each address of the name is
// tried, within the target's time in all. An error says why the last one failed.
base::Result<int> Dial(const Target& target);

// Until poll(2) says `events`, or the deadline (MonotonicMs) has passed: kBusy.
base::Status WaitFor(int fd, short events, int64_t deadline_ms);

// Sends all of it.
base::Status SendAll(int fd, const char* bytes, size_t size, int64_t deadline_ms);

bool IsTransient(int error);

}  // namespace polyarch::cli
