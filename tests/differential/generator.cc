// The parts of commands, and which family comes how often.
#include "tests/differential/generator.h"

namespace polyarch::differential {

Words& operator+=(Words& words, const Words& more) {
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

Words operator+(Words words, const Words& more) {
  words += more;
  return words;
}

Generator::Generator(uint64_t seed) : draw_(seed) {
  makers_ = {
      {7, &Generator::Strings},       {5, &Generator::SetOptions},    {7, &Generator::Counters},
      {4, &Generator::Texts},         {3, &Generator::Floats},        {6, &Generator::Expiries},
      {4, &Generator::ManyKeys},      {5, &Generator::Keys},          {4, &Generator::Renames},
      {2, &Generator::Wrong},         {1, &Generator::Databases},     {10, &Generator::Lists},
      {4, &Generator::ListMoves},     {13, &Generator::Hashes},       {9, &Generator::Sets},
      {5, &Generator::SetAlgebra},    {10, &Generator::SortedSets},   {7, &Generator::SortedRanges},
      {5, &Generator::SortedAlgebra}, {3, &Generator::SortedNames},   {3, &Generator::Geo},
      {3, &Generator::GeoSearch},     {5, &Generator::Bits},          {3, &Generator::BitFields},
      {4, &Generator::Sketches},      {2, &Generator::Sort},
      {8, &Generator::Streams},       {9, &Generator::StreamGroups},
  };
  for (const auto& [weight, maker] : makers_) weights_.push_back(weight);
}

Words Generator::Next() {
  if (next_.empty()) {
    // Before what it wants to come next.
    Words first = (this->*makers_[draw_.Weighted(weights_)].second)();
    next_.push_front(std::move(first));
  }
  Words words = std::move(next_.front());
  next_.pop_front();
  if (Percent(10)) words[0] = Case(words[0]);
  return words;
}

std::string Generator::Of(std::initializer_list<const char*> words) { return words.begin()[Below(words.size())]; }

Words Generator::OneOf(std::initializer_list<Words> forms) { return forms.begin()[Below(forms.size())]; }

std::string Generator::Key() {
  if (Percent(5)) return AnyKey();
  static const std::string kNul("x\0y", 3);
  static const std::vector<std::string> kNames = {"a", "b", "c", "n1", "n2", "long", "", kNul, "t1"};
  return draw_.Pick(kNames) + (Percent(60) ? "" : std::to_string(Below(4)));
}

std::string Generator::Of(const char* prefix, int count) {
  if (Percent(5)) return AnyKey();
  return prefix + std::to_string(1 + Below(static_cast<uint64_t>(count)));
}

std::string Generator::AnyKey() {
  switch (Below(8)) {
    case 0: return "h" + std::to_string(1 + Below(3));
    case 1: return "s" + std::to_string(1 + Below(4));
    case 2: return "z" + std::to_string(1 + Below(4));
    case 3: return "l" + std::to_string(1 + Below(3));
    case 4: return "x" + std::to_string(1 + Below(3));
    default: return Of({"a", "b", "c", "n1", "n2", "t1", "t2", "none"});
  }
}

std::string Generator::Int() {
  static const std::vector<std::string> kEdges = {
      "0", "1", "-1", "2", "7", "100", "2147483647", "2147483648", "-2147483648", "4294967296", "9223372036854775807",
      "9223372036854775808", "-9223372036854775808", "-9223372036854775809"};
  switch (Below(3)) {
    case 0: return std::to_string(Between(-10, 10));
    case 1: return std::to_string(Between(-1'000'000, 1'000'000));
    default: return draw_.Pick(kEdges);
  }
}

std::string Generator::Count() {
  if (Percent(6)) return Of({"x", "-1", "9223372036854775808", "", "1.5", "-9223372036854775808"});
  return std::to_string(Percent(80) ? Below(5) : Below(60));
}

std::string Generator::Index() {
  if (Percent(5)) return Int();
  if (Percent(2)) return "x";
  return std::to_string(Percent(70) ? Between(-6, 6) : Between(-60, 60));
}

std::string Generator::NumberText() {
  if (Percent(30)) return Int();
  return Of({"3.0", "1e5", "-0", "+5", " 5", "5 ", "abc", "", "1.5e-3", "inf", "nan", "99999999999999999999", "007",
             "12.5", "-3.25"});
}

std::string Generator::Value() {
  switch (Below(7)) {
    case 0: return Int();
    case 1: return NumberText();
    case 2: return std::string(Below(60), 'v');
    case 3: return "hello world";
    case 4: {
      std::string bytes(Below(12), 0);
      for (char& c : bytes) c = static_cast<char>(Below(256));
      return bytes;
    }
    case 5: return Percent(90) ? "x" : std::string(100 + Below(400), 'w');
    default: return std::to_string(Below(20));
  }
}

std::string Generator::Quarter() {
  static const char* const kParts[] = {"", ".25", ".5", ".75"};
  if (Percent(3)) return Of({"1e3", "5.0e-1", "2.50", "+1.5"});
  const std::string number = std::to_string(Below(Percent(90) ? 20 : 100'000)) + kParts[Below(4)];
  return number == "0" || Percent(60) ? number : "-" + number;
}

// (What a cursor that is not 0 gives is each server's own: it must lie behind all.)
std::string Generator::ScanCursor() {
  return Of({"0", "0", "+0", "-0", "00", "", "x", "+", "--1", " 0", "0x0", "18446744073709551616", "-18446744073709551616"});
}

std::string Generator::Score() {
  if (Percent(3)) return Of({"inf", "-inf", "+inf", "Infinity", "nan", "abc", "", "1e400", "0x10"});
  return Quarter();
}

std::string Generator::ScoreEnd() {
  if (Percent(12)) return Of({"-inf", "+inf", "inf", "(-inf", "(inf"});
  if (Percent(3)) return Of({"abc", "(", "nan", ""});
  return (Percent(30) ? "(" : "") + Quarter();
}

std::string Generator::NameEnd() {
  if (Percent(15)) return Of({"-", "+"});
  if (Percent(4)) return Of({"", "abc", "(", "["});
  return (Percent(50) ? "[" : "(") + Member();
}

std::string Generator::Case(const std::string& word) {
  std::string out = word;
  for (char& c : out) {
    if (Percent(50)) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  return out;
}

std::string Generator::Member() {
  if (Percent(60)) return std::to_string(Below(12));
  if (Percent(60)) return "m" + std::to_string(Below(Percent(90) ? 20 : 400));
  return Value();
}

// (Fields "f..." hold sums of quarters.)
std::string Generator::Field() {
  return Percent(70) ? std::to_string(Below(9)) : "k" + std::to_string(Below(Percent(90) ? 20 : 300));
}

Words Generator::Many(size_t least, size_t most, std::string (Generator::*make)()) {
  Words out;
  for (int64_t n = Between(static_cast<int64_t>(least), static_cast<int64_t>(most)); n > 0; --n) {
    out.push_back((this->*make)());
  }
  return out;
}

Words Generator::TtlOption() {
  const std::string far = std::to_string(4'000'000'000 + Below(100));
  return OneOf({{"EX", std::to_string(Between(1000, 9999))}, {"PX", std::to_string(Between(1'000'000, 9'000'000))},
                {"EXAT", far}, {"PXAT", far + "000"}, {"KEEPTTL"}, {"EX", "0"}, {"PX", "-5"}, {"EX", "x"},
                {"EX", "4611686018427387904"}, {"PX"}, {}});
}

}  // namespace polyarch::differential
