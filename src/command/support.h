// What the families share: reading arguments, the replies that many commands give, and the limits
// that writes must keep. Whatever returns false (or nothing) has given the error reply.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "command/context.h"

namespace polyarch::command {

// Rows and frames store a key's size in two bytes.
inline constexpr size_t kKeyBytesMax = 65535;
// Redis's proto-max-bulk-len: what APPEND and SETRANGE may make.
inline constexpr int64_t kStringBytesMax = int64_t{512} << 20;
// One change must fit into one frame, and a peer must be able to hold it; a value of 64 MiB, the
// parser's limit, fits.
inline constexpr size_t kChangeBytesMax = size_t{65} << 20;
// What a connection may have to read (net/options.h): a reply beyond it would close it.
inline constexpr size_t kReplyBytesMax = size_t{256} << 20;
// What an effect costs beyond its key and value, at most.
inline constexpr size_t kEffectBytesMax = 64;
inline constexpr size_t kDatabases = crdt::kDatabases;

inline constexpr std::string_view kSyntaxError = "ERR syntax error";
inline constexpr std::string_view kNotInteger = "ERR value is not an integer or out of range";
inline constexpr std::string_view kNotFloat = "ERR value is not a valid float";
inline constexpr std::string_view kWrongType =
    "WRONGTYPE Operation against a key holding the wrong kind of value";
inline constexpr std::string_view kNoSuchKey = "ERR no such key";
inline constexpr std::string_view kOutOfMemory = "OOM command not allowed when used memory > 'maxmemory'.";

inline char ToUpper(char c) {
  return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c;
}
inline char ToLower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
}
// `lower` is in lower case.
bool EqualsIgnoreCase(std::string_view text, std::string_view lower);
std::string ToLower(std::string_view text);
std::string ToUpper(std::string_view text);
// CLIENT SETNAME's rule: printable ASCII without the space.
bool IsPlainName(std::string_view text);

// The integer of an argument; `error` is the whole error line.
std::optional<int64_t> ReadInteger(Context& c,
                                   std::string_view text,
                                   std::string_view error = kNotInteger);
// 0 to 15.
std::optional<uint8_t> ReadDatabase(Context& c, std::string_view text);

// The value as a bulk, or null if there is none.
void ReplyShown(Context& c, const keyspace::Shown& shown);
// If the key holds concurrent versions without a winner, or is no string: the error, and true.
bool RefuseConflict(Context& c, std::string_view key, const keyspace::Shown& shown);

// May a key have this name? Asked of all keys that the table knows before a write runs (AllowWrite).
bool CheckKeySize(Context& c, std::string_view key);

// Do `bytes` of keys and values in `effects` effects fit into one change?
bool FitsChange(Context& c, size_t bytes, size_t effects = 1);

// The same for a command that replaces many whole keys, named by each `step`-th argument: with the
// counters that go, since a write carries what it clears of each.
bool FitsReplacing(Context& c, size_t step);

// May a string become `offset` + `added` bytes long?
bool FitsString(Context& c, int64_t offset, size_t added, std::string_view key);
// Writes a value of which a part has changed, APPEND's way: the whole of it, and the expiry stays.
// `existed`: the key showed a value before.
void PutPart(Context& c, const keyspace::KeyRef& ref, std::string_view whole, bool existed);

// Deletes what this leader has seen of the key; also what a version "absent" hides: a delete ends every conflict, and
// what somebody deleted who had seen it does not come back under another policy. True if the key was shown.
bool DeleteSeen(Context& c, const keyspace::KeyRef& ref);

// Words behind a subcommand that takes fewer: the reply of Redis, but for those whose arity it checks before.
void ReplySubcommandSyntax(Context& c);

// Clients are closed at the end of a tick; until then no command is to count one that was killed.
void StopListening(ClusterHost& cluster, uint64_t client);

// An option word: the reply of Redis to one that does not belong there.
// How many changes that are: what Redis's clients take for an offset.
uint64_t CountChanges(const clock::VersionVector& applied);
inline void ReplySyntaxError(Context& c) {
  c.reply.Error(kSyntaxError);
}

// The same of a command of our own, with what would be right: the whole command.
inline void ReplyExpected(Context& c, std::string_view usage) {
  c.reply.Error(std::string(kSyntaxError) + ", expected: " + std::string(usage));
}

// Is this a name that a connection may have (CLIENT SETNAME, HELLO SETNAME)?
bool CheckClientName(Context& c, std::string_view name);

// Handlers that the table or several families name.
void ClientReply(Context& c);
// HELP of any container: made from the rows of its subcommands.
void ContainerHelp(Context& c);

}  // namespace polyarch::command
