// One connection to a server that speaks RESP2, leader or Redis, for many requests at a time:
// requests are put in, bytes go both ways while it waits, replies come out in order. So neither
// side can wait for the other with full buffers. Errors are one line for people, and end the
// connection.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/function_ref.h"
#include "base/status.h"
#include "cli/connection.h"
#include "cli/dial.h"
#include "resp/reply.h"

namespace polyarch::moving {

// HOST:PORT, HOST, or redis://[[USER]:PASSWORD@]HOST[:PORT][/DB], rediss:// for TLS; what it does not say stays as in
// `target`.
base::Status ParseAddress(std::string_view text, cli::Target& target);

// Connects. `who`: "the source", "the leader", for errors.
base::Result<std::unique_ptr<cli::Stream>> DialAs(const cli::Target& target, std::string_view who);

// The words of AUTH for this target.
std::vector<std::string_view> AuthWords(const cli::Target& target);

class Link {
 public:
  static constexpr int64_t kReplyMs = 60'000;  // a server that says nothing for so long is given up

  // Connects and authenticates; the database is 0.
  static base::Result<std::unique_ptr<Link>> Open(const cli::Target& target, std::string who);
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  void Put(std::span<const std::string_view> words);
  void Put(std::initializer_list<std::string_view> words) { Put({words.begin(), words.size()}); }
  size_t waiting() const { return waiting_; }  // requests without a reply
  size_t unsent() const { return out_.size() - sent_; }

  // Sends what it can and takes what has come, `take` gets each reply. Waits up to `wait_ms` for
  // the first thing that can be done.
  base::Status Pump(int64_t wait_ms, base::FunctionRef<void(resp::Value&&)> take);
  // All replies to what was put in.
  base::Result<std::vector<resp::Value>> Collect();
  // One request and its reply; nothing else may be waiting. An error of the server is a kInvalid
  // with its text.
  base::Result<resp::Value> Ask(std::initializer_list<std::string_view> words);

  const cli::Target& target() const { return target_; }
  std::string Name() const { return who_ + " " + target_.Name(); }

 private:
  Link(cli::Target target, std::string who, std::unique_ptr<cli::Stream> stream)
      : target_(std::move(target)), who_(std::move(who)), stream_(std::move(stream)) {}
  base::Status Lost(const std::string& why) const;

  const cli::Target target_;
  const std::string who_;
  const std::unique_ptr<cli::Stream> stream_;
  std::string out_;
  size_t sent_ = 0;
  size_t waiting_ = 0;
  resp::ReplyReader reader_;
};

}  // namespace polyarch::moving
