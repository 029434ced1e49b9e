// Parser, writer and reply reader. Requests are fed whole and split at every byte, with the input
// moved between calls: the outcome must never depend on how bytes arrive.
#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "base/random.h"
#include "resp/buffer.h"
#include "resp/parser.h"
#include "resp/reply.h"
#include "resp/writer.h"

namespace polyarch::resp {
namespace {

using Request = std::vector<std::string>;

struct Outcome {
  std::vector<Request> requests;
  std::string error;
  bool operator==(const Outcome&) const = default;
};

// Takes all that can be taken from the front of `input`.
void TakeAll(Parser& parser, std::string& input, const Limits& limits, Outcome& outcome) {
  while (outcome.error.empty()) {
    // A copy of exact size, freed afterwards: reading beyond it or into an old one is caught by
    // ASan.
    auto copy = std::make_unique<char[]>(input.size());
    std::copy(input.begin(), input.end(), copy.get());
    Parser::State state = parser.Next({copy.get(), input.size()}, limits);
    if (state == Parser::State::kNeedMore) return;
    if (state == Parser::State::kError) {
      outcome.error = parser.error();
      return;
    }
    EXPECT_TRUE(parser.idle());
    if (!parser.arguments().empty()) {
      outcome.requests.emplace_back(parser.arguments().begin(), parser.arguments().end());
    }
    input.erase(0, parser.consumed());
  }
}

// Feeds `bytes` in pieces that end at the given offsets.
Outcome Feed(std::string_view bytes, const std::vector<size_t>& ends, const Limits& limits = {}) {
  Parser parser;
  Outcome outcome;
  std::string input;
  size_t from = 0;
  for (size_t end : ends) {
    input.append(bytes.substr(from, end - from));
    from = end;
    TakeAll(parser, input, limits, outcome);
  }
  return outcome;
}

Outcome FeedWhole(std::string_view bytes, const Limits& limits = {}) {
  return Feed(bytes, {bytes.size()}, limits);
}

Outcome FeedByteByByte(std::string_view bytes, const Limits& limits = {}) {
  std::vector<size_t> ends;
  for (size_t i = 1; i <= bytes.size(); ++i)
    ends.push_back(i);
  return Feed(bytes, ends, limits);
}

std::string ErrorOf(std::string_view bytes, const Limits& limits = {}) {
  Outcome whole = FeedWhole(bytes, limits);
  EXPECT_EQ(FeedByteByByte(bytes, limits), whole) << bytes;
  return whole.error;
}

std::string Encode(std::initializer_list<std::string_view> arguments) {
  std::string out;
  AppendRequest(out, arguments);
  return out;
}

std::string BulkOf(size_t size) {
  return "*1\r\n$" + std::to_string(size) + "\r\n" + std::string(size, 'x') + "\r\n";
}

TEST(ParserTest, EverySplit) {
  std::string bytes = Encode({"SET", "key", "value"}) + Encode({"PING"}) +
                      Encode({"SET", "", std::string_view("\0\r\n$5\r\n", 8)}) + "*0\r\n" +
                      "*-1\r\n" + "\r\n" + "  \n" + "get  a\tb \r\n" +
                      "set \"a\\x41\\n\\\"\" 'it\\'s' pre\"fix\" ''\r\n" +
                      Encode({"ECHO", std::string(300, 'z')}) + "QUIT\n";
  Outcome expected;
  expected.requests = {{"SET", "key", "value"},
                       {"PING"},
                       {"SET", "", std::string("\0\r\n$5\r\n", 8)},
                       {"get", "a", "b"},
                       {"set", "aA\n\"", "it's", "prefix", ""},
                       {"ECHO", std::string(300, 'z')},
                       {"QUIT"}};
  EXPECT_EQ(FeedWhole(bytes), expected);
  EXPECT_EQ(FeedByteByByte(bytes), expected);
  for (size_t a = 0; a <= bytes.size(); ++a) {
    ASSERT_EQ(Feed(bytes, {a, bytes.size()}), expected) << a;
    size_t b = a + (bytes.size() - a) / 2;
    ASSERT_EQ(Feed(bytes, {a, b, bytes.size()}), expected) << a << " " << b;
  }
}

TEST(ParserTest, AgainFromTheSameBytes) {
  // What a suspended command needs: the same bytes give the same request.
  std::string bytes = Encode({"BLPOP", "q", "0"}) + Encode({"PING"});
  Parser parser;
  for (int i = 0; i < 3; ++i) {
    ASSERT_EQ(parser.Next(bytes, {}), Parser::State::kRequest);
    EXPECT_EQ(parser.arguments().size(), 3U);
    EXPECT_EQ(parser.consumed(), bytes.size() - 14);
  }
}

TEST(ParserTest, WantedSizesTheRead) {
  Parser parser;
  EXPECT_EQ(parser.Next("*2\r\n$3\r\nGET\r\n$100\r\nab", {}), Parser::State::kNeedMore);
  EXPECT_EQ(parser.wanted(), std::string_view("*2\r\n$3\r\nGET\r\n$100\r\n").size() + 102);
  EXPECT_FALSE(parser.idle());
  parser.Reset();
  EXPECT_TRUE(parser.idle());
}

TEST(ParserTest, Errors) {
  const std::string kPrefix = "ERR Protocol error: ";
  const std::string kCount = kPrefix + "invalid multibulk length";
  const std::string kBulk = kPrefix + "invalid bulk length";
  for (const char* bytes : {"*3000000000\r\n",
                            "*1048577\r\n",
                            "*abc\r\n",
                            "*+1\r\n",
                            "*01\r\n",
                            "* 1\r\n",
                            "*1 \r\n",
                            "*\r\n",
                            "*-\r\n",
                            "*1\rx",
                            "*1\n2\r\n",
                            "*9223372036854775807\r\n",
                            "*9223372036854775808\r\n",
                            "*18446744073709551617\r\n",
                            "*--1\r\n",
                            "*-0\r\n"}) {
    EXPECT_EQ(ErrorOf(bytes), kCount) << bytes;
  }
  for (const char* bytes : {"*1\r\n$-1\r\n",
                            "*1\r\n$-10\r\n",
                            "*1\r\n$blabla\r\n",
                            "*1\r\n$2000000000\r\n",
                            "*1\r\n$9223372036854775807\r\n",
                            "*1\r\n$-9223372036854775808\r\n",
                            "*1\r\n$+3\r\nabc\r\n",
                            "*1\r\n$003\r\nabc\r\n",
                            "*1\r\n$\r\n",
                            "*2\r\n$3\r\nGET\r\n$99999999999999999999\r\n"}) {
    EXPECT_EQ(ErrorOf(bytes), kBulk) << bytes;
  }
  // A line that is no number is told from one that does not end.
  for (size_t digits : {20, 21, 30, 39}) {
    const std::string number(digits, '1');
    EXPECT_EQ(ErrorOf("*" + number + "\r\n"), kCount) << digits;
    EXPECT_EQ(ErrorOf("*1\r\n$" + number + "\r\n"), kBulk) << digits;
    EXPECT_EQ(ErrorOf("*" + number), "") << digits;
    EXPECT_EQ(ErrorOf("*1\r\n$" + number), "") << digits;
  }
  Limits line;
  line.inline_bytes_max = 40;
  for (const char* end : {"", "\r\n"}) {
    EXPECT_EQ(ErrorOf("*" + std::string(40, '1') + end, line), kPrefix + "too big mbulk count string");
    EXPECT_EQ(ErrorOf("*1\r\n$" + std::string(40, '1') + end, line), kPrefix + "too big bulk count string");
    EXPECT_EQ(ErrorOf(std::string("*\0A", 3) + std::string(38, 'A') + end, line), kPrefix + "too big mbulk count string");
  }
  EXPECT_EQ(ErrorOf("*" + std::string(39, '1'), line), "");
  EXPECT_EQ(ErrorOf("*" + std::string(39, '1') + "\r\n", line), kCount);
  EXPECT_EQ(FeedWhole("*" + std::string(64 << 10, '1')).error, kPrefix + "too big mbulk count string");
  EXPECT_EQ(FeedWhole("*" + std::string((64 << 10) - 1, '1')).error, "");
  EXPECT_EQ(ErrorOf("*1\r\nfoo\r\n"), kPrefix + "expected '$', got 'f'");
  EXPECT_EQ(ErrorOf("*3\r\n$3\r\nSET\r\n$1\r\nx\r\nfooz\r\n"), kPrefix + "expected '$', got 'f'");
  EXPECT_EQ(ErrorOf("*1\r\n*1\r\n"), kPrefix + "expected '$', got '*'");
  EXPECT_EQ(ErrorOf("*1\r\n$3\r\nabcde"), kPrefix + "expected CR LF behind a bulk");
  for (const char* bytes : {"set \"\"\"test-key\"\"\" test-value\r\n",
                            "a \"b\r\n",
                            "a 'b\r\n",
                            "\"a\"b\r\n",
                            "'a'b\r\n",
                            "\"\\\r\n",
                            "'\\'\r\n"}) {
    EXPECT_EQ(ErrorOf(bytes), kPrefix + "unbalanced quotes in request") << bytes;
  }
}

TEST(ParserTest, RequestsBeforeTheErrorCount) {
  Outcome outcome = FeedWhole(Encode({"PING"}) + "*x\r\n");
  EXPECT_EQ(outcome.requests.size(), 1U);
  EXPECT_FALSE(outcome.error.empty());
}

TEST(ParserTest, ForeignProtocols) {
  const std::string kHttp = "ERR this port speaks the Redis protocol, not HTTP; use the HTTP port";
  for (const char* bytes : {"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
                            "POST / HTTP/1.1\r\n",
                            "POST x\r\n",
                            "post x\r\n",
                            "Host: 127.0.0.1:7001\r\n",
                            "host: x\r\n",
                            "PUT /x HTTP/1.0\r\n",
                            "HEAD / HTTP/1.1\r\n",
                            "PRI * HTTP/2.0\r\n",
                            "OPTIONS * HTTP/1.1\r\n"}) {
    EXPECT_EQ(ErrorOf(bytes), kHttp) << bytes;
  }
  EXPECT_EQ(ErrorOf("GET key\r\n"), "");
  EXPECT_EQ(ErrorOf("SET key HTTP/1.1\r\n"), "");
  const std::string kTls = "ERR this port does not speak TLS; connect without TLS";
  EXPECT_EQ(ErrorOf(std::string("\x16\x03\x01\x02\x00\x01\x00", 7)), kTls);
  EXPECT_EQ(ErrorOf("\x16\x03"), kTls);
  EXPECT_EQ(ErrorOf("\x16x\r\n"), "");
}

TEST(ParserTest, LimitsExactly) {
  Limits limits;
  EXPECT_EQ(limits.bulk_bytes_max, 64U << 20);
  EXPECT_EQ(limits.arguments_max, 1U << 20);
  EXPECT_EQ(limits.inline_bytes_max, 64U << 10);
  limits.bulk_bytes_max = 1000;
  limits.arguments_max = 10;
  limits.inline_bytes_max = 500;
  EXPECT_EQ(ErrorOf(BulkOf(1000), limits), "");
  EXPECT_EQ(ErrorOf(BulkOf(1001), limits), "ERR Protocol error: invalid bulk length");
  EXPECT_EQ(ErrorOf("*10\r\n", limits), "");
  EXPECT_EQ(ErrorOf("*11\r\n", limits), "ERR Protocol error: invalid multibulk length");
  EXPECT_EQ(ErrorOf(std::string(500, 'x') + "\r\n", limits), "");
  EXPECT_EQ(ErrorOf(std::string(500, 'x') + "\n", limits), "");
  const std::string kInline = "ERR Protocol error: too big inline request";
  EXPECT_EQ(ErrorOf(std::string(501, 'x') + "\r\n", limits), kInline);
  EXPECT_EQ(ErrorOf(std::string(501, 'x') + "\n", limits), kInline);
  EXPECT_EQ(ErrorOf(std::string(502, 'x'), limits), kInline);
  EXPECT_EQ(ErrorOf("a b c d e f g h i j\n", limits), "");
  EXPECT_EQ(ErrorOf("a b c d e f g h i j k\n", limits),
            "ERR Protocol error: invalid multibulk length");
  limits.request_bytes_max = 100;
  std::string request = Encode({"SET", std::string(30, 'k'), std::string(43, 'v')});
  ASSERT_EQ(request.size(), 100U);
  EXPECT_EQ(ErrorOf(request, limits), "");
  request = Encode({"SET", std::string(30, 'k'), std::string(44, 'v')});
  EXPECT_EQ(ErrorOf(request, limits), "ERR Protocol error: too big request");
}

TEST(ParserTest, PreAuthLimitsExactly) {
  const Limits& limits = kPreAuthLimits;
  EXPECT_EQ(limits.bulk_bytes_max, 4096U);
  EXPECT_EQ(limits.arguments_max, 8U);
  EXPECT_EQ(limits.request_bytes_max, 16384U);
  EXPECT_EQ(ErrorOf(BulkOf(4096), limits), "");
  EXPECT_EQ(ErrorOf(BulkOf(4097), limits), "ERR Protocol error: unauthenticated bulk length");
  EXPECT_EQ(ErrorOf("*8\r\n", limits), "");
  EXPECT_EQ(ErrorOf("*9\r\n", limits), "ERR Protocol error: unauthenticated multibulk length");
  EXPECT_EQ(ErrorOf("a b c d e f g h i\r\n", limits),
            "ERR Protocol error: unauthenticated multibulk length");
}

TEST(ParserTest, ManyArgumentsInManyPieces) {
  std::string bytes = "*50000\r\n";
  for (int i = 0; i < 50000; ++i)
    bytes += "$1\r\nx\r\n";
  std::vector<size_t> ends;
  for (size_t at = 777; at < bytes.size(); at += 777)
    ends.push_back(at);
  ends.push_back(bytes.size());
  Outcome outcome = Feed(bytes, ends);
  ASSERT_EQ(outcome.requests.size(), 1U);
  EXPECT_EQ(outcome.requests[0], Request(50000, "x"));
}

TEST(ParserTest, RandomBytesNeverDependOnSplits) {
  static constexpr std::string_view kPieces[] = {"*",      "$",      "1",           "2",
                                                 "3",      "0",      "-",           "\r\n",
                                                 "\r",     "\n",     "a",           "GET",
                                                 " ",      "\"",     "'",           "\\x4",
                                                 "*1\r\n", "*2\r\n", "$1\r\nx\r\n", "$3\r\nGET\r\n",
                                                 "\x16",   "\x03",   "HTTP/1.1"};
  base::Random random(7);
  Limits limits{100, 6, 60, 300};
  for (int round = 0; round < 20000; ++round) {
    std::string bytes;
    if (random.Percent(30)) bytes.push_back('\0');
    for (uint64_t i = random.Below(24); i != 0; --i) {
      bytes += random.Percent(4) ? std::string(1, static_cast<char>(random.Below(256)))
                                 : std::string(kPieces[random.Below(std::size(kPieces))]);
    }
    Outcome whole = FeedWhole(bytes, limits);
    ASSERT_EQ(FeedByteByByte(bytes, limits), whole) << bytes;
    size_t a = random.Below(bytes.size() + 1);
    ASSERT_EQ(Feed(bytes, {a, bytes.size()}, limits), whole) << bytes;
  }
}

std::string Written(int protocol, void (*write)(Writer&)) {
  Buffer out;
  Writer writer(out, protocol);
  write(writer);
  return std::string(out.view());
}

TEST(WriterTest, BothProtocols) {
  struct Case {
    void (*write)(Writer&);
    const char* resp2;
    const char* resp3;
  };
  const Case kCases[] = {
      {[](Writer& w) { w.Ok(); }, "+OK\r\n", "+OK\r\n"},
      {[](Writer& w) { w.Simple("PONG"); }, "+PONG\r\n", "+PONG\r\n"},
      {[](Writer& w) { w.Error("ERR a\r\nb"); }, "-ERR a  b\r\n", "-ERR a  b\r\n"},
      {[](Writer& w) { w.Integer(0); }, ":0\r\n", ":0\r\n"},
      {[](Writer& w) { w.Integer(10); }, ":10\r\n", ":10\r\n"},
      {[](Writer& w) { w.Integer(-1); }, ":-1\r\n", ":-1\r\n"},
      {[](Writer& w) { w.Integer(std::numeric_limits<int64_t>::min()); },
       ":-9223372036854775808\r\n",
       ":-9223372036854775808\r\n"},
      {[](Writer& w) { w.Bulk(""); }, "$0\r\n\r\n", "$0\r\n\r\n"},
      {[](Writer& w) { w.Bulk({}); }, "$0\r\n\r\n", "$0\r\n\r\n"},
      {[](Writer& w) { w.Bulk("0123456789"); }, "$10\r\n0123456789\r\n", "$10\r\n0123456789\r\n"},
      {[](Writer& w) { w.BulkInteger(-42); }, "$3\r\n-42\r\n", "$3\r\n-42\r\n"},
      {[](Writer& w) { w.Null(); }, "$-1\r\n", "_\r\n"},
      {[](Writer& w) { w.NullArray(); }, "*-1\r\n", "_\r\n"},
      {[](Writer& w) { w.Array(12); }, "*12\r\n", "*12\r\n"},
      {[](Writer& w) { w.EmptyArray(); }, "*0\r\n", "*0\r\n"},
      {[](Writer& w) { w.Map(2); }, "*4\r\n", "%2\r\n"},
      {[](Writer& w) { w.Set(3); }, "*3\r\n", "~3\r\n"},
      {[](Writer& w) { w.Push(3); }, "*3\r\n", ">3\r\n"},
      {[](Writer& w) { w.Double(1.5); }, "$3\r\n1.5\r\n", ",1.5\r\n"},
      {[](Writer& w) { w.Double(HUGE_VAL); }, "$3\r\ninf\r\n", ",inf\r\n"},
      {[](Writer& w) { w.Double(-HUGE_VAL); }, "$4\r\n-inf\r\n", ",-inf\r\n"},
      {[](Writer& w) { w.Boolean(true); }, ":1\r\n", "#t\r\n"},
      {[](Writer& w) { w.Boolean(false); }, ":0\r\n", "#f\r\n"},
      {[](Writer& w) { w.Verbatim("hello"); }, "$5\r\nhello\r\n", "=9\r\ntxt:hello\r\n"},
  };
  for (const Case& c : kCases) {
    EXPECT_EQ(Written(2, c.write), c.resp2);
    EXPECT_EQ(Written(3, c.write), c.resp3);
  }
}

TEST(WriterTest, Doubles) {
  auto format = [](double value) {
    char buffer[kDoubleCharsMax];
    return std::string(buffer, FormatDouble(value, buffer));
  };
  EXPECT_EQ(format(0), "0");
  EXPECT_EQ(format(-0.0), "-0");
  EXPECT_EQ(format(0.1), "0.10000000000000001") << "as Redis 7.0 writes it";
  EXPECT_EQ(format(2.5), "2.5");
  EXPECT_EQ(format(100000), "100000");
  EXPECT_EQ(format(-17.25), "-17.25");
  EXPECT_EQ(format(1234567890123456), "1234567890123456");
  EXPECT_EQ(format(1e17), "1e+17");
  EXPECT_EQ(format(0.0001), "0.0001");
  EXPECT_EQ(format(0.00001), "1.0000000000000001e-05");
  EXPECT_EQ(format(std::nan("")), "nan");
  EXPECT_EQ(format(std::numeric_limits<double>::denorm_min()), "4.9406564584124654e-324");
  EXPECT_EQ(format(-std::numeric_limits<double>::max()), "-1.7976931348623157e+308");
  EXPECT_EQ(format(-0.00012345678901234567), "-0.00012345678901234567");
}

std::string Read(std::string_view bytes, size_t piece) {
  ReplyReader reader;
  std::string out;
  for (size_t at = 0; at < bytes.size(); at += piece) {
    reader.Feed(bytes.substr(at, piece));
    while (true) {
      ReplyReader::State state = reader.Next();
      if (state == ReplyReader::State::kNeedMore) break;
      if (state == ReplyReader::State::kError) return out + "error: " + reader.error();
      out += reader.value().ToString() + ";";
    }
  }
  return out;
}

TEST(ReplyTest, AllTypesInAnyPieces) {
  std::string bytes =
      "+OK\r\n-ERR no\r\n:-5\r\n$3\r\na\r\n\r\n$0\r\n\r\n$-1\r\n*-1\r\n_\r\n*0\r\n"
      "*2\r\n:1\r\n*2\r\n+a\r\n$1\r\nb\r\n%1\r\n$1\r\nk\r\n:1\r\n~1\r\n:7\r\n>2\r\n+m\r\n+n\r\n"
      ",1.5\r\n,inf\r\n#t\r\n#f\r\n(12345678901234567890\r\n=8\r\ntxt:text\r\n"
      "|1\r\n+ttl\r\n:9\r\n:3\r\n*2\r\n|1\r\n+a\r\n+b\r\n:1\r\n:2\r\n|0\r\n+last\r\n";
  std::string expected =
      "+OK;-ERR no;-5;\"a\\r\\n\";\"\";null;null;null;[];[1, [+a, \"b\"]];{\"k\": 1};~[7];>[+m, "
      "+n];"
      "1.5;inf;true;false;12345678901234567890;\"text\";3;[1, 2];+last;";
  for (size_t piece = 1; piece <= bytes.size(); ++piece) {
    ASSERT_EQ(Read(bytes, piece), expected) << piece;
  }
}

TEST(ReplyTest, ForeignBytes) {
  for (const char* bytes : {"!x\r\n",
                            ":\r\n",
                            ":1x\r\n",
                            "$-2\r\n",
                            "$99999999999\r\n",
                            "*-7\r\n",
                            "%-1\r\n",
                            ",1,5\r\n",
                            "#x\r\n",
                            "\r\n",
                            "=2\r\nab\r\n",
                            "$1\r\nabc\r\n"}) {
    EXPECT_NE(Read(bytes, 1).find("error: "), std::string::npos) << bytes;
  }
  std::string deep;
  for (size_t i = 0; i <= ReplyReader::kDepthMax; ++i)
    deep += "*1\r\n";
  EXPECT_EQ(Read(deep, 1000), "error: nested too deep");
}

// Who reads all of a large reply but its last bytes must not keep its memory.
TEST(BufferTest, GivesBackMemoryWhileItIsRead) {
  Buffer buffer;
  const size_t large = 8 << 20;
  std::string bytes(large, 'x');
  for (size_t i = 0; i < large; ++i) bytes[i] = static_cast<char>(i * 31 >> 7);
  buffer.Append(bytes);
  EXPECT_EQ(buffer.held(), large);
  size_t read = 0;
  while (buffer.size() > 10'000) {
    ASSERT_EQ(buffer.view().substr(0, 50), std::string_view(bytes).substr(read, 50));
    buffer.Consume(9'973);
    read += 9'973;
    ASSERT_LE(buffer.held(), std::max<size_t>(4 * buffer.size(), 256 << 10) + 9'973);
  }
  EXPECT_LE(buffer.capacity(), 256U << 10);
  EXPECT_EQ(buffer.view(), std::string_view(bytes).substr(read));
  buffer.Append(bytes);
  EXPECT_EQ(buffer.view().substr(large - read), bytes);
}

TEST(BufferTest, KeepsBytesInOrder) {
  base::Random random(3);
  Buffer buffer;
  std::string model;
  uint8_t next = 0;
  for (int i = 0; i < 20000; ++i) {
    std::string piece(random.Below(random.Percent(2) ? 200'000 : 100), '\0');
    for (char& c : piece)
      c = static_cast<char>(next++);
    buffer.Append(piece);
    model += piece;
    size_t taken = random.Below(random.Percent(90) ? 100 : model.size() + 1);
    taken = std::min(taken, model.size());
    buffer.Consume(taken);
    model.erase(0, taken);
    ASSERT_EQ(buffer.size(), model.size());
    if (i % 64 == 0) {
      ASSERT_EQ(buffer.view(), model);
    }
  }
  buffer.clear();
  EXPECT_LE(buffer.capacity(), 256U * 1024);
}

}  // namespace
}  // namespace polyarch::resp
