// Searching for places: GEOSEARCH and GEOSEARCHSTORE, and GEORADIUS and its relatives, which are
// older words for the same.
#include <algorithm>

#include "base/number.h"
#include "command/geo.h"
#include "command/sorted_set.h"

namespace polyarch::command {
namespace {

using keyspace::Collection;

enum class Form : uint8_t { kSearch, kSearchStore, kRadius, kRadiusByMember };
enum class Order : uint8_t { kNone, kNearest, kFarthest };

struct Query {
  Form form = Form::kSearch;
  bool may_store = false;  // GEORADIUS, but not GEORADIUS_RO
  Area area;
  double unit = 1;  // metres in what the client gave and gets
  bool from_member = false;
  bool from_place = false;
  bool has_shape = false;
  bool with_distance = false;
  bool with_score = false;
  bool with_place = false;
  Order order = Order::kNone;
  bool any = false;
  size_t count = 0;  // 0: all
  std::optional<std::string_view> target;
  bool store_distance = false;

  bool is_search() const { return form == Form::kSearch || form == Form::kSearchStore; }
};

struct Found {
  std::string_view name;
  double score = 0;
  Place place;
  double distance = 0;  // metres
};

// ---- reading arguments

std::optional<double> ReadLength(Context& c, std::string_view text, std::string_view what) {
  return ReadDouble(c, text, "ERR need numeric " + std::string(what));
}

// "radius unit"
bool ReadCircle(Context& c, size_t at, Query& query) {
  const auto radius = ReadLength(c, c.args[at], "radius");
  if (!radius) return false;
  if (*radius < 0) {
    c.reply.Error("ERR radius cannot be negative");
    return false;
  }
  const auto unit = ReadUnit(c, c.args[at + 1]);
  if (!unit) return false;
  query.unit = *unit;
  query.area.is_box = false;
  query.area.radius = *radius * *unit;
  query.has_shape = true;
  return true;
}

// "width height unit"
bool ReadBox(Context& c, size_t at, Query& query) {
  const auto width = ReadLength(c, c.args[at], "width");
  if (!width) return false;
  const auto height = ReadLength(c, c.args[at + 1], "height");
  if (!height) return false;
  if (*width < 0 || *height < 0) {
    c.reply.Error("ERR height or width cannot be negative");
    return false;
  }
  const auto unit = ReadUnit(c, c.args[at + 2]);
  if (!unit) return false;
  query.unit = *unit;
  query.area.is_box = true;
  query.area.width = *width * *unit;
  query.area.height = *height * *unit;
  query.has_shape = true;
  return true;
}

bool ReadCenter(Context& c, size_t at, Query& query) {
  const auto place = ReadPlace(c, c.args[at], c.args[at + 1]);
  if (place) query.area.center = *place;
  return place.has_value();
}

// Of a key that is missing nothing is found, so the member does not matter.
bool ReadMember(Context& c, std::string_view member, const Collection& zset, Query& query) {
  if (!zset.found()) return true;
  const auto place = PlaceOf(zset, member);
  if (place) {
    query.area.center = *place;
  } else {
    c.reply.Error("ERR could not decode requested zset member");
  }
  return place.has_value();
}

bool ReadCount(Context& c, std::string_view text, Query& query) {
  const auto count = ReadInteger(c, text);
  if (!count) return false;
  if (*count <= 0) {
    c.reply.Error("ERR COUNT must be > 0");
    return false;
  }
  query.count = static_cast<size_t>(*count);
  return true;
}

bool ReadFlag(std::string_view word, Query& query) {
  if (EqualsIgnoreCase(word, "withdist")) return query.with_distance = true;
  if (EqualsIgnoreCase(word, "withhash")) return query.with_score = true;
  if (EqualsIgnoreCase(word, "withcoord")) return query.with_place = true;
  if (EqualsIgnoreCase(word, "any")) return query.any = true;
  if (EqualsIgnoreCase(word, "asc")) {
    query.order = Order::kNearest;
    return true;
  }
  if (EqualsIgnoreCase(word, "desc")) {
    query.order = Order::kFarthest;
    return true;
  }
  if (query.form == Form::kSearchStore && EqualsIgnoreCase(word, "storedist"))
    return query.store_distance = true;
  return false;
}

// An option with values at args[at]: how many arguments it takes; 0 if it is none of these. Nothing
// if the reply has been given.
std::optional<size_t> ReadOption(Context& c, size_t at, const Collection& zset, Query& query) {
  const std::string_view word = c.args[at];
  const size_t values = c.count() - at - 1;
  bool ok = true;
  size_t taken = 0;
  if (values >= 1 && EqualsIgnoreCase(word, "count")) {
    ok = ReadCount(c, c.args[at + 1], query);
    taken = 2;
  } else if (query.may_store && values >= 1 &&
             (EqualsIgnoreCase(word, "store") || EqualsIgnoreCase(word, "storedist"))) {
    query.target = c.args[at + 1];
    query.store_distance = EqualsIgnoreCase(word, "storedist");
    taken = 2;
  } else if (!query.is_search()) {
    return 0;
  } else if (values >= 1 && !query.from_place && EqualsIgnoreCase(word, "frommember")) {
    ok = ReadMember(c, c.args[at + 1], zset, query);
    query.from_member = true;
    taken = 2;
  } else if (values >= 2 && !query.from_member && EqualsIgnoreCase(word, "fromlonlat")) {
    ok = ReadCenter(c, at + 1, query);
    query.from_place = true;
    taken = 3;
  } else if (values >= 2 && !(query.has_shape && query.area.is_box) &&
             EqualsIgnoreCase(word, "byradius")) {
    ok = ReadCircle(c, at + 1, query);
    taken = 3;
  } else if (values >= 3 && (!query.has_shape || query.area.is_box) &&
             EqualsIgnoreCase(word, "bybox")) {
    ok = ReadBox(c, at + 1, query);
    taken = 4;
  }
  if (!ok) return std::nullopt;
  return taken;
}

bool ReadOptions(Context& c, size_t from, const Collection& zset, Query& query) {
  for (size_t i = from; i < c.count();) {
    if (ReadFlag(c.args[i], query)) {
      ++i;
      continue;
    }
    const auto taken = ReadOption(c, i, zset, query);
    if (!taken) return false;
    if (*taken == 0) {
      ReplySyntaxError(c);
      return false;
    }
    i += *taken;
  }
  return true;
}

bool CheckQuery(Context& c, const Query& query) {
  std::string error;
  if (query.target && (query.with_distance || query.with_score || query.with_place)) {
    error = query.is_search() ? "GEOSEARCHSTORE" : "STORE option in GEORADIUS";
    error += " is not compatible with WITHDIST, WITHHASH and WITHCOORD options";
  } else if (query.is_search() && !query.from_member && !query.from_place) {
    error = "exactly one of FROMMEMBER or FROMLONLAT can be specified for ";
    error.append(c.args[0]);
  } else if (query.is_search() && !query.has_shape) {
    error = "exactly one of BYRADIUS and BYBOX can be specified for ";
    error.append(c.args[0]);
  } else if (query.any && query.count == 0) {
    error = "the ANY argument requires COUNT argument";
  }
  if (!error.empty()) c.reply.Error("ERR " + error);
  return error.empty();
}

// All arguments; `zset` is what is searched.
bool ReadQuery(Context& c, const Collection& zset, Query& query) {
  size_t options = 0;
  switch (query.form) {
    case Form::kSearch:
      options = 2;
      break;
    case Form::kSearchStore:
      query.target = c.args[1];
      options = 3;
      break;
    case Form::kRadius:
      if (!ReadCenter(c, 2, query) || !ReadCircle(c, 4, query)) return false;
      options = 6;
      break;
    case Form::kRadiusByMember:
      if (!ReadMember(c, c.args[2], zset, query)) return false;
      if (zset.found() && !ReadCircle(c, 3, query)) return false;
      options = 5;
      break;
  }
  return ReadOptions(c, options, zset, query) && CheckQuery(c, query);
}

// ---- searching

std::vector<Found> Search(const Collection& zset, const Query& query) {
  std::vector<Found> found;
  const size_t enough = query.any ? query.count : SIZE_MAX;
  for (const ScoreSpan& span : SpansOf(query.area)) {
    if (found.size() >= enough) break;
    const keyspace::Viewer viewer = zset.viewer();
    zset.elements->Walk(
        zset.elements->CountBelow(span.min, false, viewer),
        false,
        [&](const keyspace::RankedElement& item) {
          if (item.score >= span.max) return false;
          Found one{item.element.key(), item.score, DecodePlace(item.score)};
          if (Contains(query.area, one.place, one.distance)) found.push_back(one);
          return found.size() < enough;
        },
        viewer);
  }
  // A count without an order means the nearest ones, unless any will do.
  Order order = query.order;
  if (order == Order::kNone && query.count != 0 && !query.any) order = Order::kNearest;
  if (order != Order::kNone) {
    std::stable_sort(found.begin(), found.end(), [order](const Found& a, const Found& b) {
      return order == Order::kNearest ? a.distance < b.distance : a.distance > b.distance;
    });
  }
  if (query.count != 0 && query.count < found.size()) found.resize(query.count);
  return found;
}

void ReplyFound(Context& c, const Query& query, const std::vector<Found>& found) {
  const size_t extras =
      size_t{query.with_distance} + size_t{query.with_score} + size_t{query.with_place};
  c.reply.Array(found.size());
  for (const Found& one : found) {
    if (extras != 0) c.reply.Array(1 + extras);
    c.reply.Bulk(one.name);
    if (query.with_distance) ReplyDistance(c, one.distance / query.unit);
    if (query.with_score) c.reply.Integer(static_cast<int64_t>(one.score));
    if (query.with_place) ReplyPlace(c, one.place);
  }
}

void Run(Context& c, Query query, std::string_view key) {
  const auto zset = Open(c, c.Ref(key), kSortedSet);
  if (!zset || !ReadQuery(c, *zset, query)) return;
  std::vector<Found> found;
  if (zset->size() != 0) found = Search(*zset, query);
  if (!query.target) return ReplyFound(c, query, found);
  std::vector<ScoredName> members;
  members.reserve(found.size());
  for (const Found& one : found) {
    members.push_back(
        {std::string(one.name), query.store_distance ? one.distance / query.unit : one.score});
  }
  if (StoreMembers(c, c.Ref(*query.target), members))
    c.reply.Integer(static_cast<int64_t>(members.size()));
}

void Geosearch(Context& c) {
  Run(c, {.form = Form::kSearch}, c.args[1]);
}
void Geosearchstore(Context& c) {
  Run(c, {.form = Form::kSearchStore}, c.args[2]);
}
void Georadius(Context& c) {
  Run(c, {.form = Form::kRadius, .may_store = true}, c.args[1]);
}
void GeoradiusRo(Context& c) {
  Run(c, {.form = Form::kRadius}, c.args[1]);
}
void Georadiusbymember(Context& c) {
  Run(c, {.form = Form::kRadiusByMember, .may_store = true}, c.args[1]);
}
void GeoradiusbymemberRo(Context& c) {
  Run(c, {.form = Form::kRadiusByMember}, c.args[1]);
}

// As ReadOption reads them.
constexpr OptionWord kStoreOptions[] = {
    {.word = "count"}, {.word = "store", .names_key = true}, {.word = "storedist", .names_key = true}};

constexpr std::string_view kComplexity =
    "O(N+M*log(M)) where N is the number of places in the cells of the grid around the area and M "
    "the "
    "number of those inside";

}  // namespace

void AddGeoSearchRows(std::vector<Row>& rows) {
  // clang-format off: a row as few lines as it needs
  static constexpr Row kRows[] = {
      {.name = "geosearch",
       .arity = -7,
       .flags = kReadonly,
       .keys = {1, 1, 1},
       .categories = "@read @geo @slow",
       .handler = Geosearch,
       .summary = "Returns the places inside a circle or a box",
       .since = "6.2.0",
       .group = "geo",
       .complexity = kComplexity,
       .syntax = "key:key from:(FROMMEMBER member|FROMLONLAT "
                 "longitude_latitude:{longitude:double latitude:double}) by:(circle:{BYRADIUS "
                 "radius:double unit:(M|KM|FT|MI)}|box:{BYBOX width:double height:double "
                 "unit:(M|KM|FT|MI)}) order:(ASC|DESC)? count:{COUNT count:integer ANY?}? "
                 "WITHCOORD? WITHDIST? WITHHASH?",
       .key_access = "RO access"},
      {.name = "geosearchstore",
       .arity = -8,
       .flags = kWrite | kDenyOom,
       .keys = {1, 2, 1},
       .categories = "@write @geo @slow",
       .handler = Geosearchstore,
       .summary = "Stores the places inside a circle or a box",
       .since = "6.2.0",
       .group = "geo",
       .complexity = kComplexity,
       .syntax = "destination:key source:key from:(FROMMEMBER member|FROMLONLAT "
                 "longitude_latitude:{longitude:double latitude:double}) by:(circle:{BYRADIUS "
                 "radius:double unit:(M|KM|FT|MI)}|box:{BYBOX width:double height:double "
                 "unit:(M|KM|FT|MI)}) order:(ASC|DESC)? count:{COUNT count:integer ANY?}? "
                 "STOREDIST?",
       .key_access = "OW update|RO access"},
      {.name = "georadius",
       .arity = -6,
       .flags = kWrite | kDenyOom | kMovableKeys,
       .keys = {.first = 1, .last = 1, .step = 1, .options = kStoreOptions, .options_from = 6},
       .categories = "@write @geo @slow",
       .handler = Georadius,
       .summary = "Returns or stores the places around a point",
       .since = "3.2.0",
       .group = "geo",
       .complexity = kComplexity,
       .syntax = "key:key longitude:double latitude:double radius:double unit:(M|KM|FT|MI) "
                 "WITHCOORD? WITHDIST? WITHHASH? count:{COUNT count:integer ANY?@6.2.0}? "
                 "order:(ASC|DESC)? STORE key:key? STOREDIST key:key?",
       .key_access = "RO access|OW update",
       .deprecated_since = "6.2.0",
       .replaced_by = "`GEOSEARCH` and `GEOSEARCHSTORE` with the `BYRADIUS` argument"},
      {.name = "georadius_ro",
       .arity = -6,
       .flags = kReadonly,
       .keys = {1, 1, 1},
       .categories = "@read @geo @slow",
       .handler = GeoradiusRo,
       .summary = "Returns the places around a point",
       .since = "3.2.10",
       .group = "geo",
       .complexity = kComplexity,
       .syntax = "key:key longitude:double latitude:double radius:double unit:(M|KM|FT|MI) "
                 "WITHCOORD? WITHDIST? WITHHASH? count:{COUNT count:integer ANY?@6.2.0}? "
                 "order:(ASC|DESC)?",
       .key_access = "RO access",
       .deprecated_since = "6.2.0",
       .replaced_by = "`GEOSEARCH` with the `BYRADIUS` argument"},
      {.name = "georadiusbymember",
       .arity = -5,
       .flags = kWrite | kDenyOom | kMovableKeys,
       .keys = {.first = 1, .last = 1, .step = 1, .options = kStoreOptions, .options_from = 5},
       .categories = "@write @geo @slow",
       .handler = Georadiusbymember,
       .summary = "Returns or stores the places around a member",
       .since = "3.2.0",
       .group = "geo",
       .complexity = kComplexity,
       .syntax = "key:key member radius:double unit:(M|KM|FT|MI) WITHCOORD? WITHDIST? WITHHASH? "
                 "count:{COUNT count:integer ANY?}? order:(ASC|DESC)? STORE key:key? STOREDIST "
                 "key:key?",
       .key_access = "RO access|OW update",
       .deprecated_since = "6.2.0",
       .replaced_by =
           "`GEOSEARCH` and `GEOSEARCHSTORE` with the `BYRADIUS` and `FROMMEMBER` arguments"},
      {.name = "georadiusbymember_ro",
       .arity = -5,
       .flags = kReadonly,
       .keys = {1, 1, 1},
       .categories = "@read @geo @slow",
       .handler = GeoradiusbymemberRo,
       .summary = "Returns the places around a member",
       .since = "3.2.10",
       .group = "geo",
       .complexity = kComplexity,
       .syntax = "key:key member radius:double unit:(M|KM|FT|MI) WITHCOORD? WITHDIST? WITHHASH? "
                 "count:{COUNT count:integer ANY?}? order:(ASC|DESC)?",
       .key_access = "RO access",
       .deprecated_since = "6.2.0",
       .replaced_by = "`GEOSEARCH` with the `BYRADIUS` and `FROMMEMBER` arguments"},
  };
  // clang-format on
  rows.insert(rows.end(), std::begin(kRows), std::end(kRows));
}

}  // namespace polyarch::command
