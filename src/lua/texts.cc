// Functions on texts that do a step's work in a step: the library's own may run for hours within one
// instruction, where no limit of steps reaches them.
#include <algorithm>
#include <memory>
#include <string>

#include "lua/functions.h"

namespace polyarch::lua {

namespace {


// Where a search begins: 1 is the first byte, -1 the last.
size_t Start(lua_State* lua, int argument, size_t size) {
  lua_Integer at = luaL_optinteger(lua, argument, 1);
  if (at < 0) at += static_cast<lua_Integer>(size) + 1;
  at = std::max<lua_Integer>(at, 1) - 1;
  return std::min(static_cast<size_t>(at), size);
}

std::shared_ptr<const Pattern> PatternOf(lua_State* lua, std::string_view text, bool anchors) {
  return State::Of(lua).PatternOf(lua, text, anchors);
}

bool IsPlain(std::string_view pattern) {
  return pattern.find_first_of("^$*+?.([%-") == std::string_view::npos;
}

void PushCapture(lua_State* lua, std::string_view subject, const Pattern::Capture& capture) {
  if (capture.position) {
    lua_pushinteger(lua, static_cast<lua_Integer>(capture.begin) + 1);
  } else {
    lua_pushlstring(lua, subject.data() + capture.begin, capture.size);
  }
}

// The captures; `whole`: the whole match where there are none.
int PushCaptures(lua_State* lua, std::string_view subject, const Pattern::Match& match, bool whole) {
  luaL_checkstack(lua, static_cast<int>(match.captures.size()) + 1, "too many captures");
  for (const Pattern::Capture& capture : match.captures) PushCapture(lua, subject, capture);
  if (!match.captures.empty() || !whole) return static_cast<int>(match.captures.size());
  lua_pushlstring(lua, subject.data() + match.begin, match.end - match.begin);
  return 1;
}

int FindOrMatch(lua_State* lua, bool find) {
  const std::string_view subject = Text(lua, 1);
  const std::string_view pattern = Text(lua, 2);
  const size_t from = Start(lua, 3, subject.size());
  if (find && (lua_toboolean(lua, 4) != 0 || IsPlain(pattern))) {
    MeterOf(lua).Charge((subject.size() - from) * (1 + pattern.size() / 64) / 8);
    const size_t at = subject.find(pattern, from);
    if (at == std::string_view::npos) {
      lua_pushnil(lua);
      return 1;
    }
    lua_pushinteger(lua, static_cast<lua_Integer>(at) + 1);
    lua_pushinteger(lua, static_cast<lua_Integer>(at + pattern.size()));
    return 2;
  }
  auto match = PatternOf(lua, pattern, true)->Find(subject, from, MeterOf(lua));
  if (!match) {
    lua_pushnil(lua);
    return 1;
  }
  if (!find) return PushCaptures(lua, subject, *match, true);
  lua_pushinteger(lua, static_cast<lua_Integer>(match->begin) + 1);
  lua_pushinteger(lua, static_cast<lua_Integer>(match->end));
  return 2 + PushCaptures(lua, subject, *match, false);
}

// Upvalues: subject, pattern, where to go on.
int NextMatch(lua_State* lua) {
  size_t size = 0;
  const char* bytes = lua_tolstring(lua, lua_upvalueindex(1), &size);
  const std::string_view subject(bytes, size);
  size_t pattern_size = 0;
  const char* pattern = lua_tolstring(lua, lua_upvalueindex(2), &pattern_size);
  const auto from = static_cast<size_t>(lua_tointeger(lua, lua_upvalueindex(3)));
  if (from > size) return 0;
  auto match = PatternOf(lua, {pattern, pattern_size}, false)->Find(subject, from, MeterOf(lua));
  if (!match) return 0;
  // An empty match is not found again.
  lua_pushinteger(lua, static_cast<lua_Integer>(match->end + (match->end == match->begin ? 1 : 0)));
  lua_replace(lua, lua_upvalueindex(3));
  return PushCaptures(lua, subject, *match, true);
}

// Leaves on the stack what stands for a match; false if that is the match itself.
bool Replacement(lua_State* lua, std::string_view subject, const Pattern::Match& match) {
  switch (lua_type(lua, 3)) {
    case LUA_TFUNCTION: {
      lua_pushvalue(lua, 3);
      lua_call(lua, PushCaptures(lua, subject, match, true), 1);
      break;
    }
    case LUA_TTABLE: {
      lua_settop(lua, 4);
      const int count = PushCaptures(lua, subject, match, true);
      lua_pop(lua, count - 1);
      lua_gettable(lua, 3);
      break;
    }
    default: {
      const std::string_view text = Text(lua, 3);
      MeterOf(lua).Charge(text.size() / 8);
      std::string out;
      for (size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '%' || i + 1 == text.size()) {
          out += text[i];
          continue;
        }
        const char c = text[++i];
        if (c < '0' || c > '9') {
          out += c;
          continue;
        }
        const auto which = static_cast<size_t>(c - '1');
        if (c == '0' || (which == 0 && match.captures.empty())) {
          out += subject.substr(match.begin, match.end - match.begin);
        } else if (which >= match.captures.size()) {
          out = std::string();
          luaL_error(lua, "invalid capture index");
        } else if (match.captures[which].position) {
          out += std::to_string(match.captures[which].begin + 1);
        } else {
          out += subject.substr(match.captures[which].begin, match.captures[which].size);
        }
        MeterOf(lua).Charge(1);
        CheckRoom(lua, out.size());
      }
      lua_pushlstring(lua, out.data(), out.size());
      return true;
    }
  }
  if (lua_toboolean(lua, -1) == 0) return false;
  if (lua_isstring(lua, -1) == 0) luaL_error(lua, "invalid replacement value (a %s)", luaL_typename(lua, -1));
  return true;
}

}  // namespace

int TextRepeat(lua_State* lua) {
  const std::string_view text = Text(lua, 1);
  const lua_Integer times = luaL_checkinteger(lua, 2);
  if (times <= 0 || text.empty()) {
    lua_pushliteral(lua, "");
    return 1;
  }
  MeterOf(lua).Charge(static_cast<uint64_t>(times));
  State& state = State::Of(lua);
  if (static_cast<size_t>(times) > state.memory_left() / text.size()) {
    state.EndForMemory();
    return luaL_error(lua, "not enough memory");
  }
  luaL_Buffer out;
  luaL_buffinit(lua, &out);
  for (lua_Integer i = 0; i < times; ++i) luaL_addlstring(&out, text.data(), text.size());
  luaL_pushresult(&out);
  return 1;
}

int TextFind(lua_State* lua) { return FindOrMatch(lua, true); }

int TextMatch(lua_State* lua) { return FindOrMatch(lua, false); }

int TextEachMatch(lua_State* lua) {
  (void)Text(lua, 1);
  (void)PatternOf(lua, Text(lua, 2), false);
  lua_settop(lua, 2);
  lua_pushinteger(lua, 0);
  lua_pushcclosure(lua, &Guarded<&NextMatch>, 3);
  return 1;
}

int TextReplaceAll(lua_State* lua) {
  const std::string_view subject = Text(lua, 1);
  const int kind = lua_type(lua, 3);
  if (kind != LUA_TNUMBER && kind != LUA_TSTRING && kind != LUA_TFUNCTION && kind != LUA_TTABLE) {
    return luaL_argerror(lua, 3, "string/function/table expected");
  }
  const auto most = static_cast<size_t>(
      std::max<lua_Integer>(0, luaL_optinteger(lua, 4, static_cast<lua_Integer>(subject.size()) + 1)));
  const std::shared_ptr<const Pattern> pattern = PatternOf(lua, Text(lua, 2), true);
  lua_settop(lua, 4);
  std::string out;
  size_t count = 0;
  size_t at = 0;
  while (count < most) {
    auto match = pattern->MatchAt(subject, at, MeterOf(lua));
    if (match) {
      ++count;
      if (Replacement(lua, subject, *match)) {
        out += Text(lua, lua_gettop(lua));
      } else {
        out += subject.substr(at, match->end - at);
      }
      lua_settop(lua, 4);
      MeterOf(lua).Charge(1);
      CheckRoom(lua, out.size());
    }
    if (match && match->end > at) {
      at = match->end;
    } else if (at < subject.size()) {
      out += subject[at++];
    } else {
      break;
    }
    if (pattern->anchored()) break;
  }
  if (at < subject.size()) out += subject.substr(at);
  lua_pushlstring(lua, out.data(), out.size());
  lua_pushinteger(lua, static_cast<lua_Integer>(count));
  return 2;
}

}  // namespace polyarch::lua
