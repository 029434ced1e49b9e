// Documentation of commands as data: the notation of Row::syntax, and what is made of it (COMMAND
// DOCS, from which redis-cli takes its hints, and HELP of containers).
//
//   arguments = argument { " " argument }
//   argument  = [ TOKEN " " ] name [ ":" type ] marks  |  TOKEN marks
//   type      = "key" | "integer" | "double" | "pattern" | "unix-time"      (default: string)
//             | "(" argument { "|" argument } ")"                           one of these
//             | "{" arguments "}"                                           a block
//   marks     = [ "?" optional ] [ "*" multiple ] [ "+" token repeated too ]
//               [ "@" since-version ] [ "~" deprecated-since-version ]
//
// A TOKEN is in upper case, a name is not. A name may hold a colon ("ip:port") if no type follows
// it.
//   SET: "key:key value condition:(NX|XX)?@2.6.12 GET?@6.2.0 expiration:(EX seconds:integer|...)?"
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "command/context.h"
#include "command/table.h"

namespace polyarch::command {

struct Argument {
  std::string_view name;  // of a pure token: its lower case, as `token` shows it
  std::string_view type = "string";
  std::string_view token;
  bool optional = false;
  bool multiple = false;
  bool multiple_token = false;
  std::string_view since;
  std::string_view deprecated_since;
  std::vector<Argument> children;  // of "oneof" and "block"
};

// The arguments that a syntax stands for; the notation is ours, so a malformed one is a CHECK.
std::vector<Argument> ParseSyntax(std::string_view syntax);

// "key value [NX|XX] [GET] [EX seconds|...]", for people.
std::string Usage(std::string_view syntax);

// The map of COMMAND DOCS for one command, its subcommands included.
void ReplyDocs(resp::Writer& reply, const Row& row);

}  // namespace polyarch::command
