#include "moving/load.h"

#include <algorithm>
#include <limits>
#include <string>
#include <string_view>
#include <utility>

#include "base/number.h"
#include "base/try.h"
#include "moving/expiry.h"
#include "moving/write_value.h"
#include "rdb/libraries.h"

namespace polyarch::moving {

namespace {

base::Status TooManyDatabases(uint64_t database) {
  return base::Invalid("the source has a database " + std::to_string(database) +
                       ", a leader has 0 to " + std::to_string(Leader::kDatabases - 1) +
                       ": move its keys to one of these first");
}

base::Status TakeAux(const rdb::FileItem& item, const LoadOptions& options, LoadCounts& counts) {
  if (item.name == "repl-stream-db") {
    const int64_t database = base::ParseInt64(item.text).value_or(0);
    counts.stream_database =
        static_cast<int>(std::clamp<int64_t>(database, 0, std::numeric_limits<int>::max()));
  }
  // As Redis before 7.0 and from 7.0 on call it.
  if (options.alone && (item.name == "aof-preamble" || item.name == "aof-base") && item.text == "1")
    return base::Corrupt("it is the beginning of an append-only file (" + item.name +
                         "), and the commands behind it would be missing: start a redis-server "
                         "with that, and import from it");
  return {};
}

}  // namespace

base::Status Load(rdb::FileSource& source,
                  Leader& leader,
                  const LoadOptions& options,
                  uint64_t mark,
                  LoadCounts& counts,
                  base::FunctionRef<base::Status()> tick) {
  rdb::FileReader reader(source, LimitsFor(leader));
  rdb::FileItem item;
  bool wanted = !options.database || *options.database == 0;
  bool begun = false;
  for (;;) {
    TRY(reader.Next(item));
    counts.bytes = reader.position();
    TRY(tick());
    if (item.kind == rdb::FileItem::Kind::kAux) {
      TRY(TakeAux(item, options, counts));
      continue;
    }
    if (!std::exchange(begun, true)) {
      if (options.empty) TRY(leader.Empty(options.database));
      TRY(leader.Select(0));
    }
    switch (item.kind) {
      case rdb::FileItem::Kind::kEnd: {
        TRY(leader.Flush());
        if (!options.alone) return {};
        auto ended = reader.Ended();
        if (!ended.ok()) return ended.status();
        if (*ended) return {};
        return base::Corrupt(
            "bytes follow the end of the RDB at byte " + std::to_string(counts.bytes) +
            ". If it is an append-only file, its commands were not imported: start "
            "a redis-server with it, and import from that");
      }
      case rdb::FileItem::Kind::kAux:
        break;
      case rdb::FileItem::Kind::kModule:
        counts.modules.insert(item.name);
        break;
      case rdb::FileItem::Kind::kDatabase:
        wanted = !options.database || static_cast<uint64_t>(*options.database) == item.database;
        if (!wanted) break;
        if (item.database >= Leader::kDatabases) return TooManyDatabases(item.database);
        TRY(leader.Select(static_cast<int>(item.database)));
        break;
      case rdb::FileItem::Kind::kLibrary: {
        const std::string_view text = item.text;
        const std::string payload = rdb::WriteLibraries({&text, 1});
        TRY(leader.Write({"FUNCTION", "RESTORE", payload, "REPLACE"}, mark));
        break;
      }
      case rdb::FileItem::Kind::kValue: {
        if (!wanted) break;
        std::optional<int64_t> expire_ms = item.expire_ms;
        if (expire_ms) counts.expiring[static_cast<size_t>(leader.database())] = true;
        if (expire_ms && options.later_expiry) {
          expire_ms = LaterExpiry(*expire_ms);
        } else if (expire_ms && item.first && item.last && *expire_ms <= WallMs()) {
          ++counts.expired;
          break;
        }
        TRY(WriteValue(leader, item, expire_ms, mark));
        if (item.last) ++counts.keys;
        break;
      }
    }
  }
}

}  // namespace polyarch::moving
