// Strings, counters, bitmaps, HyperLogLogs.
#include "tests/differential/generator.h"

namespace polyarch::differential {

Words Generator::Strings() {
  const std::string key = Key();
  return OneOf({{"SET", key, Value()}, {"SET", key, Value()}, {"GET", key}, {"GET", key}, {"STRLEN", key}, {"EXISTS", key},
                {"TYPE", key}, {"GETDEL", key}, {"GETSET", key, Value()}, Words{"GETEX", key} + TtlOption(),
                {"GETEX", key, "PERSIST"}, {"GETEX", key, "EXAT", "5"}, {"GETRANGE", key, Int(), Int()},
                {"SUBSTR", key, Index(), Index()}});
}

Words Generator::SetOptions() {
  std::vector<Words> parts = {OneOf({{}, {"NX"}, {"XX"}, {"nx"}}), OneOf({{}, {}, {"GET"}}), TtlOption()};
  if (Percent(5)) parts.push_back(OneOf({{"NX"}, {"EX", "5000"}, {"BOGUS"}, {"PERSIST"}}));
  Words words = {"SET", Key(), Value()};
  while (!parts.empty()) {
    const size_t i = Below(parts.size());
    words += parts[i];
    parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(i));
  }
  return words;
}

Words Generator::Counters() {
  const std::string key = Key();
  return OneOf({{"INCR", key}, {"DECR", key}, {"INCRBY", key, Int()}, {"DECRBY", key, Int()}, {"INCRBY", key, NumberText()},
                {"SET", key, Int()}, {"INCR", key}});
}

// Of keys that only this writes.
Words Generator::Floats() {
  const std::string key = "f" + std::to_string(Below(3));
  return OneOf({{"INCRBYFLOAT", key, Quarter()}, {"INCRBYFLOAT", key, Quarter()}, {"INCRBYFLOAT", key, Of({"abc", "nan", "inf", "", " 1"})},
                {"SET", key, "0.5" + std::string(Below(2) == 0 ? 250 + Below(20) : 5110 + Below(12), '0')},
                {"SET", key, Quarter()}, {"GET", key}, {"INCRBY", key, std::to_string(Between(-9, 9))}, {"DEL", key},
                {"INCRBYFLOAT", HashKey(), "x"}, {"INCRBYFLOAT", SetKey(), "x"}});
}

Words Generator::Texts() {
  const std::string key = Key();
  return OneOf({{"APPEND", key, Value()}, {"SETRANGE", key, std::to_string(Below(40)), Value()},
                {"SETRANGE", key, Of({"-1", "0", "536870912", "1099511627776", "x"}), Value()}, {"SETNX", key, Value()},
                {"SETEX", key, Of({"5000", "0", "-1", "x", "1152921504606846976"}), "e"},
                {"PSETEX", key, Of({"5000000", "0", "-1", "x"}), "p"},
                Words{"LCS", key, Key()} + OneOf({{}, {"LEN"}, {"IDX"}, {"IDX", "WITHMATCHLEN"}, {"IDX", "MINMATCHLEN", "2"},
                                                  {"LEN", "IDX"}, {"X"}})});
}

std::string Generator::BitOffset() {
  if (Percent(10)) return Of({"-1", "4294967296", "9223372036854775808", "x", "", "#1"});
  return std::to_string(Below(Percent(50) ? 20 : 600));
}

Words Generator::BitRange() {
  Words ends = {Percent(90) ? std::to_string(Between(-70, 70)) : Int(), Percent(90) ? std::to_string(Between(-70, 70)) : Int()};
  return OneOf({{}, ends, ends + Words{Of({"BYTE", "BIT", "bit", "X"})}, {ends[0]}});
}

Words Generator::Bits() {
  const std::string key = Key();
  return OneOf({{"SETBIT", key, BitOffset(), Percent(92) ? std::to_string(Below(2)) : Of({"2", "-1", "x"})},
                {"SETBIT", key, std::to_string(Below(300)), std::to_string(Below(2))}, {"GETBIT", key, BitOffset()},
                Words{"BITCOUNT", key} + BitRange(), Words{"BITPOS", key, Percent(90) ? std::to_string(Below(2)) : Of({"2", "x"})} + BitRange(),
                Words{"BITOP", Of({"AND", "OR", "XOR", "xor", "NOT", "X"}), key} + Many(1, 3, &Generator::Key)});
}

Words Generator::BitFields() {
  Words words = {Percent(80) ? "BITFIELD" : "BITFIELD_RO", Key()};
  for (uint64_t n = Below(5); n > 0; --n) {
    if (Percent(30)) words += {"OVERFLOW", Percent(97) ? Of({"WRAP", "SAT", "FAIL", "sat"}) : "X"};
    std::string kind = Of({"u", "i"}) + std::to_string(Percent(50) ? 1 + Below(63) : 1 + Below(16));
    if (Percent(4)) kind = Of({"u64", "i64", "i0", "x8", "", "u08"});
    const std::string operation = Of({"GET", "SET", "INCRBY"});
    words += {operation, kind, Percent(95) ? (Percent(50) ? std::to_string(Below(200)) : "#" + std::to_string(Below(10))) : BitOffset()};
    if (operation == "GET") continue;
    // (Of numbers close to the lowest of 64 bits Redis makes the highest when they saturate.)
    std::string operand = Percent(50) ? std::to_string(Between(-300, 300)) : Int();
    if (operand == "-9223372036854775808") operand = "-4611686018427387904";
    words.push_back(operand);
  }
  if (Percent(4)) words.push_back(Of({"GET", "SET", "X", "OVERFLOW"}));
  return words;
}

Words Generator::Sketches() {
  const std::string key = SketchKey();
  Words elements;
  const uint64_t range = Percent(50) ? 20 : 1'000'000;
  for (uint64_t n = Percent(80) ? Below(4) : 60; n > 0; --n) elements.push_back(std::to_string(Below(range)));
  return OneOf({Words{"PFADD", key} + elements, Words{"PFADD", key} + elements, {"PFCOUNT", key, SketchKey()},
                {"PFCOUNT", key, SketchKey(), SketchKey()}, {"PFMERGE", key, SketchKey()}, {"PFMERGE", key, SketchKey(), SketchKey()},
                {"GET", key}, {Percent(20) ? "DEL" : "STRLEN", key},
                {"PFDEBUG", Percent(10) ? Of({"TODENSE", "GETREG"}) : Of({"ENCODING", "DECODE"}), key}});
}

}  // namespace polyarch::differential
