// Expiry while a copy is behind its source. A Redis tells its replicas by a DEL when a key has
// expired, and they remove none before. A leader goes by its own clock: were it given the instants
// as they are, a key whose expiry the source has moved meanwhile would be gone before the word of
// that comes. So until the copy is level all instants lie millions of years later; then they are
// set right.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace polyarch::moving {

int64_t WallMs();  // since 1970

int64_t LaterExpiry(int64_t expire_ms);
// The instant itself, if it was moved by LaterExpiry; nothing if not.
std::optional<int64_t> TrueExpiry(int64_t expire_ms);

// A command as replicas get it (not empty), without its conditions (NX, XX, GT, LT, and REPLACE
// that is missing): they were met at the source, else replicas would not get it. At the leader
// something else may stand: an own key, under --merge; an instant that is not set right yet. Its
// words are those of `words`, or literals.
std::vector<std::string_view> Unconditional(std::span<const std::string_view> words);

// A command that has none, with its instant moved; nothing if it sets none. Times from now become
// instants.
std::optional<std::vector<std::string>> WithLaterExpiry(std::span<const std::string_view> words,
                                                        int64_t now_ms);

std::string Upper(std::string_view word);

}  // namespace polyarch::moving
