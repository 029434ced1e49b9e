// Peer messages: what decodes encodes to something that decodes to the same.
#include "wire/peer_message.h"

#include "base/check.h"
#include "fuzz/target.h"
#include "wire/state_message.h"

namespace polyarch::fuzz {

namespace {

template <typename Message>
void RunAs(std::string_view payload) {
  Message m;
  if (!wire::Decode(payload, m)) return;
  const std::string once = wire::Encode(m);
  Message again;
  CHECK(wire::Decode(std::string_view(once).substr(1), again));
  CHECK(wire::Encode(again) == once);
}

}  // namespace

void Run(std::string_view bytes) {
  if (bytes.empty()) return;
  // Every type, whatever the first byte says.
  const std::string_view payload = bytes.substr(1);
  RunAs<wire::Hello>(payload);
  RunAs<wire::Have>(payload);
  RunAs<wire::HaveMore>(payload);
  RunAs<wire::Subscribe>(payload);
  RunAs<wire::Credit>(payload);
  RunAs<wire::Fork>(payload);
  RunAs<wire::Unsubscribe>(payload);
  RunAs<wire::Pulse>(payload);
  RunAs<wire::LinkStates>(payload);
  RunAs<wire::LinkSummary>(payload);
  RunAs<wire::LinkWant>(payload);
  RunAs<wire::Refused>(payload);
  RunAs<wire::WantReceipt>(payload);
  RunAs<wire::Receipt>(payload);
  RunAs<wire::Gap>(payload);
  RunAs<wire::StateRequest>(payload);
  RunAs<wire::StateOffer>(payload);
  RunAs<wire::StateRefusal>(payload);
  RunAs<wire::StatePull>(payload);
  RunAs<wire::StateChunk>(payload);
  RunAs<wire::StateEnd>(payload);
}

std::string Sample(base::Random& random) {
  auto text = [&] {
    std::string out(1 + random.Below(20), 'x');
    for (char& c : out) c = static_cast<char>(random.Next());
    return out;
  };
  auto process = [&] {
    return wire::ProcessInfo{text(), random.Next(), static_cast<int64_t>(random.Next()), text(), random.Next()};
  };
  switch (random.Below(20)) {
    case 0: {
      wire::Hello m;
      m.cluster = random.Next();
      m.process = process();
      return wire::Encode(m);
    }
    case 1: {
      wire::Have m;
      for (uint64_t n = random.Below(4); n > 0; --n) m.entries.push_back({{text(), random.Next()}, random.Below(1000), 5});
      return wire::Encode(m);
    }
    case 17: {
      wire::HaveMore m;
      uint64_t origin = 0;
      for (uint64_t n = random.Below(4); n > 0; --n) {
        m.entries.push_back({origin += 1 + random.Below(300), {}, 5 + random.Below(1000), random.Below(5)});
        if (random.Percent(50)) m.entries.back().name = {text(), random.Next()};
      }
      m.number = random.Below(1000);
      return wire::Encode(m);
    }
    case 18: return wire::Encode(wire::WantReceipt{{text(), 1}, random.Below(1000)});
    case 19: return wire::Encode(wire::Receipt{{text(), 1}, text(), random.Below(1000)});
    case 2: return wire::Encode(wire::Subscribe{{text(), 1}, 1 + random.Below(1000), random.Next(), 5, 6});
    case 3: return wire::Encode(wire::Unsubscribe{{text(), 1}, random.Next()});
    case 5: {
      wire::Pulse m;
      m.have = random.Next();
      m.graph = random.Next();
      return wire::Encode(m);
    }
    case 6: {
      wire::LinkStates m;
      for (uint64_t n = random.Below(4); n > 0; --n) {
        m.entries.push_back({process(), random.Below(1000), {1 + random.Below(9), 10 + random.Below(9)}});
      }
      return wire::Encode(m);
    }
    case 7: return wire::Encode(wire::LinkSummary{{{random.Next(), random.Below(1000)}}});
    case 8: return wire::Encode(wire::LinkWant{{random.Next(), random.Next()}});
    case 4: return wire::Encode(wire::Credit{{text(), 1}, random.Next(), random.Next()});
    case 9: return wire::Encode(wire::Gap{{text(), 1}, random.Below(1000)});
    case 10: return wire::Encode(wire::StateRequest{random.Next(), random.Next(), random.Below(1000), random.Next()});
    case 11: {
      wire::StateOffer m{.id = random.Next(), .epoch = random.Next(), .base = random.Below(1000)};
      for (uint64_t n = random.Below(4); n > 0; --n) m.names.push_back({text(), random.Next()});
      const std::string row = text();
      m.checkpoint = row;
      return wire::Encode(m);
    }
    case 12: return wire::Encode(wire::StateRefusal{random.Next(), wire::RefusalReason::kRestart});
    case 13: return wire::Encode(wire::StatePull{random.Next(), random.Below(9), wire::StatePart::kLedger, text(), 3, 4});
    case 14: {
      wire::StateChunk m{.id = random.Next(), .generation = 3, .part = wire::StatePart::kRows};
      const std::string key = text();
      const std::string row = text();
      m.after = key;
      for (uint64_t n = random.Below(4); n > 0; --n) m.rows.emplace_back(key, row);
      m.names.push_back({text(), 7});
      return wire::Encode(m);
    }
    case 15: {
      wire::StateChunk m{.id = random.Next(), .part = wire::StatePart::kStream, .from = 100, .to = 400};
      const std::string frame = text();
      for (uint64_t n = random.Below(4); n > 0; --n) m.frames.emplace_back(400 - n * 50, frame);
      return wire::Encode(m);
    }
    default: return wire::Encode(wire::Fork{{text(), 1}, random.Below(1000)});
  }
}

}  // namespace polyarch::fuzz
