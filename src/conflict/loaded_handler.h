// A handler as this leader runs it: its source, what it made of the versions that it has seen so far, and
// how it fared. The state of none of this is anybody else's business: the same source, key and versions give
// the same view anywhere.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/status.h"
#include "clock/origin.h"
#include "conflict/handler.h"
#include "crdt/key_state.h"

namespace polyarch::conflict {

// More of them would be a programming language's library; each change of configuration reads them all.
inline constexpr size_t kHandlersMax = 256;

// Where the source of a handler is kept in the reserved database: behind this, by its name.
inline constexpr std::string_view kHandlerPrefix = "handler/";

class LoadedHandler {
 public:
  LoadedHandler(std::string name, std::string source);

  const std::string& name() const { return name_; }
  const std::string& source() const { return source_; }
  // Names the source, in 16 hexadecimal digits: equal at leaders that have the same one.
  const std::string& version() const { return version_; }

  // What it makes of the versions of a key, or of a field of a hash. Nothing if it returned nil, failed, or
  // went beyond a limit: then the view is that of lww. Runs only for versions that it has not seen lately.
  std::optional<std::string> View(std::string_view key,
                                  std::optional<std::string_view> field,
                                  std::span<const crdt::Version> versions,
                                  const clock::OriginTable& origins) const;

  struct Stats {
    uint64_t runs = 0;
    uint64_t fallbacks = 0;  // of the runs
    std::string last_error;  // why, the last time; empty: it returned nil, or never failed
  };
  const Stats& stats() const { return stats_; }

 private:
  static constexpr size_t kViewsMax = 4096;
  static constexpr size_t kViewBytesMax = 8ULL << 20;

  const std::string name_;
  const std::string source_;
  const std::string version_;
  mutable Stats stats_;
  // By the digest of all that the function is given.
  mutable std::unordered_map<std::string, std::optional<std::string>> views_;
  mutable size_t view_bytes_ = 0;
};

// Is it a name for a handler: 1 to kHandlerNameBytesMax printable characters, no space?
bool IsHandlerName(std::string_view name);

// What HANDLER TEST tells of a handler: what it makes of these values, written at as many leaders, and of
// what that depends.
struct HandlerTrial {
  base::Result<HandlerView> view;
  std::vector<std::string> warnings;
};
HandlerTrial TryHandler(std::string_view source,
                        std::span<const std::string_view> values,
                        const HandlerLimits& limits = {});
inline constexpr size_t kTrialValuesMax = 6;

}  // namespace polyarch::conflict
