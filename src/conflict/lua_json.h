// JSON for handlers: the table `json`.
//
//   json.decode(text)    the value; nil and why if the text is no JSON (RFC 8259, UTF-8, 128 deep)
//   json.encode(value)   its text: keys sorted by bytes, no space; an error for what JSON has no
//   word for json.null            what null is decoded to (nil would be no entry of a table)
//   json.array(table)    marks a table as an array, and returns it: an empty table is an object
//   otherwise json.number(text)    the number of that text
//
// A number that no double tells exactly is a value of its own: it can be compared, shown by
// tostring and encoded, and has its text; arithmetic is an error. So what a handler does not touch
// comes out as the number that went in. Steps and memory are counted as all others are.
#pragma once

#include "lua/state.h"

namespace polyarch::conflict {

// Puts the table into the state's globals.
void OpenLuaJson(lua::State& lua);

}  // namespace polyarch::conflict
