// Who wrote: an Origin is (leader, incarnation), the incarnation being a random number that a
// process draws before its first write. An OriginTable gives each origin that this node has heard
// of a small index, for this node only; a Dot packs that index and a sequence into 8 bytes and
// names one change.
//
// Indices are dense from 0, never reused, and stable across restarts (the table is checkpointed in
// order). Everything that leaves the node (wire, digest, tokens) uses the global Origin instead.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace polyarch::clock {

struct Origin {
  std::string leader;
  uint64_t incarnation = 0;
  friend auto operator<=>(const Origin&, const Origin&) = default;

  // "eu.3f2a9c0d11223344"
  std::string ToString() const;
  static std::optional<Origin> Parse(std::string_view text);
};

enum class OriginIndex : uint16_t {};
inline constexpr OriginIndex kNoOrigin{0xffff};
inline constexpr size_t kOriginsMax = 0xfff0;
inline size_t IndexOf(OriginIndex o) {
  return static_cast<size_t>(o);
}

// One change: which origin, and its sequence (dense from 1; 48 bits).
class Dot {
 public:
  Dot() = default;
  Dot(OriginIndex origin, uint64_t sequence)
      : bits_((static_cast<uint64_t>(origin) << 48) | sequence) {}
  static Dot FromBits(uint64_t bits) {
    Dot d;
    d.bits_ = bits;
    return d;
  }
  OriginIndex origin() const { return static_cast<OriginIndex>(bits_ >> 48); }
  uint64_t sequence() const { return bits_ & ((uint64_t{1} << 48) - 1); }
  uint64_t bits() const { return bits_; }
  friend auto operator<=>(const Dot&, const Dot&) = default;

 private:
  uint64_t bits_ = 0;
};

class OriginTable {
 public:
  // The index of `origin`, a new one if it is not known yet; kNoOrigin when kOriginsMax is reached.
  OriginIndex Intern(const Origin& origin);
  std::optional<OriginIndex> Find(const Origin& origin) const;
  const Origin& Get(OriginIndex index) const { return origins_[IndexOf(index)]; }
  size_t size() const { return origins_.size(); }

  // The order of global origins (leader, then incarnation), the same on every node: the tie rule of
  // equal stamps and the canonical order of versions.
  bool Less(OriginIndex a, OriginIndex b) const { return Get(a) < Get(b); }

 private:
  std::vector<Origin> origins_;
  std::map<Origin, OriginIndex> index_;
};

}  // namespace polyarch::clock
