// The library of functions of their arguments: no input and output, time, randomness, addresses,
// and no way to catch errors.
#pragma once

#include "lua/state.h"

namespace polyarch::lua {

// Puts it into the state's globals, and nothing else.
void OpenPureLibrary(State& lua);

}  // namespace polyarch::lua
