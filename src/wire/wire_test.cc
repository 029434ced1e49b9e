// The codecs: what goes in comes out, what is cut off or damaged is refused or means something else,
// and the bytes of format 1 stay what they are (tests/golden).
#include <algorithm>
#include <optional>
#include <tuple>

#include <gtest/gtest.h>

#include "base/golden_test_util.h"
#include "wire/frame.h"
#include "wire/peer_message.h"
#include "wire/wire_test_util.h"

namespace polyarch::wire {
namespace {

constexpr clock::OriginIndex kAuthor{3};
constexpr clock::OriginIndex kOther{0};
constexpr clock::OriginIndex kThird{500};

Dictionary MakeDictionary() {
  Dictionary dictionary(kAuthor);
  dictionary.Add(kOther);
  dictionary.Add(kThird);
  return dictionary;
}

std::string OneChange(const crdt::Effect& effect, const Dictionary& dictionary) {
  std::string body;
  base::PutVarint(body, 0);
  AppendEffect(body, effect, dictionary);
  body.push_back(kChangeEnd);
  return body;
}

std::string_view PayloadOf(std::string_view message) { return message.substr(1); }

// ---- Dictionary

TEST(Dictionary, PlacesAreInTheOrderOfListing) {
  Dictionary dictionary(kAuthor);
  uint64_t place = 99;
  EXPECT_TRUE(dictionary.Find(kAuthor, place));
  EXPECT_EQ(place, 0U);
  EXPECT_FALSE(dictionary.Find(kOther, place));
  EXPECT_EQ(dictionary.Add(kOther), 1U);
  EXPECT_EQ(dictionary.Add(kThird), 2U);
  EXPECT_EQ(dictionary.Add(kOther), 1U) << "listed once";
  EXPECT_EQ(dictionary.size(), 3U);
  EXPECT_EQ(dictionary.At(2), kThird);
  EXPECT_EQ(dictionary.At(3), clock::kNoOrigin);
  EXPECT_EQ(dictionary.At(~uint64_t{0}), clock::kNoOrigin);
  dictionary.RemoveLast(1);
  EXPECT_FALSE(dictionary.Find(kThird, place));
  EXPECT_EQ(dictionary.At(2), clock::kNoOrigin);
  EXPECT_EQ(dictionary.Add(kThird), 2U);
}

// ---- bodies

TEST(Body, EachEffectComesBack) {
  base::Random random(1);
  const Dictionary dictionary = MakeDictionary();
  for (int i = 0; i < 20'000; ++i) {
    const OwnedEffect owned = RandomEffect(random, {kAuthor, kOther, kThird});
    const crdt::Effect effect = owned.View();
    const std::string body = OneChange(effect, dictionary);
    ASSERT_TRUE(ValidateBody(body, {}, 1, dictionary));
    BodyReader reader(body, {}, dictionary);
    clock::Hlc stamp;
    crdt::Effect read;
    uint32_t index = 9;
    ASSERT_TRUE(reader.NextChange(stamp));
    ASSERT_TRUE(reader.NextEffect(read, index));
    ASSERT_TRUE(Same(read, effect)) << static_cast<int>(effect.kind);
    ASSERT_EQ(index, 0U);
    ASSERT_FALSE(reader.NextEffect(read, index));
    ASSERT_FALSE(reader.NextChange(stamp));
    ASSERT_TRUE(reader.ok());
  }
}

TEST(Body, ChangesStampsAndIndices) {
  base::Random random(2);
  const Dictionary dictionary = MakeDictionary();
  for (int round = 0; round < 500; ++round) {
    const clock::Hlc base{random.Next() >> 1};
    std::string body;
    std::vector<clock::Hlc> stamps;
    std::vector<std::vector<OwnedEffect>> changes(random.Below(6));
    clock::Hlc last = base;
    for (auto& change : changes) {
      const uint64_t delta = random.Below(1000);
      base::PutVarint(body, delta);
      last.bits += delta;
      stamps.push_back(last);
      for (uint64_t n = random.Below(5); n > 0; --n) {
        change.push_back(RandomEffect(random, {kAuthor, kOther}));
        AppendEffect(body, change.back().View(), dictionary);
      }
      body.push_back(kChangeEnd);
    }
    EXPECT_TRUE(ValidateBody(body, base, changes.size(), dictionary));
    EXPECT_FALSE(ValidateBody(body, base, changes.size() + 1, dictionary));
    BodyReader reader(body, base, dictionary);
    for (size_t c = 0; c < changes.size(); ++c) {
      clock::Hlc stamp;
      ASSERT_TRUE(reader.NextChange(stamp));
      ASSERT_EQ(stamp, stamps[c]);
      crdt::Effect effect;
      uint32_t index = 0;
      for (uint32_t e = 0; e < changes[c].size(); ++e) {
        ASSERT_TRUE(reader.NextEffect(effect, index));
        ASSERT_EQ(index, e);
        ASSERT_TRUE(Same(effect, changes[c][e].View()));
      }
      ASSERT_FALSE(reader.NextEffect(effect, index));
    }
    ASSERT_TRUE(reader.ok());
  }
}

TEST(Body, CutOffAnywhereIsRefused) {
  base::Random random(3);
  const Dictionary dictionary = MakeDictionary();
  for (int round = 0; round < 300; ++round) {
    std::string body;
    const uint64_t count = 1 + random.Below(3);
    for (uint64_t c = 0; c < count; ++c) {
      base::PutVarint(body, random.Below(300));
      AppendEffect(body, RandomEffect(random, {kAuthor, kOther, kThird}).View(), dictionary);
      body.push_back(kChangeEnd);
    }
    ASSERT_TRUE(ValidateBody(body, {}, count, dictionary));
    for (size_t size = 0; size < body.size(); ++size) {
      ASSERT_FALSE(ValidateBody(body.substr(0, size), {}, count, dictionary)) << size;
    }
    ASSERT_FALSE(ValidateBody(body + "x", {}, count, dictionary));
  }
}

TEST(Body, DamageIsRefusedOrMeansSomethingElse) {
  base::Random random(4);
  const Dictionary dictionary = MakeDictionary();
  for (int round = 0; round < 20'000; ++round) {
    std::string body = OneChange(RandomEffect(random, {kAuthor, kOther, kThird}).View(), dictionary);
    for (uint64_t n = 1 + random.Below(4); n > 0; --n) body[random.Below(body.size())] = static_cast<char>(random.Next());
    BodyReader reader(body, {}, dictionary);
    clock::Hlc stamp;
    crdt::Effect effect;
    uint32_t index = 0;
    while (reader.NextChange(stamp)) {
      while (reader.NextEffect(effect, index)) {
        // What was read can be written, and is the same again.
        const std::string again = OneChange(effect, dictionary);
        BodyReader second(again, {}, dictionary);
        crdt::Effect same;
        ASSERT_TRUE(second.NextChange(stamp));
        ASSERT_TRUE(second.NextEffect(same, index));
        ASSERT_TRUE(Same(same, effect));
      }
    }
  }
}

// Effects about elements of few lists, with names that begin alike.
std::vector<OwnedEffect> ListEffects(base::Random& random) {
  std::vector<OwnedEffect> effects;
  for (uint64_t n = 1 + random.Below(12); n > 0; --n) {
    OwnedEffect owned = RandomEffect(random, {kAuthor, kOther});
    if (random.Percent(85)) {
      crdt::Effect& e = owned.effect;
      e.kind = random.Percent(60) ? crdt::EffectKind::kPut : crdt::EffectKind::kWipe;
      e.db = static_cast<uint8_t>(random.Below(20) / 19);
      e.type = random.Percent(90) ? crdt::Type::kList : crdt::Type::kHash;
      e.flags = 0;
      e.expire_ms = crdt::kNever;
      e.life = {};
      e.total = e.increment = {};
      owned.key = random.Percent(85) ? "queue" : "other";
      owned.element = std::string(24 * (1 + random.Below(2)), 'p').substr(random.Below(3)) + RandomText(random, 4);
      owned.seen.clear();
      if (random.Percent(90)) owned.clears.clear();
      if (e.kind == crdt::EffectKind::kWipe) owned.value.clear();
    }
    effects.push_back(std::move(owned));
  }
  return effects;
}

TEST(Body, NamesOfAListAreWrittenByTheirEnds) {
  base::Random random(11);
  const Dictionary dictionary = MakeDictionary();
  size_t shorter = 0;
  for (int round = 0; round < 5000; ++round) {
    const std::vector<OwnedEffect> effects = ListEffects(random);
    std::string body;
    std::string in_full;
    LastElement last;
    for (const OwnedEffect& owned : effects) {
      base::PutVarint(body, 1);
      AppendEffect(body, owned.View(), dictionary, &last);
      body.push_back(kChangeEnd);
      AppendEffect(in_full, owned.View(), dictionary);
      in_full += "12";
    }
    ASSERT_LE(body.size(), in_full.size() + effects.size());
    if (body.size() < in_full.size()) ++shorter;
    ASSERT_TRUE(ValidateBody(body, {}, effects.size(), dictionary));
    BodyReader reader(body, {}, dictionary);
    clock::Hlc stamp;
    crdt::Effect read;
    uint32_t index = 0;
    for (const OwnedEffect& owned : effects) {
      ASSERT_TRUE(reader.NextChange(stamp));
      ASSERT_TRUE(reader.NextEffect(read, index));
      ASSERT_TRUE(Same(read, owned.View()));
      ASSERT_FALSE(reader.NextEffect(read, index));
    }
    for (size_t size = 0; size < body.size(); ++size)
      ASSERT_FALSE(ValidateBody(body.substr(0, size), {}, effects.size(), dictionary));
    // Damage means something else or nothing, and never harms.
    for (uint64_t n = 1 + random.Below(4); n > 0; --n)
      body[random.Below(body.size())] = static_cast<char>(random.Next());
    (void)ValidateBody(body, {}, effects.size(), dictionary);
  }
  EXPECT_GT(shorter, 1000U);
}

TEST(Body, AShortNameNeedsOneBefore) {
  const Dictionary dictionary = MakeDictionary();
  const crdt::Effect first{
      .kind = crdt::EffectKind::kPut, .type = crdt::Type::kList, .key = "k", .element = "abc", .value = "v"};
  crdt::Effect second = first;
  second.element = "abd";
  std::string whole;
  std::string tail;
  LastElement last;
  AppendEffect(whole, first, dictionary, &last);
  AppendEffect(tail, second, dictionary, &last);
  const std::string expected("\x81\x05\x00\x02\x01" "dv", 7);
  EXPECT_EQ(tail, expected);
  const std::string stamp(1, '\0');
  const std::string end(1, kChangeEnd);
  EXPECT_TRUE(ValidateBody(stamp + whole + tail + end, {}, 1, dictionary));
  EXPECT_FALSE(ValidateBody(stamp + tail + end, {}, 1, dictionary)) << "of what?";
  std::string beyond = tail;
  beyond[3] = 4;
  EXPECT_FALSE(ValidateBody(stamp + whole + beyond + end, {}, 1, dictionary)) << "more than there is";
}

TEST(Body, UnknownKindsArePassedOver) {
  const Dictionary dictionary = MakeDictionary();
  crdt::Effect wipe{.kind = crdt::EffectKind::kWipe, .key = "k"};
  for (int kind = crdt::kEffectKindMax; kind < 256; ++kind) {
    if (kind == crdt::kEffectKindMax && crdt::kEffectKindMax != static_cast<int>(crdt::EffectKind::kWipeRange)) continue;
    // Versions 1 and 2: the same about an element. An expiry or a flush of one does not exist.
    const int version = kind >> 6;
    const auto of = static_cast<crdt::EffectKind>(kind & 0x3f);
    if ((version == 1 || version == 2) && (kind & 0x3f) != 0 && (kind & 0x3f) <= crdt::kEffectKindMax &&
        of != crdt::EffectKind::kExpire && of != crdt::EffectKind::kFlush &&
        // A wipe of a range is always about elements, and always written in full.
        (of != crdt::EffectKind::kWipeRange || version == 1)) {
      continue;
    }
    std::string body;
    base::PutVarint(body, 0);
    body.push_back(static_cast<char>(kind));
    base::PutBytes(body, "anything");
    AppendEffect(body, wipe, dictionary);
    body.push_back(kChangeEnd);
    EXPECT_TRUE(ValidateBody(body, {}, 1, dictionary));
    BodyReader reader(body, {}, dictionary);
    clock::Hlc stamp;
    crdt::Effect effect;
    uint32_t index = 0;
    ASSERT_TRUE(reader.NextChange(stamp));
    ASSERT_TRUE(reader.NextEffect(effect, index));
    EXPECT_EQ(index, 1U) << "its index is used up";
    EXPECT_EQ(reader.unknown(), 1U);
  }
}

TEST(Body, WhatNoWriterWrites) {
  const Dictionary dictionary = MakeDictionary();
  auto change = [](uint8_t kind, std::string_view payload) {
    std::string body;
    base::PutVarint(body, 0);
    body.push_back(static_cast<char>(kind));
    base::PutBytes(body, payload);
    body.push_back(kChangeEnd);
    return body;
  };
  auto valid = [&](uint8_t kind, std::string_view payload) {
    return ValidateBody(change(kind, payload), {}, 1, dictionary);
  };
  EXPECT_TRUE(valid(2, std::string_view("\x00\x00\x01k", 4)));
  EXPECT_FALSE(valid(2, std::string_view("\x00\x11\x01k", 4))) << "no such database";
  EXPECT_FALSE(valid(2, std::string_view("\x00\xff\x01k", 4))) << "all databases: kFlush only";
  EXPECT_TRUE(valid(7, std::string_view("\x00\xff", 2)));
  EXPECT_FALSE(valid(7, std::string_view("\x00\x20", 2)));
  EXPECT_FALSE(valid(2, std::string_view("\x00\x00\x01k!", 5))) << "bytes left over";
  EXPECT_TRUE(valid(0x42, std::string_view("\x00\x00\x01k\x02\x01m", 7))) << "of a set's member";
  EXPECT_FALSE(valid(0x42, std::string_view("\x00\x00\x01k\x00\x01m", 7))) << "no type";
  EXPECT_FALSE(valid(0x42, std::string_view("\x00\x00\x01k\x06\x01m", 7))) << "no such type";
  EXPECT_FALSE(valid(0x42, std::string_view("\x00\x00\x01k\x02\x02m", 7))) << "cut off";
  EXPECT_FALSE(valid(2, "")) << "nothing at all";
  std::string long_key("\x00\x00", 2);
  base::PutBytes(long_key, std::string(65'536, 'k'));
  EXPECT_FALSE(valid(2, long_key));
  std::string place("\x00\x00\x01k\x01\x03\x05", 7);  // a dot by a place that the dictionary lacks
  EXPECT_FALSE(valid(6, place));
  std::string many("\x00\x00\x01k", 4);
  base::PutVarint(many, (1 << 16) + 1);
  EXPECT_FALSE(valid(6, many));
  std::string far("\x00\x00\x01k\x01\x01", 6);
  base::PutVarint(far, uint64_t{1} << 48);
  EXPECT_FALSE(valid(6, far)) << "a sequence of more than 48 bits";
  std::string life("\x00\x00\x01k", 4);
  base::PutVarint(life, uint64_t{1} << 48);
  EXPECT_FALSE(valid(3, life + std::string("\x00\x00\x01\x00\x01", 5)));
  std::string overflow;
  base::PutVarint(overflow, 5);
  overflow.push_back(kChangeEnd);
  EXPECT_FALSE(ValidateBody(overflow, {~uint64_t{0} - 4}, 1, dictionary)) << "a stamp beyond the last one";
  EXPECT_TRUE(ValidateBody(overflow, {~uint64_t{0} - 5}, 1, dictionary));
}

// ---- frames

Frame RandomFrame(base::Random& random) {
  Frame frame;
  frame.solid = random.Percent(50);
  frame.origin = {RandomText(random, 254) + "x", random.Next()};
  frame.first = 1 + (RandomBits(random) >> 17);
  frame.count = 1 + random.Below(1000);
  frame.base = {random.Next()};
  frame.durable = random.Below(frame.first);
  frame.clock_ms = static_cast<int64_t>(random.Next());
  for (uint64_t n = random.Below(5); n > 0; --n) frame.deps_changed.emplace_back(RandomBits(random), RandomBits(random));
  for (uint64_t n = random.Below(5); n > 0; --n) {
    frame.deps_new.push_back({{RandomText(random, 20) + "y", random.Next()}, RandomBits(random) >> 16});
  }
  return frame;
}

TEST(Frame, ComesBack) {
  base::Random random(5);
  for (int i = 0; i < 2000; ++i) {
    Frame frame = RandomFrame(random);
    const std::string body = RandomText(random, 100);
    frame.body = body;
    const uint64_t previous = random.Next();
    std::string bytes = "before";
    AppendFrame(bytes, frame, previous);
    bytes.erase(0, 6);
    Frame read;
    ASSERT_TRUE(ParseFrame(bytes, read));
    ASSERT_EQ(read.solid, frame.solid);
    ASSERT_EQ(read.origin, frame.origin);
    ASSERT_EQ(read.first, frame.first);
    ASSERT_EQ(read.count, frame.count);
    ASSERT_EQ(read.base, frame.base);
    ASSERT_EQ(read.durable, frame.durable);
    ASSERT_EQ(read.clock_ms, frame.clock_ms);
    ASSERT_EQ(read.deps_changed, frame.deps_changed);
    ASSERT_EQ(read.deps_new, frame.deps_new);
    ASSERT_EQ(read.chain, frame.chain);
    ASSERT_EQ(read.body, frame.body);
    ASSERT_EQ(ChainOf(bytes, read, previous), frame.chain);
    ASSERT_NE(ChainOf(bytes, read, previous + 1), frame.chain);
    FrameName name;
    ASSERT_TRUE(ParseFrameName(bytes, name));
    ASSERT_EQ(name.leader, frame.origin.leader);
    ASSERT_EQ(name.incarnation, frame.origin.incarnation);
    ASSERT_EQ(name.first, frame.first);
    ASSERT_EQ(name.count, frame.count);
    // Cut off in the head it is refused; in the body, by the chain.
    for (size_t size = 0; size < bytes.size(); ++size) {
      const std::string_view cut = std::string_view(bytes).substr(0, size);
      if (size < bytes.size() - body.size()) {
        ASSERT_FALSE(ParseFrame(cut, read));
      } else {
        ASSERT_TRUE(ParseFrame(cut, read));
        ASSERT_NE(ChainOf(cut, read, previous), read.chain);
      }
    }
  }
}

TEST(Frame, AnyFlippedBitShowsInTheChain) {
  base::Random random(6);
  Frame frame = RandomFrame(random);
  frame.body = "the body";
  std::string bytes;
  AppendFrame(bytes, frame, 17);
  for (size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
    std::string damaged = bytes;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << bit % 8));
    Frame read;
    ASSERT_TRUE(!ParseFrame(damaged, read) || ChainOf(damaged, read, 17) != read.chain) << bit;
  }
}

TEST(Frame, LimitsOfItsNumbers) {
  auto parses = [](uint64_t first, uint64_t count) {
    Frame frame;
    frame.origin = {"a", 1};
    frame.first = first;
    frame.count = count;
    std::string bytes;
    AppendFrame(bytes, frame, 0);
    Frame read;
    FrameName name;
    EXPECT_EQ(ParseFrame(bytes, read), ParseFrameName(bytes, name));
    return ParseFrame(bytes, read);
  };
  constexpr uint64_t kMax = (uint64_t{1} << 48) - 1;
  EXPECT_TRUE(parses(1, 1));
  EXPECT_FALSE(parses(1, 0));
  EXPECT_TRUE(parses(kMax - 1, 1));
  EXPECT_FALSE(parses(kMax + 1, 1));
  EXPECT_FALSE(parses(2, kMax));
  EXPECT_FALSE(parses(1, ~uint64_t{0})) << "their sum overflows";
  Frame frame;
  frame.first = frame.count = 1;
  for (const std::string& leader : {std::string(), std::string(256, 'x')}) {
    frame.origin = {leader, 1};
    std::string bytes;
    AppendFrame(bytes, frame, 0);
    EXPECT_FALSE(ParseFrame(bytes, frame));
  }
  FrameName name;
  EXPECT_FALSE(ParseFrameName("\x02", name)) << "another format";
}

TEST(Frame, DamageNeverHarms) {
  base::Random random(7);
  for (int i = 0; i < 20'000; ++i) {
    Frame frame = RandomFrame(random);
    std::string bytes;
    AppendFrame(bytes, frame, 1);
    for (uint64_t n = 1 + random.Below(5); n > 0; --n) bytes[random.Below(bytes.size())] = static_cast<char>(random.Next());
    if (random.Percent(30)) bytes.resize(random.Below(bytes.size() + 1));
    Frame read;
    FrameName name;
    const bool named = ParseFrameName(bytes, name);
    if (ParseFrame(bytes, read)) {
      ASSERT_TRUE(named);
      ASSERT_LT(read.durable, read.first);
      (void)ChainOf(bytes, read, 1);
    }
  }
}

// ---- messages

ProcessInfo RandomProcess(base::Random& random) {
  return {RandomText(random, 254) + "x", random.Next(), static_cast<int64_t>(random.Next()), RandomText(random, 100),
          random.Next()};
}
clock::Origin RandomOrigin(base::Random& random) { return {RandomText(random, 254) + "x", random.Next()}; }

// One message of each type, by turns, encoded.
std::string RandomMessage(base::Random& random) {
  switch (random.Below(16)) {
    case 0: {
      Hello m;
      m.cluster = random.Next();
      m.process = RandomProcess(random);
      m.joining = random.Percent(50);
      m.join_nonce = random.Next();
      m.heard = random.Next();
      m.version = RandomBits(random);
      return Encode(m);
    }
    case 1: {
      Have m;
      m.full = random.Percent(50);
      m.wall_ms = static_cast<int64_t>(random.Next());
      for (uint64_t n = random.Below(5); n > 0; --n) {
        m.entries.push_back({RandomOrigin(random), RandomBits(random) >> 16, RandomBits(random) >> 16});
      }
      m.number = RandomBits(random);
      return Encode(m);
    }
    case 2:
      return Encode(Subscribe{RandomOrigin(random), 1 + (RandomBits(random) >> 17), random.Next(), RandomBits(random),
                              RandomBits(random)});
    case 3: return Encode(Unsubscribe{RandomOrigin(random), RandomBits(random)});
    case 4: return Encode(Credit{RandomOrigin(random), RandomBits(random), RandomBits(random)});
    case 5: {
      Pulse m;
      m.wanted = random.Percent(50);
      m.want_full = random.Percent(50);
      m.have = RandomBits(random);
      m.hello = RandomBits(random);
      m.graph = random.Next();
      m.wall_ms = static_cast<int64_t>(random.Next());
      return Encode(m);
    }
    case 6: {
      LinkStates m;
      for (uint64_t n = random.Below(4); n > 0; --n) {
        LinkState state{RandomProcess(random), RandomBits(random) >> 16, {}};
        uint64_t nonce = 0;
        for (uint64_t k = random.Below(5); k > 0; --k) state.neighbours.push_back(nonce += 1 + (random.Next() >> 8));
        m.entries.push_back(state);
      }
      return Encode(m);
    }
    case 7: {
      LinkSummary m;
      for (uint64_t n = random.Below(5); n > 0; --n) m.items.push_back({random.Next(), RandomBits(random) >> 16});
      return Encode(m);
    }
    case 8: {
      LinkWant m;
      for (uint64_t n = random.Below(5); n > 0; --n) m.nonces.push_back(random.Next());
      return Encode(m);
    }
    case 9: return Encode(Refused{Refused::Reason::kRetired, random.Next()});
    case 10: {
      HaveMore m{RandomBits(random), {}};
      uint64_t origin = random.Below(1000);
      for (uint64_t n = random.Below(5); n > 0; --n) {
        HaveMoreEntry e;
        e.origin = origin;
        if (random.Percent(50)) e.name = RandomOrigin(random);
        e.applied = RandomBits(random) >> 16;
        e.durable = e.applied - std::min(e.applied, RandomBits(random));
        m.entries.push_back(e);
        origin += 1 + random.Below(1000);
      }
      return Encode(m);
    }
    case 11: {
      const std::string channel = std::string(random.Below(20), 'c');
      const std::string message = std::string(random.Below(200), 'm');
      return Encode(Publish{.source = random.Next(),
                            .number = 1 + (RandomBits(random) >> 1),
                            .shard = random.Percent(50),
                            .channel = channel,
                            .message = message});
    }
    case 12: {
      const std::string payload = std::string(random.Below(200), 'p');
      return Encode(Routed{.to = random.Next(), .hops = static_cast<uint8_t>(random.Below(65)), .payload = payload});
    }
    case 13: return Encode(WantReceipt{RandomOrigin(random), RandomBits(random) >> 16});
    case 14: return Encode(Receipt{RandomOrigin(random), RandomText(random, 254) + "x", RandomBits(random) >> 16});
    default: return Encode(Fork{RandomOrigin(random), RandomBits(random) >> 16});
  }
}

// Decodes and encodes again; nothing if it is malformed.
std::optional<std::string> Again(std::string_view message) {
  auto again = [&](auto m) -> std::optional<std::string> {
    if (!Decode(PayloadOf(message), m)) return std::nullopt;
    return Encode(m);
  };
  switch (static_cast<MessageType>(message[0])) {
    case MessageType::kHello: return again(Hello{});
    case MessageType::kHave: return again(Have{});
    case MessageType::kHaveMore: return again(HaveMore{});
    case MessageType::kSubscribe: return again(Subscribe{});
    case MessageType::kCredit: return again(Credit{});
    case MessageType::kFork: return again(Fork{});
    case MessageType::kUnsubscribe: return again(Unsubscribe{});
    case MessageType::kPulse: return again(Pulse{});
    case MessageType::kLinkState: return again(LinkStates{});
    case MessageType::kLinkSummary: return again(LinkSummary{});
    case MessageType::kLinkWant: return again(LinkWant{});
    case MessageType::kRefused: return again(Refused{});
    case MessageType::kPublish: return again(Publish{});
    case MessageType::kRouted: return again(Routed{});
    case MessageType::kWantReceipt: return again(WantReceipt{});
    case MessageType::kReceipt: return again(Receipt{});
    case MessageType::kFrame: break;
  }
  return std::nullopt;
}

TEST(PeerMessage, ComesBack) {
  base::Random random(8);
  for (int i = 0; i < 5000; ++i) {
    const std::string message = RandomMessage(random);
    const auto again = Again(message);
    ASSERT_TRUE(again);
    ASSERT_EQ(*again, message);
  }
}

TEST(PeerMessage, CutOffAnywhereIsRefused) {
  base::Random random(9);
  for (int i = 0; i < 200; ++i) {
    const std::string message = RandomMessage(random);
    for (size_t size = 1; size < message.size(); ++size) ASSERT_FALSE(Again(message.substr(0, size))) << size;
    ASSERT_FALSE(Again(message + "x"));
  }
}

TEST(PeerMessage, DamageNeverHarms) {
  base::Random random(10);
  for (int i = 0; i < 30'000; ++i) {
    std::string message = RandomMessage(random);
    for (uint64_t n = 1 + random.Below(5); n > 0; --n) {
      message[1 + random.Below(message.size() - 1)] = static_cast<char>(random.Next());
    }
    const auto once = Again(message);
    if (!once) continue;
    const auto twice = Again(*once);
    ASSERT_TRUE(twice);
    ASSERT_EQ(*twice, *once);
  }
}

TEST(PeerMessage, Limits) {
  Have have;
  have.entries.assign(kListMax, {{"a", 1}, 1, 1});
  Have read;
  EXPECT_TRUE(Decode(PayloadOf(Encode(have)), read));
  have.entries.push_back({{"a", 1}, 1, 1});
  EXPECT_FALSE(Decode(PayloadOf(Encode(have)), read));
  HaveMore more;
  HaveMoreEntry last{clock::kOriginsMax - 1, {}, 1, 0};
  EXPECT_TRUE(Decode(PayloadOf(Encode(HaveMore{1, {last}})), more));
  ++last.origin;
  EXPECT_FALSE(Decode(PayloadOf(Encode(HaveMore{1, {last}})), more)) << "no node numbers so many origins";
  EXPECT_FALSE(Decode(std::string("\x01\x01\x00\x05\x06", 5), more)) << "more durable than applied";
  Subscribe subscribe;
  EXPECT_FALSE(Decode(PayloadOf(Encode(Subscribe{{"a", 1}, 0, 0, 0, 0})), subscribe)) << "sequences begin at 1";
  EXPECT_FALSE(Decode(PayloadOf(Encode(Subscribe{{"a", 1}, uint64_t{1} << 48, 0, 0, 0})), subscribe));
  EXPECT_FALSE(Decode(PayloadOf(Encode(Subscribe{{"", 1}, 1, 0, 0, 0})), subscribe));
  EXPECT_TRUE(Decode(PayloadOf(Encode(Subscribe{{std::string(255, 'x'), 1}, 1, 0, 0, 0})), subscribe));
  // A greeting in another format is only told apart by it.
  Hello hello;
  hello.format = kPeerFormat + 1;
  Hello other;
  EXPECT_TRUE(Decode(PayloadOf(Encode(hello)), other));
  EXPECT_EQ(other.format, kPeerFormat + 1);
  EXPECT_TRUE(Decode("\x07 and whatever comes then", other));
  EXPECT_EQ(other.format, 7U);
}

// ---- the formats, for ever

TEST(Golden, Bodies) {
  const Dictionary dictionary = MakeDictionary();
  struct Case {
    const char* name;
    const char* what;
    OwnedEffect effect;
  };
  std::vector<Case> cases;
  auto add = [&](const char* name, const char* what, crdt::Effect effect) -> OwnedEffect& {
    cases.push_back({name, what, {effect, "key", "", {}, {}}});
    return cases.back().effect;
  };
  using crdt::EffectKind;
  const crdt::Clear clear{kOther, {7, 1}, {300, 2}, crdt::Number::Integer(-5)};
  add("body_1_put", "kPut: SET key value", {.kind = EffectKind::kPut, .flags = crdt::kWipes | crdt::kNeverFlag}).value = "value";
  add("body_1_put_ttl", "kPut with an expiry, database 15",
      {.kind = EffectKind::kPut, .db = 15, .flags = crdt::kWipes | crdt::kHasExpiry, .expire_ms = 1'700'000'000'123}).value = "value";
  {
    OwnedEffect& e = add("body_1_put_clears", "kPut over two counters, one of them real",
                         {.kind = EffectKind::kPut, .flags = crdt::kWipes | crdt::kNeverFlag});
    e.value = "10";
    e.clears = {clear, {kAuthor, {1, 0}, {1, 0}, {true, 2, 0.5L}}};
  }
  add("body_1_put_absent", "kPut: the version \"absent\"", {.kind = EffectKind::kPut, .flags = crdt::kWipes | crdt::kAbsent});
  add("body_1_wipe", "kWipe that keeps the expiry", {.kind = EffectKind::kWipe, .flags = crdt::kKeepExpiry}).clears = {clear};
  add("body_1_increment", "kIncrement of an integer",
      {.kind = EffectKind::kIncrement, .life = {40, 3}, .total = crdt::Number::Integer(1'000'000),
       .increment = crdt::Number::Integer(-1)});
  add("body_1_increment_real", "kIncrement of a real number, the total with an integer part of 128 bits",
      {.kind = EffectKind::kIncrement, .flags = crdt::kWipes, .life = {40, 3},
       .total = {true, static_cast<__int128>(1) << 80, 0.25L}, .increment = crdt::Number::Real(-0.125L)});
  add("body_1_expire", "kExpire at an instant", {.kind = EffectKind::kExpire, .expire_ms = 1'700'000'000'123});
  add("body_1_persist", "kExpire: PERSIST", {.kind = EffectKind::kExpire, .expire_ms = crdt::kNever});
  {
    OwnedEffect& e = add("body_1_resolve", "kResolve of two versions and a counter",
                         {.kind = EffectKind::kResolve, .flags = crdt::kNeverFlag});
    e.value = "merged";
    e.seen = {clock::Dot(kAuthor, 1), clock::Dot(kThird, (uint64_t{1} << 48) - 1)};
    e.clears = {clear};
  }
  add("body_1_clean", "kClean in the reserved database", {.kind = EffectKind::kClean, .db = 16}).seen = {clock::Dot(kOther, 9)};
  {
    OwnedEffect& e = add("body_1_wipe_range", "kWipeRange of a stream's entries",
                         {.kind = EffectKind::kWipeRange, .type = crdt::Type::kStream});
    e.element = std::string("\1\0", 2);
    e.value = "\2";
  }
  add("body_1_flush", "kFlush of all databases", {.kind = EffectKind::kFlush, .db = crdt::kAllDatabases}).key = "";
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    const std::string golden =
        base::CheckGolden(c.name, c.what, OneChange(c.effect.View(), dictionary));
    BodyReader reader(golden, {}, dictionary);
    clock::Hlc stamp;
    crdt::Effect effect;
    uint32_t index = 0;
    ASSERT_TRUE(reader.NextChange(stamp));
    ASSERT_TRUE(reader.NextEffect(effect, index));
    EXPECT_TRUE(Same(effect, c.effect.View()));
    EXPECT_TRUE(ValidateBody(golden, {}, 1, dictionary));
  }
}

TEST(Golden, FrameFormat1) {
  const Dictionary dictionary = MakeDictionary();
  Frame frame;
  frame.solid = true;
  frame.origin = {"eu", 0x0123456789abcdef};
  frame.first = 1000;
  frame.count = 2;
  frame.base = clock::Hlc::FromMs(1'700'000'000'000);
  frame.durable = 990;
  frame.clock_ms = 1'700'000'000'005;
  frame.deps_changed = {{1, 5}, {2, 300}};
  frame.deps_new = {{{"asia", 0xfedcba9876543210}, 77}};
  std::string body = OneChange({.kind = crdt::EffectKind::kWipe, .key = "a"}, dictionary);
  base::PutVarint(body, 300);
  body.push_back(kChangeEnd);
  frame.body = body;
  std::string bytes;
  AppendFrame(bytes, frame, 0x1122334455667788);
  const std::string golden = base::CheckGolden("frame_1", "a frame of two changes, the second one empty", bytes);
  Frame read;
  ASSERT_TRUE(ParseFrame(golden, read));
  EXPECT_TRUE(read.solid);
  EXPECT_EQ(read.origin, frame.origin);
  EXPECT_EQ(read.first, 1000U);
  EXPECT_EQ(read.count, 2U);
  EXPECT_EQ(read.base, frame.base);
  EXPECT_EQ(read.durable, 990U);
  EXPECT_EQ(read.clock_ms, frame.clock_ms);
  EXPECT_EQ(read.deps_changed, frame.deps_changed);
  EXPECT_EQ(read.deps_new, frame.deps_new);
  EXPECT_EQ(read.body, body);
  EXPECT_EQ(ChainOf(golden, read, 0x1122334455667788), read.chain);
  EXPECT_TRUE(ValidateBody(read.body, read.base, read.count, dictionary));
}

TEST(Golden, PeerMessages) {
  const ProcessInfo process{"eu", 0x1111, 1'700'000'000'000, "10.0.0.1:8001", 0x0123456789abcdef};
  const clock::Origin origin{"asia", 0xfedcba9876543210};
  Hello hello;
  hello.cluster = 0x2222;
  hello.process = process;
  hello.joining = true;
  hello.join_nonce = 0x3333;
  hello.heard = 0x4444;
  hello.version = 5;
  Have have;
  have.full = true;
  have.wall_ms = 1'700'000'000'001;
  have.entries = {{origin, 1000, 990}};
  have.number = 77;
  const HaveMore more{78, {{3, origin, 1001, 1000}, {200, {}, 70'000, 70'000}}};
  Pulse pulse;
  pulse.wanted = true;
  pulse.want_full = true;
  pulse.have = 300;
  pulse.hello = 5;
  pulse.graph = 0x8877665544332211;
  pulse.wall_ms = 1'700'000'000'001;
  const LinkStates states{{{process, 9, {0x2222, 0x3333}}}};
  const std::vector<std::tuple<const char*, const char*, std::string>> cases = {
      {"peer_2_hello", "Hello of a leader that wants to join", Encode(hello)},
      {"peer_1_have", "Have, full", Encode(have)},
      {"peer_1_have_more", "HaveMore: origin 3, named, and origin 200", Encode(more)},
      {"peer_1_subscribe", "Subscribe", Encode(Subscribe{origin, 1001, 0x5555, 4 << 20, 3})},
      {"peer_1_unsubscribe", "Unsubscribe", Encode(Unsubscribe{origin, 3})},
      {"peer_1_credit", "Credit", Encode(Credit{origin, 3, 8 << 20})},
      {"peer_1_fork", "Fork", Encode(Fork{origin, 1000})},
      {"peer_1_pulse", "Pulse that asks for a full Have", Encode(pulse)},
      {"peer_1_link_states", "LinkStates: one process with two neighbours", Encode(states)},
      {"peer_1_link_summary", "LinkSummary", Encode(LinkSummary{{{0x1111, 9}, {0x2222, 200}}})},
      {"peer_1_link_want", "LinkWant", Encode(LinkWant{{0x1111, 0x2222}})},
      {"peer_1_publish", "Publish: message 300 of a process, to the shard channel news",
       Encode(Publish{.source = 0x1122334455667788, .number = 300, .shard = true, .channel = "news", .message = "hello"})},
      {"peer_1_routed", "Routed: to a process, 64 hops at most",
       Encode(Routed{.to = 0x1122334455667788, .payload = "payload"})},
      {"peer_1_want_receipt", "WantReceipt: who holds the origin's changes up to 9 durably?", Encode(WantReceipt{origin, 9})},
      {"peer_1_receipt", "Receipt: us holds them up to 8", Encode(Receipt{origin, "us", 8})},
      {"peer_1_refused", "Refused: retired", Encode(Refused{Refused::Reason::kRetired, 0x1122334455667788})},
  };
  for (const auto& [name, what, bytes] : cases) {
    const std::string golden = base::CheckGolden(name, what, bytes);
    const auto again = Again(golden);
    ASSERT_TRUE(again) << name;
    EXPECT_EQ(*again, golden) << name;
  }
  Hello read;
  ASSERT_TRUE(Decode(PayloadOf(base::ReadGolden("peer_1_hello")), read));
  EXPECT_EQ(read.format, 1U) << "of a version that is too old: told by its format";
  ASSERT_TRUE(Decode(PayloadOf(base::ReadGolden("peer_2_hello")), read));
  EXPECT_EQ(read.cluster, 0x2222U);
  EXPECT_EQ(read.process.leader, "eu");
  EXPECT_EQ(read.process.address, "10.0.0.1:8001");
  EXPECT_EQ(read.process.started_ms, 1'700'000'000'000);
  EXPECT_TRUE(read.joining);
  EXPECT_EQ(read.heard, 0x4444U);
  Have read_have;
  ASSERT_TRUE(Decode(PayloadOf(base::ReadGolden("peer_1_have")), read_have));
  ASSERT_EQ(read_have.entries.size(), 1U);
  EXPECT_EQ(read_have.entries[0].origin, origin);
  EXPECT_EQ(read_have.entries[0].applied, 1000U);
  EXPECT_EQ(read_have.entries[0].durable, 990U);
  EXPECT_EQ(read_have.number, 77U);
  HaveMore read_more;
  ASSERT_TRUE(Decode(PayloadOf(base::ReadGolden("peer_1_have_more")), read_more));
  EXPECT_EQ(read_more.number, 78U);
  ASSERT_EQ(read_more.entries.size(), 2U);
  EXPECT_EQ(read_more.entries[0].origin, 3U);
  EXPECT_EQ(read_more.entries[0].name, origin);
  EXPECT_EQ(read_more.entries[0].applied, 1001U);
  EXPECT_EQ(read_more.entries[0].durable, 1000U);
  EXPECT_EQ(read_more.entries[1].origin, 200U);
  EXPECT_TRUE(read_more.entries[1].name.leader.empty());
  EXPECT_EQ(read_more.entries[1].durable, 70'000U);
  LinkStates read_states;
  ASSERT_TRUE(Decode(PayloadOf(base::ReadGolden("peer_1_link_states")), read_states));
  ASSERT_EQ(read_states.entries.size(), 1U);
  EXPECT_EQ(read_states.entries[0].process.leader, "eu");
  EXPECT_EQ(read_states.entries[0].number, 9U);
  EXPECT_EQ(read_states.entries[0].neighbours, (std::vector<uint64_t>{0x2222, 0x3333}));
  Pulse read_pulse;
  ASSERT_TRUE(Decode(PayloadOf(base::ReadGolden("peer_1_pulse")), read_pulse));
  EXPECT_TRUE(read_pulse.wanted && read_pulse.want_full);
  EXPECT_EQ(read_pulse.have, 300U);
  EXPECT_EQ(read_pulse.graph, 0x8877665544332211U);
  Subscribe read_subscribe;
  ASSERT_TRUE(Decode(PayloadOf(base::ReadGolden("peer_1_subscribe")), read_subscribe));
  EXPECT_EQ(read_subscribe.from, 1001U);
  EXPECT_EQ(read_subscribe.chain, 0x5555U);
  EXPECT_EQ(read_subscribe.credit, 4U << 20);
}

}  // namespace
}  // namespace polyarch::wire
