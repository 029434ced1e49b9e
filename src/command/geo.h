// What the commands on places share. Whatever takes a context and returns nothing has given the
// error reply.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "command/collection.h"
#include "command/context.h"
#include "command/geohash.h"
#include "command/table.h"

namespace polyarch::command {

std::optional<Place> ReadPlace(Context& c, std::string_view longitude, std::string_view latitude);
// How many metres the unit has.
std::optional<double> ReadUnit(Context& c, std::string_view text);
// Where a member is, if it is there.
std::optional<Place> PlaceOf(const keyspace::Collection& zset, std::string_view member);

// With four decimals: a bulk also in RESP3, as in Redis.
void ReplyDistance(Context& c, double distance);
// The two coordinates as an array.
void ReplyPlace(Context& c, const Place& place);

// Rows of geo_search.cc, which AddGeoFamily adds.
void AddGeoSearchRows(std::vector<Row>& rows);

}  // namespace polyarch::command
