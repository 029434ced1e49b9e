// What a client's user may do: the bridge from commands and their arguments to the judge (acl/judge.h), and the
// refusals of Redis. Asked only of clients whose requests are judged (Client::judged).
#pragma once

#include <span>
#include <string>
#include <vector>

#include "acl/judge.h"
#include "command/context.h"
#include "command/table.h"
#include "command/users.h"

namespace polyarch::command {

// What a command does with its key if its arguments tell that (variable_flags).
acl::KeyUse UseBy(const Row& row, Arguments args);

// The keys among the arguments, and what the command does with each. What the arguments do not tell is an error of the
// command's.
void KeyUsesOf(const Row& row, Arguments args, std::vector<acl::KeyUse>& out);
void ChannelUsesOf(const Row& row, Arguments args, std::vector<acl::ChannelUse>& out);

acl::Verdict Judge(const acl::User& user, const Row& row, Arguments args);

// May the client's user run this, with these arguments? False: the error was given, and noted for ACL LOG.
bool AllowUser(Context& c, const Row& row);
// The same for a step of EXEC and for a call of a script: the error line, or an empty one.
std::string RefusalInExec(Context& c, const Row& row);
std::string RefusalInScript(Context& c, const Row& row);
// May it read keys that it does not name (SORT BY, GET)?
bool MayReadAnyKey(const Context& c, const Row& row);

// May a subscriber keep all that it listens to?
bool MayStillListen(const Users& users, const Subscriptions& subscriptions, const Client& client);

// One line of CLIENT LIST.
std::string ClientLine(Context& c, const Client& client);
// ACL LOG: who asked was not let in under that name.
void NoteWrongPassword(Context& c, std::string_view user);

}  // namespace polyarch::command
