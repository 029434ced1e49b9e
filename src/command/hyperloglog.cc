// HyperLogLogs: PFADD, PFCOUNT, PFMERGE and their debugging commands. One is a string in Redis's
// format (crdt/hyperloglog.h). Concurrent versions show as their union, so what is added is never
// lost.
#include "crdt/hyperloglog.h"

#include <vector>

#include "base/number.h"
#include "base/random.h"
#include "command/families.h"
#include "command/support.h"

namespace polyarch::command {
namespace {

using crdt::HllSet;
using keyspace::KeyRef;
using keyspace::Shown;

constexpr std::string_view kNoHll = "WRONGTYPE Key is not a valid HyperLogLog string value.";
constexpr std::string_view kMalformed = "INVALIDOBJ Corrupted HLL object detected";

// A key's HyperLogLog: "" if the key is missing; nothing, and the error given, if it holds anything
// else.
std::optional<std::string> ReadSketch(Context& c, std::string_view key) {
  const Shown shown = c.keys.Read(c.Ref(key));
  if (RefuseConflict(c, key, shown)) return std::nullopt;
  if (!shown.exists()) return std::string();
  if (shown.is_integer || !crdt::HasHllHeader(shown.value)) {
    c.reply.Error(kNoHll);
    return std::nullopt;
  }
  return std::string(shown.value);
}

void Pfadd(Context& c) {
  auto bytes = ReadSketch(c, c.args[1]);
  if (!bytes) return;
  const bool existed = !bytes->empty();
  bool changed = !existed;
  if (!existed) *bytes = crdt::NewHll();
  for (std::string_view element : c.args.subspan(2)) {
    const HllSet set = crdt::AddToHll(*bytes, element);
    if (set == HllSet::kMalformed) return c.reply.Error(kMalformed);
    changed = changed || set == HllSet::kChanged;
  }
  if (changed) crdt::InvalidateHllCount(*bytes);
  // Also if nothing has changed: a concurrent delete must not take what was acknowledged.
  PutPart(c, c.Ref(c.args[1]), *bytes, existed);
  c.reply.Integer(changed ? 1 : 0);
}

void Pfcount(Context& c) {
  crdt::HllRegisters registers{};
  for (std::string_view key : c.args.subspan(1)) {
    const auto bytes = ReadSketch(c, key);
    if (!bytes) return;
    if (c.count() == 2 && !bytes->empty()) {
      const auto count = crdt::CountHll(*bytes);
      return count ? c.reply.Integer(static_cast<int64_t>(*count)) : c.reply.Error(kMalformed);
    }
    if (!bytes->empty() && !crdt::MaximizeHll(*bytes, registers)) return c.reply.Error(kMalformed);
  }
  c.reply.Integer(static_cast<int64_t>(crdt::EstimateHll(registers)));
}

void Pfmerge(Context& c) {
  crdt::HllRegisters registers{};
  bool dense = false;
  std::string target;
  for (size_t i = 1; i < c.count(); ++i) {
    auto bytes = ReadSketch(c, c.args[i]);
    if (!bytes) return;
    if (bytes->empty()) continue;
    if (!crdt::MaximizeHll(*bytes, registers)) return c.reply.Error(kMalformed);
    dense = dense || crdt::IsHllDense(*bytes);
    if (i == 1) target = std::move(*bytes);
  }
  const bool existed = !target.empty();
  if (!existed) target = crdt::NewHll();
  if (dense) crdt::MakeHllDense(target);
  for (size_t i = 0; i < registers.size(); ++i) {
    if (registers[i] != 0) crdt::RaiseInHll(target, i, registers[i]);
  }
  crdt::InvalidateHllCount(target);
  PutPart(c, c.Ref(c.args[1]), target, existed);
  c.reply.Ok();
}

// ---- debugging

void Pfdebug(Context& c) {
  auto bytes = ReadSketch(c, c.args[2]);
  if (!bytes) return;
  if (bytes->empty()) return c.reply.Error("ERR The specified key does not exist");
  const std::string_view what = c.args[1];
  const bool sparse = !crdt::IsHllDense(*bytes);
  auto make_dense = [&] {
    if (!sparse) return true;
    if (!crdt::MakeHllDense(*bytes)) {
      c.reply.Error(kMalformed);
      return false;
    }
    PutPart(c, c.Ref(c.args[2]), *bytes, true);
    return true;
  };
  if (EqualsIgnoreCase(what, "getreg")) {
    if (!make_dense()) return;
    crdt::HllRegisters registers;
    crdt::ReadHll(*bytes, registers);
    c.reply.Array(registers.size());
    for (uint8_t value : registers)
      c.reply.Integer(value);
  } else if (EqualsIgnoreCase(what, "decode")) {
    if (!sparse) return c.reply.Error("ERR HLL encoding is not sparse");
    c.reply.Bulk(crdt::DescribeSparseHll(*bytes));
  } else if (EqualsIgnoreCase(what, "encoding")) {
    c.reply.Simple(sparse ? "sparse" : "dense");
  } else if (EqualsIgnoreCase(what, "todense")) {
    if (make_dense()) c.reply.Integer(sparse ? 1 : 0);
  } else {
    c.reply.Error("ERR Unknown PFDEBUG subcommand '" + std::string(what) + "'");
  }
}

// Do a sparse and a dense one of the same elements agree, and is the estimate within six times the
// standard error?
void Pfselftest(Context& c) {
  constexpr size_t kElements = 20'000;
  constexpr double kErrorMax = 6 * 0.0081;
  base::Random random(c.random);
  std::string sparse = crdt::NewHll();
  std::string dense = crdt::NewHll();
  crdt::MakeHllDense(dense);
  for (size_t i = 1; i <= kElements; ++i) {
    const std::string element = base::FormatInt64(static_cast<int64_t>(random.Next()));
    crdt::AddToHll(sparse, element);
    crdt::AddToHll(dense, element);
    if ((i & (i - 1)) != 0 && i != kElements) continue;
    crdt::HllRegisters of_sparse;
    crdt::HllRegisters of_dense;
    if (!crdt::ReadHll(sparse, of_sparse) || !crdt::ReadHll(dense, of_dense) ||
        of_sparse != of_dense)
      return c.reply.Error("ERR TESTFAILED sparse and dense registers differ");
    const auto error = static_cast<double>(crdt::EstimateHll(of_dense)) - static_cast<double>(i);
    const double allowed = kErrorMax * static_cast<double>(i) + 2;
    if (error > allowed || -error > allowed)
      return c.reply.Error("ERR TESTFAILED the estimate is too far off");
  }
  c.reply.Ok();
}

}  // namespace

void AddHyperLogLogFamily(std::vector<Row>& rows) {
  // clang-format off: a row as few lines as it needs
  static constexpr Row kRows[] = {
      {.name = "pfadd",
       .arity = -2,
       .flags = kWrite | kDenyOom | kFast,
       .keys = {1, 1, 1},
       .categories = "@write @hyperloglog @fast",
       .handler = Pfadd,
       .summary = "Adds elements to a HyperLogLog",
       .since = "2.8.9",
       .group = "hyperloglog",
       .complexity = "O(1) for each element",
       .syntax = "key:key element?*",
       .key_access = "RW insert"},
      {.name = "pfcount",
       .arity = -2,
       .flags = kReadonly,
       .keys = {1, -1, 1},
       .categories = "@read @hyperloglog @slow",
       .handler = Pfcount,
       .summary = "Estimates how many different elements were added to HyperLogLogs",
       .since = "2.8.9",
       .group = "hyperloglog",
       .complexity = "O(N) where N is the number of keys",
       .syntax = "key:key*",
       .key_access = "RW access"},
      {.name = "pfmerge",
       .arity = -2,
       .flags = kWrite | kDenyOom,
       .keys = {1, -1, 1},
       .categories = "@write @hyperloglog @slow",
       .handler = Pfmerge,
       .summary = "Stores the union of HyperLogLogs",
       .since = "2.8.9",
       .group = "hyperloglog",
       .complexity = "O(N) where N is the number of keys",
       .syntax = "destkey:key sourcekey:key*",
       .key_access = "RW access insert|RO access"},
      {.name = "pfdebug",
       .arity = 3,
       .flags = kWrite | kDenyOom | kAdmin,
       .keys = {2, 2, 1},
       .categories = "@write @hyperloglog @admin @slow @dangerous",
       .handler = Pfdebug,
       .summary = "Shows the inside of a HyperLogLog",
       .since = "2.8.9",
       .group = "hyperloglog",
       .complexity = "O(1)",
       .syntax = "subcommand key:key",
       .key_access = "RW access"},
      {.name = "pfselftest",
       .arity = 1,
       .flags = kAdmin,
       .categories = "@hyperloglog @admin @slow @dangerous",
       .handler = Pfselftest,
       .summary = "Tests the HyperLogLogs of this server",
       .since = "2.8.9",
       .group = "hyperloglog",
       .complexity = "O(1)"},
  };
  // clang-format on
  rows.insert(rows.end(), std::begin(kRows), std::end(kRows));
}

}  // namespace polyarch::command
