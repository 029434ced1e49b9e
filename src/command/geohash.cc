#include "command/geohash.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numbers>

namespace polyarch::command {

namespace {

constexpr int kStepsMax = 26;  // bits of each coordinate
constexpr double kEarthRadius = 6372797.560856;
constexpr double kMercatorMax = 20037726.37;  // half the equator, as the projection has it

double Radians(double degrees) {
  return degrees * (std::numbers::pi / 180);
}
double Degrees(double radians) {
  return radians / (std::numbers::pi / 180);
}

// The bits of `x` at the even places.
uint64_t Spread(uint32_t x) {
  uint64_t bits = x;
  bits = (bits | (bits << 16)) & 0x0000ffff0000ffff;
  bits = (bits | (bits << 8)) & 0x00ff00ff00ff00ff;
  bits = (bits | (bits << 4)) & 0x0f0f0f0f0f0f0f0f;
  bits = (bits | (bits << 2)) & 0x3333333333333333;
  bits = (bits | (bits << 1)) & 0x5555555555555555;
  return bits;
}

uint32_t Gather(uint64_t bits) {
  bits &= 0x5555555555555555;
  bits = (bits | (bits >> 1)) & 0x3333333333333333;
  bits = (bits | (bits >> 2)) & 0x0f0f0f0f0f0f0f0f;
  bits = (bits | (bits >> 4)) & 0x00ff00ff00ff00ff;
  bits = (bits | (bits >> 8)) & 0x0000ffff0000ffff;
  bits = (bits | (bits >> 16)) & 0x00000000ffffffff;
  return static_cast<uint32_t>(bits);
}

// A cell of the grid that has 2^steps columns and rows.
struct Cell {
  uint32_t column = 0;
  uint32_t row = 0;

  uint64_t bits() const { return Spread(row) | (Spread(column) << 1); }
  friend bool operator==(const Cell&, const Cell&) = default;
};

// Where on the grid a coordinate lies. The end of the range is a line of its own, as in Redis.
uint32_t Line(double value, double max, int steps) {
  const double share = (value + max) / (2 * max);
  return static_cast<uint32_t>(share * static_cast<double>(uint64_t{1} << steps));
}

Cell CellOf(const Place& place, int steps, double latitude_max = kLatitudeMax) {
  return {Line(place.longitude, kLongitudeMax, steps), Line(place.latitude, latitude_max, steps)};
}

struct Interval {
  double min = 0;
  double max = 0;
};

Interval Extent(uint32_t line, double max, int steps) {
  const auto lines = static_cast<double>(uint64_t{1} << steps);
  return {-max + (line / lines) * (2 * max), -max + ((line + 1.0) / lines) * (2 * max)};
}
Interval Longitudes(const Cell& cell, int steps) {
  return Extent(cell.column, kLongitudeMax, steps);
}
Interval Latitudes(const Cell& cell, int steps) {
  return Extent(cell.row, kLatitudeMax, steps);
}

double Middle(const Interval& interval, double max) {
  return std::clamp((interval.min + interval.max) / 2, -max, max);
}

// The neighbour so many columns and rows away; the grid has no edges.
Cell Neighbour(const Cell& cell, int columns, int rows, int steps) {
  const uint32_t mask = (uint32_t{1} << steps) - 1;
  Cell moved = cell;
  if (columns != 0) moved.column = (cell.column + static_cast<uint32_t>(columns)) & mask;
  if (rows != 0) moved.row = (cell.row + static_cast<uint32_t>(rows)) & mask;
  return moved;
}

// The finest grid of which nine cells should hold the area.
int StepsFor(double radius, double latitude) {
  if (radius == 0) return kStepsMax;
  int steps = -1;  // coarser than the doublings alone would have it, so that the area fits
  while (radius < kMercatorMax) {
    radius *= 2;
    ++steps;
  }
  // Meridians come together towards the poles.
  if (std::fabs(latitude) > 66) --steps;
  if (std::fabs(latitude) > 80) --steps;
  return std::clamp(steps, 1, kStepsMax);
}

struct Bounds {
  Interval longitude;
  Interval latitude;
};

Bounds BoundsOf(const Area& area) {
  const double height = area.is_box ? area.height / 2 : area.radius;
  const double width = area.is_box ? area.width / 2 : area.radius;
  const Place& center = area.center;
  const double rise = Degrees(height / kEarthRadius);
  // A length spans the most meridians on the side that is nearer to its pole.
  const double nearer = center.latitude < 0 ? center.latitude - rise : center.latitude + rise;
  const double turn = Degrees(width / kEarthRadius / std::cos(Radians(nearer)));
  return {{center.longitude - turn, center.longitude + turn},
          {center.latitude - rise, center.latitude + rise}};
}

double LatitudeDistance(double a, double b) {
  return kEarthRadius * std::fabs(Radians(b) - Radians(a));
}

}  // namespace

double EncodePlace(const Place& place) {
  return static_cast<double>(CellOf(place, kStepsMax).bits());
}

Place DecodePlace(double score) {
  uint64_t bits = 0;
  if (score >= 0x1p64) {
    bits = std::numeric_limits<uint64_t>::max();
  } else if (score > 0) {
    bits = static_cast<uint64_t>(score);
  }
  const Cell cell{Gather(bits >> 1), Gather(bits)};
  return {Middle(Longitudes(cell, kStepsMax), kLongitudeMax),
          Middle(Latitudes(cell, kStepsMax), kLatitudeMax)};
}

double Distance(const Place& a, const Place& b) {
  const double turn = std::sin((Radians(b.longitude) - Radians(a.longitude)) / 2);
  if (turn == 0) return LatitudeDistance(a.latitude, b.latitude);
  const double from = Radians(a.latitude);
  const double to = Radians(b.latitude);
  const double rise = std::sin((to - from) / 2);
  const double square = rise * rise + std::cos(from) * std::cos(to) * turn * turn;
  return 2 * kEarthRadius * std::asin(std::sqrt(square));
}

std::string GeohashText(const Place& place) {
  constexpr std::string_view kAlphabet = "0123456789bcdefghjkmnpqrstuvwxyz";
  constexpr int kBitsEach = 5;
  constexpr int kCharacters = 10;  // that 52 bits fill
  // Others have latitudes up to the pole.
  const uint64_t bits = CellOf(place, kStepsMax, 90).bits();
  std::string text;
  for (int i = 1; i <= kCharacters; ++i)
    text.push_back(kAlphabet[(bits >> (2 * kStepsMax - i * kBitsEach)) & 31]);
  return text + kAlphabet[0];
}

bool Contains(const Area& area, const Place& place, double& distance) {
  const Place& center = area.center;
  if (area.is_box) {
    if (LatitudeDistance(place.latitude, center.latitude) > area.height / 2) return false;
    if (Distance(place, {center.longitude, place.latitude}) > area.width / 2) return false;
    distance = Distance(center, place);
    return true;
  }
  const double away = Distance(center, place);
  if (away > area.radius) return false;
  distance = away;
  return true;
}

std::vector<ScoreSpan> SpansOf(const Area& area) {
  const Bounds bounds = BoundsOf(area);
  const double radius =
      area.is_box
          ? std::sqrt(area.width / 2 * (area.width / 2) + area.height / 2 * (area.height / 2))
          : area.radius;
  int steps = StepsFor(radius, area.center.latitude);
  Cell center = CellOf(area.center, steps);
  // Near an edge of its cell the area may reach beyond the neighbours.
  const bool beyond =
      Latitudes(Neighbour(center, 0, 1, steps), steps).max < bounds.latitude.max ||
      Latitudes(Neighbour(center, 0, -1, steps), steps).min > bounds.latitude.min ||
      Longitudes(Neighbour(center, 1, 0, steps), steps).max < bounds.longitude.max ||
      Longitudes(Neighbour(center, -1, 0, steps), steps).min > bounds.longitude.min;
  if (steps > 1 && beyond) center = CellOf(area.center, --steps);

  const Interval latitude = Latitudes(center, steps);
  const Interval longitude = Longitudes(center, steps);
  const bool may_skip = steps >= 2;
  const bool skip_north = may_skip && latitude.max > bounds.latitude.max;
  const bool skip_south = may_skip && latitude.min < bounds.latitude.min;
  const bool skip_east = may_skip && longitude.max > bounds.longitude.max;
  const bool skip_west = may_skip && longitude.min < bounds.longitude.min;

  struct Step {
    int columns;
    int rows;
  };
  constexpr std::array<Step, 9> kOrder = {
      {{0, 0}, {0, 1}, {0, -1}, {1, 0}, {-1, 0}, {1, 1}, {-1, 1}, {1, -1}, {-1, -1}}};
  std::vector<ScoreSpan> spans;
  std::vector<Cell> known;
  for (const Step& step : kOrder) {
    if ((step.rows > 0 && skip_north) || (step.rows < 0 && skip_south)) continue;
    if ((step.columns > 0 && skip_east) || (step.columns < 0 && skip_west)) continue;
    const Cell cell = Neighbour(center, step.columns, step.rows, steps);
    // On a grid of few cells several neighbours are one.
    if (std::find(known.begin(), known.end(), cell) != known.end()) continue;
    known.push_back(cell);
    const int shift = 2 * (kStepsMax - steps);
    spans.push_back({static_cast<double>(cell.bits() << shift),
                     static_cast<double>((cell.bits() + 1) << shift)});
  }
  return spans;
}

}  // namespace polyarch::command
