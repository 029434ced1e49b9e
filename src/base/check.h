// Invariants. CHECK states what must hold whatever the input or the environment; it is always on,
// in every build. A failed CHECK prints the condition and where it stands, and aborts: a node that
// has broken an invariant must not go on writing. Expected failures are a Status (base/status.h)
// and foreign bytes are a parse error; neither is ever a CHECK.
#pragma once

namespace polyarch::base {

// Prints one line to standard error and aborts the process.
[[noreturn]] void CheckFailed(const char* condition, const char* file, int line);

}  // namespace polyarch::base

#define CHECK(condition)                                \
  (__builtin_expect(static_cast<bool>(condition), true) \
       ? static_cast<void>(0)                           \
       : ::polyarch::base::CheckFailed(#condition, __FILE__, __LINE__))
