#include "backup/manifest.h"

#include <charconv>
#include <cstdio>
#include <ctime>
#include <optional>

namespace polyarch::backup {

namespace {

constexpr std::string_view kTitle = "polyarch-backup ";

std::string Utc(int64_t ms) {
  const auto seconds = static_cast<time_t>(ms / 1000);
  tm parts{};
  gmtime_r(&seconds, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

template <typename Number>
std::optional<Number> ToNumber(std::string_view text) {
  Number value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || text.empty()) return std::nullopt;
  return value;
}

std::optional<base::Digest128> ToDigest(std::string_view text) {
  if (text.size() != 32) return std::nullopt;
  base::Digest128 digest;
  for (size_t half = 0; half < 2; ++half) {
    uint64_t& value = half == 0 ? digest.high : digest.low;
    const std::string_view part = text.substr(half * 16, 16);
    const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), value, 16);
    if (error != std::errc() || end != part.data() + part.size()) return std::nullopt;
  }
  return digest;
}

// "store/x" or "log/x", x without anything that leads elsewhere.
bool SafeName(std::string_view name) {
  size_t slash = name.find('/');
  if (slash == std::string_view::npos) return false;
  const std::string_view folder = name.substr(0, slash);
  const std::string_view file = name.substr(slash + 1);
  if (folder != "store" && folder != "log") return false;
  if (file.empty() || file.size() > 200 || file == "." || file == "..") return false;
  for (char c : file) {
    const bool good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                      c == '-' || c == '_' || c == '.';
    if (!good) return false;
  }
  return true;
}

// Cuts the first word off.
std::string_view Word(std::string_view& line) {
  const size_t space = std::min(line.find(' '), line.size());
  const std::string_view word = line.substr(0, space);
  line.remove_prefix(std::min(space + 1, line.size()));
  return word;
}

base::Status Bad(const std::string& what) {
  return base::Corrupt("the backup's MANIFEST is damaged (" + what +
                       "): use another copy of the backup");
}

}  // namespace

uint64_t Manifest::bytes() const {
  uint64_t sum = 0;
  for (const FileEntry& file : files)
    sum += file.bytes;
  return sum;
}

std::string Encode(const Manifest& m) {
  std::string out(kTitle);
  out += std::to_string(kManifestVersion) + "\n";
  auto line = [&out](const char* name, const std::string& value) {
    out.append(name).append(" ").append(value).append("\n");
  };
  line("polyarch", m.polyarch_version);
  line("leader", m.leader);
  line("cluster", m.cluster);
  line("taken", std::to_string(m.taken_ms) + " " + Utc(m.taken_ms));
  line("vv", m.vv);
  line("store-format", m.store_format);
  line("log-format", std::to_string(m.log_format));
  line("log-begin", std::to_string(m.log_begin));
  line("checkpoint", std::to_string(m.checkpoint));
  line("log-end", std::to_string(m.log_end));
  line("files", std::to_string(m.files.size()) + " " + std::to_string(m.bytes()));
  for (const FileEntry& file : m.files)
    line("file", std::to_string(file.bytes) + " " + base::HexDigest(file.digest) + " " + file.name);
  line("end", base::HexDigest(base::ContentHash128(out)));
  return out;
}

base::Result<Manifest> Parse(std::string_view text) {
  if (!text.starts_with(kTitle)) return Bad("it is none");
  const size_t first_end = text.find('\n');
  if (first_end == std::string_view::npos) return Bad("cut off");
  const auto version = ToNumber<int>(text.substr(kTitle.size(), first_end - kTitle.size()));
  if (!version || *version < 1) return Bad("no version");
  if (*version > kManifestVersion) {
    return base::Status(base::Code::kIncompatible,
                        "the backup has format " + std::to_string(*version) +
                            ", this version reads format " + std::to_string(kManifestVersion) +
                            ": use the newer version");
  }
  const size_t end_line = text.rfind("\nend ");
  if (end_line == std::string_view::npos || text.back() != '\n') return Bad("cut off");
  std::string_view tail = text.substr(end_line + 1);
  tail.remove_suffix(1);
  const auto digest = ToDigest(tail.substr(4));
  if (!digest) return Bad("cut off");
  const std::string_view body = text.substr(0, end_line + 1);
  if (*digest != base::ContentHash128(body)) return Bad("its checksum is wrong");

  Manifest m;
  uint64_t count = 0;
  uint64_t bytes = 0;
  bool good = true;
  auto number = [&good]<typename Number>(std::string_view word, Number& into) {
    const auto value = ToNumber<Number>(word);
    good = good && value.has_value();
    into = value.value_or(0);
  };
  size_t at = first_end + 1;
  while (at < body.size()) {
    const size_t end = body.find('\n', at);
    std::string_view line = body.substr(at, end - at);
    at = end + 1;
    const std::string_view name = Word(line);
    if (name == "polyarch") {
      m.polyarch_version = line;
    } else if (name == "leader") {
      m.leader = line;
    } else if (name == "cluster") {
      m.cluster = line;
    } else if (name == "taken") {
      number(Word(line), m.taken_ms);
    } else if (name == "vv") {
      m.vv = line;
    } else if (name == "store-format") {
      m.store_format = line;
    } else if (name == "log-format") {
      number(line, m.log_format);
    } else if (name == "log-begin") {
      number(line, m.log_begin);
    } else if (name == "checkpoint") {
      number(line, m.checkpoint);
    } else if (name == "log-end") {
      number(line, m.log_end);
    } else if (name == "files") {
      number(Word(line), count);
      number(line, bytes);
    } else if (name == "file") {
      FileEntry file;
      number(Word(line), file.bytes);
      const auto file_digest = ToDigest(Word(line));
      if (!file_digest || !SafeName(line))
        return Bad("an impossible file '" + std::string(line) + "'");
      file.digest = *file_digest;
      file.name = line;
      m.files.push_back(std::move(file));
    } else {
      return Bad("an unknown line '" + std::string(name.substr(0, 32)) + "'");
    }
  }
  if (!good) return Bad("a number that is none");
  if (m.leader.empty() || m.store_format.empty() || m.log_format == 0)
    return Bad("lines are missing");
  if (m.files.size() != count || m.bytes() != bytes) return Bad("files are missing in it");
  if (m.log_begin > m.checkpoint || m.checkpoint > m.log_end) return Bad("impossible positions");
  return m;
}

}  // namespace polyarch::backup
