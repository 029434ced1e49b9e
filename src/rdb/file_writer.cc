#include "rdb/file_writer.h"

#include <bit>

#include "base/codec.h"
#include "rdb/crc64.h"
#include "rdb/encodings.h"
#include "rdb/put.h"

namespace polyarch::rdb {

namespace {

void PutOpcode(std::string& out, Opcode opcode) {
  out.push_back(static_cast<char>(opcode));
}

}  // namespace

FileWriter::FileWriter() : out_("REDIS0010") {
  static_assert(kVersionWritten == 10);
}

void FileWriter::Aux(std::string_view name, std::string_view value) {
  PutOpcode(out_, Opcode::kAux);
  PutString(out_, name);
  PutString(out_, value);
}

void FileWriter::Database(int database) {
  PutOpcode(out_, Opcode::kDatabase);
  PutLength(out_, static_cast<uint64_t>(database));
}

void FileWriter::Key(std::string_view key,
                     std::string_view body,
                     std::optional<int64_t> expire_ms) {
  Head(key, static_cast<uint8_t>(body.front()), expire_ms);
  out_.append(body.substr(1));
}

void FileWriter::Begin(std::string_view key,
                       crdt::Type type,
                       uint64_t count,
                       std::optional<int64_t> expire_ms) {
  const Encoding encoding = type == crdt::Type::kList   ? Encoding::kList
                            : type == crdt::Type::kSet  ? Encoding::kSet
                            : type == crdt::Type::kHash ? Encoding::kHash
                                                        : Encoding::kSortedSet;
  Head(key, static_cast<uint8_t>(encoding), expire_ms);
  PutLength(out_, count);
}

void FileWriter::Head(std::string_view key, uint8_t encoding, std::optional<int64_t> expire_ms) {
  if (expire_ms) {
    PutOpcode(out_, Opcode::kExpireMs);
    base::PutFixed64(out_, static_cast<uint64_t>(*expire_ms));
  }
  out_.push_back(static_cast<char>(encoding));
  PutString(out_, key);
}

void PutElement(std::string& out, std::string_view item) {
  PutString(out, item);
}

void PutElement(std::string& out, std::string_view field, std::string_view value) {
  PutString(out, field);
  PutString(out, value);
}

void PutElement(std::string& out, std::string_view member, double score) {
  PutString(out, member);
  base::PutFixed64(out, std::bit_cast<uint64_t>(score));
}

void FileWriter::End() {
  PutOpcode(out_, Opcode::kEnd);
  base::PutFixed64(out_, Crc64(out_, sum_));
}

std::string FileWriter::Take() {
  sum_ = Crc64(out_, sum_);
  std::string taken = std::move(out_);
  out_.clear();
  return taken;
}

}  // namespace polyarch::rdb
