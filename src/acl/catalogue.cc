#include "acl/catalogue.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/check.h"

namespace polyarch::acl {
namespace {

// As Redis lists them.
constexpr std::array<std::string_view, 21> kCategories = {
    "keyspace", "read",        "write", "set",    "sortedset", "list", "hash",     "string",    "bitmap",      "hyperloglog", "geo",
    "stream",   "pubsub", "admin",     "fast", "slow",     "blocking",  "dangerous", "connection", "transaction", "scripting"};

bool HasWord(std::string_view words, std::string_view category) {
  while (!words.empty()) {
    const std::string_view word = words.substr(0, words.find(' '));
    if (word.starts_with('@') && word.substr(1) == category) return true;
    words.remove_prefix(std::min(words.size(), word.size() + 1));
  }
  return false;
}

}  // namespace

std::string Lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  }
  return out;
}

bool CommandSet::Within(const CommandSet& other) const {
  for (size_t i = 0; i < words_.size(); ++i) {
    if ((words_[i] & ~other.words_[i]) != 0) return false;
  }
  return true;
}

bool CommandSet::Disjoint(const CommandSet& other) const {
  for (size_t i = 0; i < words_.size(); ++i) {
    if ((words_[i] & other.words_[i]) != 0) return false;
  }
  return true;
}

void CommandSet::Unite(const CommandSet& other) {
  for (size_t i = 0; i < words_.size(); ++i) words_[i] |= other.words_[i];
}

void CommandSet::Remove(const CommandSet& other) {
  for (size_t i = 0; i < words_.size(); ++i) words_[i] &= ~other.words_[i];
}

Catalogue::Catalogue(std::vector<Command> commands)
    : commands_(std::move(commands)),
      whole_(commands_.size(), CommandSet(commands_.size())),
      category_names_(kCategories.begin(), kCategories.end()),
      all_(commands_.size()),
      containers_(commands_.size()) {
  CHECK(commands_.size() < UINT16_MAX);
  for (size_t i = 0; i < commands_.size(); ++i) {
    const auto id = static_cast<CommandId>(i);
    by_name_.emplace(commands_[i].name, id);
    all_.Add(id);
  }
  for (size_t i = 0; i < commands_.size(); ++i) {
    const auto id = static_cast<CommandId>(i);
    whole_[id].Add(id);
    std::string_view name = commands_[i].name;
    for (size_t bar = name.rfind('|'); bar != std::string_view::npos; bar = name.rfind('|')) {
      name = name.substr(0, bar);
      const auto parent = by_name_.find(name);
      CHECK(parent != by_name_.end());
      whole_[parent->second].Add(id);
      containers_.Add(parent->second);
    }
  }
  for (std::string_view category : kCategories) {
    CommandSet& set = by_category_.emplace(category, CommandSet(commands_.size())).first->second;
    for (CommandId id : InCategory(category)) set.Unite(whole_[id]);
  }
}

std::optional<CommandId> Catalogue::Find(std::string_view name) const {
  const auto it = by_name_.find(Lower(name));
  if (it == by_name_.end()) return std::nullopt;
  return it->second;
}

const CommandSet* Catalogue::CategoryRule(std::string_view category) const {
  const auto it = by_category_.find(Lower(category));
  return it == by_category_.end() ? nullptr : &it->second;
}

std::vector<CommandId> Catalogue::InCategory(std::string_view category) const {
  const std::string name = Lower(category);
  std::vector<CommandId> ids;
  for (size_t i = 0; i < commands_.size(); ++i) {
    if (HasWord(commands_[i].categories, name)) ids.push_back(static_cast<CommandId>(i));
  }
  return ids;
}

}  // namespace polyarch::acl
