// The packed encodings in which Redis keeps small collections, and dumps them: listpack (7.0),
// ziplist and zipmap (before), intset. Each is one string of entries. Foreign bytes: what is
// malformed is refused and never read past.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace polyarch::rdb {

// More entries than any Redis packs into one string: beyond them it is taken for malformed, since
// an entry costs far more memory than the two bytes that it may take here.
inline constexpr size_t kPackedEntriesMax = size_t{1} << 21;

// Appends the entries, integers as decimals. False if the bytes are malformed.
bool ReadListpack(std::string_view bytes, std::vector<std::string>& out);
bool ReadZiplist(std::string_view bytes, std::vector<std::string>& out);
bool ReadZipmap(std::string_view bytes, std::vector<std::string>& out);
bool ReadIntset(std::string_view bytes, std::vector<std::string>& out);

}  // namespace polyarch::rdb
