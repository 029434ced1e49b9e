#include <algorithm>
#include <ctime>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/conflicts.h"
#include "cli/side_by_side.h"
#include "cli/text.h"

namespace polyarch::cli {

namespace {

using Value = resp::Value;

constexpr size_t kWidth = 100;  // where there is no terminal

size_t OutputWidth() {
  winsize size{};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return kWidth;
  return size.ws_col;
}

}  // namespace

std::string When(int64_t ms) {
  const auto seconds = static_cast<time_t>(ms / 1000);
  tm parts{};
  gmtime_r(&seconds, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%SZ", &parts);
  return text;
}

ShownVersion VersionOf(const Value& version) {
  const bool named = Find(version, "tag") != nullptr;
  auto part = [&](const char* name, size_t at) -> const Value* {
    if (named) return Find(version, name);
    return at < version.items.size() ? &version.items[at] : nullptr;
  };
  ShownVersion shown;
  if (const Value* value = part("value", 0)) {
    shown.deleted = value->is_null();
    // An entry of a stream is an array.
    shown.value = value->items.empty() ? TextOf(value) : TextOf(&value->items[0]);
    for (size_t i = 1; i < value->items.size(); ++i)
      shown.value += " " + TextOf(&value->items[i]);
  }
  shown.leader = TextOf(part("leader", 1));
  shown.time_ms = NumberOf(part("time", 2));
  shown.tag = TextOf(part("tag", 3));
  return shown;
}

std::string VersionLine(const ShownVersion& version) {
  constexpr size_t kShownBytes = 200;
  std::string shown =
      version.deleted ? "(deleted)" : Printable(version.value.substr(0, kShownBytes));
  if (version.value.size() > kShownBytes) shown += "... (" + HumanBytes(version.value.size()) + ")";
  return shown + "   by " + Printable(version.leader) + " at " + When(version.time_ms) + "   " +
         Printable(version.tag);
}

ShownConflict ConflictOf(const Value& reply) {
  const Value* token = Find(reply, "token");
  const Value* versions = Find(reply, "versions");
  if (token == nullptr && reply.items.size() > 1) {
    token = &reply.items[0];
    versions = &reply.items[1];
  }
  ShownConflict conflict{TextOf(token), {}};
  if (versions == nullptr) return conflict;
  for (const Value& version : versions->items)
    conflict.versions.push_back(VersionOf(version));
  return conflict;
}

std::vector<std::string> ConflictLines(const std::vector<ShownVersion>& versions, bool numbered) {
  std::vector<Column> columns;
  for (const ShownVersion& v : versions) {
    Column& column = columns.emplace_back();
    const std::string number = numbered ? "[" + std::to_string(columns.size()) + "] " : "";
    column.title = {number + Printable(v.leader) + "  " + When(v.time_ms), Printable(v.tag)};
    column.text = v.deleted ? "(deleted)" : v.value;
  }
  return SideBySide(columns, OutputWidth());
}

std::string PlaceText(const ConflictPlace& place) {
  std::string text = Printable(place.key);
  if (place.of_element()) text += " field " + Printable(place.field);
  return text;
}

std::vector<ConflictPlace> PlacesOf(const Value& reply) {
  std::vector<ConflictPlace> places;
  for (const Value& row : reply.items) {
    if (row.items.size() < 4) continue;
    places.push_back({TextOf(&row.items[0]), TextOf(&row.items[1]), TextOf(&row.items[2])});
  }
  return places;
}

Value PlacesValue(const Value& reply) {
  Value out = Array();
  for (const ConflictPlace& place : PlacesOf(reply)) {
    Value& map = out.items.emplace_back(Map());
    Put(map, "key", Text(place.key));
    Put(map, "field", place.of_element() ? Text(place.field) : Value{});
    Put(map, "type", place.type.empty() ? Value{} : Text(place.type));
  }
  return out;
}

}  // namespace polyarch::cli
