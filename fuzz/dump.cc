// Values as RESTORE takes them, and HyperLogLogs: bytes that any client may send.
#include "base/check.h"
#include "crdt/hyperloglog.h"
#include "fuzz/target.h"
#include "rdb/encodings.h"
#include "rdb/value.h"

namespace polyarch::fuzz {

namespace {

constexpr size_t kLimit = 1 << 20;

void RunSketch(std::string_view bytes) {
  crdt::HllRegisters registers;
  const bool good = crdt::ReadHll(bytes, registers);
  const std::string_view all[] = {bytes, bytes};
  CHECK(crdt::UniteHlls(all).has_value() == good);
  if (!crdt::HasHllHeader(bytes)) return;
  (void)crdt::CountHll(bytes);
  (void)crdt::DescribeSparseHll(bytes);
  std::string changed(bytes);
  if (crdt::AddToHll(changed, "element") == crdt::HllSet::kMalformed) return;
  crdt::HllRegisters after;
  if (!good) return;
  CHECK(crdt::ReadHll(changed, after));
  for (size_t i = 0; i < registers.size(); ++i)
    CHECK(after[i] >= registers[i]);
}

std::string_view Text(base::Random& random) {
  static constexpr std::string_view kTexts[] = {"", "a", "-17", "70000", "a longer text, of many bytes, but of no more than that"};
  return kTexts[random.Below(std::size(kTexts))];
}

}  // namespace

void Run(std::string_view input) {
  if (input.empty()) return;
  const std::string_view bytes = input.substr(1);
  if ((input[0] & 1) != 0) return RunSketch(bytes);
  // The checksum would keep nearly all damage out.
  rdb::Value value;
  const rdb::ReadStatus status = rdb::ReadBody(bytes, kLimit, value);
  (void)rdb::ReadDump(bytes, kLimit, value);
  if (status != rdb::ReadStatus::kOk) return;
  CHECK(rdb::ReadBody(bytes, kLimit, value) == status);
  rdb::Value again;
  CHECK(rdb::ReadDump(rdb::WriteDump(value), 2 * kLimit, again) == rdb::ReadStatus::kOk);
  CHECK(again == value);
}

std::string Sample(base::Random& random) {
  if (random.Percent(30)) {
    std::string bytes = crdt::NewHll();
    for (uint64_t n = random.Below(60); n > 0; --n)
      crdt::AddToHll(bytes, std::to_string(random.Next()));
    return "\x01" + bytes;
  }
  std::string out(1, '\0');
  if (random.Percent(40)) {
    rdb::Value value{.type = static_cast<crdt::Type>(random.Below(5))};
    value.text = Text(random);
    for (int i = 0; i < 3; ++i) {
      const std::string name = std::to_string(i).append(Text(random));
      value.items.push_back(name);
      value.fields.emplace_back(name, Text(random));
      value.members.emplace_back(name, 1.5 * i);
    }
    rdb::WriteBody(value, out);
    return out;
  }
  // Packed encodings, as Redis writes them: a hash of two fields as listpack and as ziplist, an intset, a
  // list of one listpack, a compressed string.
  static constexpr std::string_view kPacked[] = {
      {"\x10\x15\x15\0\0\0\4\0\x81" "a\2\1\1\x82" "bb\3\xf1\xc4\x63\4\xff", 23},
      {"\x0d\x14\x14\0\0\0\x10\0\0\0\4\0\0\1a\3\xf2\2\1b\3\xf3\xff", 22},
      {"\x0b\x0c\2\0\0\0\2\0\0\0\xfd\xff\7\0", 14},
      {"\x12\1\2\x0b\x0b\0\0\0\2\0\x81x\2\2\1\xff", 15},
      {"\0\xc3\4\x0a\0a\xe0\0", 8},
  };
  out += kPacked[random.Below(std::size(kPacked))];
  return out;
}

}  // namespace polyarch::fuzz
