// Scripts that nobody would write, put together from pieces: the interpreter answers or ends each
// of them, and runs the next one as if nothing had been. The first byte chooses: bytes as they are,
// or each byte a piece.
#include <memory>

#include "base/check.h"
#include "fuzz/target.h"
#include "rdb/libraries.h"
#include "script/interpreter.h"

namespace polyarch::fuzz {

namespace {

constexpr std::string_view kPieces[] = {
    "local a = ",
    "local b = ",
    "a = ",
    "return ",
    "a",
    "b",
    "c",
    "1",
    "0",
    "-1",
    "2^53",
    "1e308",
    "0/0",
    "'x'",
    "'%a+'",
    "''",
    "{}",
    "{1, 2, 3}",
    "{a = 1}",
    "{a, b}",
    "nil",
    "true",
    "KEYS",
    "ARGV",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    " ",
    "\n",
    ";",
    " + ",
    " .. ",
    " == ",
    " and ",
    " or ",
    "not ",
    "#",
    ":",
    ".",
    "if a then ",
    "else ",
    "end ",
    "while a do ",
    "for i = 1, 9 do ",
    "for k, v in pairs(a) do ",
    "repeat ",
    "until a ",
    "function(x) ",
    "local function f(x) ",
    "f(",
    "redis.call('incr', 'k')",
    "redis.call('list')",
    "redis.pcall('no')",
    "redis.setresp(3) ",
    "redis.sha1hex(a)",
    "redis.error_reply('a b')",
    "redis.log(2, 'x') ",
    "pcall(f, a)",
    "xpcall(f, f)",
    "error(a)",
    "setmetatable(a, b)",
    "getmetatable(a)",
    "rawset(a, b, 1)",
    "rawget(a, b)",
    "next(a)",
    "tostring(a)",
    "tonumber(a)",
    "unpack(a)",
    "select(2, a, b)",
    "loadstring(a)",
    "load(f)",
    "coroutine.wrap(f)",
    "coroutine.create(f)",
    "coroutine.resume(a, b)",
    "coroutine.yield(a)",
    "string.rep(a, b)",
    "string.find(a, b)",
    "string.gsub(a, b, f)",
    "string.gsub('xyz', '(.)', '%1%1')",
    "string.format('%s %d %q', a, b, a)",
    "string.byte(a, 1, -1)",
    "string.char(a, b)",
    "('x'):rep(99)",
    "string.gmatch(a, b)",
    "table.sort(a, f)",
    "table.insert(a, b)",
    "table.remove(a)",
    "table.concat(a, b)",
    "cjson.encode(a)",
    "cjson.decode(a)",
    "cjson.decode('[1,{\"a\":[]}]')",
    "cjson.encode_sparse_array(true)",
    "cmsgpack.pack(a, b)",
    "cmsgpack.unpack(a)",
    "cmsgpack.unpack_limit(a, b)",
    "struct.pack('>i4c0s', 1, 'x', 'y')",
    "struct.unpack('<i4c0', a)",
    "struct.pack(a, b)",
    "struct.unpack(a, b)",
    "bit.bxor(a, b)",
    "bit.tohex(a, b)",
    "math.random(a)",
    "math.random() ",
    "{double = a}",
    "{map = a}",
    "{set = a}",
    "{err = a}",
    "{ok = a}",
    "{verbatim_string = {format = a, string = b}}",
    "{big_number = a}",
    "_G",
    "string",
    "collectgarbage(a)",
    "a[b] = a ",
    "a.x = b ",
    "a.err = b ",
};

class FakeHost : public script::Host {
 public:
  base::Status Call(std::span<const std::string_view> words,
                    int protocol,
                    resp::Buffer& out) override {
    resp::Writer reply(out, protocol);
    if (words[0] == "incr") {
      reply.Integer(7);
    } else if (words[0] == "list") {
      reply.Map(2);
      reply.Bulk("a");
      reply.Null();
      reply.Bulk("b");
      reply.Set(2);
      reply.Double(1.5);
      reply.Boolean(true);
    } else {
      reply.Error("ERR no");
    }
    return {};
  }
  bool Knows(std::span<const std::string_view>) override { return false; }
  bool Allows(std::span<const std::string_view>) override { return true; }
  void Log(int, std::string_view) override {}
  bool Expired() override { return false; }
};

}  // namespace

void Run(std::string_view input) {
  static std::unique_ptr<script::Interpreter> interpreter;
  if (input.empty()) return;
  std::string source;
  if (input[0] == 0) {
    source = input.substr(1);
  } else {
    for (char c : input.substr(1))
      source += kPieces[static_cast<unsigned char>(c) % std::size(kPieces)];
  }
  if (interpreter == nullptr || interpreter->spent()) {
    interpreter = std::make_unique<script::Interpreter>(
        script::Limits{.steps_max = 20'000, .memory_bytes_max = 1 << 20});
  }
  FakeHost host;
  auto run = [&](std::string_view text) -> std::string {
    auto compiled = interpreter->Compile(text);
    if (!compiled.ok()) return {};
    const std::string_view words[] = {"k1", "17"};
    resp::Buffer out;
    resp::Writer reply(out, 3);
    const base::Status status = interpreter->Execute(
        {.reference = *compiled, .name = "n", .keys = words, .arguments = words}, host, reply);
    CHECK(status.ok() != out.empty());
    interpreter->Forget(*compiled);
    return std::string(out.view());
  };
  (void)run(source);
  if (interpreter->spent()) return;
  CHECK(run("return {KEYS[2], string.upper('a'), tostring(cjson.null == nil), "
            "#cmsgpack.pack(redis.call('incr'))}") ==
        "*4\r\n$2\r\n17\r\n$1\r\nA\r\n$5\r\nfalse\r\n:1\r\n");
  std::vector<std::string> libraries;
  (void)rdb::ReadLibrariesBody(input.substr(1), 1 << 20, libraries);
}

std::string Sample(base::Random& random) {
  std::string out(1, static_cast<char>(random.Percent(5) ? 0 : 1));
  for (uint64_t n = 1 + random.Below(40); n > 0; --n)
    out += static_cast<char>(random.Next());
  return out;
}

}  // namespace polyarch::fuzz
