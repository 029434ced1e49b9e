// Elements of collections as CONFLICT shows and takes them: a hash's field and a sorted set's or
// set's member by its name, a list's element by the text of its position, an entry of a stream by its
// id.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "command/context.h"
#include "crdt/key_state.h"

namespace polyarch::command {

std::string ElementText(crdt::Type type, std::string_view name);

// An element that a text names: the register is one of the state that was looked through.
struct FoundElement {
  crdt::Type type = crdt::Type::kHash;
  std::string name;
  const crdt::Register* state = nullptr;
};
// Elements of the type that the key shows come first. Nothing if `state` holds no such element.
std::optional<FoundElement> FindElementByText(const crdt::KeyState& state,
                                              std::optional<crdt::Type> shown,
                                              std::string_view text);

// What a version of an element of `type` (kString: of the key itself) says: a score as a number, an
// entry of a stream as the array of its fields and values, else its bytes.
void ReplyElementValue(Context& c, crdt::Type type, std::string_view value);

// What CONFLICT RESOLVE puts there for the argument. Nothing, with the error given, if an element of
// this type has no value that an argument can tell.
std::optional<std::string> ReadElementValue(Context& c, crdt::Type type, std::string_view text);

}  // namespace polyarch::command
