#include "moving/expiry.h"

#include <algorithm>
#include <time.h>

#include "base/number.h"

namespace polyarch::moving {

namespace {

// So far off that nobody means it (73 million years): what lies behind it was moved there.
constexpr int64_t kLaterMs = int64_t{1} << 61;
// The latest instant that can be moved; later ones become this one.
constexpr int64_t kLatestMs = INT64_MAX - 1 - kLaterMs;

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

// Words that ask for the key, or for what is there, to be there already, or not to be.
bool IsCondition(std::string_view word) {
  const std::string upper = Upper(word);
  return upper == "NX" || upper == "XX" || upper == "GT" || upper == "LT";
}

bool Has(std::span<const std::string_view> words, std::string_view option) {
  return std::any_of(words.begin(), words.end(), [&](auto word) { return Upper(word) == option; });
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
  return std::clamp<int64_t>(expire_ms, 0, kLatestMs) + kLaterMs;
}

std::optional<int64_t> TrueExpiry(int64_t expire_ms) {
  if (expire_ms < kLaterMs) return std::nullopt;
  return expire_ms - kLaterMs;
}

std::string Upper(std::string_view word) {
  std::string upper(word);
  for (char& c : upper)
    c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  return upper;
}

std::vector<std::string_view> Unconditional(std::span<const std::string_view> words) {
  std::vector<std::string_view> out(words.begin(), words.end());
  const std::string name = Upper(words[0]);
  // From the third word on.
  const auto drop_conditions = [&] {
    if (out.size() > 3)
      out.erase(std::remove_if(out.begin() + 3, out.end(), IsCondition), out.end());
  };
  if (name == "SET" || name == "EXPIRE" || name == "EXPIREAT" || name == "PEXPIRE" ||
      name == "PEXPIREAT") {
    drop_conditions();
  } else if (name == "SETNX") {
    out[0] = "SET";
  } else if (name == "MSETNX") {
    out[0] = "MSET";
  } else if (name == "HSETNX") {
    out[0] = "HSET";
  } else if (name == "RENAMENX") {
    out[0] = "RENAME";
  } else if (name == "RESTORE" || name == "RESTORE-ASKING") {
    // The second is what a move of slots within a cluster sends.
    out[0] = "RESTORE";
    if (out.size() >= 4 && !Has(words.subspan(4), "REPLACE")) out.emplace_back("REPLACE");
  } else if (name == "COPY") {
    if (out.size() >= 3 && !Has(words.subspan(3), "REPLACE")) out.emplace_back("REPLACE");
  }
  return out;
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
    const bool absolute = Has(words.subspan(4), "ABSTTL");
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
