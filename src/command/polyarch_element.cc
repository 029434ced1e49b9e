#include "command/polyarch_element.h"

#include "command/sorted_set.h"
#include "command/stream.h"
#include "command/support.h"
#include "crdt/position.h"

namespace polyarch::command {

namespace {

// The name of an element of `type`; nothing if none can have this text.
std::optional<std::string> NameOf(crdt::Type type, std::string_view text) {
  if (type == crdt::Type::kList) return crdt::ReadPositionText(text);
  if (type != crdt::Type::kStream) return std::string(text);
  const auto id = ParseStreamId(text, 0);
  return id ? std::optional(crdt::StreamEntryName(*id)) : std::nullopt;
}

}  // namespace

std::string ElementText(crdt::Type type, std::string_view name) {
  if (type == crdt::Type::kList) return crdt::PositionText(name);
  if (type == crdt::Type::kStream && crdt::IsStreamEntry(name)) {
    return crdt::ToString(crdt::ReadStreamName(name).id);
  }
  return std::string(name);
}

std::optional<FoundElement> FindElementByText(const crdt::KeyState& state,
                                              std::optional<crdt::Type> shown,
                                              std::string_view text) {
  using crdt::Type;
  for (Type type : {shown.value_or(Type::kHash),
                    Type::kHash,
                    Type::kSortedSet,
                    Type::kSet,
                    Type::kList,
                    Type::kStream}) {
    if (type == Type::kString) continue;
    std::optional<std::string> name = NameOf(type, text);
    if (!name) continue;
    const crdt::Register* found = state.FindElement(type, *name);
    if (found != nullptr && found->live()) return FoundElement{type, std::move(*name), found};
  }
  return std::nullopt;
}

void ReplyElementValue(Context& c, crdt::Type type, std::string_view value) {
  if (type == crdt::Type::kSortedSet) {
    char digits[resp::kDoubleCharsMax];
    const size_t size = resp::FormatDouble(keyspace::DecodeScore(value), digits);
    return c.reply.Bulk(std::string_view(digits, size));
  }
  const auto entry =
      type == crdt::Type::kStream ? crdt::DecodeStreamEntry(value) : std::nullopt;
  if (!entry) return c.reply.Bulk(value);
  c.reply.Array(entry->fields.size());
  for (std::string_view field : entry->fields)
    c.reply.Bulk(field);
}

std::optional<std::string> ReadElementValue(Context& c, crdt::Type type, std::string_view text) {
  switch (type) {
    case crdt::Type::kSortedSet: {
      const auto score = ReadDouble(c, text);
      // 0 has no sign in a score.
      return score ? std::optional(keyspace::EncodeScore(*score + 0.0)) : std::nullopt;
    }
    case crdt::Type::kSet:
    case crdt::Type::kStream:
      c.reply.Error(
          "ERR members of sets and entries of streams have no value to set; see CONFLICT RESTORE");
      return std::nullopt;
    default:
      return std::string(text);
  }
}

}  // namespace polyarch::command
