// Frames: the parsers agree with each other, what is valid can be read to its end, and reading gives
// what writing takes.
#include "wire/frame.h"

#include "base/check.h"
#include "fuzz/target.h"
#include "replication/origin_row.h"
#include "wire/wire_test_util.h"

namespace polyarch::fuzz {

namespace {

// What a checkpoint's vectors are written as differences from.
constexpr uint8_t kRowVersion = 3;
const replication::OriginRow::Base& RowBase() {
  static const auto base = std::make_shared<const clock::VersionVector::Base>(
      clock::VersionVector::Base{0, 5, 0, 9});
  return base;
}

wire::Dictionary MakeDictionary() {
  wire::Dictionary dictionary(clock::OriginIndex{0});
  for (uint16_t i = 1; i < 4; ++i) dictionary.Add(clock::OriginIndex{i});
  return dictionary;
}

void RunBody(std::string_view body, clock::Hlc base, uint64_t count) {
  const wire::Dictionary dictionary = MakeDictionary();
  wire::BodyReader reader(body, base, dictionary);
  clock::Hlc stamp;
  clock::Hlc last = base;
  crdt::Effect effect;
  uint32_t index = 0;
  uint64_t changes = 0;
  std::string again;
  while (reader.NextChange(stamp)) {
    CHECK(stamp >= last);
    base::PutVarint(again, stamp.bits - last.bits);
    last = stamp;
    while (reader.NextEffect(effect, index)) {
      CHECK(effect.key.size() <= UINT16_MAX);
      CHECK(effect.db <= crdt::kReservedDatabase ||
            (effect.kind == crdt::EffectKind::kFlush && effect.db == crdt::kAllDatabases));
      wire::AppendEffect(again, effect, dictionary);
    }
    again.push_back(wire::kChangeEnd);
    if (reader.ok()) ++changes;
  }
  CHECK(wire::ValidateBody(body, base, count, dictionary) == (reader.ok() && changes == count));
  // Without kinds that this version does not know, it is written again as it was or shorter (numbers
  // have one form only here).
  if (!reader.ok() || reader.unknown() > 0) return;
  CHECK(wire::ValidateBody(again, base, changes, dictionary));
}

}  // namespace

void Run(std::string_view bytes) {
  wire::FrameName name;
  wire::Frame frame;
  const bool named = wire::ParseFrameName(bytes, name);
  const bool parsed = wire::ParseFrame(bytes, frame);
  CHECK(named || !parsed);
  if (named) CHECK(name.first > 0 && name.count > 0 && name.first + name.count - 1 < uint64_t{1} << 48);
  if (parsed) {
    CHECK(frame.first == name.first && frame.count == name.count && frame.origin.leader == name.leader);
    CHECK(frame.durable < frame.first);
    (void)wire::ChainOf(bytes, frame, 1);
    // Written again it parses to the same.
    wire::Frame copy = frame;
    std::string again;
    wire::AppendFrame(again, copy, 1);
    wire::Frame second;
    CHECK(wire::ParseFrame(again, second));
    CHECK(second.origin == frame.origin && second.base == frame.base && second.durable == frame.durable &&
          second.clock_ms == frame.clock_ms && second.deps_changed == frame.deps_changed &&
          second.deps_new == frame.deps_new && second.body == frame.body);
    RunBody(frame.body, frame.base, frame.count);
  }
  RunBody(bytes, {}, 1);
  // The checkpoint's rows of origins.
  base::Reader in(bytes);
  replication::OriginRow row;
  if (row.Decode(in, 4, RowBase(), kRowVersion) && in.empty()) {
    std::string again;
    row.Encode(again, RowBase());
    base::Reader second(again);
    replication::OriginRow same;
    CHECK(same.Decode(second, 4, RowBase(), kRowVersion) && second.empty());
    CHECK(same.last == row.last && same.chain == row.chain && same.deps == row.deps && same.claim == row.claim &&
          same.waiting == row.waiting && same.clock_ms == row.clock_ms && same.ended == row.ended);
  }
}

std::string Sample(base::Random& random) {
  const wire::Dictionary dictionary = MakeDictionary();
  std::string body;
  const uint64_t count = 1 + random.Below(4);
  for (uint64_t c = 0; c < count; ++c) {
    base::PutVarint(body, random.Below(1000));
    for (uint64_t e = random.Below(4); e > 0; --e) {
      wire::AppendEffect(body, wire::RandomEffect(random, {clock::OriginIndex{0}, clock::OriginIndex{3}}).View(), dictionary);
    }
    body.push_back(wire::kChangeEnd);
  }
  if (random.Percent(10)) return body;
  if (random.Percent(10)) {
    replication::OriginRow row;
    row.dictionary = dictionary;
    row.deps.Set(clock::OriginIndex{2}, random.Below(1000));
    row.waiting.emplace_back(5, row.deps);
    std::string out;
    row.Encode(out, RowBase());
    return out;
  }
  wire::Frame frame;
  frame.origin = {"leader", random.Next()};
  frame.first = 1 + random.Below(1000);
  frame.count = count;
  frame.base = clock::Hlc::FromMs(random.Below(1 << 20));
  frame.durable = random.Below(frame.first);
  for (uint64_t n = random.Below(3); n > 0; --n) frame.deps_changed.emplace_back(random.Below(5), random.Below(1000));
  for (uint64_t n = random.Below(3); n > 0; --n) frame.deps_new.push_back({{"x", random.Next()}, random.Below(1000)});
  frame.body = body;
  std::string out;
  wire::AppendFrame(out, frame, 1);
  return out;
}

}  // namespace polyarch::fuzz
