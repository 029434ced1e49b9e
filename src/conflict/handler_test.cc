// Handlers: what they compute, and that nothing that they do goes beyond it.
#include "conflict/handler.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "conflict/loaded_handler.h"

namespace polyarch::conflict {
namespace {

const std::vector<HandlerVersion> kTwo = {{"apples,pears", "eu", 1000}, {"pears,plums", "us", 2000}};

// What the handler with this body returns, or "!" and why not.
std::string Source(const std::string& source, const std::vector<HandlerVersion>& versions = kTwo,
                const HandlerLimits& limits = {}) {
  auto view = RunHandler(source, "cart:1", {}, versions, limits);
  if (!view.ok()) return "!" + view.status().message();
  return view->value ? *view->value : "nil";
}
std::string Body(const std::string& body, const std::vector<HandlerVersion>& versions = kTwo) {
  return Source("function merge(key, versions)\n" + body + "\nend", versions);
}
bool Contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST(Handler, GetsTheKeyAndTheVersions) {
  EXPECT_EQ(Body("return key .. #versions"), "cart:12");
  EXPECT_EQ(Body("return versions[1].value .. '|' .. versions[2].value"), "apples,pears|pears,plums");
  EXPECT_EQ(Body("return versions[2].leader .. versions[2].time"), "us2000");
  EXPECT_EQ(Body("return versions[1].absent and 'gone' or 'there'", {{std::nullopt, "eu", 1}}), "gone");
  EXPECT_EQ(Body("return tostring(versions[1].value)", {{std::nullopt, "eu", 1}}), "nil");
  EXPECT_EQ(Body("return versions[1].value", {{std::string_view("a\0b", 3), "eu", 1}}), std::string("a\0b", 3));
}

// What has no protected call around it would end the process.
TEST(Handler, TheTableOfGlobalsMayHaveAMetatable) {
  EXPECT_FALSE(CheckHandler("setmetatable(_G, {__index = function() error('boom') end})").ok());
  EXPECT_FALSE(CheckHandler("setmetatable(_G, {__index = function() while true do end end})").ok());
  EXPECT_EQ(Source("function merge(k, v, field) return v[1].value .. tostring(field) end "
                   "setmetatable(_G, {__index = function(_, name) error('undefined ' .. name) end})"),
            "apples,pearsnil");
}

TEST(Handler, EndsWellWhereverMemoryIsOver) {
  for (const char* end : {"return 1.5", "error(1.5)", "error('text')", "return v[1].value .. k"}) {
    const std::string source = std::string("function merge(k, v) ") + end + " end";
    size_t fine = 0;
    for (size_t bytes = 40'000; bytes < 100'000; bytes += 24) {
      auto view = RunHandler(source, "cart:1", {}, kTwo, {.memory_bytes_max = bytes});
      fine += view.ok() || !Contains(view.status().message(), "memory") ? 1 : 0;
    }
    EXPECT_GT(fine, 0U) << end;
  }
}

TEST(Handler, ATrialHasATime) {
  int asked = 0;
  HandlerLimits limits;
  limits.expired = [&] { return ++asked > 10'000; };
  const std::vector<std::string_view> values = {"a", "b", "c", "d", "e", "f"};
  const HandlerTrial trial = TryHandler("function merge(k, v) for i = 1, 90000 do end return 'x' end", values, limits);
  ASSERT_TRUE(trial.view.ok());
  ASSERT_EQ(trial.warnings.size(), 1U);
  EXPECT_LT(asked, 10'100);
}

TEST(Handler, UnionOfTags) {
  const char* source = R"(
    function merge(key, versions)
      local tags = {}
      for _, version in ipairs(versions) do
        for tag in (version.value or ''):gmatch('[^,]+') do tags[tag] = true end
      end
      local list = {}
      for tag in pairs(tags) do list[#list + 1] = tag end
      return table.concat(list, ',')
    end)";
  EXPECT_EQ(Source(source), "apples,pears,plums");
}

TEST(Handler, ReturnsTextNumberOrNil) {
  EXPECT_EQ(Body("return 12"), "12");
  EXPECT_EQ(Body("return nil"), "nil");
  EXPECT_EQ(Body(""), "nil");
  EXPECT_EQ(Body("return {}"), "!merge returned a table: it may return a text, a number or nil");
  EXPECT_EQ(Body("return true"), "!merge returned a boolean: it may return a text, a number or nil");
}

TEST(Handler, ErrorsSayWhere) {
  EXPECT_EQ(Body("return versions[9].value"), "!handler:2: attempt to index field '?' (a nil value)");
  EXPECT_EQ(Body("error('no')"), "!handler:2: no");
  EXPECT_EQ(Body("error({})"), "!an error that is no text");
  EXPECT_TRUE(Contains(Source("function merge("), "handler:1:"));
  EXPECT_EQ(Source("x = 1"), "!it defines no function merge(key, versions, field)");
  EXPECT_EQ(Source("\x1bLuaQ"), "!it is compiled, not source");
  EXPECT_FALSE(CheckHandler("merge = 1").ok());
  EXPECT_TRUE(CheckHandler("function merge() end").ok());
  EXPECT_FALSE(CheckHandler(std::string(kHandlerSourceBytesMax + 1, ' ')).ok());
}

// Nothing but functions of their arguments.
TEST(Handler, HasNoWayOut) {
  for (const char* name :
       {"os", "io", "debug", "package", "coroutine", "require", "load", "loadstring", "loadfile", "dofile", "print",
        "pcall", "xpcall", "collectgarbage", "getfenv", "setfenv", "newproxy", "getmetatable", "module",
        "math.random", "math.randomseed", "math.sin", "math.exp", "math.pow", "string.dump", "gcinfo"}) {
    EXPECT_EQ(Body(std::string("return tostring(") + name + ")"), "nil") << name;
  }
  EXPECT_EQ(Body("return tostring(('x').dump)"), "nil");
  EXPECT_EQ(Body("return tostring({}) .. tostring(merge)"), "tablefunction");
  EXPECT_EQ(Body("return tostring(_G._G == _G)"), "true");
}

TEST(Handler, KeepsNothingBetweenCalls) {
  const char* source = R"(
    local calls = 0
    function merge()
      calls = calls + 1
      seen = (seen or 0) + 1
      string.upper = nil
      return calls .. ':' .. seen
    end)";
  EXPECT_EQ(Source(source), "1:1");
  EXPECT_EQ(Source(source), "1:1");
  EXPECT_EQ(Body("return ('a'):upper()"), "A");
}

TEST(Handler, PairsGoByKeys) {
  EXPECT_EQ(Body(R"(
    local t = {z = 1, a = 2, [3] = 3, [1.5] = 4, [true] = 5, [false] = 6, m = 7}
    local out = ''
    for k, v in pairs(t) do out = out .. tostring(k) .. '=' .. v .. ' ' end
    local k = next(t)
    while k ~= nil do out = out .. tostring(k); k = next(t, k) end
    return out)"),
            "false=6 true=5 1.5=4 3=3 a=2 m=7 z=1 falsetrue1.53amz");
  EXPECT_TRUE(Contains(Body("for k in pairs({[{}] = 1}) do end"), "only tables whose keys"));
  EXPECT_EQ(Body("local t = {a=1, b=2, c=3} local n = 0 for k in pairs(t) do t.b = nil n = n + 1 end return n"), "2");
}

// Whatever hides work in few instructions must end soon: each of these would take minutes or for ever.
TEST(Handler, EndsSoon) {
  const std::string steps = "it takes more than 1000000 steps";
  const std::string memory = "it takes more than 8388608 bytes of memory";
  EXPECT_EQ(Body("while true do end"), "!" + steps);
  EXPECT_EQ(Source("while true do end function merge() end"), "!" + steps);
  EXPECT_EQ(Body("local t = {} for i = 1, 1e9 do t[i] = i end"), "!" + steps);
  EXPECT_EQ(Body("local s = 'x' while true do s = s .. s end"), "!" + memory);
  EXPECT_EQ(Body("local s = 'x' for i = 1, 20 do s = s .. s end while true do local t = s .. 'y' end"), "!" + steps);
  EXPECT_EQ(Body("return ('x'):rep(1e9)"), "!" + steps);
  EXPECT_EQ(Body("return (''):rep(1e9) .. 'empty'"), "empty");
  EXPECT_EQ(Body("return ('a'):rep(30):find(('a-'):rep(30) .. 'b')"), "!" + steps);
  EXPECT_EQ(Body("return ('a'):rep(10000):match('.-.-.-.-b')"), "!" + steps);
  EXPECT_EQ(Body("local s = ('a'):rep(100000) return s:gsub('', s)"), "!" + steps);
  EXPECT_EQ(Body("local s = ('a'):rep(100000) return s:gsub('.+', ('%0'):rep(1000))"),
            "!" + memory);
  EXPECT_EQ(Body("local s = ('a'):rep(500000) local n = 0 while s .. 'b' < s .. 'c' do n = n + 1 end return n"),
            "!" + steps);
  EXPECT_EQ(Body("local t = {} for i = 1, 100000 do t[i] = -i end for i = 1, 100 do table.sort(t) end"), "!" + steps);
  EXPECT_EQ(Body("local t = {} for i = 1, 100000 do table.insert(t, 1, i) end"), "!" + steps);
  EXPECT_EQ(Body("local function f() return 1 + f() end return f()")[0], '!');
  EXPECT_TRUE(Contains(Body("return ('x'):find(('('):rep(40))"), "too many captures"));
  EXPECT_TRUE(Contains(Body("return unpack({}, 1, 1e8)"), "too many results to unpack"));
  EXPECT_TRUE(Contains(Body("return string.char(unpack({}, 1, 7000))"), "bad argument"));
  EXPECT_TRUE(Contains(Body("local t = setmetatable({}, {__index = function(t, k) return t[k + 1] end}) return t[1]"),
                       "overflow"));
  const std::string large(kHandledBytesMax, 'x');
  EXPECT_TRUE(Contains(Body("return 1", {{large, "eu", 1}, {"y", "us", 2}}), "more than 1048576 bytes together"));
}

TEST(Handler, StepsAreCountedAlike) {
  const char* source = "function merge(k, v) local n = 0 for i = 1, 1000 do n = n + i end return n end";
  auto first = RunHandler(source, "k", {}, kTwo);
  auto second = RunHandler(source, "k", {}, kTwo);
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_EQ(first->steps, second->steps);
  EXPECT_GT(first->steps, 1000U);
  EXPECT_LT(first->steps, 20'000U);
}

// The manual's own examples, and the corners of its patterns.
TEST(Handler, PatternsAreThoseOfLua) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"('hello world'):find('wor')", "7 9"},
      {"('hello'):find('l+')", "3 4"},
      {"('hello'):find('l', 1, true)", "3 3"},
      {"('a.b'):find('.', 1, true)", "2 2"},
      {"('hello'):find('')", "1 0"},
      {"('hello'):find('', 10)", "6 5"},
      {"('hello'):find('xyz')", "nil"},
      {"('hello'):find('h', -5)", "1 1"},
      {"('key = value'):match('(%w+)%s*=%s*(%w+)')", "key value"},
      {"('THE (quick) fox'):find('%((%a+)%)')", "5 11 quick"},
      {"('hello'):match('()ll()')", "3 5"},
      {"('2024-01-31'):match('^(%d+)-(%d+)-(%d+)$')", "2024 01 31"},
      {"('[[x]]'):match('%[%[(.-)%]%]')", "x"},
      {"('THE (quick (brown)) fox'):match('%b()')", "(quick (brown))"},
      {"([[say \"hi\" or 'ho']]):match([[([\"'])(.-)%1]])", "\" hi"},
      {"('THE quick'):gsub('%f[%a]%a+', 'w')", "w w 2"},
      {"('hello world'):gsub('o', '0')", "hell0 w0rld 2"},
      {"('hello world'):gsub('o', '0', 1)", "hell0 world 1"},
      {"('hello world from Lua'):gsub('(%w+)%s*(%w+)', '%2 %1')", "world hello Lua from 2"},
      {"('abc'):gsub('%w', '%0%0')", "aabbcc 3"},
      {"('abc'):gsub('', '-')", "-a-b-c- 4"},
      {"('abc'):gsub('b*', 'x')", "xaxxcx 4"},
      {"('$name is $age'):gsub('%$(%w+)', {name = 'Lua', age = 5})", "Lua is 5 2"},
      {"('abc'):gsub('%w', function(c) if c == 'b' then return 'B' end end)", "aBc 3"},
      {"('x^y'):gsub('^x', 'z')", "z^y 1"},
      {"('  trim '):match('^%s*(.-)%s*$')", "trim"},
      {"('a]b'):find('[]]')", "2 2"},
      {"('a-b'):find('[a%-]', 2)", "2 2"},
      {"('a^b'):find('[%^]')", "2 2"},
      {"('abc'):find('[^a-b]')", "3 3"},
      {"('x1y22'):gsub('%D', '')", "122 2"},
      {"('a$'):find('$', 1, true)", "2 2"},
      {"('a$b'):find('$b')", "2 3"},
  };
  for (const auto& [call, expected] : cases) {
    EXPECT_EQ(Body("local out = {" + call + "} for i = 1, #out do out[i] = tostring(out[i]) end "
                   "if #out == 0 then return 'nil' end return table.concat(out, ' ')"),
              expected)
        << call;
  }
  EXPECT_EQ(Body("local n = 0 for k, v in ('a=1, b=2'):gmatch('(%w+)=(%w+)') do n = n + v end return n"), "3");
  EXPECT_EQ(Body("local out = '' for w in ('abc'):gmatch('') do out = out .. '.' end return out"), "....");
  for (const char* bad : {"[a", "%", "(a", ".)", "%1", "(a%1)", "%b", "%fa", "[%"}) {
    EXPECT_EQ(Body(std::string("return ('a'):find('") + bad + "')")[0], '!') << bad;
  }
}

TEST(Handler, ATrialWarnsOfWhatItDependsOn) {
  auto warnings = [](const std::string& body, std::initializer_list<std::string_view> values) {
    const std::vector<std::string_view> all(values);
    const HandlerTrial trial = TryHandler("function merge(key, versions)\n" + body + "\nend", all);
    std::string text = trial.view.ok() ? trial.view->value.value_or("nil") : "!" + trial.view.status().message();
    for (const std::string& warning : trial.warnings) text += "|" + warning;
    return text;
  };
  const std::string maximum =
      "local m for _, v in ipairs(versions) do local n = tonumber(v.value) if not m or n > m then m = n end end return m";
  EXPECT_EQ(warnings(maximum, {"3", "12", "7"}), "12");
  EXPECT_EQ(warnings("local n = 0 for _, v in ipairs(versions) do n = n + v.value end return n", {"1", "2", "3"}),
            "6|a value that two leaders have written counts twice");
  EXPECT_EQ(warnings("return versions[1].value", {"a", "b"}), "a|the view depends on which leader wrote which value");
  EXPECT_EQ(warnings("return #versions", {"a", "b", "c"}),
            "3|to merge some of the values first and the others later gives another view|a value that two leaders have "
            "written counts twice");
  EXPECT_EQ(warnings("error('no')", {"a", "b"}), "!handler:2: no");
  EXPECT_EQ(warnings("if #versions > 2 then error('many') end return versions[1].value == versions[2].value and 'e' or 'd'",
                     {"a", "b"}),
            "d|it fails with some orders or groups of these values: handler:2: many");
}

TEST(Handler, NamesAreWords) {
  EXPECT_TRUE(IsHandlerName("cart-2"));
  EXPECT_FALSE(IsHandlerName(""));
  EXPECT_FALSE(IsHandlerName("two words"));
  EXPECT_FALSE(IsHandlerName(std::string(kHandlerNameBytesMax + 1, 'x')));
  EXPECT_FALSE(IsHandlerName("caf\xc3\xa9"));
}

}  // namespace
}  // namespace polyarch::conflict
