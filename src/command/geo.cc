// Places: members of sorted sets whose scores stand for longitude and latitude (geohash.h).
// Searching is in geo_search.cc.
#include "command/geo.h"

#include <array>
#include <cmath>
#include <cstdio>

#include "base/number.h"
#include "command/families.h"
#include "command/sorted_set.h"

namespace polyarch::command {

using keyspace::Collection;
using keyspace::ElementView;

std::optional<Place> ReadPlace(Context& c, std::string_view longitude, std::string_view latitude) {
  const auto x = ReadDouble(c, longitude);
  if (!x) return std::nullopt;
  const auto y = ReadDouble(c, latitude);
  if (!y) return std::nullopt;
  if (std::fabs(*x) <= kLongitudeMax && std::fabs(*y) <= kLatitudeMax) return Place{*x, *y};
  std::array<char, 700> text;  // two doubles of 309 digits
  std::snprintf(text.data(), text.size(), "ERR invalid longitude,latitude pair %f,%f", *x, *y);
  c.reply.Error(text.data());
  return std::nullopt;
}

std::optional<double> ReadUnit(Context& c, std::string_view text) {
  if (EqualsIgnoreCase(text, "m")) return 1;
  if (EqualsIgnoreCase(text, "km")) return 1000;
  if (EqualsIgnoreCase(text, "ft")) return 0.3048;
  if (EqualsIgnoreCase(text, "mi")) return 1609.34;
  c.reply.Error("ERR unsupported unit provided. please use M, KM, FT, MI");
  return std::nullopt;
}

std::optional<Place> PlaceOf(const Collection& zset, std::string_view member) {
  const auto entry = zset.Find(member);
  if (!entry) return std::nullopt;
  return DecodePlace(zset.Score(*entry));
}

void ReplyDistance(Context& c, double distance) {
  std::array<char, 400> text;
  const int size = std::snprintf(text.data(), text.size(), "%.4f", distance);
  c.reply.Bulk({text.data(), static_cast<size_t>(size)});
}

namespace {

// A coordinate with 17 decimals, as Redis writes it.
void ReplyCoordinate(Context& c, double value) {
  const std::string text = base::FormatLongDouble(value);
  if (!c.reply.resp3()) return c.reply.Bulk(text);
  c.reply.out().Append("," + text + "\r\n");
}

}  // namespace

void ReplyPlace(Context& c, const Place& place) {
  c.reply.Array(2);
  ReplyCoordinate(c, place.longitude);
  ReplyCoordinate(c, place.latitude);
}

namespace {

void Geoadd(Context& c) {
  AddOptions options;
  size_t from = 2;
  for (; from < c.count(); ++from) {
    if (EqualsIgnoreCase(c.args[from], "nx")) {
      options.if_missing = true;
    } else if (EqualsIgnoreCase(c.args[from], "xx")) {
      options.if_exists = true;
    } else if (EqualsIgnoreCase(c.args[from], "ch")) {
      options.changed = true;
    } else {
      break;
    }
  }
  const size_t count = c.count() - from;
  if (count == 0 || count % 3 != 0 || (options.if_missing && options.if_exists))
    return ReplySyntaxError(c);
  std::vector<ScoredArgument> members;
  members.reserve(count / 3);
  for (size_t i = from; i < c.count(); i += 3) {
    const auto place = ReadPlace(c, c.args[i], c.args[i + 1]);
    if (!place) return;
    members.push_back({c.args[i + 2], EncodePlace(*place)});
  }
  AddMembers(c, options, members);
}

void Geopos(Context& c) {
  const auto zset = Open(c, c.Ref(c.args[1]), kSortedSet);
  if (!zset) return;
  c.reply.Array(c.count() - 2);
  for (std::string_view member : c.args.subspan(2)) {
    const auto place = PlaceOf(*zset, member);
    place ? ReplyPlace(c, *place) : c.reply.NullArray();
  }
}

void Geohash(Context& c) {
  const auto zset = Open(c, c.Ref(c.args[1]), kSortedSet);
  if (!zset) return;
  c.reply.Array(c.count() - 2);
  for (std::string_view member : c.args.subspan(2)) {
    const auto place = PlaceOf(*zset, member);
    place ? c.reply.Bulk(GeohashText(*place)) : c.reply.Null();
  }
}

void Geodist(Context& c) {
  std::optional<double> unit = 1;
  if (c.count() == 5) unit = ReadUnit(c, c.args[4]);
  if (!unit) return;
  if (c.count() > 5) return ReplySyntaxError(c);
  const auto zset = Open(c, c.Ref(c.args[1]), kSortedSet);
  if (!zset) return;
  const auto from = PlaceOf(*zset, c.args[2]);
  const auto to = PlaceOf(*zset, c.args[3]);
  if (!from || !to) return c.reply.Null();
  ReplyDistance(c, Distance(*from, *to) / *unit);
}

}  // namespace

void AddGeoFamily(std::vector<Row>& rows) {
  // clang-format off: a row as few lines as it needs
  static constexpr Row kRows[] = {
      {.name = "geoadd",
       .arity = -5,
       .flags = kWrite | kDenyOom,
       .keys = {1, 1, 1},
       .categories = "@write @geo @slow",
       .handler = Geoadd,
       .summary = "Adds places to a sorted set or moves them",
       .since = "3.2.0",
       .group = "geo",
       .complexity = "O(log(N)) for each place, where N is the size of the sorted set",
       .syntax = "key:key condition:(NX|XX)?@6.2.0 CH?@6.2.0 "
                 "longitude_latitude_member:{longitude:double latitude:double member}*",
       .key_access = "RW update"},
      {.name = "geopos",
       .arity = -2,
       .flags = kReadonly,
       .keys = {1, 1, 1},
       .categories = "@read @geo @slow",
       .handler = Geopos,
       .summary = "Returns longitudes and latitudes",
       .since = "3.2.0",
       .group = "geo",
       .complexity = "O(N) where N is the number of members",
       .syntax = "key:key member*",
       .key_access = "RO access"},
      {.name = "geohash",
       .arity = -2,
       .flags = kReadonly,
       .keys = {1, 1, 1},
       .categories = "@read @geo @slow",
       .handler = Geohash,
       .summary = "Returns places as geohash strings",
       .since = "3.2.0",
       .group = "geo",
       .complexity = "O(N) where N is the number of members",
       .syntax = "key:key member*",
       .key_access = "RO access"},
      {.name = "geodist",
       .arity = -4,
       .flags = kReadonly,
       .keys = {1, 1, 1},
       .categories = "@read @geo @slow",
       .handler = Geodist,
       .summary = "Returns the distance between two places",
       .since = "3.2.0",
       .group = "geo",
       .complexity = "O(1)",
       .syntax = "key:key member1 member2 unit:(M|KM|FT|MI)?",
       .key_access = "RO access"},
  };
  // clang-format on
  rows.insert(rows.end(), std::begin(kRows), std::end(kRows));
  AddGeoSearchRows(rows);
}

}  // namespace polyarch::command
