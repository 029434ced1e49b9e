#include "base/check.h"

#include <cstdio>
#include <cstdlib>

#include "base/planted.h"

namespace polyarch::base {

void CheckFailed(const char* condition, const char* file, int line) {
  std::fprintf(stderr, "polyarch: invariant broken: %s at %s:%d\n", condition, file, line);
  std::abort();
}

#ifdef POLYARCH_PLANTED
Bug g_planted_bug = Bug::kNone;
#endif

}  // namespace polyarch::base
