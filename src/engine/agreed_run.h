// Commands run on one key's value beside the keyspace, as the function of a round of agreement:
// they read and write a keyspace of their own that holds nothing but that key, and nothing else
// changes. So a round may run them again on another value.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "command/context.h"
#include "command/pubsub.h"
#include "command/table.h"
#include "keyspace/decided.h"

namespace polyarch::engine {

// A value may come to so much, encoded: it travels whole with each write.
inline constexpr size_t kSyncValueBytesMax = 64 << 10;

// Commands of one key whose effect is that key's value and nothing else.
bool MayBeAgreed(const command::Row& row);

class AgreedRun {
 public:
  // On `value`, or on nothing, as if it were `now_ms`.
  AgreedRun(uint8_t db,
            std::string_view key,
            const std::optional<keyspace::PlainValue>& value,
            int64_t expire_ms,
            int64_t now_ms);
  ~AgreedRun();

  // As which user it is run (command::Client).
  struct As {
    std::string user;
    uint64_t born = 0;
    bool authenticated = false;
  };
  struct Asked {
    const std::vector<std::string>* arguments;
    int protocol = 2;
    const As* as = nullptr;  // none: the engine itself
    command::ClusterHost* cluster = nullptr;
    command::ServerHost* server = nullptr;
    uint64_t random = 0;
    bool makes_stock = false;  // ESCROW CREATE and RECLAIM
    std::vector<command::Publication>* events = nullptr;  // where what happens to the key is told
  };
  // The reply. What would become something else than a string or a hash, or too big, is refused,
  // and changes nothing.
  std::string Run(const Asked& asked);

  // The removal of a value whose time is over.
  void RemoveExpired() { changes_ += expired_ ? 1 : 0; }

  // Was there such a value?
  bool expired() const { return expired_; }

  // How many commands so far have changed the value.
  uint64_t changes() const { return changes_; }
  // Of the value as it is now; nothing: the key is absent.
  const std::optional<keyspace::PlainValue>& value() const { return value_; }
  int64_t expire_ms() const { return expire_ms_; }

 private:
  struct Space;
  class Alone;
  std::unique_ptr<Space> NewSpace() const;

  uint8_t db_;
  std::string key_;
  int64_t now_ms_;
  std::optional<keyspace::PlainValue> value_;
  int64_t expire_ms_;
  uint64_t changes_ = 0;
  bool expired_ = false;
  std::unique_ptr<Space> space_;
};

}  // namespace polyarch::engine
