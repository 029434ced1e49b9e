// Tokens of JSON, and the JSON of handlers.
#include "conflict/json_token.h"

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/random.h"
#include "conflict/handler.h"

namespace polyarch::conflict {
namespace {

bool IsExact(std::string_view number) {
  double value = 0;
  return IsExactDouble(number, value);
}

TEST(JsonNumber, AreTextWhereNoDoubleTellsThem) {
  for (const char* exact : {"0",
                            "-0",
                            "1",
                            "-12",
                            "0.1",
                            "0.10",
                            "1.5e3",
                            "1E+2",
                            "100",
                            "1e22",
                            "123456789012345",
                            "9007199254740992",
                            "5e-324",
                            "1.7976931348623157e308",
                            "0e999999999999",
                            "0.000"}) {
    EXPECT_TRUE(IsExact(exact)) << exact;
  }
  for (const char* other : {"12345678901234567890",
                            "0.1000000000000000055511151231257827",
                            "9007199254740993",
                            "9007199254740993e-1",
                            "1e400",
                            "-1e999999999999999999999",
                            "1e-400",
                            "3.14159265358979323846"}) {
    EXPECT_FALSE(IsExact(other)) << other;
  }
}

TEST(JsonNumber, ShortestTextOfADouble) {
  EXPECT_EQ(JsonNumber(0.1), "0.1");
  EXPECT_EQ(JsonNumber(-0.0), "0");
  EXPECT_EQ(JsonNumber(100000), "100000");
  EXPECT_EQ(JsonNumber(1e15), "1e+15");
  EXPECT_EQ(JsonNumber(-1234567.25), "-1234567.25");
  base::Random random(3);
  for (int i = 0; i < 100'000; ++i) {
    double value = 0;
    const uint64_t bits = random.Next();
    static_assert(sizeof value == sizeof bits);
    std::memcpy(&value, &bits, sizeof value);
    if (!std::isfinite(value)) continue;
    const std::string text = JsonNumber(value);
    double again = 0;
    ASSERT_TRUE(IsExactDouble(text, again)) << text;
    ASSERT_EQ(again, value) << text;
    JsonCursor cursor(text);
    ASSERT_TRUE(cursor.TakeNumber().has_value() && cursor.empty()) << text;
  }
}

TEST(JsonText, Utf8) {
  for (const char* text : {"",
                           "abc",
                           "\xc3\xa4",
                           "\xe2\x82\xac",
                           "\xf0\x9f\x98\x80",
                           "\xf4\x8f\xbf\xbf",
                           "\xef\xbf\xbf"}) {
    EXPECT_TRUE(IsUtf8(text)) << text;
    std::string quoted;
    AppendJsonString(quoted, text);
    EXPECT_EQ(UnescapeJson(quoted), text);
  }
  for (const char* bytes : {"\x80",
                            "\xc3",
                            "\xc0\xaf",
                            "\xe0\x80\x80",
                            "\xed\xa0\x80",
                            "\xf0\x80\x80\x80",
                            "\xf4\x90\x80\x80",
                            "\xff",
                            "\xe2\x82",
                            "a\xc3(",
                            "\xf5\x80\x80\x80"}) {
    EXPECT_FALSE(IsUtf8(bytes));
  }
  for (int c = 0; c < 256; ++c) {
    std::string quoted;
    AppendJsonString(quoted, std::string(1, static_cast<char>(c)));
    EXPECT_EQ(UnescapeJson(quoted), std::string(1, static_cast<char>(c)));
    JsonCursor cursor(quoted);
    EXPECT_TRUE(cursor.TakeString().has_value() && cursor.empty()) << c;
  }
}

// ---- in handlers

// What the body makes of one version, the given text.
std::string Made(const std::string& body, const std::string& text = "") {
  const std::vector<HandlerVersion> versions = {{text, "eu", 1}};
  auto view =
      RunHandler("function merge(key, versions) local text = versions[1].value\n" + body + "\nend",
                 "k",
                 {},
                 versions);
  if (!view.ok()) return "!" + view.status().message();
  return view->value.value_or("nil");
}
std::string Again(const std::string& text) {
  return Made("return json.encode(assert(json.decode(text)))", text);
}

TEST(HandlerJson, ComesBackWithSortedKeysAndWithoutSpace) {
  EXPECT_EQ(
      Again(
          R"( { "b" : [ 1 , 2.50 , -3e2 ] , "a" : { } , "c" : null , "d" : [ true , false , [ ] ] } )"),
      R"({"a":{},"b":[1,2.5,-300],"c":null,"d":[true,false,[]]})");
  EXPECT_EQ(Again(R"({"a":1,"a":2})"), R"({"a":2})") << "the last of two";
  EXPECT_EQ(Again(R"("\u00e4\ud83d\ude00\/\"\\\n\u0001")"),
            "\"\xc3\xa4\xf0\x9f\x98\x80/\\\"\\\\\\n\\u0001\"");
  EXPECT_EQ(Again("12"), "12");
  EXPECT_EQ(Again("null"), "null");
  EXPECT_EQ(Again(R"({"b":1,"B":2,"":3,"10":4,"9":5})"), R"({"":3,"10":4,"9":5,"B":2,"b":1})");
}

TEST(HandlerJson, NumbersKeepTheirValue) {
  EXPECT_EQ(
      Again("[12345678901234567890,0.1,1e400,3.14159265358979323846,-0,100000000000000000000]"),
      "[12345678901234567890,0.1,1e400,3.14159265358979323846,0,1e+20]");
  EXPECT_EQ(Made("local d = json.decode(text) return tostring(d.n) .. ' ' .. type(d.n)",
                 R"({"n":12345678901234567890})"),
            "12345678901234567890 userdata");
  EXPECT_EQ(Made("return json.number('12345678901234567890') == json.decode(text)[1] and 'same' or "
                 "'other'",
                 "[12345678901234567890]"),
            "same");
  EXPECT_EQ(Made("return json.number('12345678901234567890') == json.decode(text)[1] and 'same' or "
                 "'other'",
                 "[12345678901234567891]"),
            "other");
  EXPECT_EQ(Made("return json.number('2.50') + 1"), "3.5");
  EXPECT_TRUE(
      Made("return json.number('12345678901234567890') + 1").find("arithmetic on a userdata") !=
      std::string::npos);
  EXPECT_TRUE(Made("return json.number('0x10')").find("a number as JSON has it") !=
              std::string::npos);
  EXPECT_TRUE(Made("return json.number('1 ')").find("a number as JSON has it") !=
              std::string::npos);
}

TEST(HandlerJson, TablesOfAHandlersOwn) {
  EXPECT_EQ(Made("return json.encode({b = {1, 2, {}}, a = json.array({}), n = json.null})"),
            R"({"a":[],"b":[1,2,{}],"n":null})");
  EXPECT_EQ(
      Made(
          "local d = json.decode(text) d.list[#d.list + 1] = 'x' d.old = nil return json.encode(d)",
          R"({"list":[],"old":1})"),
      R"({"list":["x"]})");
  EXPECT_EQ(Made("return tostring(json.null) .. tostring(json.null == json.decode(text))", "null"),
            "nulltrue");
  EXPECT_EQ(Made("return json.encode(0.1 + 0.2)"), "0.30000000000000004");
  EXPECT_EQ(Made("return json.encode(1e15) .. json.encode(-3)"), "1e+15-3");
}

TEST(HandlerJson, WhatIsNoneSaysWhy) {
  auto why = [](const std::string& text) {
    return Made("local v, why = json.decode(text) return tostring(v) .. ': ' .. why", text);
  };
  EXPECT_EQ(why(""), "nil: no value, at byte 1");
  EXPECT_EQ(why("{\"a\":1,}"),
            "nil: a text that does not end, or a byte or escape that may not be in it, at byte 8");
  EXPECT_EQ(why("[1 2]"), "nil: ',' or ']' is missing, at byte 4");
  EXPECT_EQ(why("{\"a\" 1}"), "nil: ':' is missing, at byte 6");
  EXPECT_EQ(why("1 2"), "nil: there is something behind the value, at byte 3");
  for (const char* bad : {"nul",      "tru",         "fals",
                          "NaN",      "Infinity",    "01",
                          "1.",       ".5",          "+1",
                          "'a'",      "[1,]",        "{1:2}",
                          "[",        "{",           "\"",
                          "\"\\x\"",  "\"\\ud800\"", "\"\\udc00\\ud800\"",
                          "\"\xff\"", "\"\t\"",      "\xef\xbb\xbf{}",
                          "[1]]",     "//x",         "{\"a\":}",
                          "{,}",      "[,]",         "\xc3\xa4"}) {
    EXPECT_EQ(why(bad).substr(0, 5), "nil: ") << bad;
  }
  const std::string deepest = std::string(kJsonDepthMax, '[') + std::string(kJsonDepthMax, ']');
  EXPECT_EQ(Again(deepest), deepest);
  EXPECT_EQ(why("[" + deepest + "]"), "nil: it is nested too deep, at byte 129");
  EXPECT_EQ(why(std::string(200'000, '[')), "nil: it is nested too deep, at byte 129");
  EXPECT_EQ(why(std::string(200'000, '{')).substr(0, 5), "nil: ");
}

TEST(HandlerJson, WhatHasNoWordIsAnError) {
  auto error = [](const std::string& value) {
    const std::string made = Made("local t = {} t.t = t return json.encode(" + value + ")");
    return made.substr(made.find(": ") + 2);
  };
  EXPECT_EQ(error("0/0"), "JSON has no word for a number that is not finite");
  EXPECT_EQ(error("math.huge"), "JSON has no word for a number that is not finite");
  EXPECT_EQ(error("{merge}"), "JSON has no word for a function");
  EXPECT_EQ(error("nil"), "JSON has no word for a nil");
  EXPECT_EQ(error("'\\255'"), "JSON has no word for a text that is not UTF-8");
  EXPECT_EQ(error("t"), "a table is nested too deep for JSON, or contains itself");
  EXPECT_EQ(error("{1, nil, 3}"),
            "the keys of a JSON array are 1, 2, ...; this table has other ones");
  EXPECT_EQ(error("{1, a = 2}"),
            "the keys of a JSON array are 1, 2, ...; this table has other ones");
  EXPECT_EQ(error("json.array({a = 2})"),
            "the keys of a JSON array are 1, 2, ...; this table has other ones");
  EXPECT_EQ(error("{[true] = 1}"), "a key of a JSON object is a text");
  EXPECT_EQ(error("{[{}] = 1}"), "a key of a JSON object is a text");
}

// Whatever is given or made: an end within the limits.
TEST(HandlerJson, IsMetered) {
  const std::string steps = "!it takes more than 1000000 steps";
  std::string numbers = "[1";
  while (numbers.size() < 900'000)
    numbers += ",1";
  EXPECT_EQ(Made("json.decode(text) return 1", numbers + "]"), steps);
  EXPECT_EQ(Made("while true do json.decode(text) end", "[1,2,3]"), steps);
  EXPECT_EQ(Made("while true do json.encode({1, 2, 3}) end"), steps);
  EXPECT_EQ(Made("local s = ('x'):rep(1e5) local t = {} for i = 1, 100 do t[i] = s end return "
                 "#json.encode(t)"),
            steps);
  EXPECT_EQ(Made("local t = {1} for i = 1, 30 do t = {t, t} end return json.encode(t)"), steps);
  EXPECT_EQ(Made("local s = '\"' .. ('x'):rep(3e6) .. '\"' return #json.decode(s)"), steps);
  // A table that holds itself, with a long key: its keys are looked at in each depth.
  EXPECT_EQ(Made("local s = 'x' for i = 1, 21 do s = s .. s end local t = {[s] = 1} t.a = t return "
                 "#json.encode(t)"),
            steps);
  const std::string digits(1'000'000, '7');
  EXPECT_EQ(Made("return #tostring(json.decode(text))", digits), "1000000");
}

// Cut and changed at random: a refusal, or a value whose text is read as the same again.
TEST(HandlerJson, HostileBytes) {
  const std::string whole =
      R"({"a":[1,-2.5e+3,{"b":null}],"c":{"d":"x\u00e4\ud83d\ude00\n","e":{"f":true}},"g":"","h":{}})";
  base::Random random(7);
  size_t taken = 0;
  for (int i = 0; i < 3000; ++i) {
    std::string text = whole;
    for (uint64_t n = 1 + random.Below(2); n > 0; --n) {
      const size_t at = random.Below(text.size());
      const char* bytes = "{}[]\",:0e-\\ux \x80\xff";
      if (random.Percent(40))
        text.erase(at, 1 + random.Below(3));
      else
        text[at] = bytes[random.Below(17)];
    }
    const std::string made =
        Made("local v = json.decode(text) return v ~= nil and json.encode(v)", text);
    if (made[0] == '!') {
      ASSERT_TRUE(made.find("returned a boolean") != std::string::npos) << text << " " << made;
      continue;
    }
    ++taken;
    ASSERT_EQ(Again(made), made) << text;
  }
  EXPECT_GT(taken, 100U);
}

}  // namespace
}  // namespace polyarch::conflict
