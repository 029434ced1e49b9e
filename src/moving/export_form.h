// The two forms in which a leader's data goes out: an RDB file, and commands. And reading a large
// collection in parts.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/function_ref.h"
#include "base/status.h"
#include "moving/link.h"

namespace polyarch::moving {

class Form {
 public:
  virtual ~Form() = default;
  // `payload`: of FUNCTION DUMP. False: it is not readable, and nothing was made of it.
  virtual bool Libraries(std::string_view payload) = 0;
  virtual void Database(int database) = 0;
  // `payload`: of DUMP. False as above.
  virtual bool Key(std::string_view key,
                   std::string_view payload,
                   std::optional<int64_t> expire_ms) = 0;
  // A large list, set, hash or sorted set, in parts: as ReadLarge gives them. `flush` may be called
  // while it is written.
  virtual base::Status BeginLarge(std::string_view key, std::string_view type) = 0;
  virtual base::Status Elements(const std::vector<resp::Value>& items) = 0;
  virtual base::Status EndLarge(std::optional<int64_t> expire_ms,
                                base::FunctionRef<base::Status()> flush) = 0;
  // Instead of its end: nothing of it is to be there.
  virtual void DropLarge() = 0;
  virtual void End() = 0;

  // What has been made and was not taken.
  virtual size_t size() const = 0;
  virtual std::string Take() = 0;
};

// An RDB says how many elements follow before they do, so those of a large collection wait in a
// spool.
std::unique_ptr<Form> MakeRdbForm(int64_t now_ms, std::string spool_directory);
std::unique_ptr<Form> MakeCommandsForm();

// The command that tells how many elements, or bytes, a value of this type has; empty: no type that
// a leader has.
std::string_view LengthCommand(std::string_view type);

// How many elements are asked for at once: as many as make some MiB, however large they are. A
// leader closes a connection for which more than 256 MiB wait.
class PartSize {
 public:
  int64_t elements() const { return elements_; }
  // What came for as many.
  void Came(const std::vector<resp::Value>& items);

 private:
  int64_t elements_ = 2;
};

// Items of lists and sets, fields and values, members and scores. Each that is there all the time
// comes at least once. False: a list that was written to meanwhile, so that what came is no state
// of it.
base::Result<bool> ReadLarge(Link& leader,
                             std::string_view key,
                             std::string_view type,
                             base::FunctionRef<base::Status(const std::vector<resp::Value>&)> take);

}  // namespace polyarch::moving
