#include "rdb/file_reader.h"

#include <algorithm>
#include <cstring>

#include "base/codec.h"
#include "base/number.h"
#include "base/try.h"
#include "rdb/crc64.h"
#include "rdb/lzf.h"
#include "rdb/put.h"

namespace polyarch::rdb {

namespace {

constexpr size_t kBufferBytes = 256 << 10;
constexpr size_t kElementCost = 32;
// Beyond the limit of a string, so that a file with long ones is told from a damaged one.
constexpr uint64_t kStringBytesMax = uint64_t{4} << 30;
constexpr uint64_t kKeyBytesMax = 512 << 20;

constexpr uint8_t kEncodedLzf = 3;
constexpr size_t kStreamIdBytes = 16;

}  // namespace

base::Status FileReader::Damaged(const std::string& what) const {
  return base::Corrupt("damaged at byte " + std::to_string(position()) + ": " + what);
}

base::Status FileReader::Fill() {
  sum_ = Crc64(std::string_view(buffer_).substr(summed_), sum_);
  before_ += buffer_.size();
  at_ = summed_ = 0;
  buffer_.resize(kBufferBytes);
  auto read = source_.Read(buffer_.data(), buffer_.size());
  buffer_.resize(read.ok() ? *read : 0);
  if (!read.ok()) return read.status();
  if (*read == 0) return base::Corrupt("cut off at byte " + std::to_string(position()));
  return {};
}

base::Status FileReader::Byte(uint8_t& byte) {
  if (at_ == buffer_.size()) TRY(Fill());
  byte = static_cast<uint8_t>(buffer_[at_++]);
  return {};
}

base::Status FileReader::Bytes(uint64_t size, std::string* out) {
  while (size > 0) {
    if (at_ == buffer_.size()) TRY(Fill());
    const size_t part = static_cast<size_t>(std::min<uint64_t>(size, buffer_.size() - at_));
    if (out != nullptr) out->append(buffer_, at_, part);
    at_ += part;
    size -= part;
  }
  return {};
}

// A length, or how a string is encoded. `copy`: gets the bytes as they stand.
base::Status FileReader::Length(uint64_t& length, bool* encoded, std::string* copy) {
  uint8_t first = 0;
  TRY(Byte(first));
  if (copy != nullptr) copy->push_back(static_cast<char>(first));
  const uint8_t low = first & 0x3f;
  int following = 0;
  length = low;
  if (encoded != nullptr) *encoded = false;
  switch (first >> 6) {
    case 0:
      return {};
    case 1:
      following = 1;
      break;
    case 2:
      if (low > 1) return Damaged("no such length");
      following = low == 0 ? 4 : 8;
      length = 0;
      break;
    default:
      if (encoded == nullptr) return Damaged("a string where a length belongs");
      *encoded = true;
      return {};
  }
  for (; following > 0; --following) {
    uint8_t byte = 0;
    TRY(Byte(byte));
    if (copy != nullptr) copy->push_back(static_cast<char>(byte));
    length = length << 8 | byte;
  }
  return {};
}

base::Status FileReader::String(std::string& text) {
  text.clear();
  uint64_t size = 0;
  bool encoded = false;
  TRY(Length(size, &encoded, nullptr));
  if (!encoded) {
    if (size > kKeyBytesMax) return Damaged("a string of " + std::to_string(size) + " bytes");
    return Bytes(size, &text);
  }
  if (size == kEncodedLzf) {
    uint64_t packed = 0;
    TRY(Length(packed, nullptr));
    TRY(Length(size, nullptr));
    if (packed > kKeyBytesMax || size > kKeyBytesMax)
      return Damaged("a string of " + std::to_string(size) + " bytes");
    std::string bytes;
    TRY(Bytes(packed, &bytes));
    auto unpacked = LzfUnpack(bytes, size);
    if (!unpacked) return Damaged("a compressed string that cannot be unpacked");
    text = std::move(*unpacked);
    return {};
  }
  if (size > 2) return Damaged("no such string");
  const size_t width = size_t{1} << size;
  std::string raw;
  TRY(Bytes(width, &raw));
  uint64_t value = 0;
  for (size_t i = 0; i < width; ++i)
    value |= uint64_t{static_cast<uint8_t>(raw[i])} << (8 * i);
  const unsigned unused = 64 - 8 * static_cast<unsigned>(width);
  text = base::FormatInt64(static_cast<int64_t>(value << unused) >> unused);
  return {};
}

// As it stands; only what it costs is looked at.
base::Status FileReader::CopyString(std::string& out) {
  const size_t before = out.size();
  uint64_t stored = 0;
  uint64_t unpacked = 0;
  bool encoded = false;
  TRY(Length(stored, &encoded, &out));
  unpacked = stored;
  if (encoded && stored <= 2) {
    unpacked = stored = uint64_t{1} << stored;
  } else if (encoded) {
    if (stored != kEncodedLzf) return Damaged("no such string");
    TRY(Length(stored, &out));
    TRY(Length(unpacked, &out));
  }
  if (stored > kStringBytesMax || unpacked > kStringBytesMax)
    return Damaged("a string of " + std::to_string(std::max(stored, unpacked)) + " bytes");
  if (stored > limits_.string_bytes_max || unpacked > limits_.string_bytes_max) {
    oversize_ = std::max({oversize_, stored, unpacked});
    out.resize(before);
    PutString(out, "");
    return Bytes(stored, nullptr);
  }
  cost_ += unpacked + kElementCost;
  return Bytes(stored, &out);
}

base::Status FileReader::CopyRaw(uint64_t size, std::string& out) {
  cost_ += size;
  return Bytes(size, &out);
}

base::Status FileReader::Header() {
  std::string magic;
  const base::Status status = Bytes(9, &magic);
  if (status.code() == base::Code::kCorrupt)
    return base::Corrupt("not an RDB file: it is shorter than its header");
  if (!status.ok()) return status;
  const auto version =
      base::ParseInt64(magic.substr(std::min<size_t>(magic.find_first_not_of('0', 5), 8)));
  if (!magic.starts_with("REDIS") || !version || *version < 1)
    return base::Corrupt("not an RDB file: it does not begin with REDIS and a version");
  if (*version > kVersionReadMax) {
    return base::Status(base::Code::kIncompatible,
                        "RDB version " + std::to_string(*version) +
                            " is of a later Redis than 7.2, the last one that is known here");
  }
  version_ = static_cast<int>(*version);
  return {};
}

base::Status FileReader::Next(FileItem& item) {
  if (version_ == 0) TRY(Header());
  item.name.clear();
  item.text.clear();
  item.oversize = 0;
  if (!in_value_) {
    expire_ms_.reset();
    for (bool done = false; !done && !in_value_;) {
      uint8_t byte = 0;
      TRY(Byte(byte));
      if (byte < kLibraryOpcode) {
        TRY(BeginValue(byte, item));
      } else {
        TRY(Opcodes(item, byte, done));
      }
    }
    if (!in_value_) return {};
  }
  return Piece(item);
}

// What stands between values. `done`: it is an item.
base::Status FileReader::Opcodes(FileItem& item, uint8_t byte, bool& done) {
  uint64_t number = 0;
  std::string raw;
  done = true;
  switch (static_cast<Opcode>(byte)) {
    case Opcode::kAux:
      item.kind = FileItem::Kind::kAux;
      TRY(String(item.name));
      return String(item.text);
    case Opcode::kDatabase:
      item.kind = FileItem::Kind::kDatabase;
      return Length(item.database, nullptr);
    case Opcode::kLibrary:
      item.kind = FileItem::Kind::kLibrary;
      return String(item.text);
    case Opcode::kEnd:
      item.kind = FileItem::Kind::kEnd;
      return End();
    case Opcode::kModuleAux:
      item.kind = FileItem::Kind::kModule;
      return SkipModule(item.name);
    case Opcode::kLibraryOfCandidate:
      return base::Status(base::Code::kIncompatible,
                          "a function as a release candidate of Redis 7.0 wrote it, at byte " +
                              std::to_string(position()));
    default:
      break;
  }
  done = false;
  switch (static_cast<Opcode>(byte)) {
    case Opcode::kSizes:
      TRY(Length(number, nullptr));
      return Length(number, nullptr);
    case Opcode::kIdle:
      return Length(number, nullptr);
    case Opcode::kFrequency:
      return Bytes(1, &raw);
    case Opcode::kExpireS:
      TRY(Bytes(4, &raw));
      expire_ms_ = int64_t{static_cast<int32_t>(base::LoadFixed32(raw.data()))} * 1000;
      return {};
    default:
      TRY(Bytes(8, &raw));
      expire_ms_ = static_cast<int64_t>(base::LoadFixed64(raw.data()));
      return {};
  }
}

// What a module keeps beside the keys: parts, each with what it is in front of it.
base::Status FileReader::SkipModule(std::string& name) {
  static constexpr std::string_view kLetters =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  uint64_t id = 0;
  TRY(Length(id, nullptr));
  for (int shift = 58; shift >= 10; shift -= 6)
    name.push_back(kLetters[id >> shift & 0x3f]);
  for (;;) {
    uint64_t part = 0;
    uint64_t number = 0;
    std::string text;
    TRY(Length(part, nullptr));
    switch (part) {
      case 0:
        return {};
      case 1:
      case 2:
        TRY(Length(number, nullptr));
        break;
      case 3:
        TRY(Bytes(4, nullptr));
        break;
      case 4:
        TRY(Bytes(8, nullptr));
        break;
      case 5:
        TRY(CopyString(text));
        break;
      default:
        return Damaged("no such part of a module's data");
    }
  }
}

base::Result<bool> FileReader::Ended() {
  if (at_ < buffer_.size()) return false;
  char byte = 0;
  auto read = source_.Read(&byte, 1);
  if (!read.ok()) return read.status();
  return *read == 0;
}

base::Status FileReader::End() {
  if (version_ < 5) return {};
  sum_ = Crc64(std::string_view(buffer_).substr(summed_, at_ - summed_), sum_);
  summed_ = at_;
  const uint64_t wanted = sum_;
  std::string raw;
  TRY(Bytes(8, &raw));
  const uint64_t told = base::LoadFixed64(raw.data());
  // 0: it was written without.
  if (told != 0 && told != wanted)
    return base::Corrupt("damaged: the checksum at the end is of other bytes");
  return {};
}

base::Status FileReader::BeginValue(uint8_t byte, FileItem&) {
  encoding_ = byte;
  counted_ = true;
  switch (static_cast<Encoding>(byte)) {
    case Encoding::kString:
    case Encoding::kHashZipmap:
    case Encoding::kListZiplist:
    case Encoding::kSetIntset:
    case Encoding::kSortedSetZiplist:
    case Encoding::kHashZiplist:
    case Encoding::kHashListpack:
    case Encoding::kSortedSetListpack:
    case Encoding::kSetListpack:
      form_ = Form::kText;
      counted_ = false;
      break;
    case Encoding::kList:
    case Encoding::kSet:
    case Encoding::kListQuicklist:
      form_ = Form::kNodes;
      break;
    case Encoding::kListQuicklist2:
      form_ = Form::kTypedNodes;
      break;
    case Encoding::kHash:
      form_ = Form::kPairs;
      break;
    case Encoding::kSortedSet:
      form_ = Form::kScored;
      break;
    case Encoding::kSortedSetText:
      form_ = Form::kScoredText;
      break;
    case Encoding::kStream:
    case Encoding::kStream2:
    case Encoding::kStream3:
      form_ = Form::kStreamNodes;
      break;
    case Encoding::kModule:
    case Encoding::kModule2: {
      TRY(String(key_));
      return base::Status(base::Code::kIncompatible,
                          "a value of a module at byte " + std::to_string(position()) +
                              ": modules are not supported; remove such keys from the source");
    }
    default:
      return Damaged("no such encoding: " + std::to_string(byte));
  }
  TRY(String(key_));
  units_left_ = 1;
  if (counted_) {
    TRY(Length(units_left_, nullptr));
    if (units_left_ == 0 && form_ != Form::kStreamNodes)
      return Damaged("a collection without elements");
  }
  first_ = true;
  oversize_ = 0;
  in_value_ = true;
  return {};
}

base::Status FileReader::CopyUnit() {
  switch (form_) {
    case Form::kText:
    case Form::kNodes:
      return CopyString(units_);
    case Form::kPairs:
    case Form::kStreamNodes:
      TRY(CopyString(units_));
      return CopyString(units_);
    case Form::kScored:
      TRY(CopyString(units_));
      return CopyRaw(8, units_);
    case Form::kScoredText: {
      TRY(CopyString(units_));
      uint8_t size = 0;
      TRY(Byte(size));
      units_.push_back(static_cast<char>(size));
      // Not a number, and the two infinities, have no digits.
      return size >= 253 ? base::Status() : CopyRaw(size, units_);
    }
    case Form::kTypedNodes: {
      uint64_t container = 0;
      TRY(Length(container, &units_));
      return CopyString(units_);
    }
  }
  return {};
}

base::Status FileReader::CopyStreamTail() {
  const auto encoding = static_cast<Encoding>(encoding_);
  const int form = encoding == Encoding::kStream ? 1 : encoding == Encoding::kStream2 ? 2 : 3;
  uint64_t number = 0;
  // How many entries, and the last id; the first and the highest deleted one, and how many ever.
  for (int i = form == 1 ? 3 : 8; i > 0; --i)
    TRY(Length(number, &units_));
  uint64_t groups = 0;
  TRY(Length(groups, &units_));
  for (; groups > 0; --groups)
    TRY(CopyStreamGroup(form));
  return {};
}

base::Status FileReader::CopyStreamGroup(int form) {
  uint64_t number = 0;
  TRY(CopyString(units_));
  for (int i = form == 1 ? 2 : 3; i > 0; --i)
    TRY(Length(number, &units_));
  const auto too_long = [this] {
    return units_.size() > limits_.stream_tail_bytes_max;
  };
  const base::Status refused = base::Status(base::Code::kIncompatible,
                                            "a stream whose groups take more than " +
                                                std::to_string(limits_.stream_tail_bytes_max) +
                                                " bytes, at byte " + std::to_string(position()));
  uint64_t pending = 0;
  TRY(Length(pending, &units_));
  for (; pending > 0; --pending) {
    TRY(CopyRaw(kStreamIdBytes + 8, units_));
    TRY(Length(number, &units_));
    if (too_long()) return refused;
  }
  uint64_t consumers = 0;
  TRY(Length(consumers, &units_));
  for (; consumers > 0; --consumers) {
    TRY(CopyString(units_));
    TRY(CopyRaw(form >= 3 ? 16 : 8, units_));
    uint64_t own = 0;
    TRY(Length(own, &units_));
    for (; own > 0; --own) {
      TRY(CopyRaw(kStreamIdBytes, units_));
      if (too_long()) return refused;
    }
  }
  return {};
}

base::Status FileReader::Piece(FileItem& item) {
  units_.clear();
  units_copied_ = 0;
  cost_ = 0;
  while (units_left_ > 0 && cost_ < limits_.piece_bytes) {
    TRY(CopyUnit());
    --units_left_;
    ++units_copied_;
  }
  // The tail of a stream in pieces comes by itself, so that no piece grows by it.
  const bool last = units_left_ == 0 && (form_ != Form::kStreamNodes ||
                                         cost_ < limits_.piece_bytes || units_copied_ == 0);
  item.kind = FileItem::Kind::kValue;
  item.name = key_;
  item.text.push_back(static_cast<char>(encoding_));
  if (counted_) PutLength(item.text, units_copied_);
  item.text += units_;
  if (last && form_ == Form::kStreamNodes) {
    // It may be long, and is copied once.
    units_.swap(item.text);
    TRY(CopyStreamTail());
    units_.swap(item.text);
  }
  item.expire_ms = expire_ms_;
  item.first = first_;
  item.last = last;
  item.cost = cost_;
  if (last) {
    item.oversize = oversize_;
    in_value_ = false;
    if (units_.capacity() > 4 * limits_.piece_bytes) std::string().swap(units_);
  }
  first_ = false;
  return {};
}

}  // namespace polyarch::rdb
