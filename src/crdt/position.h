// The names of a list's elements: positions. A name is a path of one or more steps; names are
// ordered by their bytes, so that every leader has the same order, and a path stands right before
// those that extend it. docs/design/0014-lists.md argues that this keeps runs of one leader
// together.
//
// A step, big-endian, signed parts with the sign turned so that bytes compare as numbers do:
//
//   n 6        where among its siblings
//   run 8      the incarnation of the process that made the name
//   place 10   sequence 6 and index 4 of the effect that brought the element, as they are if it was
//   put
//              behind what there was, all bits turned if before
//
// A process never uses one place twice, so no name comes twice. The last step of a name is its
// maker's. What one process puts right behind (before) its own has the same n and run, and places
// rise (fall).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "crdt/effect.h"

namespace polyarch::crdt {

inline constexpr size_t kPositionStepBytes = 24;

// The maker of a name: its process's incarnation, and the place of the effect that brings the
// element; later places must be greater, at.sequence below 2^47.
struct PositionMaker {
  uint64_t run = 0;
  At at;
};

// A name behind `last`, or the first of all if that is empty.
std::string PositionBehind(std::string_view last, const PositionMaker& maker);
// A name before `first`, or the first of all if that is empty. Nothing, here and below, if there is
// no room: that takes 2^47 changes of sides between leaders, or a name that nobody makes.
std::optional<std::string> PositionBefore(std::string_view first, const PositionMaker& maker);
// A name between two neighbours, left < right: one that goes on behind `left`, or one that goes on
// before `right`.
std::optional<std::string> PositionBetween(std::string_view left,
                                           std::string_view right,
                                           const PositionMaker& maker);
std::optional<std::string> PositionBetweenLeftwards(std::string_view left,
                                                    std::string_view right,
                                                    const PositionMaker& maker);

// The process that made the name, by its incarnation. Of a name that nobody makes: anything.
uint64_t PositionRun(std::string_view name);

// A name for people: its steps, "/" between them, each "n.run:sequence.index" as in tags of versions
// (run: 16 hexadecimal digits), with a "<" before it if it was put before what there was. A name that
// nobody makes: "0x" and the digits of its bytes.
std::string PositionText(std::string_view name);
// The name again; nothing if that is no such text.
std::optional<std::string> ReadPositionText(std::string_view text);

}  // namespace polyarch::crdt
