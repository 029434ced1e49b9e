// The body of a frame: changes, each a stamp and effects in order. docs/FORMATS.md, "frame body 1".
//
//   change := varint(stamp - previous stamp) effect* 0x00
//   effect := kind byte (6 bits of kind, 2 of version) varint(size) payload
//
// Version 1 of a kind says the same of an element of the key, whose type and name follow the key.
// Version 2 is about an element of the same key and type as the one that version 1 or 2 spoke of
// last in this body, whose name begins as that one's did: how many bytes, and the rest, stand in
// place of all that. Names of a list's or stream's elements differ in few bytes, so they are written so.
//
// The first stamp of a frame counts from the frame's base. Sizes let a node carry kinds that it
// does not know. Dots inside effects name origins by their place in the author's dictionary
// (frame.h): 0 is the author, n the n-th origin that it ever listed in its deps. Bodies therefore
// are the same bytes on every node.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/codec.h"
#include "clock/hlc.h"
#include "clock/origin.h"
#include "crdt/effect.h"

namespace polyarch::wire {

// Maps between this node's origin indices and one author's dictionary.
class Dictionary {
 public:
  // An author whose dictionary begins with itself.
  explicit Dictionary(clock::OriginIndex author = clock::kNoOrigin) { entries_.push_back(author); }

  // The place of `origin`, if listed.
  bool Find(clock::OriginIndex origin, uint64_t& place) const;
  // kNoOrigin beyond the end.
  clock::OriginIndex At(uint64_t place) const {
    return place < entries_.size() ? entries_[place] : clock::kNoOrigin;
  }
  uint64_t Add(clock::OriginIndex origin);
  void RemoveLast(size_t count);
  size_t size() const { return entries_.size(); }

 private:
  std::vector<clock::OriginIndex> entries_;
  // Origin and place, by rising index, without the author. Few: folded origins are not listed.
  std::vector<std::pair<clock::OriginIndex, uint32_t>> places_;
};

// The element that a body spoke of last, for its writer.
struct LastElement {
  bool any = false;
  uint8_t db = 0;
  crdt::Type type = crdt::Type::kString;
  std::string key;
  std::string name;
};

// Appends one effect. Every origin it names must be in the dictionary. `last`, if given, is the
// body's (a new one for each), and is brought up to date.
void AppendEffect(std::string& out,
                  const crdt::Effect& effect,
                  const Dictionary& dictionary,
                  LastElement* last = nullptr);
inline constexpr char kChangeEnd = 0;

// Walks over a body. Foreign bytes: after an error ok() is false.
class BodyReader {
 public:
  BodyReader(std::string_view body, clock::Hlc base, const Dictionary& dictionary)
      : in_(body), stamp_(base), dictionary_(dictionary) {}

  // The next change's stamp; false at the end or on an error.
  bool NextChange(clock::Hlc& stamp);
  // The next effect of the present change, which refers to the body and this reader until the next
  // call; false at its end or on an error. An unknown kind is counted and passed over, but its
  // index is used up (`index` says which this is).
  bool NextEffect(crdt::Effect& effect, uint32_t& index);
  bool ok() const { return in_.ok(); }
  uint32_t unknown() const { return unknown_; }

 private:
  bool ParsePayload(uint8_t kind, std::string_view payload, crdt::Effect& effect);
  bool ReadElement(base::Reader& in, crdt::Effect& effect);
  bool ReadNextName(base::Reader& in, crdt::Effect& effect);
  bool ReadClears(base::Reader& in);

  base::Reader in_;
  clock::Hlc stamp_;
  const Dictionary& dictionary_;
  uint32_t index_ = 0;
  uint32_t unknown_ = 0;
  std::vector<crdt::Clear> clears_;
  std::vector<clock::Dot> seen_;
  // The element that was spoken of last: its effect, and its name if that stands nowhere in the
  // body.
  crdt::Effect last_;
  std::string name_;
};

// Is the body well-formed, with exactly `count` changes? Checked before a frame is logged.
bool ValidateBody(std::string_view body,
                  clock::Hlc base,
                  uint64_t count,
                  const Dictionary& dictionary);

}  // namespace polyarch::wire
