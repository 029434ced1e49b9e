#include "sim/history.h"

#include <algorithm>

#include "base/codec.h"
#include "base/hash.h"
#include "engine/rows.h"
#include "sim/marks.h"

namespace polyarch::sim {

uint32_t History::Ordinal(const clock::Origin& origin) {
  auto [it, added] = ordinals_.try_emplace(origin, static_cast<uint32_t>(origins_.size()));
  if (added) {
    origins_.push_back(origin);
    frames_.emplace_back();
  }
  return it->second;
}

std::string History::Name(Dot dot) const {
  return origins_[dot.origin].ToString() + ":" + std::to_string(dot.sequence);
}

std::string History::Text(const Vector& v) const {
  std::string text;
  for (size_t o = 0; o < v.size(); ++o) {
    if (v[o] == 0) continue;
    if (!text.empty()) text += " ";
    text += "#" + std::to_string(o) + "=" + origins_[o].leader + "." +
            origins_[o].ToString().substr(origins_[o].leader.size() + 1, 4) + ":" + std::to_string(v[o]);
  }
  return "{" + text + "}";
}

uint64_t History::HighestOf(uint32_t ordinal) const {
  const auto& frames = frames_[ordinal];
  return frames.empty() ? 0 : frames.rbegin()->second.last;
}

Vector History::Convert(const clock::VersionVector& vv, const clock::OriginTable& table) {
  Vector out;
  for (size_t i = 0; i < vv.index_end(); ++i) {
    auto index = static_cast<clock::OriginIndex>(i);
    if (vv.Get(index) != 0) Raise(out, Ordinal(table.Get(index)), vv.Get(index));
  }
  Normalize(out);
  return out;
}

Vector History::WithoutClaims(Vector v) const {
  for (size_t o = 0; o < v.size(); ++o) {
    const auto& frames = frames_[o];
    for (auto it = frames.upper_bound(v[o]); it != frames.begin();) {
      --it;
      if (!it->second.empty) break;
      v[o] = it->first - 1;
    }
  }
  return v;
}

bool History::Saw(Dot later, Dot earlier) const {
  if (later.origin == earlier.origin) return earlier.sequence <= later.sequence;
  const auto& frames = frames_[later.origin];
  auto it = frames.upper_bound(later.sequence);
  if (it == frames.begin()) return false;
  return Covers(std::prev(it)->second.deps, earlier);
}

Vector History::DiskVector(const log::MemoryLogDisk& disk, log::Position end) {
  Vector out;
  base::Reader head(disk.heads.front().head);
  for (uint64_t n = head.Varint(); n > 0 && head.ok(); --n) {
    const std::string leader(head.Bytes());
    const uint64_t incarnation = head.Fixed64();
    Raise(out, Ordinal({leader, incarnation}), head.Varint());
  }
  Expand(out);
  for (const auto& record : disk.records) {
    if (record.end > end) break;
    engine::Local local;
    if (record.type == log::RecordType::kLocal && engine::DecodeLocal(*record.payload, local) &&
        local.type == engine::LocalRecord::kCutOver) {
      Join(out, cut_overs_[{local.cut_over.transfer, local.cut_over.position}]);
    }
    wire::FrameName name;
    if (record.type != log::RecordType::kFrame || !wire::ParseFrameName(*record.payload, name)) continue;
    Raise(out, Ordinal({std::string(name.leader), name.incarnation}), name.first + name.count - 1);
  }
  Normalize(out);
  return out;
}

const FrameFacts& History::AddOwn(const wire::Frame& frame,
                                  std::string_view bytes,
                                  const wire::Dictionary& dictionary,
                                  const clock::VersionVector& deps,
                                  const clock::OriginTable& table) {
  const uint32_t origin = Ordinal(frame.origin);
  if (frame.first != HighestOf(origin) + 1) {
    throw Violation("one dot, two contents: " + Name({origin, frame.first}) + " is written again");
  }
  FrameFacts facts;
  facts.last = frame.last();
  facts.hash = base::ContentHash64(bytes);
  facts.deps = Convert(deps, table);
  Raise(facts.deps, origin, frame.first - 1);

  size_t others = 0;
  deps.ForEach([&](clock::OriginIndex, uint64_t) { ++others; });
  if (others + 1 > dictionary.size()) SOMETIMES(kLeftOut);
  for (const auto& [named, last] : frame.deps_new) {
    const Dot dot{Ordinal(named), last};
    const bool folded = std::any_of(folds_.begin(), folds_.end(), [&](const Fold& f) {
      return f.folded == dot && Covers(facts.deps, f.record);
    });
    if (folded) SOMETIMES(kNamedFolded);
  }

  std::set<Key> keys;
  wire::BodyReader reader(frame.body, frame.base, dictionary);
  clock::Hlc stamp;
  uint64_t sequence = frame.first;
  while (reader.NextChange(stamp)) {
    OracleChange change{.origin = origin, .sequence = sequence, .deps = &facts.deps, .hlc = stamp.bits};
    if (stamp.bits <= facts.hlc_last) throw Violation("stamps of " + Name({origin, sequence}) + " do not rise");
    facts.hlc_last = stamp.bits;
    crdt::Effect effect;
    uint32_t index = 0;
    while (reader.NextEffect(effect, index)) {
      facts.empty = false;
      if (effect.kind == crdt::EffectKind::kClean) SOMETIMES(kCleaned);
      if (effect.type != crdt::Type::kString) {
        if (effect.kind == crdt::EffectKind::kClean) SOMETIMES(kElementCleaned);
        if (effect.kind == crdt::EffectKind::kWipe && !effect.clears.empty()) SOMETIMES(kElementCleared);
      }
      if (effect.kind == crdt::EffectKind::kWipe && (effect.flags & crdt::kKeepExpiry) != 0) {
        SOMETIMES(kExpired);
      }
      if (effect.db == crdt::kReservedDatabase && effect.key.substr(0, 6) == "ended/") {
        SOMETIMES(kEndedOrigin);
      }
      if (effect.db == crdt::kReservedDatabase && effect.key.starts_with(engine::kFoldedPrefix)) {
        clock::Origin folded;
        uint64_t last = 0;
        if (!engine::ParseFoldedKey(effect.key, folded, last)) throw Violation("unreadable fold record");
        const Dot fold{Ordinal(folded), last};
        const bool again = std::any_of(folds_.begin(), folds_.end(), [&](const Fold& f) {
          return f.folded.origin == fold.origin && f.folded.sequence < fold.sequence;
        });
        if (again) SOMETIMES(kFoldedAgain);
        SOMETIMES(kFolded);
        if (!Covers(facts.deps, fold)) throw Violation(Name(fold) + " is folded by one who has not got it");
        folds_.push_back({{origin, sequence}, fold});
      }
      OracleEffect e{.kind = effect.kind, .flags = effect.flags, .db = effect.db, .increment = effect.increment};
      e.key = effect.key;
      e.place = {effect.type, std::string(effect.element)};
      e.value = effect.value;
      e.expire_ms = effect.expire_ms;
      for (const crdt::Clear& clear : effect.clears) {
        e.clears.push_back({Ordinal(table.Get(clear.origin)), clear.life, clear.at});
      }
      for (clock::Dot dot : effect.seen) {
        e.seen.push_back({Ordinal(table.Get(dot.origin())), dot.sequence()});
      }
      if (effect.kind == crdt::EffectKind::kFlush) {
        facts.flushed.push_back(effect.db);
      } else {
        keys.emplace(e.db, e.key);
      }
      if (effect.kind == crdt::EffectKind::kPut || effect.kind == crdt::EffectKind::kResolve) {
        facts.puts.push_back({{e.db, e.key}, e.place, sequence, stamp.bits, (e.flags & crdt::kAbsent) != 0, e.value,
                              e.seen, effect.kind == crdt::EffectKind::kResolve});
      }
      if (effect.kind == crdt::EffectKind::kResolve) resolves_.insert({origin, sequence});
      change.effects.push_back(std::move(e));
    }
    oracle_.Add(change);
    ++sequence;
  }
  if (!reader.ok() || sequence != frame.last() + 1) {
    throw Violation("a node wrote a frame that cannot be read: " + Name({origin, frame.first}));
  }
  facts.keys.assign(keys.begin(), keys.end());
  ++frames_count_;
  if (!facts.empty) ++nonempty_;
  return frames_[origin].emplace(frame.first, std::move(facts)).first->second;
}

void History::Expand(Vector& v) const {
  for (bool more = true; more;) {
    more = false;
    for (const Fold& fold : folds_) {
      if (!Covers(v, fold.record) || Covers(v, fold.folded)) continue;
      Raise(v, fold.folded.origin, fold.folded.sequence);
      more = true;
    }
  }
}

const FrameFacts& History::CheckForeign(const wire::Frame& frame,
                                        std::string_view bytes,
                                        const clock::VersionVector& deps,
                                        const clock::OriginTable& table) {
  auto ordinal = ordinals_.find(frame.origin);
  if (ordinal == ordinals_.end()) throw Violation("a frame from nowhere: " + frame.origin.ToString());
  const auto& frames = frames_[ordinal->second];
  auto it = frames.find(frame.first);
  const Dot dot{ordinal->second, frame.first};
  if (it == frames.end()) throw Violation("a frame from nowhere: " + Name(dot));
  if (it->second.last != frame.last() || it->second.hash != base::ContentHash64(bytes)) {
    throw Violation("one dot, two contents: " + Name(dot));
  }
  Vector read = Convert(deps, table);
  Raise(read, ordinal->second, frame.first - 1);
  Vector meant = it->second.deps;
  Normalize(read);
  Normalize(meant);
  if (read != meant) {
    throw Violation("the deps of " + Name(dot) + " are read as " + Text(read) + " instead of " + Text(meant));
  }
  return it->second;
}

}  // namespace polyarch::sim
