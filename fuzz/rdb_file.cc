// RDB files: what `polyarch import` is given. Small pieces and small reads, so that values are
// divided in all ways; what comes out is read as the importer reads it.
#include <algorithm>
#include <optional>
#include <utility>

#include "base/check.h"
#include "fuzz/target.h"
#include "rdb/file_reader.h"
#include "rdb/file_writer.h"
#include "rdb/libraries.h"
#include "rdb/value.h"

namespace polyarch::fuzz {

namespace {

class Source : public rdb::FileSource {
 public:
  Source(std::string_view bytes, size_t step) : bytes_(bytes), step_(step) {}
  base::Result<size_t> Read(char* into, size_t size) override {
    const size_t part = std::min({size, bytes_.size() - at_, step_});
    bytes_.copy(into, part, at_);
    at_ += part;
    return part;
  }

 private:
  std::string_view bytes_;
  size_t step_;
  size_t at_ = 0;
};

// How the reader ends, and how many values it gave.
std::pair<base::Code, size_t> ReadAll(std::string_view file, size_t step, size_t piece) {
  Source source(file, step);
  rdb::ReaderLimits limits;
  limits.piece_bytes = piece;
  limits.string_bytes_max = 1 << 16;
  rdb::FileReader reader(source, limits);
  rdb::FileItem item;
  size_t values = 0;
  for (;;) {
    const base::Status status = reader.Next(item);
    CHECK(reader.position() <= file.size());
    if (!status.ok() || item.kind == rdb::FileItem::Kind::kEnd) return {status.code(), values};
    if (item.kind != rdb::FileItem::Kind::kValue) continue;
    if (item.last) ++values;
    rdb::Value value;
    (void)rdb::ReadPiece(item.text, 1 << 20, value);
  }
}

}  // namespace

void Run(std::string_view input) {
  if (input.size() < 2) return;
  const size_t step = 1 + static_cast<uint8_t>(input[0]);
  const size_t piece = size_t{1} << (static_cast<uint8_t>(input[1]) % 16);
  const std::string_view file = input.substr(2);
  const auto whole = ReadAll(file, SIZE_MAX, SIZE_MAX / 2);
  // However it comes and is divided, it ends the same way with the same number of values.
  CHECK(ReadAll(file, step, piece) == whole);
}

std::string Sample(base::Random& random) {
  std::string out;
  out.push_back(static_cast<char>(random.Next()));
  out.push_back(static_cast<char>(random.Next()));
  rdb::FileWriter writer;
  if (random.Percent(30)) writer.Aux("redis-ver", "7.0.15");
  if (random.Percent(20)) {
    const std::string_view source = "#!lua name=x";
    std::string libraries;
    rdb::WriteLibrariesBody({&source, 1}, libraries);
    writer.Libraries(libraries);
  }
  for (uint64_t keys = 1 + random.Below(4); keys > 0; --keys) {
    writer.Database(static_cast<int>(random.Below(17)));
    rdb::Value value{.type = static_cast<crdt::Type>(random.Below(6))};
    value.text = std::to_string(random.Next());
    for (uint64_t i = 1 + random.Below(5); i > 0; --i) {
      const std::string name = std::to_string(i);
      value.items.push_back(name);
      value.fields.emplace_back(name, value.text);
      value.members.emplace_back(name, 1.5);
      value.stream.entries.insert(value.stream.entries.begin(), {{i, 1}, {"f", name}});
    }
    value.stream.last = value.stream.entries.back().id;
    value.stream.added = value.stream.entries.size();
    value.stream.groups = {{.name = "g",
                            .last = {1, 1},
                            .entries_read = -1,
                            .consumers = {{"c", 5}},
                            .pending = {{{1, 1}, "c", 7, 1}}}};
    std::string body;
    rdb::WriteBody(value, body);
    writer.Key("key",
               body,
               random.Percent(50) ? std::optional<int64_t>(random.Below(1 << 30)) : std::nullopt);
  }
  writer.End();
  std::string file = writer.Take();
  // The checksum would keep nearly all damage out: 0 stands for none.
  if (random.Percent(80)) std::fill(file.end() - 8, file.end(), '\0');
  return out + file;
}

}  // namespace polyarch::fuzz
