// Reads an RDB file, of Redis up to 7.2, one key at a time. Foreign bytes, of any size: a large
// value comes in pieces, so that the memory it takes is bounded by the largest string in the file,
// and by ReaderLimits; nothing is allocated by a declared size. What is wrong ends in an error that
// says where.
//
// A piece of a collection is a body of its own, in the same encoding with fewer elements; one of a
// stream is some nodes, and in the last piece what tells of the stream as a whole. ReadPiece
// (rdb/value.h) reads both. Strings that are packed collections are never divided.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"
#include "rdb/encodings.h"

namespace polyarch::rdb {

class FileSource {
 public:
  virtual ~FileSource() = default;
  // The next bytes, at most `size`, at least one; 0 at the end. May wait for them.
  virtual base::Result<size_t> Read(char* into, size_t size) = 0;
};

struct ReaderLimits {
  // A value that costs more comes in pieces of about this size. What a value costs is what its
  // strings take unpacked, and 32 bytes an element.
  size_t piece_bytes = 1 << 20;
  // A longer string is passed over, and its value marked.
  uint64_t string_bytes_max = 64 << 20;
  // What tells of a stream as a whole: groups, consumers, what is pending.
  size_t stream_tail_bytes_max = 64 << 20;
};

struct FileItem {
  enum class Kind : uint8_t { kAux, kDatabase, kLibrary, kModule, kValue, kEnd };
  Kind kind = Kind::kEnd;
  std::string name;  // kAux; kModule: whose data was passed over; kValue: the key
  std::string text;  // kAux: what it is; kLibrary: the source; kValue: a body, or a piece of one
  uint64_t database = 0;  // kDatabase
  // kValue
  std::optional<int64_t> expire_ms;  // since 1970
  bool first = true;                 // of the pieces
  bool last = true;
  size_t cost = 0;  // of this piece
  // In the last piece: a string of so many bytes was longer than the limit, and is empty here.
  uint64_t oversize = 0;
};

class FileReader {
 public:
  FileReader(FileSource& source, ReaderLimits limits) : source_(source), limits_(limits) {}

  // The next item. kCorrupt: damaged, or cut off; kIncompatible: of a later Redis, or a module's
  // type; or the source's own failure. After kEnd or an error it must not be called again.
  base::Status Next(FileItem& item);
  // After kEnd: nothing follows.
  base::Result<bool> Ended();
  // How many bytes of the file were read.
  uint64_t position() const { return before_ + at_; }
  // Of the format, once something has been read.
  int version() const { return version_; }

 private:
  enum class Form : uint8_t {
    kText,         // one string
    kPairs,        // two strings a unit
    kScored,       // a string and eight bytes
    kScoredText,   // a string and a score as text
    kNodes,        // lists: a string
    kTypedNodes,   // lists: what it is, and a string
    kStreamNodes,  // two strings a unit, and a tail
  };

  base::Status Damaged(const std::string& what) const;
  base::Status Fill();
  base::Status Byte(uint8_t& byte);
  // Appends `size` bytes to `out`, or drops them.
  base::Status Bytes(uint64_t size, std::string* out);
  base::Status Length(uint64_t& length, bool* encoded, std::string* copy);
  base::Status Length(uint64_t& length, std::string* copy) { return Length(length, nullptr, copy); }
  base::Status String(std::string& text);
  base::Status CopyString(std::string& out);
  base::Status CopyRaw(uint64_t size, std::string& out);

  base::Status Header();
  base::Status Opcodes(FileItem& item, uint8_t byte, bool& done);
  base::Status End();
  base::Status SkipModule(std::string& name);
  base::Status BeginValue(uint8_t encoding, FileItem& item);
  base::Status Piece(FileItem& item);
  base::Status CopyUnit();
  base::Status CopyStreamTail();
  base::Status CopyStreamGroup(int form);

  FileSource& source_;
  const ReaderLimits limits_;
  std::string buffer_;
  size_t at_ = 0;
  size_t summed_ = 0;    // of the buffer, in the sum
  uint64_t before_ = 0;  // bytes before the buffer
  uint64_t sum_ = 0;
  int version_ = 0;

  // The value under way.
  bool in_value_ = false;
  std::string key_;
  std::optional<int64_t> expire_ms_;
  uint8_t encoding_ = 0;
  Form form_ = Form::kText;
  bool counted_ = false;  // its units are counted in front of them
  uint64_t units_left_ = 0;
  bool first_ = true;
  std::string units_;  // copied, not given yet
  uint64_t units_copied_ = 0;
  size_t cost_ = 0;
  uint64_t oversize_ = 0;
};

}  // namespace polyarch::rdb
