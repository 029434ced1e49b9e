// For code in which every step may fail and the first failure is the answer: TRY(step) returns the
// step's Status if it is not ok. For .cc files only.
#pragma once

#include "base/status.h"

#define TRY(step)                                                           \
  do {                                                                      \
    if (::polyarch::base::Status tried = (step); !tried.ok()) return tried; \
  } while (false)
