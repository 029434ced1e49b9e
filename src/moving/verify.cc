#include "moving/verify.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <map>
#include <poll.h>
#include <set>
#include <span>
#include <utility>

#include "base/number.h"
#include "base/try.h"
#include "cli/text.h"
#include "crdt/hyperloglog.h"
#include "moving/compare_large.h"
#include "moving/export_form.h"
#include "moving/leader.h"
#include "moving/link.h"

namespace polyarch::moving {

namespace {

constexpr size_t kLinesMax = 1000;
constexpr size_t kSuspectsMax = 1'000'000;
// Beyond this a value is compared in parts.
constexpr int64_t kElementsMax = 5000;
constexpr int64_t kStringMax = 4 << 20;
// Collections of as many elements that take more memory are compared in parts, too.
constexpr int64_t kWeighedElements = 500;
constexpr int64_t kBytesMax = 64 << 20;
// Of dumps that are held at once, as far as those before them tell.
constexpr size_t kDumpBytes = 16 << 20;
constexpr size_t kDumpsMax = 1000;
constexpr size_t kUnpackedMax = size_t{1} << 31;
constexpr int64_t kAgainMs = 1000;
constexpr int kRounds = 3;
constexpr int64_t kDeliveredMs = 1000;

class Comparison {
 public:
  Comparison(Link& source,
             Link& leader,
             const VerifyOptions& options,
             Progress& progress,
             const Stop& stop)
      : source_(source), leader_(leader), options_(options), progress_(progress), stop_(stop) {}

  base::Status Run();
  VerifyReport& report() { return report_; }

 private:
  struct Suspect {
    std::string key;
    std::string why;
  };

  base::Status Database(int database);
  base::Status Scan(Link& link,
                    base::FunctionRef<base::Status(const std::vector<std::string>&)> each);
  base::Status Compare(const std::vector<std::string>& keys, std::vector<Suspect>& suspects);
  base::Status CompareSmall(std::span<const std::string> keys, std::vector<Suspect>& suspects);
  base::Status CompareDumps(std::span<const std::string> keys,
                            std::vector<Suspect>& suspects,
                            size_t& bytes);
  base::Status Libraries();
  base::Status OnlyAtLeader(const std::vector<std::string>& keys, std::vector<Suspect>& suspects);
  base::Result<std::pair<std::vector<resp::Value>, std::vector<resp::Value>>> CollectBoth();
  void PutBoth(std::initializer_list<std::string_view> words) {
    source_.Put(words);
    leader_.Put(words);
  }
  std::string TtlDifference(int64_t a, int64_t b) const;

  Link& source_;
  Link& leader_;
  const VerifyOptions& options_;
  Progress& progress_;
  const Stop& stop_;
  VerifyReport report_;
  size_t dumps_ = 16;  // that are asked for at once
};

base::Result<std::pair<std::vector<resp::Value>, std::vector<resp::Value>>>
Comparison::CollectBoth() {
  auto a = source_.Collect();
  if (!a.ok()) return a.status();
  auto b = leader_.Collect();
  if (!b.ok()) return b.status();
  return std::pair{std::move(*a), std::move(*b)};
}

// The databases that INFO keyspace names.
base::Result<std::set<int>> DatabasesOf(Link& link) {
  auto reply = link.Ask({"INFO", "keyspace"});
  if (!reply.ok()) return reply.status();
  std::set<int> databases;
  const std::string_view text = reply->text;
  for (size_t at = text.find("\ndb"); at != std::string_view::npos;
       at = text.find("\ndb", at + 1)) {
    const auto number = base::ParseInt64(text.substr(at + 3, text.find(':', at) - at - 3));
    if (number) databases.insert(static_cast<int>(*number));
  }
  return databases;
}

base::Status Comparison::Run() {
  auto databases = DatabasesOf(source_);
  if (!databases.ok()) return databases.status();
  auto there = DatabasesOf(leader_);
  if (!there.ok()) return there.status();
  databases->merge(*there);
  if (!options_.database) TRY(Libraries());
  for (const int database : *databases) {
    if (options_.database && *options_.database != database) continue;
    if (database >= Leader::kDatabases) {
      ++report_.differences;
      report_.lines.push_back("database " + std::to_string(database) + ": a leader has none");
      continue;
    }
    TRY(Database(database));
  }
  return {};
}

// The source of each library.
base::Result<std::map<std::string, std::string>> LibrariesOf(Link& link) {
  auto reply = link.Ask({"FUNCTION", "LIST", "WITHCODE"});
  if (!reply.ok()) return reply.status();
  std::map<std::string, std::string> libraries;
  for (const resp::Value& library : reply->items)
    libraries[cli::TextOf(cli::Find(library, "library_name"))] =
        cli::TextOf(cli::Find(library, "library_code"));
  return libraries;
}

base::Status Comparison::Libraries() {
  auto source = LibrariesOf(source_);
  if (!source.ok()) {
    if (source.status().code() != base::Code::kInvalid) return source.status();
    // Redis before 7.0 has none.
    if (source.status().message().find("unknown command") == std::string::npos)
      progress_.Milestone("functions are not compared: the source answers FUNCTION LIST with " +
                          source.status().message());
    return {};
  }
  auto leader = LibrariesOf(leader_);
  if (!leader.ok()) return leader.status();
  const auto differs = [&](const std::string& name, const char* how) {
    ++report_.differences;
    report_.lines.push_back("library " + cli::Printable(name) + ": " + how);
  };
  for (const auto& [name, code] : *source) {
    const auto found = leader->find(name);
    if (found == leader->end()) {
      differs(name, "is missing at the leader");
    } else if (found->second != code) {
      differs(name, "its source differs");
    }
  }
  for (const auto& [name, code] : *leader) {
    if (!options_.others_allowed && !source->contains(name))
      differs(name, "is at the leader alone");
  }
  return {};
}

base::Status Comparison::Database(int database) {
  const std::string number = std::to_string(database);
  for (Link* link : {&source_, &leader_}) {
    if (auto reply = link->Ask({"SELECT", number}); !reply.ok()) return reply.status();
  }
  std::vector<Suspect> suspects;
  const auto compare = [&](const std::vector<std::string>& keys) {
    report_.keys += keys.size();
    return Compare(keys, suspects);
  };
  TRY(Scan(source_, compare));
  if (!options_.others_allowed)
    TRY(Scan(leader_,
             [&](const std::vector<std::string>& keys) { return OnlyAtLeader(keys, suspects); }));
  for (int round = 1; round < kRounds && !suspects.empty(); ++round) {
    ::poll(nullptr, 0, kAgainMs);
    // A scan may give a key twice.
    std::set<std::string> again;
    for (Suspect& suspect : suspects)
      again.insert(std::move(suspect.key));
    suspects.clear();
    TRY(Compare({again.begin(), again.end()}, suspects));
  }
  std::sort(suspects.begin(), suspects.end(), [](const Suspect& a, const Suspect& b) {
    return a.key < b.key;
  });
  report_.differences += suspects.size();
  for (const Suspect& suspect : suspects) {
    if (report_.lines.size() < kLinesMax)
      report_.lines.push_back("db" + number + " " + cli::Printable(suspect.key) + ": " +
                              suspect.why);
  }
  return {};
}

base::Status Comparison::Scan(
    Link& link, base::FunctionRef<base::Status(const std::vector<std::string>&)> each) {
  std::string cursor = "0";
  do {
    if (stop_.stop()) return base::IoError("the comparison was stopped");
    auto reply = link.Ask({"SCAN", cursor, "COUNT", "200"});
    if (!reply.ok()) return reply.status();
    if (reply->items.size() != 2)
      return base::Invalid(link.Name() + " answers SCAN with something else");
    cursor = reply->items[0].text;
    std::vector<std::string> keys;
    for (resp::Value& key : reply->items[1].items)
      keys.push_back(std::move(key.text));
    if (!keys.empty()) TRY(each(keys));
    progress_.Show([&] { return "compares: " + cli::HumanCount(report_.keys) + " keys"; });
  } while (cursor != "0");
  return {};
}

std::string Comparison::TtlDifference(int64_t a, int64_t b) const {
  if (a < 0 && b < 0) return "";
  const auto text = [](int64_t ttl) {
    return ttl < 0 ? std::string("never") : "in " + std::to_string(ttl) + " ms";
  };
  if (a >= 0 && b >= 0 && std::abs(a - b) <= options_.ttl_tolerance_ms) return "";
  return "expires " + text(a) + " at the source, " + text(b) + " at the leader";
}

base::Status Comparison::Compare(const std::vector<std::string>& keys,
                                 std::vector<Suspect>& suspects) {
  if (suspects.size() > kSuspectsMax)
    return base::Invalid("more than " + cli::HumanCount(kSuspectsMax) +
                         " keys differ: is this the right leader?");
  for (const std::string& key : keys) {
    PutBoth({"TYPE", key});
    PutBoth({"PTTL", key});
  }
  auto first = CollectBoth();
  if (!first.ok()) return first.status();
  const auto& [a, b] = *first;
  std::vector<size_t> same;  // of one type
  for (size_t i = 0; i < keys.size(); ++i) {
    const std::string& type = a[2 * i].text;
    const std::string& type_there = b[2 * i].text;
    const int64_t ttl = a[2 * i + 1].integer;
    const int64_t ttl_there = b[2 * i + 1].integer;
    if (type != type_there) {
      // Also what has just ended at one of them: when it is looked at again it has at both.
      if (type == "none" && options_.others_allowed) continue;
      suspects.push_back({keys[i],
                          type_there == "none" ? "is missing at the leader"
                          : type == "none"     ? "is at the leader alone"
                                           : "is a " + type + " at the source, a " + type_there +
                                                 " at the leader"});
    } else if (type != "none") {
      if (std::string why = TtlDifference(ttl, ttl_there); !why.empty()) {
        suspects.push_back({keys[i], why});
      } else {
        same.push_back(i);
      }
    }
  }
  std::vector<size_t> counted;
  for (const size_t i : same) {
    const std::string_view command = LengthCommand(a[2 * i].text);
    if (command.empty()) {
      suspects.push_back(
          {keys[i], "is of a type that a leader has not: " + cli::Printable(a[2 * i].text)});
      continue;
    }
    PutBoth({command, keys[i]});
    counted.push_back(i);
  }
  auto lengths = CollectBoth();
  if (!lengths.ok()) return lengths.status();
  std::vector<size_t> weighed;
  for (size_t j = 0; j < counted.size(); ++j) {
    const std::string& type = a[2 * counted[j]].text;
    const int64_t length = lengths->second[j].integer;
    if (type == "string" || length < kWeighedElements || length > kElementsMax) continue;
    leader_.Put({"MEMORY", "USAGE", keys[counted[j]]});
    weighed.push_back(j);
  }
  auto weights = leader_.Collect();
  if (!weights.ok()) return weights.status();
  std::vector<bool> heavy(counted.size());
  for (size_t i = 0; i < weighed.size(); ++i)
    heavy[weighed[i]] = (*weights)[i].integer > kBytesMax;
  std::vector<std::string> small;
  for (size_t j = 0; j < counted.size(); ++j) {
    const std::string& key = keys[counted[j]];
    const std::string& type = a[2 * counted[j]].text;
    const int64_t length = lengths->first[j].integer;
    if (lengths->second[j].is_error()) {
      suspects.push_back({key, "the leader answers " + cli::Printable(lengths->second[j].text)});
      continue;
    }
    if (length != lengths->second[j].integer) {
      suspects.push_back({key,
                          "has " + std::to_string(length) +
                              (type == "string" ? " bytes" : " elements") + " at the source, " +
                              std::to_string(lengths->second[j].integer) + " at the leader"});
      continue;
    }
    if (heavy[j] || length > (type == "string" ? kStringMax : kElementsMax)) {
      auto why = CompareLarge(source_, leader_, key, type);
      if (!why.ok()) return why.status();
      if (!why->empty()) suspects.push_back({key, *why});
      continue;
    }
    small.push_back(key);
  }
  return CompareSmall(small, suspects);
}

base::Status Comparison::CompareSmall(std::span<const std::string> keys,
                                      std::vector<Suspect>& suspects) {
  while (!keys.empty()) {
    const size_t count = std::min(dumps_, keys.size());
    size_t bytes = 0;
    TRY(CompareDumps(keys.first(count), suspects, bytes));
    keys = keys.subspan(count);
    if (bytes > kDumpBytes) {
      dumps_ = std::max<size_t>(1, dumps_ / 4);
    } else if (bytes < kDumpBytes / 16) {
      dumps_ = std::min(kDumpsMax, 2 * dumps_);
    }
  }
  return {};
}

base::Status Comparison::CompareDumps(std::span<const std::string> keys,
                                      std::vector<Suspect>& suspects,
                                      size_t& bytes) {
  for (const std::string& key : keys)
    PutBoth({"DUMP", key});
  auto dumps = CollectBoth();
  if (!dumps.ok()) return dumps.status();
  for (size_t i = 0; i < keys.size(); ++i) {
    const std::array<const resp::Value*, 2> replies = {&dumps->first[i], &dumps->second[i]};
    std::array<rdb::Value, 2> values;
    std::string why;
    for (size_t side = 0; side < 2 && why.empty(); ++side) {
      const std::string who = side == 0 ? "the source" : "the leader";
      bytes += replies[side]->text.size();
      if (replies[side]->is_error()) {
        why = who + " answers " + cli::Printable(replies[side]->text);
      } else if (replies[side]->is_null()) {
        why = "is gone at " + who;
      } else if (rdb::ReadDump(replies[side]->text, kUnpackedMax, values[side]) !=
                 rdb::ReadStatus::kOk) {
        why = who + " dumps it in a way that is not known here";
      }
    }
    if (why.empty()) why = DifferenceOf(std::move(values[0]), std::move(values[1]));
    // Gone at both: it has expired meanwhile.
    if (replies[0]->is_null() && replies[1]->is_null()) continue;
    if (!why.empty()) suspects.push_back({keys[i], why});
  }
  return {};
}

base::Status Comparison::OnlyAtLeader(const std::vector<std::string>& keys,
                                      std::vector<Suspect>& suspects) {
  for (const std::string& key : keys)
    PutBoth({"EXISTS", key});
  auto found = CollectBoth();
  if (!found.ok()) return found.status();
  for (size_t i = 0; i < keys.size(); ++i) {
    if (found->first[i].integer == 0 && found->second[i].integer == 1)
      suspects.push_back({keys[i], "is at the leader alone"});
  }
  return {};
}

bool SameSketch(const std::string& a, const std::string& b) {
  crdt::HllRegisters left;
  crdt::HllRegisters right;
  return crdt::HasHllHeader(a) && crdt::HasHllHeader(b) && crdt::ReadHll(a, left) &&
         crdt::ReadHll(b, right) && std::equal(left.begin(), left.end(), right.begin());
}

bool SamePending(const rdb::StreamValue::Pending& a, const rdb::StreamValue::Pending& b) {
  // XCLAIM makes no instant later than the leader's now, which may be a little behind.
  return a.id == b.id && a.consumer == b.consumer && a.count == b.count &&
         std::abs(a.delivered_ms - b.delivered_ms) <= kDeliveredMs;
}

std::string StreamDifference(rdb::StreamValue& a, rdb::StreamValue& b) {
  if (a.entries != b.entries) return "the entries differ";
  if (a.last != b.last)
    return "the last id is " + crdt::ToString(a.last) + " at the source, " +
           crdt::ToString(b.last) + " at the leader";
  if (a.deleted != b.deleted) return "the highest deleted id differs";
  if (a.added != b.added) return "the number of entries ever added differs";
  const auto by_name = [](const auto& x, const auto& y) {
    return x.name < y.name;
  };
  for (rdb::StreamValue* stream : {&a, &b}) {
    std::sort(stream->groups.begin(), stream->groups.end(), by_name);
    for (auto& group : stream->groups) {
      std::sort(group.consumers.begin(), group.consumers.end(), by_name);
      group.entries_read = -1;  // told by each in its own way
      for (auto& consumer : group.consumers)
        consumer.seen_ms = 0;
    }
  }
  if (a.groups.size() != b.groups.size()) return "the groups differ";
  for (size_t i = 0; i < a.groups.size(); ++i) {
    const auto& x = a.groups[i];
    const auto& y = b.groups[i];
    if (x.name != y.name) return "the groups differ";
    const std::string group = "group " + cli::Printable(x.name) + ": ";
    if (x.last != y.last)
      return group + "the last id is " + crdt::ToString(x.last) + " at the source, " +
             crdt::ToString(y.last) + " at the leader";
    if (x.consumers != y.consumers) return group + "the consumers differ";
    if (!std::equal(
            x.pending.begin(), x.pending.end(), y.pending.begin(), y.pending.end(), SamePending))
      return group + "what is pending differs";
  }
  return "";
}

}  // namespace

std::string DifferenceOf(rdb::Value a, rdb::Value b) {
  if (a.type != b.type) return "the types differ";
  switch (a.type) {
    case crdt::Type::kString:
      return a.text == b.text || SameSketch(a.text, b.text) ? "" : "the values differ";
    case crdt::Type::kList:
      return a.items == b.items ? "" : "the elements differ";
    case crdt::Type::kSet:
      std::sort(a.items.begin(), a.items.end());
      std::sort(b.items.begin(), b.items.end());
      return a.items == b.items ? "" : "the members differ";
    case crdt::Type::kHash:
      std::sort(a.fields.begin(), a.fields.end());
      std::sort(b.fields.begin(), b.fields.end());
      return a.fields == b.fields ? "" : "the fields differ";
    case crdt::Type::kSortedSet:
      std::sort(a.members.begin(), a.members.end());
      std::sort(b.members.begin(), b.members.end());
      return a.members == b.members ? "" : "the members or scores differ";
    case crdt::Type::kStream:
      return StreamDifference(a.stream, b.stream);
  }
  return "";
}

base::Result<VerifyReport> Verify(const cli::Target& source,
                                  const cli::Target& leader,
                                  const VerifyOptions& options,
                                  Progress& progress,
                                  const Stop& stop) {
  auto a = Link::Open(source, "the source");
  if (!a.ok()) return a.status();
  auto b = Link::Open(leader, "the leader");
  if (!b.ok()) return b.status();
  Comparison comparison(**a, **b, options, progress, stop);
  if (base::Status s = comparison.Run(); !s.ok()) return s;
  return std::move(comparison.report());
}

}  // namespace polyarch::moving
