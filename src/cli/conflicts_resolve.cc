// polyarch conflicts resolve: the versions beside each other, and a question.
#include <cstdio>
#include <iostream>
#include <optional>

#include "base/number.h"
#include "cli/conflicts.h"
#include "cli/options.h"
#include "cli/text.h"

namespace polyarch::cli {

namespace {

enum class Next { kDone, kAgain, kSkip, kQuit, kFailed };

std::vector<std::string_view> Command(std::initializer_list<std::string_view> words,
                                      const ConflictPlace& place) {
  std::vector<std::string_view> command(words);
  if (place.of_element()) command.insert(command.end(), {"FIELD", place.field});
  return command;
}

base::Result<resp::Value> Call(Connection& connection,
                               const std::vector<std::string_view>& command) {
  return connection.Call(command, connection.target().timeout_ms);
}

// A line of standard input without its end; nothing at its end.
std::optional<std::string> Ask(const std::string& question) {
  std::fputs(question.c_str(), stdout);
  std::fflush(stdout);
  std::string line;
  if (!std::getline(std::cin, line)) return std::nullopt;
  return line;
}

Next Told(const base::Status& status) {
  Fail(status);
  return Next::kAgain;
}

// A delete replaces what the leader has seen, which may be more than was shown: only if nothing has
// changed.
Next Delete(Connection& connection, const ConflictPlace& place, const std::string& token) {
  if (place.of_element() && place.type != "hash") {
    return Told(base::Invalid("an element of a " + place.type +
                              " is deleted by its own command (ZREM, LREM, XDEL)"));
  }
  if (auto watched = Call(connection, {"WATCH", place.key}); !watched.ok())
    return Told(watched.status());
  auto now = Call(connection, Command({"CONFLICT", "GET", place.key}, place));
  if (!now.ok()) return Told(now.status());
  if (ConflictOf(*now).token != token) {
    (void)Call(connection, {"UNWATCH"});
    return Told(base::Invalid("it has changed meanwhile"));
  }
  if (auto begun = Call(connection, {"MULTI"}); !begun.ok()) return Told(begun.status());
  const std::vector<std::string_view> removal =
      place.of_element() ? std::vector<std::string_view>{"HDEL", place.key, place.field}
                         : std::vector<std::string_view>{"DEL", place.key};
  if (auto queued = Call(connection, removal); !queued.ok()) return Told(queued.status());
  auto done = Call(connection, {"EXEC"});
  if (!done.ok()) return Told(done.status());
  if (done->is_null()) return Told(base::Invalid("it has changed meanwhile"));
  // The reply to a delete counts what was shown, which may be nothing; whether the conflict has ended it does not say.
  auto left = Call(connection, Command({"CONFLICT", "GET", place.key}, place));
  if (!left.ok()) return Told(left.status());
  if (ConflictOf(*left).versions.size() > 1) return Told(base::Invalid("it is still in conflict"));
  return Next::kDone;
}

Next Write(Connection& connection,
           const ConflictPlace& place,
           const std::string& token,
           const std::string& value) {
  auto done = Call(connection, Command({"CONFLICT", "RESOLVE", place.key, token, value}, place));
  return done.ok() ? Next::kDone : Told(done.status());
}

// Shows what there is now, asks once.
Next ResolveOne(Connection& connection, const ConflictPlace& place) {
  auto reply = Call(connection, Command({"CONFLICT", "GET", place.key}, place));
  if (!reply.ok()) return Fail(reply.status()), Next::kFailed;
  const ShownConflict conflict = ConflictOf(*reply);
  if (conflict.versions.size() < 2) return Next::kDone;
  Print(PlaceText(place) + ": " + std::to_string(conflict.versions.size()) + " versions");
  Print(ConflictLines(conflict.versions, true));
  const auto answer = Ask("take one [1-" + std::to_string(conflict.versions.size()) +
                          "], [e]nter a value, [d]elete, [s]kip, [q]uit: ");
  if (!answer || *answer == "q") return Next::kQuit;
  if (*answer == "s") return Next::kSkip;
  if (*answer == "d") return Delete(connection, place, conflict.token);
  if (*answer == "e") {
    const auto value = Ask("value: ");
    if (!value) return Next::kQuit;
    return Write(connection, place, conflict.token, *value);
  }
  const auto number = base::ParseInt64(*answer);
  if (!number || *number < 1 || static_cast<size_t>(*number) > conflict.versions.size()) {
    Print("that is none of these");
    return Next::kAgain;
  }
  const ShownVersion& taken = conflict.versions[static_cast<size_t>(*number) - 1];
  if (taken.deleted) return Delete(connection, place, conflict.token);
  return Write(connection, place, conflict.token, taken.value);
}

}  // namespace

int ResolveByHand(Connection& connection, const std::vector<ConflictPlace>& places) {
  size_t resolved = 0;
  size_t skipped = 0;
  for (const ConflictPlace& place : places) {
    Next next = Next::kAgain;
    while (next == Next::kAgain)
      next = ResolveOne(connection, place);
    if (next == Next::kFailed) return 1;
    if (next == Next::kQuit) break;
    ++(next == Next::kDone ? resolved : skipped);
  }
  const size_t left = places.size() - resolved;
  return Print(std::to_string(resolved) + " resolved, " + std::to_string(left) + " left" +
               (skipped > 0 ? " (" + std::to_string(skipped) + " skipped)" : ""));
}

}  // namespace polyarch::cli
