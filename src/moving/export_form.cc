#include "moving/export_form.h"

#include <algorithm>
#include <array>
#include <unordered_set>
#include <utility>

#include "base/hash.h"
#include "base/number.h"
#include "base/try.h"
#include "moving/spool.h"
#include "rdb/file_writer.h"
#include "rdb/value.h"

namespace polyarch::moving {

namespace {

constexpr int64_t kPartElementsMax = 2000;
constexpr size_t kPartBytesFew = 1 << 20;
constexpr size_t kPartBytesMany = 8 << 20;

class AsRdb : public Form {
 public:
  AsRdb(int64_t now_ms, std::string spool_directory)
      : spool_directory_(std::move(spool_directory)) {
    writer_.Aux("redis-ver", "7.0.15");
    writer_.Aux("redis-bits", "64");
    writer_.Aux("ctime", base::FormatInt64(now_ms / 1000));
  }
  bool Libraries(std::string_view payload) override {
    const auto body = rdb::BodyOfDump(payload);
    if (body) writer_.Libraries(*body);
    return body.has_value();
  }
  void Database(int database) override { writer_.Database(database); }
  bool Key(std::string_view key,
           std::string_view payload,
           std::optional<int64_t> expire_ms) override {
    const auto body = rdb::BodyOfDump(payload);
    const bool readable = body && !body->empty();
    if (readable) writer_.Key(key, *body, expire_ms);
    return readable;
  }
  base::Status BeginLarge(std::string_view key, std::string_view type) override {
    auto spool = Spool::Create(spool_directory_);
    if (!spool.ok()) return spool.status();
    spool_ = std::move(*spool);
    key_ = key;
    type_ = type == "list"   ? crdt::Type::kList
            : type == "set"  ? crdt::Type::kSet
            : type == "hash" ? crdt::Type::kHash
                             : crdt::Type::kSortedSet;
    count_ = 0;
    seen_.clear();
    return {};
  }
  base::Status Elements(const std::vector<resp::Value>& items) override {
    std::string bytes;
    const bool pairs = type_ == crdt::Type::kHash || type_ == crdt::Type::kSortedSet;
    if (pairs && items.size() % 2 != 0) return base::Invalid("the leader answers half a pair");
    for (size_t i = 0; i < items.size(); i += pairs ? 2 : 1) {
      // Redis takes a file in which an element stands twice for damaged.
      if (type_ != crdt::Type::kList && !seen_.insert(base::ContentHash64(items[i].text)).second)
        continue;
      if (type_ == crdt::Type::kHash) {
        rdb::PutElement(bytes, items[i].text, std::string_view(items[i + 1].text));
      } else if (pairs) {
        const auto score = base::ParseLongDouble(items[i + 1].text, /*allow_inf=*/true);
        if (!score) return base::Invalid("the leader answers a score that is no number");
        rdb::PutElement(bytes, items[i].text, static_cast<double>(*score));
      } else {
        rdb::PutElement(bytes, items[i].text);
      }
      ++count_;
    }
    return spool_->Append(bytes);
  }
  base::Status EndLarge(std::optional<int64_t> expire_ms,
                        base::FunctionRef<base::Status()> flush) override {
    // Deleted meanwhile.
    if (count_ == 0) return {};
    writer_.Begin(key_, type_, count_, expire_ms);
    std::string part(1 << 20, '\0');
    for (uint64_t left = spool_->appended(); left > 0;) {
      auto read = spool_->Read(part.data(), part.size(), 0);
      if (!read.ok()) return read.status();
      writer_.Elements(std::string_view(part).substr(0, *read));
      left -= *read;
      TRY(flush());
    }
    spool_.reset();
    return {};
  }
  void DropLarge() override { spool_.reset(); }
  void End() override { writer_.End(); }
  size_t size() const override { return writer_.size(); }
  std::string Take() override { return writer_.Take(); }

 private:
  const std::string spool_directory_;
  rdb::FileWriter writer_;
  // The large collection under way.
  std::unique_ptr<Spool> spool_;
  std::string key_;
  crdt::Type type_ = crdt::Type::kList;
  uint64_t count_ = 0;
  std::unordered_set<uint64_t> seen_;  // hashes of names
};

class AsCommands : public Form {
 public:
  bool Libraries(std::string_view payload) override {
    if (!rdb::BodyOfDump(payload)) return false;
    resp::AppendRequest(out_, {"FUNCTION", "RESTORE", payload, "REPLACE"});
    return true;
  }
  void Database(int database) override {
    resp::AppendRequest(out_, {"SELECT", base::FormatInt64(database)});
  }
  bool Key(std::string_view key,
           std::string_view payload,
           std::optional<int64_t> expire_ms) override {
    if (!rdb::BodyOfDump(payload)) return false;
    resp::AppendRequest(
        out_,
        {"RESTORE", key, base::FormatInt64(expire_ms.value_or(0)), payload, "REPLACE", "ABSTTL"});
    return true;
  }
  base::Status BeginLarge(std::string_view key, std::string_view type) override {
    key_ = key;
    type_ = type;
    resp::AppendRequest(out_, {"DEL", key});
    return {};
  }
  base::Status Elements(const std::vector<resp::Value>& items) override {
    if (items.empty()) return {};
    std::vector<std::string_view> words = {type_ == "list"   ? "RPUSH"
                                           : type_ == "set"  ? "SADD"
                                           : type_ == "hash" ? "HSET"
                                                             : "ZADD",
                                           key_};
    for (const resp::Value& item : items)
      words.push_back(item.text);
    // A scan tells the score behind the member, ZADD wants it before.
    if (type_ == "zset") {
      for (size_t i = 2; i + 1 < words.size(); i += 2)
        std::swap(words[i], words[i + 1]);
    }
    resp::AppendRequest(out_, words);
    return {};
  }
  base::Status EndLarge(std::optional<int64_t> expire_ms,
                        base::FunctionRef<base::Status()>) override {
    if (expire_ms) resp::AppendRequest(out_, {"PEXPIREAT", key_, base::FormatInt64(*expire_ms)});
    return {};
  }
  void DropLarge() override { resp::AppendRequest(out_, {"DEL", key_}); }
  void End() override {}
  size_t size() const override { return out_.size(); }
  std::string Take() override { return std::exchange(out_, {}); }

 private:
  std::string out_;
  std::string key_;
  std::string type_;
};

}  // namespace

std::unique_ptr<Form> MakeRdbForm(int64_t now_ms, std::string spool_directory) {
  return std::make_unique<AsRdb>(now_ms, std::move(spool_directory));
}

std::unique_ptr<Form> MakeCommandsForm() {
  return std::make_unique<AsCommands>();
}

std::string_view LengthCommand(std::string_view type) {
  static constexpr std::array<std::pair<std::string_view, std::string_view>, 6> kCommands = {
      {{"string", "STRLEN"},
       {"list", "LLEN"},
       {"set", "SCARD"},
       {"hash", "HLEN"},
       {"zset", "ZCARD"},
       {"stream", "XLEN"}}};
  for (const auto& [name, command] : kCommands) {
    if (name == type) return command;
  }
  return "";
}

namespace {

size_t BytesOf(const std::vector<resp::Value>& items) {
  size_t bytes = 0;
  for (const resp::Value& item : items)
    bytes += item.text.size() + BytesOf(item.items);
  return bytes;
}

}  // namespace

void PartSize::Came(const std::vector<resp::Value>& items) {
  const size_t bytes = BytesOf(items);
  if (bytes > kPartBytesMany) {
    elements_ = std::max<int64_t>(1, elements_ / 2);
  } else if (bytes < kPartBytesFew) {
    elements_ = std::min(kPartElementsMax, 2 * elements_);
  }
}

namespace {

// By place, so it must stand still meanwhile.
base::Result<bool> ReadList(Link& leader,
                            std::string_view key,
                            base::FunctionRef<base::Status(const std::vector<resp::Value>&)> take) {
  if (auto watched = leader.Ask({"WATCH", key}); !watched.ok()) return watched.status();
  PartSize size;
  for (int64_t at = 0;;) {
    const int64_t last = at + size.elements() - 1;
    auto part = leader.Ask({"LRANGE", key, base::FormatInt64(at), base::FormatInt64(last)});
    if (!part.ok()) return part.status();
    if (part->items.empty()) break;
    at = last + 1;
    size.Came(part->items);
    TRY(take(part->items));
  }
  if (auto begun = leader.Ask({"MULTI"}); !begun.ok()) return begun.status();
  auto still = leader.Ask({"EXEC"});
  if (!still.ok()) return still.status();
  return !still->is_null();
}

}  // namespace

base::Result<bool> ReadLarge(
    Link& leader,
    std::string_view key,
    std::string_view type,
    base::FunctionRef<base::Status(const std::vector<resp::Value>&)> take) {
  if (type == "list") return ReadList(leader, key, take);
  const std::string_view scan = type == "set" ? "SSCAN" : type == "hash" ? "HSCAN" : "ZSCAN";
  std::string cursor = "0";
  PartSize size;
  do {
    auto part = leader.Ask({scan, key, cursor, "COUNT", base::FormatInt64(size.elements())});
    if (!part.ok()) return part.status();
    if (part->items.size() != 2)
      return base::Invalid(leader.Name() + " answers " + std::string(scan) +
                           " with something else");
    cursor = part->items[0].text;
    size.Came(part->items[1].items);
    TRY(take(part->items[1].items));
  } while (cursor != "0");
  return true;
}

}  // namespace polyarch::moving
