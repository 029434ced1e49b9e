// Scripts against a host that keeps a few counters: what they may do, and what ends them. What
// clients see beside Redis is in tests/transcript/script*.txt.
#include <map>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "script/interpreter.h"

namespace polyarch::script {
namespace {

class FakeHost : public Host {
 public:
  base::Status Call(std::span<const std::string_view> words,
                    int protocol,
                    resp::Buffer& out) override {
    ++calls;
    resp::Writer reply(out, protocol);
    if (words[0] == "incr") {
      reply.Integer(++numbers[std::string(words[1])]);
    } else if (words[0] == "echo") {
      reply.Bulk(words[1]);
    } else if (words[0] == "large") {
      reply.Array(1000);
      const std::string text(10'000, 'x');
      for (int i = 0; i < 1000; ++i)
        reply.Bulk(text);
    } else if (words[0] == "end") {
      return base::Invalid("the host has ended it");
    } else {
      reply.Error("ERR unknown");
    }
    return {};
  }
  bool Knows(std::span<const std::string_view>) override { return true; }
  bool Allows(std::span<const std::string_view>) override { return true; }
  void Log(int, std::string_view line) override { log.emplace_back(line); }
  bool Expired() override { return expires && ++asked > 3; }

  std::map<std::string, int64_t> numbers;
  std::vector<std::string> log;
  int calls = 0;
  bool expires = false;
  int asked = 0;
};

constexpr Limits kSmall{.steps_max = 1'000'000, .memory_bytes_max = 8 << 20};

class ScriptTest : public testing::Test {
 protected:
  // The reply's bytes; "ended: ..." if it was ended.
  std::string Run(std::string_view source, std::vector<std::string_view> keys = {}) {
    if (interpreter_ == nullptr || interpreter_->spent())
      interpreter_ = std::make_unique<Interpreter>(kSmall);
    auto compiled = interpreter_->Compile(source);
    if (!compiled.ok()) return "no Lua: " + compiled.status().message();
    resp::Buffer out;
    resp::Writer reply(out, 2);
    const base::Status status =
        interpreter_->Execute({.reference = *compiled, .name = "name", .keys = keys}, host, reply);
    if (interpreter_ != nullptr) interpreter_->Forget(*compiled);
    if (!status.ok()) {
      EXPECT_TRUE(out.empty()) << out.view();
      return "ended: " + status.message();
    }
    return std::string(out.view());
  }
  // Behind whatever was done, everything works as before.
  void ExpectHealthy() {
    EXPECT_EQ(
        Run("return {tostring(string.upper('x')), tostring(_G.foo_is_here == nil)}").substr(0, 5),
        "-ERR ");
    EXPECT_EQ(Run("return string.upper('x') .. #KEYS", {"k"}), "$2\r\nX1\r\n");
  }

  FakeHost host;
  std::unique_ptr<Interpreter> interpreter_;
};

// Garbage is collected behind a run, and that needs memory, too: where the run has left none the process would end.
TEST_F(ScriptTest, EndsWellWithHardlyAnyMemoryLeft) {
  constexpr std::string_view kSource = R"(
    local max = collectgarbage('count') * 1024 + 8388608
    local rest = tonumber(KEYS[1])
    local n = 0
    local function fill(size, spared)
      while collectgarbage('count') * 1024 + 2 * size + spared < max do
        n = n + 1
        ARGV[n] = string.rep('x', size + n)
      end
    end
    for i = 1, 2000 do ARGV[i] = i end
    fill(500000, 3500000)
    local names = {}
    for i = 1, 30000 do names[i] = 'k' .. i end
    names = nil
    -- The table of all texts is to be made smaller by the next one, not by this.
    collectgarbage()
    collectgarbage('stop')
    fill(50000, 20000)
    fill(1000, 1000)
    fill(100, rest)
    return n)";
  size_t fine = 0;
  std::string last;
  for (int rest = -400; rest < 4000; rest += 100) {
    const std::string text = std::to_string(rest);
    interpreter_ = std::make_unique<Interpreter>(Limits{.steps_max = 100'000'000, .memory_bytes_max = 8 << 20});
    last = Run(kSource, {text});
    fine += last.starts_with(":") ? 1 : 0;
    interpreter_.reset();
  }
  EXPECT_GT(fine, 0U) << last;
  ExpectHealthy();
}

TEST_F(ScriptTest, CallsCommands) {
  EXPECT_EQ(Run("return redis.call('incr', KEYS[1]) + redis.call('incr', KEYS[1])", {"n"}),
            ":3\r\n");
  EXPECT_EQ(host.numbers["n"], 2);
  EXPECT_EQ(Run("redis.log(redis.LOG_WARNING, 'a', 1) return redis.call('echo', 5)"),
            "$1\r\n5\r\n");
  EXPECT_EQ(host.log, std::vector<std::string>{"a 1"});
}

const std::string kSteps = "ended: it takes more than 1000000 steps";
const std::string kMemory = "ended: it takes more than 8388608 bytes of memory";

// Each of these would run for hours, or take all memory.
TEST_F(ScriptTest, IsEnded) {
  const std::pair<const char*, const std::string*> cases[] = {
      {"while true do end", &kSteps},
      {"repeat until false", &kSteps},
      {"for i = 1, 1e15 do end", &kSteps},
      {"while true do redis.call('incr', 'n') end", &kSteps},
      {"while true do redis.pcall('nosuch') end", &kSteps},
      {"local t = {} for i = 1, 1e9 do t[i] = i end", nullptr},
      {"local t = {} while true do t[#t + 1] = ('x'):rep(1000) .. #t end", nullptr},
      {"local t = {} while true do t = {t} end", nullptr},
      {"local s = 'x' while true do s = s .. s end", &kMemory},
      {"return ('x'):rep(1e9)", &kSteps},
      {"return ('xxxxxxxxxxxxxxxx'):rep(900000)", &kMemory},
      {"return ('a'):rep(30):find(('a-'):rep(30) .. 'b')", &kSteps},
      {"return ('a'):rep(10000):match('.-.-.-.-b')", &kSteps},
      {"local s = ('a'):rep(100000) return s:gsub('', s)", nullptr},
      {"for w in ('a'):rep(100000):gmatch('.-.-.-b') do end", &kSteps},
      {"return string.format('%s', ('x'):rep(9e5)):rep(100)", nullptr},
      {"local t = {} for i = 1, 50000 do t[i] = i end while true do table.sort(t, function(a, b) "
       "return a > b end) end",
       &kSteps},
      {"local t = {} for i = 1, 50000 do table.insert(t, 1, i) end", &kSteps},
      {"local t = {} for i = 1, 5000 do t[i] = 'x' end while true do table.concat(t) end", &kSteps},
      {"local co = coroutine.wrap(function() while true do coroutine.yield() end end) while true "
       "do co() end",
       &kSteps},
      {"while true do coroutine.wrap(function() end)() end", &kSteps},
      {"while true do coroutine.resume(coroutine.create(function() end)) end", &kSteps},
      {"while true do loadstring('return 1')() end", &kSteps},
      {"load(function() return ' ' end)", nullptr},
      {"local t = {} for i = 1, 20 do t = {t, t} end return t", &kSteps},
      {"local t = {} for i = 1, 20 do t = {t, t} end return cjson.encode(t)", nullptr},
      {"local t = {} for i = 1, 15 do t = {t, t, t, t} end return cmsgpack.pack(t)", nullptr},
      {"local t = 1 for i = 1, 20 do t = {map = {a = t, b = t}} end return t", nullptr},
      {"return struct.pack(('c100000'):rep(100), 'x')", nullptr},
      {"while true do cjson.decode('[[[[[]]]]]') end", &kSteps},
      {"while true do collectgarbage() end", &kSteps},
      {"setmetatable({}, {__index = function(t, k) while true do end end}).x = nil return "
       "setmetatable({}, {__index = "
       "function() while true do end end}).y",
       &kSteps},
      {"redis.call('end')", nullptr},
      {"pcall(redis.call, 'end') return 1", nullptr},
      {"redis.pcall('end') return 1", nullptr},
      {"local t = {} for i = 1, 1000 do t[i] = redis.call('large') end", nullptr},
  };
  for (const auto& [source, expected] : cases) {
    const std::string reply = Run(source);
    if (expected != nullptr) {
      EXPECT_EQ(reply, *expected) << source;
    }
    EXPECT_TRUE(reply.starts_with("ended: ") || reply.starts_with("-ERR "))
        << source << ": " << reply.substr(0, 100);
  }
  ExpectHealthy();
}

// The end cannot be caught: not by pcall, xpcall, coroutines or a module that runs functions.
TEST_F(ScriptTest, CannotGoOnBehindItsEnd) {
  for (const char* source : {
           "while true do pcall(function() while true do end end) end",
           "pcall(function() while true do end end) redis.call('incr', 'after')",
           "pcall(pcall, pcall, function() while true do end end) redis.call('incr', 'after')",
           "xpcall(function() while true do end end, function(e) redis.call('incr', 'after') "
           "return 'x' end) "
           "redis.call('incr', 'after')",
           "while true do xpcall(function() while true do end end, function() while true do end "
           "end) end",
           "coroutine.resume(coroutine.create(function() while true do end end)) "
           "redis.call('incr', 'after')",
           "local co = coroutine.wrap(function() pcall(function() while true do end end) "
           "redis.call('incr', 'after') end) "
           "pcall(co) redis.call('incr', 'after')",
           "pcall(string.rep, 'x', 1e12) redis.call('incr', 'after')",
           "pcall(function() local s = 'x' while true do s = s .. s end end) redis.call('incr', "
           "'after')",
           "pcall(function() local t = {} for i = 1, 1e9 do t[i] = i end end) redis.call('incr', "
           "'after')",
           "pcall(redis.call, 'end') redis.call('incr', 'after')",
           "redis.pcall('end') redis.call('incr', 'after')",
           "pcall(table.sort, {3, 2, 1}, function() while true do end end) redis.call('incr', "
           "'after')",
           "pcall(string.gsub, 'x', 'x', function() while true do end end) redis.call('incr', "
           "'after')",
           "local t = setmetatable({}, {__tostring = function() while true do end end}) "
           "pcall(tostring, t) "
           "redis.call('incr', 'after')",
           "error(setmetatable({}, {__index = function() while true do end end}))",
           "pcall(loadstring, ('x = 1 '):rep(900000)) redis.call('incr', 'after')",
           // Memory that Lua does not count.
           "local s = ('b'):rep(1024):rep(1024) pcall(string.gsub, ('a'):rep(20), 'a', {a = s}) "
           "redis.call('incr', 'after')",
           "local s = ('b'):rep(1024):rep(100) pcall(string.gsub, s, '^.+$', ('%0'):rep(200)) "
           "redis.call('incr', 'after')",
           "local s = ('x'):rep(1024):rep(1024) local t = {} for i = 1, 20 do t[i] = s end "
           "pcall(cjson.encode, t) redis.call('incr', 'after')",
           "local s = ('x'):rep(1024):rep(1024) local t = {} for i = 1, 20 do t[i] = s end "
           "pcall(cmsgpack.pack, t) redis.call('incr', 'after')",
           "local s = ('x'):rep(1024):rep(1024) pcall(struct.pack, ('c1000000'):rep(10), s, s, s, "
           "s, s, s, s, s, s, s) redis.call('incr', 'after')",
           "local s = ('--'):rep(50):rep(3000) pcall(load, function() return s end) "
           "redis.call('incr', 'after')",
           "local s = ('\\1'):rep(1024):rep(2000) pcall(cjson.encode, s) redis.call('incr', "
           "'after')",
       }) {
    const std::string reply = Run(source);
    EXPECT_TRUE(reply.starts_with("ended: ") || reply.starts_with("-ERR unknown error"))
        << source << ": " << reply;
    EXPECT_EQ(host.numbers.count("after"), 0U) << source;
    host.numbers.clear();
  }
  ExpectHealthy();
}

// Functions that do much in one instruction are charged for what they do, and for no more than that.
TEST_F(ScriptTest, PaysForWhatItTouches) {
  for (const char* source : {
           "table.insert({}, -2147483648, 1)",
           "local t = {} for i = 1, 20000 do t['k' .. i] = i end for i = 1, 100 do table.maxn(t) end",
           "local s = ('x'):rep(1000):rep(50) local t = {} for i = 1, 2000 do t[i] = s end return t",
       }) {
    EXPECT_EQ(Run(source).substr(0, 6), "ended:") << source;
  }
  EXPECT_EQ(Run("local t = {} for i = 1, 50000 do table.insert(t, i) end "
                "for i = 1, 40000 do table.remove(t) end return {#t, table.maxn(t)}"),
            "*2\r\n:10000\r\n:10000\r\n");
  EXPECT_EQ(Run("local t = {1, 2, 3} table.insert(t, 2, 'x') table.insert(t, 1, 'y') "
                "return table.concat(t, ',') .. table.remove(t, 1) .. table.concat(t, '-', 2, 3) .. "
                "table.concat({}, ',') .. tostring((table.remove({}))) .. table.maxn({[7] = 1, a = 2})"),
            "$17\r\ny,1,x,2,3yx-2nil7\r\n");
  EXPECT_EQ(Run("return table.concat({1, {}})").substr(0, 70),
            "-ERR user_script:1: invalid value (table) at index 2 in table for 'con");
  EXPECT_TRUE(Run("table.insert({}, 1, 2, 3)")
                  .starts_with("-ERR user_script:1: wrong number of arguments to 'insert'"));
  EXPECT_EQ(Run("return {coroutine.resume(coroutine.create(function(a) return a + 1, 5 end), 1)}"),
            "*3\r\n:1\r\n:2\r\n:5\r\n");
  EXPECT_EQ(Run("return (select(2, coroutine.resume(coroutine.create(function() error('x', 0) end))))"),
            "$1\r\nx\r\n");
  // A pattern takes fifty times its size.
  EXPECT_TRUE(Run("return ('x'):find(('.'):rep(70000))").find("pattern too long") !=
              std::string::npos);
  EXPECT_EQ(Run("return ('x'):rep(3000):find(('.'):rep(2000))"), ":1\r\n");
}

TEST_F(ScriptTest, TheClockIsLookedAtBehindEachCall) {
  host.expires = true;
  EXPECT_EQ(Run("for i = 1, 10 do redis.call('incr', 'n') end"), "ended: it takes too long");
  EXPECT_LE(host.numbers["n"], 5);
  host.expires = false;
  ExpectHealthy();
}

// Time is short for the compiler, too: a chain of "or" costs it the square of its length.
TEST_F(ScriptTest, CompilingEnds) {
  std::string source = "return a";
  for (int i = 0; i < 40'000; ++i)
    source += " or a";
  Interpreter other(kSmall);
  int asked = 0;
  const auto compiled = other.Compile(source, [&] { return ++asked > 20; });
  ASSERT_FALSE(compiled.ok());
  EXPECT_EQ(compiled.status().message(), "it takes too long");
  EXPECT_EQ(asked, 21);
  EXPECT_TRUE(other.spent());
  host.expires = true;
  EXPECT_EQ(Run("local s = ('x = 1 '):rep(1000):rep(3) return loadstring(s)"), "ended: it takes too long");
}

TEST_F(ScriptTest, EndsWhenItsTimeIsOver) {
  host.expires = true;
  EXPECT_EQ(Run("while true do end"), "ended: it takes too long");
  // Within one call of a function of the library's, too.
  host.asked = 0;
  EXPECT_EQ(Run("return ('a'):rep(30):find(('a-'):rep(30) .. 'b')"), "ended: it takes too long");
  host.expires = false;
  ExpectHealthy();
}

// Errors of Lua's own that are no limit: they can be caught, and leave no harm.
TEST_F(ScriptTest, RecursionEndsInAnError) {
  for (const char* source : {
           "local function f() return 1 + f() end return f()",
           "local function f() f() f() end f()",
           "local t = setmetatable({}, {}) getmetatable(t).__index = t return t.x",
           "local t = setmetatable({}, {__index = function(t, k) return t[k] end}) return t.x",
           "local function f() return coroutine.wrap(f)() end return f()",
           "local function f() return pcall(f) end local function g() f() g() end g()",
           "return ('x'):gsub('x', function() return (('x'):gsub('x', function() error('inner') "
           "end)) end)",
           "return loadstring(('('):rep(1000) .. '1' .. (')'):rep(1000))()",
           "return loadstring(('{'):rep(100000))()",
           "return unpack({}, 1, 1e8)",
           "return string.char(unpack({}, 1, 7000))",
           "return ('x'):find(('('):rep(40))",
           "local t = {} t[1] = t return cjson.encode(t)",
           "local t = {} t.t = t return cjson.encode(t)",
           "return cjson.decode(('['):rep(100000))",
           "return cmsgpack.unpack(('\\145'):rep(100000))",
           "return cmsgpack.unpack('\\221\\255\\255\\255\\255')",
           "return cmsgpack.unpack('\\219\\255\\255\\255\\255x')",
           "return cmsgpack.unpack('\\223\\255\\255\\255\\255')",
           "return struct.pack('i1000000000', 1)",
           "return struct.unpack('c99999999999999999999', 'x')",
           "return struct.unpack('c0', 'x')",
           "return struct.unpack('bc0', '\\255')",
           "local t = {3, 1, 2} table.sort(t, function() return true end) return error('sorted')",
           "error(error)",
           "error(coroutine.create(print_is_missing))",
           "error(setmetatable({}, {__tostring = function() error('again') end}))",
           "xpcall(error, error) error('out')",
           "coroutine.yield()",
           "return setmetatable(_G, {})",
       }) {
    const std::string reply = Run(source);
    EXPECT_TRUE(reply.starts_with("-") || reply.starts_with("ended: "))
        << source << ": " << reply.substr(0, 100);
  }
  // A value that holds itself is cut off.
  EXPECT_TRUE(Run("local t = {} t[1] = t return t").find("reached lua stack limit") !=
              std::string::npos);
  ExpectHealthy();
}

TEST_F(ScriptTest, NothingIsLeftForTheNext) {
  for (const char* source : {
           "foo_is_here = 1",
           "_G.foo_is_here = 1",
           "rawset(_G, 'foo_is_here', 1)",
           "string.upper = nil",
           "rawset(string, 'upper', nil)",
           "getmetatable('').__index = nil",
           "rawset(getmetatable(''), '__index', 1)",
           "setmetatable(string, nil)",
           "setmetatable(_G, {__index = {foo_is_here = 1}})",
           "table.insert(_G, 1)",
           "table.insert(string, 1)",
           "table.sort(string)",
           "table.remove(redis)",
           "table.setn(_G, 1)",
           "redis.call = nil",
           "rawset(redis, 'call', nil)",
           "KEYS = nil",
           "for k in pairs(_G) do _G[k] = nil end",
           "getmetatable(_G).__newindex = nil",
           "getmetatable(redis).__index.call = nil",
           "local m = getmetatable(_G) rawset(m, '__index', {foo_is_here = 1})",
           "table.foreach(_G, function(k, v) _G[k] = nil end)",
           "cjson.null = 1",
           "rawset(cjson, 'decode', 1)",
           "local f = loadstring('foo_is_here = 1') f()",
           "math.pi = 3",
           "error(redis)",
           "error(_G)",
           "collectgarbage('stop')",
           "collectgarbage('setpause', 100000)",
           "cjson.encode_max_depth(1) cjson.encode_number_precision(1)",
       }) {
    const std::string reply = Run(source);
    EXPECT_TRUE(reply.starts_with("-") || reply.starts_with("$-1")) << source << ": " << reply;
    ExpectHealthy();
  }
  EXPECT_EQ(Run("return cjson.encode({{1.25}})"), "$8\r\n[[1.25]]\r\n");
  EXPECT_EQ(Run("local n = 0 for k in pairs(string) do n = n + 1 end return n"), ":14\r\n");
  EXPECT_EQ(Run("return tostring(next(redis) ~= nil)"), "$4\r\ntrue\r\n");
}

TEST_F(ScriptTest, RunsNoCompiledCode) {
  EXPECT_EQ(Run("\x1bLua").substr(0, 7), "no Lua:");
  EXPECT_EQ(Run("return tostring(string.dump)"), "$3\r\nnil\r\n");
  EXPECT_EQ(Run("return {tostring(loadstring('\\27Lua')), (select(2, loadstring('\\27Lua')))}"),
            "*2\r\n$3\r\nnil\r\n$29\r\ncompiled code is not accepted\r\n");
  EXPECT_EQ(Run("local given return tostring(load(function() if given then return nil end given = "
                "1 return '\\27Lua' end))"),
            "$3\r\nnil\r\n");
  EXPECT_EQ(Run("local n = 0 return load(function() n = n + 1 return ({'return ', '7'})[n] end)()"),
            ":7\r\n");
}

TEST_F(ScriptTest, HasNoWayOut) {
  for (const char* name : {"os",
                           "io",
                           "debug",
                           "package",
                           "require",
                           "loadfile",
                           "dofile",
                           "print",
                           "getfenv",
                           "setfenv",
                           "newproxy",
                           "module",
                           "_LOADED",
                           "arg"}) {
    EXPECT_TRUE(Run(std::string("return ") + name).find("nonexistent global variable") !=
                std::string::npos)
        << name;
  }
}

TEST_F(ScriptTest, ALibraryRegistersFunctions) {
  Interpreter library(kSmall);
  std::vector<LibraryFunction> functions;
  ASSERT_TRUE(
      library
          .LoadLibrary(
              "local n = 0 redis.register_function('f', function(keys, args) n = n + 1 return "
              "{keys[1], args[1], n} end) redis.register_function{function_name = 'g', callback = "
              "function() return redis.call('incr', 'x') end, flags = {'no-writes'}, description = "
              "'d'}",
              host,
              functions)
          .ok());
  ASSERT_EQ(functions.size(), 2U);
  EXPECT_EQ(functions[1].name, "g");
  EXPECT_EQ(functions[1].flags, kFlagNoWrites);
  EXPECT_EQ(functions[1].description, "d");
  for (int i = 1; i <= 2; ++i) {
    resp::Buffer out;
    resp::Writer reply(out, 2);
    const std::vector<std::string_view> keys = {"k"};
    const std::vector<std::string_view> arguments = {"a"};
    ASSERT_TRUE(library
                    .Execute({.reference = functions[0].reference,
                              .name = "f",
                              .keys = keys,
                              .arguments = arguments,
                              .as_globals = false},
                             host,
                             reply)
                    .ok());
    EXPECT_EQ(out.view(), "*3\r\n$1\r\nk\r\n$1\r\na\r\n:" + std::to_string(i) + "\r\n");
  }
  std::vector<LibraryFunction> none;
  Interpreter endless(kSmall);
  const base::Status status = endless.LoadLibrary("while true do end", host, none);
  EXPECT_EQ(status.message(), "Error registering functions: it takes more than 1000000 steps");
}

}  // namespace
}  // namespace polyarch::script
