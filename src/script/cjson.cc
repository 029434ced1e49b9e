// The module cjson: JSON, with the replies, errors and settings of lua-cjson 2.1, as Redis has it.
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "lua/functions.h"
#include "script/inside.h"

namespace polyarch::script {

namespace {

struct Settings {
  bool sparse_convert = false;
  int sparse_ratio = 2;
  int sparse_safe = 10;
  int encode_depth_max = 1000;
  int decode_depth_max = 1000;
  bool encode_invalid_numbers = false;
  bool encode_null_for_invalid = false;
  bool decode_invalid_numbers = true;
  int number_precision = 14;
  bool keep_buffer = true;
};

char kSettingsKey;  // of the registry: the settings of the module that all scripts share

// The first upvalue of each function.
Settings& SettingsOf(lua_State* lua) {
  return *static_cast<Settings*>(lua_touserdata(lua, lua_upvalueindex(1)));
}

// ---- encoding

class Encoder {
 public:
  Encoder(lua_State* lua, const Settings& settings) : lua_(lua), settings_(settings) {}

  // The value on top, which stays there.
  void Value(int depth) {
    lua::MeterOf(lua_).Charge(1);
    lua::CheckRoom(lua_, out_.size());
    switch (lua_type(lua_, -1)) {
      case LUA_TSTRING:
        String(-1);
        break;
      case LUA_TNUMBER:
        Number(-1);
        break;
      case LUA_TBOOLEAN:
        out_ += lua_toboolean(lua_, -1) != 0 ? "true" : "false";
        break;
      case LUA_TTABLE: {
        ++depth;
        if (depth > settings_.encode_depth_max || lua_checkstack(lua_, 3) == 0) {
          luaL_error(lua_, "Cannot serialise, excessive nesting (%d)", depth);
        }
        const int64_t size = ArraySize();
        size > 0 ? Array(depth, size) : Object(depth);
        break;
      }
      case LUA_TNIL:
        out_ += "null";
        break;
      case LUA_TLIGHTUSERDATA:
        if (lua_touserdata(lua_, -1) == nullptr) {
          out_ += "null";
          break;
        }
        [[fallthrough]];
      default:
        Refuse(-1, "type not supported");
    }
  }
  const std::string& out() const { return out_; }

 private:
  void Refuse(int index, const char* reason) {
    out_ = std::string();
    luaL_error(lua_, "Cannot serialise %s: %s", luaL_typename(lua_, index), reason);
  }
  void String(int index) {
    static constexpr char kHex[] = "0123456789abcdef";
    size_t size = 0;
    const char* text = lua_tolstring(lua_, index, &size);
    lua::MeterOf(lua_).Charge(size / 16);
    lua::CheckRoom(lua_, out_.size() + size);
    out_.reserve(out_.size() + size + 2);
    out_ += '"';
    for (size_t i = 0; i < size; ++i) {
      // One that is escaped takes six times as much.
      if (i % 4096 == 4095) lua::CheckRoom(lua_, out_.size() + size - i);
      const char c = text[i];
      switch (c) {
        case '"':
          out_ += "\\\"";
          break;
        case '\\':
          out_ += "\\\\";
          break;
        case '/':
          out_ += "\\/";
          break;
        case '\b':
          out_ += "\\b";
          break;
        case '\f':
          out_ += "\\f";
          break;
        case '\n':
          out_ += "\\n";
          break;
        case '\r':
          out_ += "\\r";
          break;
        case '\t':
          out_ += "\\t";
          break;
        default:
          if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
            out_ += "\\u00";
            out_ += kHex[c >> 4];
            out_ += kHex[c & 15];
          } else {
            out_ += c;
          }
      }
    }
    out_ += '"';
  }
  void Number(int index) {
    const double number = lua_tonumber(lua_, index);
    if (std::isnan(number) || std::isinf(number)) {
      if (settings_.encode_null_for_invalid) {
        out_ += "null";
        return;
      }
      if (!settings_.encode_invalid_numbers) Refuse(index, "must not be NaN or Inf");
      if (std::isnan(number)) {
        out_ += "nan";
        return;
      }
    }
    char digits[64];
    const int size =
        std::snprintf(digits, sizeof digits, "%.*g", settings_.number_precision, number);
    out_.append(digits, static_cast<size_t>(size));
  }
  // The highest index of a table whose keys are all positive integers; -1 of another one.
  int64_t ArraySize() {
    int64_t highest = 0;
    int64_t count = 0;
    lua_pushnil(lua_);
    while (lua_next(lua_, -2) != 0) {
      lua_pop(lua_, 1);
      lua::MeterOf(lua_).Charge(1);
      const double key = lua_type(lua_, -1) == LUA_TNUMBER ? lua_tonumber(lua_, -1) : 0;
      if (key >= 1 && key < 9e15 && std::floor(key) == key) {
        highest = std::max(highest, static_cast<int64_t>(key));
        ++count;
        continue;
      }
      lua_pop(lua_, 1);
      return -1;
    }
    if (settings_.sparse_ratio > 0 && highest > count * settings_.sparse_ratio &&
        highest > settings_.sparse_safe) {
      if (!settings_.sparse_convert) Refuse(-1, "excessively sparse array");
      return -1;
    }
    return highest;
  }
  void Array(int depth, int64_t size) {
    out_ += '[';
    for (int64_t i = 1; i <= size; ++i) {
      if (i > 1) out_ += ',';
      lua_rawgeti(lua_, -1, static_cast<int>(i));
      Value(depth);
      lua_pop(lua_, 1);
    }
    out_ += ']';
  }
  void Object(int depth) {
    out_ += '{';
    bool first = true;
    lua_pushnil(lua_);
    while (lua_next(lua_, -2) != 0) {
      if (!first) out_ += ',';
      first = false;
      switch (lua_type(lua_, -2)) {
        case LUA_TNUMBER:
          out_ += '"';
          Number(-2);
          out_ += "\":";
          break;
        case LUA_TSTRING:
          String(-2);
          out_ += ':';
          break;
        default:
          Refuse(-2, "table key must be a number or string");
      }
      Value(depth);
      lua_pop(lua_, 1);
    }
    out_ += '}';
  }

  lua_State* lua_;
  const Settings& settings_;
  std::string out_;
};

int Encode(lua_State* lua) {
  luaL_argcheck(lua, lua_gettop(lua) == 1, 1, "expected 1 argument");
  Encoder encoder(lua, SettingsOf(lua));
  encoder.Value(0);
  lua_pushlstring(lua, encoder.out().data(), encoder.out().size());
  return 1;
}

// ---- decoding

enum class Token {
  kObject,
  kObjectEnd,
  kArray,
  kArrayEnd,
  kString,
  kNumber,
  kBoolean,
  kNull,
  kColon,
  kComma,
  kEnd,
  kError
};

constexpr const char* kTokenNames[] = {"T_OBJ_BEGIN",
                                       "T_OBJ_END",
                                       "T_ARR_BEGIN",
                                       "T_ARR_END",
                                       "T_STRING",
                                       "T_NUMBER",
                                       "T_BOOLEAN",
                                       "T_NULL",
                                       "T_COLON",
                                       "T_COMMA",
                                       "T_END",
                                       "T_ERROR"};

class Decoder {
 public:
  // `text` ends with a zero byte.
  Decoder(lua_State* lua, const Settings& settings, std::string_view text)
      : lua_(lua),
        settings_(settings),
        begin_(text.data()),
        p_(begin_),
        end_(begin_ + text.size()) {}

  // Pushes the one value.
  void Document() {
    Next();
    Value();
    Next();
    if (token_ != Token::kEnd) Unexpected("the end");
  }

 private:
  void Unexpected(const char* expected) {
    const char* found = token_ == Token::kError ? error_ : kTokenNames[static_cast<size_t>(token_)];
    const auto at = static_cast<int>(at_ + 1);
    text_ = std::string();
    luaL_error(lua_, "Expected %s but found %s at character %d", expected, found, at);
  }
  void Descend() {
    ++depth_;
    if (depth_ <= settings_.decode_depth_max && lua_checkstack(lua_, 3) != 0) return;
    text_ = std::string();
    luaL_error(lua_,
               "Found too many nested data structures (%d) at character %d",
               depth_,
               static_cast<int>(p_ - begin_));
  }

  // Pushes the value that the present token begins.
  void Value() {
    switch (token_) {
      case Token::kString:
        lua_pushlstring(lua_, text_.data(), text_.size());
        break;
      case Token::kNumber:
        lua_pushnumber(lua_, number_);
        break;
      case Token::kBoolean:
        lua_pushboolean(lua_, truth_ ? 1 : 0);
        break;
      case Token::kObject:
        Object();
        break;
      case Token::kArray:
        Array();
        break;
      case Token::kNull:
        lua_pushlightuserdata(lua_, nullptr);
        break;
      default:
        Unexpected("value");
    }
  }
  void Object() {
    Descend();
    lua_newtable(lua_);
    Next();
    if (token_ == Token::kObjectEnd) {
      --depth_;
      return;
    }
    for (;;) {
      if (token_ != Token::kString) Unexpected("object key string");
      lua_pushlstring(lua_, text_.data(), text_.size());
      Next();
      if (token_ != Token::kColon) Unexpected("colon");
      Next();
      Value();
      lua_rawset(lua_, -3);
      Next();
      if (token_ == Token::kObjectEnd) {
        --depth_;
        return;
      }
      if (token_ != Token::kComma) Unexpected("comma or object end");
      Next();
    }
  }
  void Array() {
    Descend();
    lua_newtable(lua_);
    Next();
    if (token_ == Token::kArrayEnd) {
      --depth_;
      return;
    }
    for (int i = 1;; ++i) {
      Value();
      lua_rawseti(lua_, -2, i);
      Next();
      if (token_ == Token::kArrayEnd) {
        --depth_;
        return;
      }
      if (token_ != Token::kComma) Unexpected("comma or array end");
      Next();
    }
  }

  void Fail(const char* error) {
    token_ = Token::kError;
    error_ = error;
  }
  bool Skip(std::string_view word) {
    if (static_cast<size_t>(end_ - p_) < word.size() || std::string_view(p_, word.size()) != word)
      return false;
    p_ += word.size();
    return true;
  }
  void Next() {
    lua::MeterOf(lua_).Charge(1);
    while (p_ != end_ && (*p_ == ' ' || *p_ == '\t' || *p_ == '\n' || *p_ == '\r'))
      ++p_;
    at_ = p_ - begin_;
    if (p_ == end_) {
      token_ = Token::kEnd;
      return;
    }
    switch (*p_) {
      case '{':
        Take(Token::kObject);
        return;
      case '}':
        Take(Token::kObjectEnd);
        return;
      case '[':
        Take(Token::kArray);
        return;
      case ']':
        Take(Token::kArrayEnd);
        return;
      case ',':
        Take(Token::kComma);
        return;
      case ':':
        Take(Token::kColon);
        return;
      case '"':
        String();
        return;
      default:
        break;
    }
    if (*p_ == '-' || (*p_ >= '0' && *p_ <= '9')) {
      if (!settings_.decode_invalid_numbers && IsInvalidNumber()) return Fail("invalid number");
      return Number();
    }
    if (Skip("true") || Skip("false")) {
      token_ = Token::kBoolean;
      truth_ = p_[-2] == 'u';
    } else if (Skip("null")) {
      token_ = Token::kNull;
    } else if (settings_.decode_invalid_numbers && IsInvalidNumber()) {
      Number();
    } else {
      Fail("invalid token");
    }
  }
  void Take(Token token) {
    ++p_;
    token_ = token;
  }
  // Hexadecimal, infinite, no number, or with zeros in front: what JSON does not know and strtod
  // does.
  bool IsInvalidNumber() const {
    const char* p = p_;
    if (*p == '+') return true;
    if (*p == '-') ++p;
    if (*p == '0') {
      const char next = static_cast<char>(p[1] | 0x20);
      return next == 'x' || (p[1] >= '0' && p[1] <= '9');
    }
    if (*p >= '0' && *p <= '9') return false;
    auto same = [p](const char* word) {
      for (int i = 0; word[i] != 0; ++i) {
        if ((p[i] | 0x20) != word[i]) return false;
      }
      return true;
    };
    return same("inf") || same("nan");
  }
  void Number() {
    char* after = nullptr;
    number_ = std::strtod(p_, &after);
    if (after == p_) return Fail("invalid number");
    p_ = after;
    token_ = Token::kNumber;
  }
  int Hex4() {
    if (end_ - p_ < 4) return -1;
    int code = 0;
    for (int i = 0; i < 4; ++i) {
      const char c = p_[i];
      int digit = 0;
      if (c >= '0' && c <= '9') {
        digit = c - '0';
      } else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f') {
        digit = (c | 0x20) - 'a' + 10;
      } else {
        return -1;
      }
      code = code << 4 | digit;
    }
    p_ += 4;
    return code;
  }
  void AppendUtf8(int code) {
    if (code < 0x80) {
      text_ += static_cast<char>(code);
    } else if (code < 0x800) {
      text_ += static_cast<char>(0xc0 | code >> 6);
      text_ += static_cast<char>(0x80 | (code & 63));
    } else if (code < 0x10000) {
      text_ += static_cast<char>(0xe0 | code >> 12);
      text_ += static_cast<char>(0x80 | (code >> 6 & 63));
      text_ += static_cast<char>(0x80 | (code & 63));
    } else {
      text_ += static_cast<char>(0xf0 | code >> 18);
      text_ += static_cast<char>(0x80 | (code >> 12 & 63));
      text_ += static_cast<char>(0x80 | (code >> 6 & 63));
      text_ += static_cast<char>(0x80 | (code & 63));
    }
  }
  // Behind "\u". False if it is no character.
  bool Unicode() {
    int code = Hex4();
    if (code < 0 || (code & 0xfc00) == 0xdc00) return false;
    if ((code & 0xfc00) == 0xd800) {
      if (!Skip("\\u")) return false;
      const int low = Hex4();
      if (low < 0 || (low & 0xfc00) != 0xdc00) return false;
      code = 0x10000 + ((code & 0x3ff) << 10) + (low & 0x3ff);
    }
    AppendUtf8(code);
    return true;
  }
  void String() {
    text_.clear();
    ++p_;
    const char* from = p_;
    for (;; ++p_) {
      if (p_ == end_) {
        at_ = p_ - begin_;
        return Fail("unexpected end of string");
      }
      if (*p_ == '"') break;
      if (*p_ != '\\') continue;
      text_.append(from, p_);
      const char* escape = p_++;
      static constexpr std::string_view kEscaped = "\"\\/bfnrt";
      static constexpr char kPlain[] = "\"\\/\b\f\n\r\t";
      if (p_ != end_ && *p_ == 'u') {
        ++p_;
        if (!Unicode()) {
          at_ = escape - begin_;
          return Fail("invalid unicode escape code");
        }
        --p_;
      } else if (const size_t which = p_ == end_ ? std::string_view::npos : kEscaped.find(*p_);
                 which != std::string_view::npos) {
        text_ += kPlain[which];
      } else {
        at_ = escape - begin_;
        return Fail("invalid escape code");
      }
      from = p_ + 1;
    }
    text_.append(from, p_);
    lua::MeterOf(lua_).Charge(text_.size() / 16);
    ++p_;
    token_ = Token::kString;
  }

  lua_State* lua_;
  const Settings& settings_;
  const char* const begin_;
  const char* p_;
  const char* const end_;
  int depth_ = 0;
  Token token_ = Token::kEnd;
  ptrdiff_t at_ = 0;  // where it begins
  const char* error_ = "";
  std::string text_;
  double number_ = 0;
  bool truth_ = false;
};

int Decode(lua_State* lua) {
  luaL_argcheck(lua, lua_gettop(lua) == 1, 1, "expected 1 argument");
  const std::string_view text = lua::Text(lua, 1);
  if (text.size() >= 2 && (text[0] == 0 || text[1] == 0)) {
    luaL_error(lua, "JSON parser does not support UTF-16 or UTF-32");
  }
  Decoder(lua, SettingsOf(lua), text).Document();
  return 1;
}

// ---- settings

void IntegerOption(lua_State* lua, int argument, int* setting, int least, int most) {
  if (!lua_isnil(lua, argument)) {
    const auto value = static_cast<int>(luaL_checkinteger(lua, argument));
    luaL_argcheck(lua,
                  least <= value && value <= most,
                  1,
                  lua_pushfstring(lua, "expected integer between %d and %d", least, most));
    *setting = value;
  }
  lua_pushinteger(lua, *setting);
}

void SwitchOption(lua_State* lua, int argument, bool* setting) {
  if (!lua_isnil(lua, argument)) {
    luaL_checktype(lua, argument, LUA_TBOOLEAN);
    *setting = lua_toboolean(lua, argument) != 0;
  }
  lua_pushboolean(lua, *setting ? 1 : 0);
}

// As many arguments as there are settings, nil for those that stay.
void Arguments(lua_State* lua, int count) {
  luaL_argcheck(lua, lua_gettop(lua) <= count, count + 1, "found too many arguments");
  lua_settop(lua, count);
}

int SparseArray(lua_State* lua) {
  Settings& s = SettingsOf(lua);
  Arguments(lua, 3);
  SwitchOption(lua, 1, &s.sparse_convert);
  IntegerOption(lua, 2, &s.sparse_ratio, 0, INT32_MAX);
  IntegerOption(lua, 3, &s.sparse_safe, 0, INT32_MAX);
  return 3;
}
int EncodeDepth(lua_State* lua) {
  Arguments(lua, 1);
  IntegerOption(lua, 1, &SettingsOf(lua).encode_depth_max, 1, 1000);
  return 1;
}
int DecodeDepth(lua_State* lua) {
  Arguments(lua, 1);
  IntegerOption(lua, 1, &SettingsOf(lua).decode_depth_max, 1, 1000);
  return 1;
}
int Precision(lua_State* lua) {
  Arguments(lua, 1);
  IntegerOption(lua, 1, &SettingsOf(lua).number_precision, 1, 14);
  return 1;
}
int KeepBuffer(lua_State* lua) {
  Arguments(lua, 1);
  SwitchOption(lua, 1, &SettingsOf(lua).keep_buffer);
  return 1;
}
int EncodeInvalid(lua_State* lua) {
  Settings& s = SettingsOf(lua);
  Arguments(lua, 1);
  if (lua_isboolean(lua, 1)) {
    s.encode_invalid_numbers = lua_toboolean(lua, 1) != 0;
    s.encode_null_for_invalid = false;
  } else if (!lua_isnil(lua, 1)) {
    static constexpr const char* kWords[] = {"off", "on", "null", nullptr};
    const int word = luaL_checkoption(lua, 1, nullptr, kWords);
    s.encode_invalid_numbers = word == 1;
    s.encode_null_for_invalid = word == 2;
  }
  if (s.encode_null_for_invalid) {
    lua_pushliteral(lua, "null");
  } else {
    lua_pushboolean(lua, s.encode_invalid_numbers ? 1 : 0);
  }
  return 1;
}
int DecodeInvalid(lua_State* lua) {
  Arguments(lua, 1);
  SwitchOption(lua, 1, &SettingsOf(lua).decode_invalid_numbers);
  return 1;
}

int New(lua_State* lua);

constexpr luaL_Reg kFunctions[] = {
    {"encode", lua::Guarded<&Encode>},
    {"decode", lua::Guarded<&Decode>},
    {"encode_sparse_array", SparseArray},
    {"encode_max_depth", EncodeDepth},
    {"decode_max_depth", DecodeDepth},
    {"encode_number_precision", Precision},
    {"encode_keep_buffer", KeepBuffer},
    {"encode_invalid_numbers", EncodeInvalid},
    {"decode_invalid_numbers", DecodeInvalid},
    {"new", New},
};

// A module with the settings on top of the stack, which are popped.
void OpenWith(lua_State* lua) {
  lua_newtable(lua);
  for (const luaL_Reg& f : kFunctions) {
    lua_pushvalue(lua, -2);
    lua_pushcclosure(lua, f.func, 1);
    lua_setfield(lua, -2, f.name);
  }
  lua_pushlightuserdata(lua, nullptr);
  lua_setfield(lua, -2, "null");
  lua_pushliteral(lua, "cjson");
  lua_setfield(lua, -2, "_NAME");
  lua_pushliteral(lua, "2.1.0");
  lua_setfield(lua, -2, "_VERSION");
  lua_remove(lua, -2);
}

Settings* PushSettings(lua_State* lua) {
  return new (lua_newuserdata(lua, sizeof(Settings))) Settings();
}

int New(lua_State* lua) {
  (void)PushSettings(lua);
  OpenWith(lua);
  return 1;
}

}  // namespace

void OpenCjson(lua_State* lua) {
  (void)PushSettings(lua);
  lua_pushlightuserdata(lua, &kSettingsKey);
  lua_pushvalue(lua, -2);
  lua_rawset(lua, LUA_REGISTRYINDEX);
  OpenWith(lua);
}

void ResetCjson(lua_State* lua) {
  lua_pushlightuserdata(lua, &kSettingsKey);
  lua_rawget(lua, LUA_REGISTRYINDEX);
  *static_cast<Settings*>(lua_touserdata(lua, -1)) = Settings();
  lua_pop(lua, 1);
}

}  // namespace polyarch::script
