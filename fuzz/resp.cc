// RESP requests: whatever the bytes and wherever they are split, the parser finds the same requests,
// and what it gives back lies within its input.
#include "resp/parser.h"

#include <vector>

#include "base/check.h"
#include "fuzz/target.h"
#include "resp/reply.h"

namespace polyarch::fuzz {

namespace {

struct Outcome {
  std::vector<std::vector<std::string>> requests;
  std::string error;
  size_t rest = 0;
  friend bool operator==(const Outcome&, const Outcome&) = default;
};

// Feeds `bytes` in pieces: `cuts` says how long each is (round and round; empty: all at once).
Outcome Parse(std::string_view bytes, std::string_view cuts, const resp::Limits& limits) {
  Outcome outcome;
  resp::Parser parser;
  std::string buffer;
  size_t cut = 0;
  while (true) {
    // All requests that are complete.
    while (true) {
      // Another block each time: nothing may point into the last one.
      const std::vector<char> block(buffer.begin(), buffer.end());
      const auto state = parser.Next({block.data(), block.size()}, limits);
      if (state == resp::Parser::State::kError) {
        CHECK(!parser.error().empty() && parser.error().size() < 200);
        outcome.error = parser.error();
        return outcome;
      }
      if (state == resp::Parser::State::kNeedMore) break;
      CHECK(parser.consumed() > 0 && parser.consumed() <= buffer.size());
      CHECK(parser.idle());
      CHECK(parser.arguments().size() <= limits.arguments_max);
      std::vector<std::string> request;
      for (std::string_view argument : parser.arguments()) {
        CHECK(argument.size() <= std::max(limits.bulk_bytes_max, limits.inline_bytes_max));
        request.emplace_back(argument);
      }
      if (!request.empty()) outcome.requests.push_back(std::move(request));
      buffer.erase(0, parser.consumed());
    }
    if (bytes.empty()) break;
    size_t size = bytes.size();
    if (!cuts.empty()) size = std::min<size_t>(size, 1 + static_cast<uint8_t>(cuts[cut++ % cuts.size()]));
    buffer.append(bytes.substr(0, size));
    bytes.remove_prefix(size);
  }
  outcome.rest = buffer.size();
  return outcome;
}

}  // namespace

void Run(std::string_view bytes) {
  Input input(bytes);
  resp::Limits limits = input.Percent(30) ? resp::kPreAuthLimits : resp::Limits{};
  const std::string_view cuts = input.Text(16);
  const std::string_view stream = input.Rest();
  const Outcome whole = Parse(stream, "", limits);
  CHECK(Parse(stream, cuts, limits) == whole);
  if (stream.size() < 1000) CHECK(Parse(stream, std::string_view("\0", 1), limits) == whole);

  // Replies are foreign bytes, too, for tools.
  resp::ReplyReader reader;
  reader.Feed(stream);
  while (reader.Next() == resp::ReplyReader::State::kValue) (void)reader.value().ToString();
}

std::string Sample(base::Random& random) {
  std::string out;
  out.push_back(static_cast<char>(random.Next()));
  out.push_back('\3');
  for (int i = 0; i < 3; ++i) out.push_back(static_cast<char>(random.Below(20)));
  for (uint64_t n = random.Below(5); n > 0; --n) {
    if (random.Percent(30)) {
      static constexpr std::string_view kLines[] = {"PING\r\n", "SET k \"a\\x00 b\"\n", "SET 'it\\'s' v\r\n", "\r\n",
                                                    "*-1\r\n", "*0\r\n", "GET  k\n", "*1\r\n$-1\r\n", "*2147483647\r\n",
                                                    "$9223372036854775807\r\n", "*1\r\n$9223372036854775807\r\n",
                                                    "*1\r\n$+4\r\nPING\r\n", "+OK\r\n", "%1\r\n:1\r\n#t\r\n", "(123\r\n"};
      out += kLines[random.Below(std::size(kLines))];
      continue;
    }
    std::vector<std::string> arguments(random.Below(6));
    for (std::string& argument : arguments) {
      argument.resize(random.Percent(5) ? random.Below(5000) : random.Below(20));
      for (char& c : argument) c = static_cast<char>(random.Next());
    }
    std::vector<std::string_view> views(arguments.begin(), arguments.end());
    resp::AppendRequest(out, views);
  }
  return out;
}

}  // namespace polyarch::fuzz
