// What the families of collections share: opening a key as a type, replies about elements, limits.
// Whatever returns false (or nothing) has given the error reply.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/function_ref.h"
#include "command/context.h"
#include "command/support.h"
#include "keyspace/elements.h"

namespace polyarch::command {

// "string", "hash", "set", "zset", "list", "stream".
std::string_view TypeName(crdt::Type type);
// What OBJECT ENCODING says: Redis's name for a collection of this size and content under these
// limits, since that is what clients and tools compare with.
std::string_view EncodingOf(const keyspace::Collection& collection, const EncodingLimits& limits);
// The same of any value; of one that is not in conflict.
std::string_view EncodingOf(Context& c, const keyspace::KeyRef& ref, const keyspace::Shown& shown);
// Since the newest write of a key that there is: reads leave no trace.
int64_t IdleSeconds(Context& c, const keyspace::KeyRef& ref);

// The key's elements of `type`, possibly none; nothing (WRONGTYPE given) if it shows another type.
std::optional<keyspace::Collection> Open(Context& c, const keyspace::KeyRef& ref, crdt::Type type);

// The bytes of a value, whatever its form.
std::string TextOf(const keyspace::ShownValue& shown);
// The value as a bulk, or null if there is none.
void ReplyValue(Context& c, const keyspace::ShownValue& shown);
// If the field holds concurrent versions without a winner: the error of 2-conflicts, and true.
bool RefuseFieldConflict(Context& c,
                         std::string_view key,
                         std::string_view field,
                         const keyspace::ShownValue& shown);

// Do names of elements fit (crdt::kElementBytesMax)? `from`, `step`: which arguments they are.
bool CheckElementNames(Context& c, size_t from, size_t step = 1);
// What a write or a removal of the element carries beside its name and value: the counters that it clears.
size_t ClearBytes(Context& c,
                  const keyspace::KeyRef& ref,
                  const keyspace::Collection& collection,
                  std::string_view name);
// Do so many elements of `key` fit into one change?
bool FitsElements(Context& c, std::string_view key, size_t bytes, size_t elements);

// The count of HRANDFIELD, SRANDMEMBER and ZRANDMEMBER, which has a positive counterpart; nothing, and an
// error, if it is none.
std::optional<int64_t> ReadRandomCount(Context& c, std::string_view word);

// Up to `count` different random elements, in a random order.
std::vector<keyspace::ElementView> DistinctRandom(const keyspace::Collection& collection,
                                                   size_t count,
                                                   uint64_t random);
// HRANDFIELD, SRANDMEMBER, ZRANDMEMBER with a count: different ones, or with repetitions if it is
// negative. `values`: how many replies `reply_element` writes for one in RESP2; it returns false if the element's value
// is in conflict, and the reply is then that.
void ReplyRandomElements(Context& c,
                         const keyspace::Collection& collection,
                         int64_t count,
                         size_t values,
                         base::FunctionRef<bool(const keyspace::ElementView&)> reply_element);

// SCAN's cursor and that of its kin, with a sign or leading zeros, as strtoul reads it. Nothing, and an error, if it
// is none.
std::optional<uint64_t> ReadScanCursor(Context& c, std::string_view text);

// HSCAN, SSCAN, ZSCAN: reads cursor and options, walks, and replies. `reply_element` writes what stands
// for one element, or returns false as above; `values`: how many replies that is.
void ScanElements(Context& c,
                  crdt::Type type,
                  size_t values,
                  bool (*reply_element)(Context&,
                                        const keyspace::Collection&,
                                        const keyspace::ElementView&));

}  // namespace polyarch::command
