// Places on the globe as scores of sorted sets, as Redis has them: longitude and latitude in 26
// bits each, interleaved to 52, which a double holds exactly. Places near each other mostly share
// their first bits, so an area is a few ranges of scores. Lengths are metres, angles degrees.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace polyarch::command {

struct Place {
  double longitude = 0;
  double latitude = 0;
};

inline constexpr double kLongitudeMax = 180;
// Of the Mercator projection; what lies beyond cannot be encoded.
inline constexpr double kLatitudeMax = 85.05112878;

// The score of a place within these bounds, and the centre of the cell that a score stands for.
// What is no score of a place decodes to some place.
double EncodePlace(const Place& place);
Place DecodePlace(double score);

// On a sphere (haversine).
double Distance(const Place& a, const Place& b);

// The geohash that other programs know: eleven characters, the last one always 0.
std::string GeohashText(const Place& place);

// A circle, or a box with sides along the meridians and parallels.
struct Area {
  Place center;
  bool is_box = false;
  double radius = 0;
  double width = 0;
  double height = 0;
};

// Is the place in the area? `distance` from its centre is set if it is.
bool Contains(const Area& area, const Place& place, double& distance);

// min <= score < max
struct ScoreSpan {
  double min = 0;
  double max = 0;
};

// What has to be searched for places of the area: the cell of its centre and those around it, as
// far as they can hold any, in the order in which Redis searches them.
std::vector<ScoreSpan> SpansOf(const Area& area);

}  // namespace polyarch::command
