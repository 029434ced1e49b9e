// What the files of lists share.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "command/collection.h"
#include "command/table.h"

namespace polyarch::command {

inline constexpr crdt::Type kList = crdt::Type::kList;

// An element's own copy: names and values of the keyspace go with the next write.
struct ListElement {
  std::string name;
  std::string value;
};

// LEFT (true) or RIGHT; nothing if the error has been given.
std::optional<bool> ReadEnd(Context& c, std::string_view text);
// `rank` is below the list's size.
ListElement ElementAt(const keyspace::Collection& list, size_t rank);
// The first `count` elements, or the last ones from the end on.
std::vector<ListElement> Ends(const keyspace::Collection& list, bool front, uint64_t count);

// Under `pop-owner` only what this leader owns is popped. Null: the key is under another policy.
OwnerHost* OwnersOf(Context& c, std::string_view key);
// What may be popped, from that end on: of Ends, or of what this leader owns, as many as there are.
std::vector<ListElement> Poppable(Context& c,
                                  const keyspace::KeyRef& ref,
                                  const keyspace::Collection& list,
                                  bool front,
                                  uint64_t count);
// Removes what was popped.
void RemovePopped(Context& c, const keyspace::KeyRef& ref, std::span<const ListElement> popped);
// The client waits for elements of these lists: whoever may own some is told.
void WantElements(Context& c, const Arguments& keys, bool front, uint64_t count);
// These lists, one of them at least, have elements, of which others own all: they are asked, and the command waits for
// the answer. Where nobody may wait the reply is a null: an array, or a bulk.
void AskOwners(Context& c, const Arguments& keys, bool front, uint64_t count, bool null_is_bulk);

// Does the removal fit into one change? Does this many new elements, with so many bytes of values?
bool FitsRemoval(Context& c, std::string_view key, std::span<const ListElement> elements);
bool FitsPushed(Context& c, std::string_view key, size_t values, size_t bytes);
void RemoveElements(Context& c, const keyspace::KeyRef& ref, std::span<const ListElement> elements);
// The error if Change::Push or Insert found no room.
bool CheckPushed(Context& c, bool pushed);

// What LMOVE does with its first two arguments; kNothing: the source is empty, kForeign: it has nothing that may be
// popped here; no reply was given.
enum class Moved : uint8_t { kNothing, kForeign, kReplied };
Moved MoveElement(Context& c, bool from_front, bool to_front);

// LMPOP's arguments from `numkeys` on; nothing if the error has been given.
struct ListPop {
  Arguments keys;
  bool front = true;
  uint64_t count = 1;
};
std::optional<ListPop> ReadListPop(Context& c, size_t numkeys);
// From the first of the lists that has elements; kNothing, kForeign: as of LMOVE, of all of them.
Moved PopFirst(Context& c, const ListPop& pop);

void AddListRangeRows(std::vector<Row>& rows);  // list_range.cc
void AddListBlockRows(std::vector<Row>& rows);  // list_block.cc

}  // namespace polyarch::command
