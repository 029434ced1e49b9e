#include "moving/load.h"

#include <string>
#include <string_view>

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
  if (base::Status s = leader.Select(0); !s.ok()) return s;
  for (;;) {
    if (base::Status s = reader.Next(item); !s.ok()) return s;
    counts.bytes = reader.position();
    if (base::Status s = tick(); !s.ok()) return s;
    switch (item.kind) {
      case rdb::FileItem::Kind::kEnd:
        return leader.Flush();
      case rdb::FileItem::Kind::kAux:
        break;
      case rdb::FileItem::Kind::kDatabase:
        wanted = !options.database || static_cast<uint64_t>(*options.database) == item.database;
        if (!wanted) break;
        if (item.database >= Leader::kDatabases) return TooManyDatabases(item.database);
        if (base::Status s = leader.Select(static_cast<int>(item.database)); !s.ok()) return s;
        break;
      case rdb::FileItem::Kind::kLibrary: {
        const std::string_view text = item.text;
        const std::string payload = rdb::WriteLibraries({&text, 1});
        if (base::Status s = leader.Write({"FUNCTION", "RESTORE", payload, "REPLACE"}, mark);
            !s.ok())
          return s;
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
        if (base::Status s = WriteValue(leader, item, expire_ms, mark); !s.ok()) return s;
        if (item.last) ++counts.keys;
        break;
      }
    }
  }
}

}  // namespace polyarch::moving
