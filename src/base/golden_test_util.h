// Golden bytes: tests/golden/NAME.hex holds what a format's encoder wrote when the format was made, as
// hexadecimal digits; '#' begins a comment. A decoder must read them for ever, and today's encoder must
// still write them. POLYARCH_GOLDEN names the folder (a compile definition of the test).
//
// A file that is missing is a failure; with POLYARCH_GOLDEN_WRITE in the environment it is written, to
// be looked at and committed. A file that is there is never changed: another format is another file.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

namespace polyarch::base {

inline std::string GoldenHex(std::string_view bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  for (size_t i = 0; i < bytes.size(); ++i) {
    if (i > 0) out += i % 32 == 0 ? '\n' : ' ';
    out += kDigits[static_cast<uint8_t>(bytes[i]) >> 4];
    out += kDigits[static_cast<uint8_t>(bytes[i]) & 15];
  }
  return out;
}

// The bytes of a golden file; a failure and nothing if there is none.
inline std::string ReadGolden(const std::string& name) {
  std::ifstream file(std::string(POLYARCH_GOLDEN) + "/" + name + ".hex");
  EXPECT_TRUE(file.good()) << "no golden file " << name;
  std::string bytes;
  int high = -1;
  for (std::string line; std::getline(file, line);) {
    for (char c : line.substr(0, line.find('#'))) {
      const size_t digit = std::string_view("0123456789abcdef").find(c);
      if (digit == std::string_view::npos) continue;
      if (high < 0) {
        high = static_cast<int>(digit);
      } else {
        bytes += static_cast<char>(high << 4 | static_cast<int>(digit));
        high = -1;
      }
    }
  }
  return bytes;
}

// Today's encoder writes what the golden file holds. Returns the file's bytes, for the decoder.
inline std::string CheckGolden(const std::string& name, std::string_view what, std::string_view bytes) {
  const std::string path = std::string(POLYARCH_GOLDEN) + "/" + name + ".hex";
  if (std::getenv("POLYARCH_GOLDEN_WRITE") != nullptr && !std::filesystem::exists(path)) {
    std::ofstream(path) << "# " << what << "\n" << GoldenHex(bytes) << "\n";
  }
  std::string golden = ReadGolden(name);
  EXPECT_EQ(GoldenHex(golden), GoldenHex(bytes)) << name << ": the encoder has changed its format";
  return golden;
}

}  // namespace polyarch::base
