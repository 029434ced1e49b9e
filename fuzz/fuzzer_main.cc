// The entry point for libFuzzer.
#include "fuzz/target.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  polyarch::fuzz::Run({reinterpret_cast<const char*>(data), size});
  return 0;
}
