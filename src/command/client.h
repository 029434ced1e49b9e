// The state of one client connection, as commands see it. Owned by the server's session.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace polyarch::command {

struct Client {
  uint64_t id = 0;
  std::string address;  // "127.0.0.1:50000"
  std::string local_address;
  std::string name;          // CLIENT SETNAME
  std::string library_name;  // CLIENT SETINFO
  std::string library_version;
  std::string user = "default";
  std::string_view last_command;  // "config|get": a row's name, so it lives for ever
  uint8_t db = 0;
  int protocol = 2;
  bool authenticated = false;
  bool no_evict = false;
  bool no_touch = false;
  enum class ReplyMode : uint8_t { kOn, kOff, kSkipNext } reply_mode = ReplyMode::kOn;
  int64_t created_ms = 0;
  int64_t active_ms = 0;  // of the last command
  uint64_t ticket = 0;    // what a suspended command waits for; 0: none
  // In a command that waits for elements; kAnswered: its reply is there, to be taken by running it
  // again.
  enum class Blocked : uint8_t { kNot, kWaits, kAnswered } blocked = Blocked::kNot;
};

}  // namespace polyarch::command
