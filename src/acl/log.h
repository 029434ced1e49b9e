// What was refused, for ACL LOG: of this process, the newest first. Refusals that are alike within a minute are one
// entry with a count.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <string>
#include <string_view>

namespace polyarch::acl {

class Log {
 public:
  enum class Context : uint8_t { kTopLevel, kMulti, kScript };
  struct Entry {
    uint64_t count = 1;
    std::string_view reason;  // "command", "key", "channel", "auth"
    Context context = Context::kTopLevel;
    std::string object;
    std::string user;
    int64_t time_ms = 0;  // of the last one
    std::string client;   // as CLIENT LIST shows it, of the last one
  };

  void Add(Entry entry);
  void Clear() { entries_.clear(); }
  const std::list<Entry>& entries() const { return entries_; }
  size_t size_max() const { return size_max_; }
  void SetSize(size_t most);

 private:
  size_t size_max_ = 128;
  std::list<Entry> entries_;
};

}  // namespace polyarch::acl
