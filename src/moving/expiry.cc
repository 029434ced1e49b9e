#include "moving/expiry.h"

#include <algorithm>
#include <time.h>

#include "base/number.h"

namespace polyarch::moving {

namespace {

constexpr int64_t kYearMs = int64_t{365} * 24 * 3600 * 1000;
constexpr int64_t kLaterMs = 1000 * kYearMs;
// No key is given that long by anybody else.
constexpr int64_t kLongestMs = 900 * kYearMs;

// An instant of this number: in seconds or not, from now or not.
std::optional<int64_t> InstantOf(std::string_view number,
                                 bool seconds,
                                 bool from_now,
                                 int64_t now_ms) {
  const auto value = base::ParseInt64(number);
  if (!value) return std::nullopt;
  int64_t ms = *value;
  if (seconds && __builtin_mul_overflow(ms, int64_t{1000}, &ms)) return std::nullopt;
  if (from_now && __builtin_add_overflow(ms, now_ms, &ms)) return std::nullopt;
  return ms;
}

std::vector<std::string> Copied(std::span<const std::string_view> words) {
  return {words.begin(), words.end()};
}

}  // namespace

int64_t WallMs() {
  timespec t{};
  clock_gettime(CLOCK_REALTIME, &t);
  return static_cast<int64_t>(t.tv_sec) * 1000 + t.tv_nsec / 1'000'000;
}

int64_t LaterExpiry(int64_t expire_ms) {
  int64_t later = 0;
  return __builtin_add_overflow(expire_ms, kLaterMs, &later) ? expire_ms : later;
}

std::optional<int64_t> TrueExpiry(int64_t expire_ms, int64_t now_ms) {
  if (expire_ms < now_ms + kLongestMs) return std::nullopt;
  return expire_ms - kLaterMs;
}

std::string Upper(std::string_view word) {
  std::string upper(word);
  for (char& c : upper)
    c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  return upper;
}

std::optional<std::vector<std::string>> WithLaterExpiry(std::span<const std::string_view> words,
                                                        int64_t now_ms) {
  if (words.size() < 3) return std::nullopt;
  const std::string name = Upper(words[0]);
  const bool expire =
      name == "EXPIRE" || name == "EXPIREAT" || name == "PEXPIRE" || name == "PEXPIREAT";
  const bool setex = words.size() == 4 && (name == "SETEX" || name == "PSETEX");
  if (expire || setex) {
    const auto instant = InstantOf(words[2], name[0] != 'P', !name.ends_with("AT"), now_ms);
    if (!instant) return std::nullopt;
    const std::string later = base::FormatInt64(LaterExpiry(*instant));
    if (setex)
      return std::vector<std::string>{
          "SET", std::string(words[1]), std::string(words[3]), "PXAT", later};
    return std::vector<std::string>{"PEXPIREAT", std::string(words[1]), later};
  }
  if (name == "SET") {
    for (size_t i = 3; i + 1 < words.size(); ++i) {
      const std::string option = Upper(words[i]);
      if (option != "EX" && option != "PX" && option != "EXAT" && option != "PXAT") continue;
      const auto instant =
          InstantOf(words[i + 1], option[0] != 'P', !option.ends_with("AT"), now_ms);
      if (!instant) return std::nullopt;
      auto out = Copied(words);
      out[i] = "PXAT";
      out[i + 1] = base::FormatInt64(LaterExpiry(*instant));
      return out;
    }
    return std::nullopt;
  }
  if (name == "RESTORE" && words.size() >= 4) {
    const bool absolute = std::any_of(
        words.begin() + 4, words.end(), [](auto word) { return Upper(word) == "ABSTTL"; });
    const auto instant = InstantOf(words[2], false, !absolute, now_ms);
    if (!instant || words[2] == "0") return std::nullopt;
    auto out = Copied(words);
    out[2] = base::FormatInt64(LaterExpiry(*instant));
    if (!absolute) out.emplace_back("ABSTTL");
    return out;
  }
  return std::nullopt;
}

}  // namespace polyarch::moving
