#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
#include <optional>
#include <set>

#include "base/codec.h"
#include "base/number.h"
#include "rdb/encodings.h"
#include "rdb/libraries.h"
#include "rdb/lzf.h"
#include "rdb/packed.h"
#include "rdb/stream.h"
#include "rdb/value.h"

namespace polyarch::rdb {

namespace {

class BodyReader {
 public:
  BodyReader(std::string_view bytes, size_t limit, bool piece = false)
      : in_(bytes), left_(limit), piece_(piece) {}

  ReadStatus Read(Value& value) {
    const bool done = ReadValue(value);
    if (too_large_) return ReadStatus::kTooLarge;
    if (unsupported_) return ReadStatus::kUnsupported;
    return done && in_.ok() ? ReadStatus::kOk : ReadStatus::kMalformed;
  }

  ReadStatus ReadLibraries(std::vector<std::string>& sources) {
    bool fine = true;
    while (fine && in_.remaining() > 0)
      fine = in_.Fixed8() == kLibraryOpcode && Charge(kElementBytes) && String(sources.emplace_back());
    if (too_large_) return ReadStatus::kTooLarge;
    return fine && in_.ok() ? ReadStatus::kOk : ReadStatus::kMalformed;
  }

 private:
  // A length, or, in `encoded`, how a string is encoded.
  bool Length(uint64_t& length, std::optional<uint8_t>* encoded = nullptr) {
    const uint8_t first = in_.Fixed8();
    const uint8_t low = first & 0x3f;
    switch (first >> 6) {
      case 0:
        length = low;
        break;
      case 1:
        length = static_cast<uint64_t>(low) << 8 | in_.Fixed8();
        break;
      case 2: {
        if (low > 1) return false;
        length = 0;
        for (int i = low == 0 ? 4 : 8; i > 0; --i)
          length = length << 8 | in_.Fixed8();
        break;
      }
      default:
        if (encoded == nullptr) return false;
        *encoded = low;
    }
    return in_.ok();
  }

  // Takes from the limit what a string will cost.
  bool Charge(uint64_t size) {
    too_large_ = too_large_ || size > left_;
    if (too_large_) return false;
    left_ -= size;
    return true;
  }

  bool String(std::string& out) {
    uint64_t size = 0;
    std::optional<uint8_t> encoded;
    if (!Length(size, &encoded)) return false;
    if (!encoded) {
      const std::string_view text = in_.Raw(size);
      if (!in_.ok() || !Charge(size)) return false;
      out = text;
      return true;
    }
    if (*encoded <= 2) return Integer(size_t{1} << *encoded, out);
    if (*encoded != 3) return false;
    uint64_t packed = 0;
    if (!Length(packed) || !Length(size)) return false;
    const std::string_view bytes = in_.Raw(packed);
    if (!in_.ok() || !Charge(size)) return false;
    auto text = LzfUnpack(bytes, size);
    if (!text) return false;
    out = std::move(*text);
    return true;
  }

  bool Integer(size_t bytes, std::string& out) {
    const std::string_view raw = in_.Raw(bytes);
    if (!in_.ok() || !Charge(bytes)) return false;
    uint64_t value = 0;
    for (size_t i = 0; i < bytes; ++i)
      value |= uint64_t{static_cast<uint8_t>(raw[i])} << (8 * i);
    const unsigned unused = 64 - 8 * static_cast<unsigned>(bytes);
    out = base::FormatInt64(static_cast<int64_t>(value << unused) >> unused);
    return true;
  }

  // What an element costs beyond its bytes.
  static constexpr uint64_t kElementBytes = 32;

  // How many elements follow, at least one.
  bool Count(uint64_t& count) { return Length(count) && count > 0; }

  bool Strings(uint64_t count, std::vector<std::string>& out) {
    for (uint64_t i = 0; i < count; ++i) {
      if (!Charge(kElementBytes) || !String(out.emplace_back())) return false;
    }
    return true;
  }

  // A string that packs entries; at least one.
  bool Packed(bool (*read)(std::string_view, std::vector<std::string>&),
              std::vector<std::string>& out) {
    std::string bytes;
    const size_t before = out.size();
    return String(bytes) && read(bytes, out) && out.size() > before &&
           Charge((out.size() - before) * kElementBytes);
  }

  bool Score(bool binary, double& score) {
    if (binary) {
      const uint64_t bits = in_.Fixed64();
      static_assert(sizeof bits == sizeof score);
      std::memcpy(&score, &bits, sizeof score);
      return in_.ok() && !std::isnan(score);
    }
    const uint8_t size = in_.Fixed8();
    if (size == 253) return false;
    if (size >= 254) {
      score = size == 254 ? std::numeric_limits<double>::infinity()
                          : -std::numeric_limits<double>::infinity();
      return in_.ok();
    }
    const std::string_view text = in_.Raw(size);
    return in_.ok() && ScoreOf(text, score);
  }

  static bool ScoreOf(std::string_view text, double& score) {
    const auto number = base::ParseLongDouble(text, /*allow_inf=*/true);
    if (!number || std::isnan(*number)) return false;
    score = static_cast<double>(*number);
    return true;
  }

  static bool Pairs(std::vector<std::string>&& all, Value& value) {
    if (all.size() % 2 != 0) return false;
    for (size_t i = 0; i < all.size(); i += 2)
      value.fields.emplace_back(std::move(all[i]), std::move(all[i + 1]));
    return true;
  }

  static bool Scored(std::vector<std::string>&& all, Value& value) {
    if (all.size() % 2 != 0) return false;
    for (size_t i = 0; i < all.size(); i += 2) {
      double score = 0;
      if (!ScoreOf(all[i + 1], score)) return false;
      value.members.emplace_back(std::move(all[i]), score);
    }
    return true;
  }

  bool Quicklist(bool second, Value& value) {
    uint64_t nodes = 0;
    if (!Count(nodes)) return false;
    constexpr uint64_t kPlain = 1;
    constexpr uint64_t kListpack = 2;
    for (uint64_t i = 0; i < nodes; ++i) {
      uint64_t container = kListpack;
      if (second && !Length(container)) return false;
      if (container == kPlain) {
        if (!Charge(kElementBytes) || !String(value.items.emplace_back())) return false;
      } else if (container != kListpack ||
                 !Packed(second ? ReadListpack : ReadZiplist, value.items)) {
        return false;
      }
    }
    return true;
  }

  // ---- streams

  bool Id(crdt::StreamId& id) { return Length(id.ms) && Length(id.seq); }

  // As 16 bytes.
  bool RawId(crdt::StreamId& id) {
    const std::string_view bytes = in_.Raw(16);
    if (!in_.ok()) return false;
    id = IdOf(bytes);
    return true;
  }

  // Any 64 bits may stand there. What lies before 1970 is no time; how long ago it was must be a number.
  int64_t Time() { return std::max<int64_t>(0, static_cast<int64_t>(in_.Fixed64())); }

  static crdt::StreamId IdOf(std::string_view bytes) {
    crdt::StreamId id;
    for (size_t i = 0; i < 8; ++i) {
      id.ms = id.ms << 8 | static_cast<uint8_t>(bytes[i]);
      id.seq = id.seq << 8 | static_cast<uint8_t>(bytes[8 + i]);
    }
    return id;
  }

  // Form 2 counts entries that are gone; form 3 tells when a consumer was active last.
  bool Stream(int form, StreamValue& stream) {
    uint64_t nodes = 0;
    if (!Length(nodes)) return false;
    for (; nodes > 0; --nodes) {
      std::string key;
      std::vector<std::string> items;
      if (!String(key) || key.size() != 16 || !Packed(ReadListpack, items) ||
          !ReadStreamNode(IdOf(key), std::move(items), stream.entries, left_)) {
        too_large_ = too_large_ || left_ == 0;
        return false;
      }
    }
    if (piece_ && in_.ok() && in_.empty()) return true;
    uint64_t length = 0;
    crdt::StreamId first;
    if (!Length(length) || !Id(stream.last)) return false;
    if (piece_ ? length < stream.entries.size() : length != stream.entries.size()) return false;
    stream.added = length;
    if (form >= 2 && (!Id(first) || !Id(stream.deleted) || !Length(stream.added))) return false;
    if (stream.added < length) return false;
    if (!stream.entries.empty() && stream.entries.back().id > stream.last) return false;
    uint64_t groups = 0;
    if (!Length(groups)) return false;
    for (; groups > 0; --groups) {
      if (!Charge(kElementBytes) || !StreamGroup(form, stream.groups.emplace_back()))
        return false;
    }
    std::set<std::string_view> names;
    return std::all_of(stream.groups.begin(), stream.groups.end(), [&](const auto& group) {
      return names.insert(group.name).second;
    });
  }

  bool StreamGroup(int form, StreamValue::Group& group) {
    uint64_t read = 0;
    uint64_t pending = 0;
    if (!String(group.name) || !Id(group.last) || (form >= 2 && !Length(read)) || !Length(pending))
      return false;
    // -1 is written as the highest number of 64 bits.
    if (form >= 2) group.entries_read = static_cast<int64_t>(read);
    if (group.entries_read < -1) return false;
    for (; pending > 0; --pending) {
      StreamValue::Pending entry;
      if (!Charge(2 * kElementBytes) || !RawId(entry.id)) return false;
      entry.delivered_ms = Time();
      if (!in_.ok() || !Length(entry.count)) return false;
      if (!group.pending.empty() && group.pending.back().id >= entry.id) return false;
      group.pending.push_back(std::move(entry));
    }
    uint64_t consumers = 0;
    if (!Length(consumers)) return false;
    for (; consumers > 0; --consumers) {
      StreamValue::Consumer& consumer = group.consumers.emplace_back();
      if (!Charge(kElementBytes) || !String(consumer.name)) return false;
      consumer.seen_ms = Time();
      // When it was last given something is not kept here.
      if (form >= 3) in_.Fixed64();
      if (!in_.ok() || !Length(pending)) return false;
      for (; pending > 0; --pending) {
        crdt::StreamId id;
        if (!RawId(id)) return false;
        auto of = std::lower_bound(
            group.pending.begin(), group.pending.end(), id, [](const auto& p, crdt::StreamId i) {
              return p.id < i;
            });
        if (of == group.pending.end() || of->id != id || !of->consumer.empty() ||
            !Charge(consumer.name.size()))
          return false;
        of->consumer = consumer.name;
      }
    }
    std::set<std::string_view> names;
    for (const StreamValue::Consumer& consumer : group.consumers) {
      if (!names.insert(consumer.name).second) return false;
    }
    return std::all_of(group.pending.begin(), group.pending.end(), [&](const auto& p) {
      return names.count(p.consumer) != 0;
    });
  }

  bool ReadValue(Value& value) {
    const auto encoding = static_cast<Encoding>(in_.Fixed8());
    std::vector<std::string> all;
    uint64_t count = 0;
    switch (encoding) {
      case Encoding::kString:
        value.type = crdt::Type::kString;
        return String(value.text);
      case Encoding::kList:
        value.type = crdt::Type::kList;
        return Count(count) && Strings(count, value.items);
      case Encoding::kListZiplist:
        value.type = crdt::Type::kList;
        return Packed(ReadZiplist, value.items);
      case Encoding::kListQuicklist:
      case Encoding::kListQuicklist2:
        value.type = crdt::Type::kList;
        return Quicklist(encoding == Encoding::kListQuicklist2, value);
      case Encoding::kSet:
        value.type = crdt::Type::kSet;
        return Count(count) && Strings(count, value.items) && Unique(value.items);
      case Encoding::kSetIntset:
        value.type = crdt::Type::kSet;
        return Packed(ReadIntset, value.items) && Unique(value.items);
      case Encoding::kSetListpack:
        value.type = crdt::Type::kSet;
        return Packed(ReadListpack, value.items) && Unique(value.items);
      case Encoding::kHash:
        value.type = crdt::Type::kHash;
        return Count(count) && count <= UINT64_MAX / 2 && Strings(2 * count, all) &&
               Pairs(std::move(all), value) && UniqueNames(value.fields);
      case Encoding::kHashZipmap:
      case Encoding::kHashZiplist:
      case Encoding::kHashListpack:
        value.type = crdt::Type::kHash;
        return Packed(encoding == Encoding::kHashZipmap    ? ReadZipmap
                      : encoding == Encoding::kHashZiplist ? ReadZiplist
                                                           : ReadListpack,
                      all) &&
               Pairs(std::move(all), value) && UniqueNames(value.fields);
      case Encoding::kSortedSetText:
      case Encoding::kSortedSet: {
        value.type = crdt::Type::kSortedSet;
        if (!Count(count)) return false;
        for (uint64_t i = 0; i < count; ++i) {
          auto& [name, score] = value.members.emplace_back();
          if (!Charge(kElementBytes) || !String(name) ||
              !Score(encoding == Encoding::kSortedSet, score))
            return false;
        }
        return UniqueNames(value.members);
      }
      case Encoding::kSortedSetZiplist:
      case Encoding::kSortedSetListpack:
        value.type = crdt::Type::kSortedSet;
        return Packed(encoding == Encoding::kSortedSetZiplist ? ReadZiplist : ReadListpack, all) &&
               Scored(std::move(all), value) && UniqueNames(value.members);
      case Encoding::kStream:
      case Encoding::kStream2:
      case Encoding::kStream3: {
        value.type = crdt::Type::kStream;
        const int form = encoding == Encoding::kStream ? 1 : encoding == Encoding::kStream2 ? 2 : 3;
        return Stream(form, value.stream);
      }
      case Encoding::kModule:
      case Encoding::kModule2:
        unsupported_ = in_.ok();
        return false;
    }
    return false;
  }

  static bool Unique(const std::vector<std::string>& names) {
    std::vector<std::string_view> sorted(names.begin(), names.end());
    std::sort(sorted.begin(), sorted.end());
    return std::adjacent_find(sorted.begin(), sorted.end()) == sorted.end();
  }

  template <typename Pair>
  static bool UniqueNames(const std::vector<Pair>& pairs) {
    std::vector<std::string_view> sorted;
    sorted.reserve(pairs.size());
    for (const Pair& pair : pairs)
      sorted.push_back(pair.first);
    std::sort(sorted.begin(), sorted.end());
    return std::adjacent_find(sorted.begin(), sorted.end()) == sorted.end();
  }

  base::Reader in_;
  size_t left_;
  const bool piece_;
  bool too_large_ = false;
  bool unsupported_ = false;
};

}  // namespace

ReadStatus ReadBody(std::string_view body, size_t limit, Value& value) {
  value = {};
  return BodyReader(body, limit).Read(value);
}

ReadStatus ReadPiece(std::string_view piece, size_t limit, Value& value) {
  value = {};
  return BodyReader(piece, limit, /*piece=*/true).Read(value);
}

ReadStatus ReadLibrariesBody(std::string_view body, size_t limit, std::vector<std::string>& sources) {
  return BodyReader(body, limit).ReadLibraries(sources);
}

}  // namespace polyarch::rdb
