#include "moving/leader.h"

#include <algorithm>
#include <array>

#include "base/number.h"
#include "base/try.h"
#include "cli/dial.h"
#include "cli/text.h"

namespace polyarch::moving {

namespace {

constexpr size_t kWaitingMax = 4000;
constexpr size_t kWaitingBytesMax = 8 << 20;
constexpr size_t kArgumentsMax = 1 << 20;
constexpr uint64_t kChangeBytesMax = 65 << 20;
constexpr size_t kSendBytes = 64 << 10;
constexpr size_t kKeyShown = 60;

// Refusals that all later writes would get, too.
constexpr std::array<std::string_view, 5> kFatal = {
    "HISTORY ", "DISKFULL ", "RETIRED ", "NOAUTH ", "LOADING "};

}  // namespace

base::Result<std::unique_ptr<Leader>> Leader::Open(const cli::Target& target) {
  auto link = Link::Open(target, "the leader");
  if (!link.ok()) return link.status();
  std::unique_ptr<Leader> leader(new Leader(std::move(*link)));
  auto version = leader->Ask({"POLYARCH", "VERSION"});
  if (!version.ok()) {
    return base::Invalid(target.Name() + " is no Polyarch leader (" + version.status().message() +
                         "): give a leader's client port with --to");
  }
  auto limit = leader->Ask({"CONFIG", "GET", "proto-max-bulk-len"});
  if (!limit.ok()) return limit.status();
  const auto bulk = base::ParseInt64(cli::TextOf(cli::Find(*limit, "proto-max-bulk-len")));
  leader->argument_bytes_max_ = static_cast<uint64_t>(bulk.value_or(0));
  return leader;
}

uint64_t Leader::string_bytes_max() const {
  return std::min(kChangeBytesMax, argument_bytes_max_);
}

base::Status Leader::Select(int database) {
  if (database == database_) return {};
  database_ = database;
  return Write({"SELECT", std::to_string(database)},
               waiting_.empty() ? acknowledged_ : waiting_.back().mark);
}

base::Status Leader::Write(std::span<const std::string_view> words,
                           uint64_t mark,
                           std::string_view if_none) {
  size_t bytes = 16;
  for (std::string_view word : words)
    bytes += word.size() + 16;
  std::string what(words[0].substr(0, kKeyShown));
  if (words.size() > 1) what.append(" ").append(words[1].substr(0, kKeyShown));
  // It would close the connection.
  const auto longest = std::max_element(
      words.begin(), words.end(), [](auto a, auto b) { return a.size() < b.size(); });
  if (words.size() > kArgumentsMax || longest->size() > argument_bytes_max_) {
    Refused(cli::Printable(what) + ": its " + std::to_string(words.size()) +
            " arguments, the longest of " + std::to_string(longest->size()) +
            " bytes, are more than the leader takes (--max-bulk)");
    Skip(mark);
    return {};
  }
  link_->Put(words);
  waiting_.push_back({mark, bytes, std::move(what), if_none});
  waiting_bytes_ += bytes;
  ++written_;
  if (waiting_.size() >= kWaitingMax || waiting_bytes_ >= kWaitingBytesMax)
    return Drain(kWaitingMax / 2, kWaitingBytesMax / 2);
  // Not each by itself: many requests make one write to the socket.
  return link_->unsent() < kSendBytes ? base::Status() : Poll(0);
}

void Leader::Skip(uint64_t mark) {
  (waiting_.empty() ? acknowledged_ : waiting_.back().mark) = mark;
}

base::Status Leader::Poll(int64_t wait_ms) {
  // Also while nothing is missing: it may have gone.
  if (base::Status s = link_->Pump(waiting_.empty() ? 0 : wait_ms,
                                   [this](resp::Value&& reply) { Take(std::move(reply)); });
      !s.ok())
    return s;
  if (!fatal_.empty()) return base::Invalid(fatal_);
  return {};
}

base::Status Leader::Flush() {
  return Drain(0, 0);
}

base::Status Leader::Drain(size_t count, size_t bytes) {
  int64_t heard = cli::MonotonicMs();
  while (waiting_.size() > count || waiting_bytes_ > bytes) {
    const size_t before = waiting_.size();
    const size_t unsent = link_->unsent();
    if (base::Status s = Poll(1000); !s.ok()) return s;
    const int64_t now = cli::MonotonicMs();
    if (waiting_.size() != before || link_->unsent() != unsent) heard = now;
    if (now - heard > Link::kReplyMs)
      return base::IoError(link_->Name() + " gives no answer for " +
                           cli::HumanMillis(Link::kReplyMs) + ": see its log");
  }
  return {};
}

void Leader::Take(resp::Value&& reply) {
  const Waiting& of = waiting_.front();
  Check(reply, of.what);
  if (!of.if_none.empty() && !reply.is_error() && reply.items.empty())
    Refused(cli::Printable(of.what) + ": " + std::string(of.if_none));
  acknowledged_ = of.mark;
  waiting_bytes_ -= of.bytes;
  waiting_.pop_front();
}

void Leader::Check(const resp::Value& reply, const std::string& what) {
  if (reply.is_error()) {
    for (std::string_view fatal : kFatal) {
      if (fatal_.empty() && reply.text.starts_with(fatal))
        fatal_ = link_->Name() + " refuses writes: " + cli::Printable(reply.text);
    }
    return Refused(cli::Printable(what) + ": " + cli::Printable(reply.text));
  }
  for (const resp::Value& item : reply.items)
    Check(item, what);
}

void Leader::Refused(std::string line) {
  ++refused_;
  const bool again = !refusals_.empty() && refusals_.back() == line;
  if (!again && refusals_.size() < kRefusalsKept) refusals_.push_back(std::move(line));
}

base::Status Leader::Empty(std::optional<int> database) {
  if (database) {
    TRY(Select(*database));
    return Ask({"FLUSHDB"}).status();
  }
  TRY(Ask({"FLUSHALL"}).status());
  return Ask({"FUNCTION", "FLUSH"}).status();
}

base::Result<resp::Value> Leader::Ask(std::initializer_list<std::string_view> words) {
  auto link = Idle();
  if (!link.ok()) return link.status();
  return (*link)->Ask(words);
}

base::Result<Link*> Leader::Idle() {
  if (base::Status s = Flush(); !s.ok()) return s;
  return link_.get();
}

}  // namespace polyarch::moving
