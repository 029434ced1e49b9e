// The parts of an interpreter, for each other: the modules that scripts find, and the conversions
// between Lua's values and replies.
#pragma once

#include <string_view>

#include "resp/buffer.h"
#include "resp/writer.h"

#include <lua5.1/lua.hpp>

namespace polyarch::script {

// Each leaves the module's table on the stack.
void OpenBit(lua_State* lua);
void OpenCjson(lua_State* lua);
void OpenCmsgpack(lua_State* lua);
void OpenStruct(lua_State* lua);
// The module redis, for scripts, for functions, or while a library is being loaded.
enum class RedisModule { kScript, kFunction, kLoading };
void OpenRedis(lua_State* lua, RedisModule kind);

// Settings that scripts make in cjson last for a run.
void ResetCjson(lua_State* lua);

// A table with the text `err`, as error replies are. `message` begins with "-", and then with a
// code, or is text of its own, which gets the code ERR.
void PushError(lua_State* lua, std::string_view message);

// Pushes the value of the one reply in `bytes`. True if it is an error (a table then).
bool PushReply(lua_State* lua, std::string_view bytes);
// Writes the value on top of the stack, which is popped, as a reply.
void WriteReply(lua_State* lua, resp::Writer& reply, int protocol);

// An error handler: makes a table of whatever the error is, with the place where it was raised.
int NotePlace(lua_State* lua);

}  // namespace polyarch::script
