#include "base/check.h"

#include <cstdio>
#include <cstdlib>

namespace polyarch::base {

void CheckFailed(const char* condition, const char* file, int line) {
  std::fprintf(stderr, "polyarch: invariant broken: %s at %s:%d\n", condition, file, line);
  std::abort();
}

}  // namespace polyarch::base
