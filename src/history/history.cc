#include "history/history.h"

#include <algorithm>

#include "base/number.h"

namespace polyarch::history {
namespace {

constexpr std::string_view kKinds[] = {"get", "final", "set", "del", "cas", "setnx", "incr"};

std::string_view NameOf(Kind kind) { return kKinds[static_cast<size_t>(kind)]; }

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

uint32_t Names::Add(std::string_view name) {
  const auto [at, fresh] = ids_.try_emplace(name, static_cast<uint32_t>(names_.size()));
  if (fresh) names_.push_back(name);
  return at->second;
}

uint32_t Names::AddApart() {
  names_.emplace_back();
  return static_cast<uint32_t>(names_.size() - 1);
}

std::string Word(std::string_view bytes) {
  bool plain = !bytes.empty() && bytes != "nil" && bytes != "->" && bytes != "?" && bytes != "ok" && bytes != "no" &&
               bytes != "failed" && bytes != "-" && bytes[0] != '#';
  for (char c : bytes) plain = plain && c > ' ' && c < 127 && c != '"' && c != '\\';
  if (plain) return std::string(bytes);
  std::string out = "\"";
  for (char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (byte < ' ' || byte >= 127) {
      static constexpr char kDigits[] = "0123456789abcdef";
      out += "\\x";
      out += kDigits[byte >> 4];
      out += kDigits[byte & 15];
    } else {
      out += c;
    }
  }
  return out + '"';
}

class Parser {
 public:
  explicit Parser(History& history) : history_(history) {}

  base::Status Run(std::string_view text) {
    history_.values_.AddApart();  // nil
    size_t at = 0;
    bool begun = false;
    while (at < text.size()) {
      ++line_;
      if (line_ == UINT32_MAX) return Error("too many lines: split the history");
      const size_t end = std::min(text.find('\n', at), text.size());
      std::string_view line = text.substr(at, end - at);
      at = end + 1;
      if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
      if (line.empty() || line[0] == '#') continue;
      // Histories may be put together with `cat`: each brings its first line.
      if (line.starts_with("polyarch-history")) {
        if (line != kHeader) return Error("'" + std::string(line) + "': this version reads '" + std::string(kHeader) + "'");
        begun = true;
        continue;
      }
      if (!begun) return Error("a history begins with '" + std::string(kHeader) + "'");
      if (base::Status status = Split(line); !status.ok()) return status;
      if (words_.empty()) continue;
      if (base::Status status = Read(); !status.ok()) return status;
    }
    if (!begun) return base::Invalid("empty: a history begins with '" + std::string(kHeader) + "'");
    return base::Status::Ok();
  }

 private:
  struct Piece {
    std::string_view bytes;
    bool quoted = false;
    bool Is(std::string_view word) const { return !quoted && bytes == word; }
  };

  base::Status Error(std::string what) const {
    return base::Invalid("line " + std::to_string(line_) + ": " + std::move(what));
  }

  base::Status Split(std::string_view line) {
    words_.clear();
    size_t at = 0;
    while (true) {
      while (at < line.size() && (line[at] == ' ' || line[at] == '\t')) ++at;
      if (at == line.size()) return base::Status::Ok();
      if (line[at] != '"') {
        size_t end = at;
        while (end < line.size() && line[end] != ' ' && line[end] != '\t') ++end;
        words_.push_back({line.substr(at, end - at), false});
        at = end;
        continue;
      }
      std::string bytes;
      for (++at;; ++at) {
        if (at >= line.size()) return Error("a quotation mark is not closed");
        if (line[at] == '"') break;
        if (line[at] != '\\') {
          bytes += line[at];
          continue;
        }
        if (++at >= line.size()) return Error("a quotation mark is not closed");
        if (line[at] == '"' || line[at] == '\\') {
          bytes += line[at];
        } else if (line[at] == 'x' && at + 2 < line.size() && HexDigit(line[at + 1]) >= 0 && HexDigit(line[at + 2]) >= 0) {
          bytes += static_cast<char>(HexDigit(line[at + 1]) * 16 + HexDigit(line[at + 2]));
          at += 2;
        } else {
          return Error("what follows \\ must be \", \\ or x and two hexadecimal digits");
        }
      }
      if (++at < line.size() && line[at] != ' ' && line[at] != '\t') return Error("a space must follow a closing quotation mark");
      words_.push_back({Keep(std::move(bytes)), true});
    }
  }

  std::string_view Keep(std::string bytes) { return history_.texts_.emplace_back(std::move(bytes)); }

  uint32_t Value(const Piece& piece) {
    if (piece.Is("nil")) return kNil;
    if (!piece.bytes.empty()) return history_.values_.Add(piece.bytes);
    return history_.empty_value_ != 0 ? history_.empty_value_ : (history_.empty_value_ = history_.values_.AddApart());
  }

  bool Number(const Piece& piece, uint64_t& out) const {
    if (piece.quoted || piece.bytes.empty() || piece.bytes.size() > 19) return false;
    out = 0;
    for (char c : piece.bytes) {
      if (c < '0' || c > '9') return false;
      out = out * 10 + static_cast<uint64_t>(c - '0');
    }
    return true;
  }

  base::Status Read() {
    constexpr std::string_view kShape = "session leader invoked completed operation key ... -> result";
    size_t arrow = 0;
    while (arrow < words_.size() && !words_[arrow].Is("->")) ++arrow;
    if (arrow == words_.size() || arrow < 6) return Error("an operation is '" + std::string(kShape) + "'");
    Operation op;
    op.line = line_;
    op.session = history_.sessions_.Add(words_[0].bytes);
    op.leader = history_.leaders_.Add(words_[1].bytes);
    if (!Number(words_[2], op.invoked)) return Error("'" + std::string(words_[2].bytes) + "' is no time of invocation");
    op.completed = kNever;
    if (!words_[3].Is("-") && !Number(words_[3], op.completed))
      return Error("'" + std::string(words_[3].bytes) + "' is no time of completion, nor '-'");
    const auto* kind = std::find_if(std::begin(kKinds), std::end(kKinds), [&](auto name) { return words_[4].Is(name); });
    if (kind == std::end(kKinds))
      return Error("'" + std::string(words_[4].bytes) + "' is no operation: get, set, del, cas, setnx, incr or final");
    op.kind = static_cast<Kind>(kind - std::begin(kKinds));
    op.key = history_.keys_.Add(words_[5].bytes);
    if (base::Status status = Arguments(op, arrow); !status.ok()) return status;
    if (base::Status status = Results(op, arrow + 1); !status.ok()) return status;
    if (op.outcome == Outcome::kUnknown) {
      op.completed = kNever;
    } else if (op.completed == kNever) {
      return Error("only an operation of unknown outcome (-> ?) has no time of completion");
    } else if (op.completed < op.invoked) {
      return Error("completed before it was invoked");
    }
    // A client does one thing after another. Of an unknown outcome it did not wait for the end.
    if (op.session == free_since_.size()) free_since_.push_back({0, 0});
    auto& [free_since, last_line] = free_since_[op.session];
    if (op.invoked < free_since)
      return Error("session " + std::string(words_[0].bytes) + " had not ended what it did in line " + std::to_string(last_line));
    free_since = op.completed == kNever ? op.invoked : op.completed;
    last_line = line_;
    history_.operations_.push_back(op);
    return base::Status::Ok();
  }

  base::Status Arguments(Operation& op, size_t arrow) {
    static constexpr size_t kCounts[] = {0, 0, 1, 0, 2, 1, 1};
    static constexpr std::string_view kShapes[] = {"get key", "final key", "set key value", "del key",
                                                   "cas key expected value", "setnx key value", "incr key amount"};
    const auto kind = static_cast<size_t>(op.kind);
    if (arrow != 6 + kCounts[kind]) return Error("it is '" + std::string(kShapes[kind]) + " -> result'");
    if (op.kind == Kind::kIncrement) {
      const auto amount = base::ParseInt64(words_[6].bytes);
      if (!amount) return Error("'" + std::string(words_[6].bytes) + "' is no amount");
      op.amount = *amount;
    } else if (kCounts[kind] > 0) {
      op.value = Value(words_[arrow - 1]);
      if (op.value == kNil) return Error("nil cannot be written; a delete is 'del key'");
      if (op.kind == Kind::kCompareAndSet) op.expected = Value(words_[6]);
    }
    return base::Status::Ok();
  }

  base::Status Results(Operation& op, size_t first) {
    if (first == words_.size()) return Error("nothing follows '->': a result, failed, or ?");
    const Piece& word = words_[first];
    const bool one = words_.size() == first + 1;
    const auto result = [&] { return std::string(word.bytes); };
    if (one && (word.Is("?") || word.Is("failed"))) {
      op.outcome = word.Is("?") ? Outcome::kUnknown : Outcome::kFailed;
      return base::Status::Ok();
    }
    if (!op.reads() && !one) return Error("one result follows '->', only get and final may have several");
    switch (op.kind) {
      case Kind::kGet:
      case Kind::kFinal:
        op.seen_first = static_cast<uint32_t>(history_.seen_.size());
        op.seen_count = static_cast<uint32_t>(words_.size() - first);
        for (size_t i = first; i < words_.size(); ++i) {
          history_.seen_.push_back(Value(words_[i]));
          if (op.seen_count > 1 && history_.seen_.back() == kNil) return Error("nil is not one of several values");
          const auto begin = history_.seen_.begin() + op.seen_first;
          if (std::find(begin, history_.seen_.end() - 1, history_.seen_.back()) != history_.seen_.end() - 1)
            return Error("a value is there twice");
        }
        return base::Status::Ok();
      case Kind::kSet:
        return word.Is("ok") ? base::Status::Ok() : Error("'" + result() + "' is no result of set: ok, failed or ?");
      case Kind::kCompareAndSet:
      case Kind::kSetIfAbsent:
        if (word.Is("no")) op.outcome = Outcome::kRefused;
        if (word.Is("ok") || word.Is("no")) return base::Status::Ok();
        return Error("'" + result() + "' is no result of cas or setnx: ok, no, failed or ?");
      case Kind::kDelete:
        if (word.Is("ok")) return base::Status::Ok();
        op.told = word.Is("0") || word.Is("1");
        op.result = word.Is("1") ? 1 : 0;
        return op.told ? base::Status::Ok() : Error("'" + result() + "' is no result of del: 0, 1, ok, failed or ?");
      case Kind::kIncrement: {
        if (word.Is("ok")) return base::Status::Ok();
        const auto value = base::ParseInt64(word.bytes);
        if (!value) return Error("'" + result() + "' is no result of incr: a number, ok, failed or ?");
        op.told = true;
        op.result = *value;
        return base::Status::Ok();
      }
    }
    return base::Status::Ok();
  }

  History& history_;
  uint32_t line_ = 0;
  std::vector<Piece> words_;
  std::vector<std::pair<uint64_t, uint32_t>> free_since_;  // by session; and its last line
};

base::Result<History> History::Parse(std::string text) {
  History history;
  history.texts_.push_back(std::move(text));
  const std::string_view all = history.texts_.front();
  if (base::Status status = Parser(history).Run(all); !status.ok()) return status;
  return history;
}

std::string History::ValueText(uint32_t value) const {
  return value == kNil ? "nil" : Word(values_[value]);
}

std::string History::Text(const Operation& op) const {
  std::string out(NameOf(op.kind));
  out += ' ' + Word(keys_[op.key]);
  if (op.kind == Kind::kCompareAndSet) out += ' ' + ValueText(op.expected);
  if (op.kind == Kind::kIncrement) out += ' ' + std::to_string(op.amount);
  if (op.value != kNil) out += ' ' + ValueText(op.value);
  out += " ->";
  if (op.outcome == Outcome::kUnknown) return out + " ?";
  if (op.outcome == Outcome::kFailed) return out + " failed";
  if (op.outcome == Outcome::kRefused) return out + " no";
  if (op.told) return out + ' ' + std::to_string(op.result);
  if (!op.reads()) return out + " ok";
  for (uint32_t i = 0; i < op.seen_count; ++i) out += ' ' + ValueText(Seen(op)[i]);
  return out;
}

}  // namespace polyarch::history
