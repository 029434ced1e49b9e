// The commands and categories that rules may name. Built once, from the command table, by whoever has one;
// immutable afterwards. A command's number is its place in the list that it was built from.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace polyarch::acl {

using CommandId = uint16_t;

// A set of commands of one catalogue.
class CommandSet {
 public:
  CommandSet() = default;
  explicit CommandSet(size_t commands) : words_((commands + 63) / 64) {}
  void Add(CommandId id) { words_[id / 64] |= uint64_t{1} << (id % 64); }
  bool Has(CommandId id) const { return (words_[id / 64] >> (id % 64) & 1) != 0; }
  bool Within(const CommandSet& other) const;    // is all of this in `other`?
  bool Disjoint(const CommandSet& other) const;
  void Unite(const CommandSet& other);
  void Remove(const CommandSet& other);
  friend bool operator==(const CommandSet&, const CommandSet&) = default;

 private:
  std::vector<uint64_t> words_;
};

class Catalogue {
 public:
  struct Command {
    std::string_view name;        // lower case; "config|get" within "config"
    std::string_view categories;  // "@read @fast"
  };
  // Names must live as long as the catalogue.
  explicit Catalogue(std::vector<Command> commands);

  size_t size() const { return commands_.size(); }
  std::string_view NameOf(CommandId id) const { return commands_[id].name; }
  // In any case.
  std::optional<CommandId> Find(std::string_view name) const;
  bool IsContainer(CommandId id) const { return containers_.Has(id); }
  // The command and all that it contains.
  const CommandSet& WholeOf(CommandId id) const { return whole_[id]; }
  // What a rule about a category ("read", in any case) is about: its commands, and what they contain. Null: there is
  // none of that name.
  const CommandSet* CategoryRule(std::string_view category) const;
  const CommandSet& all() const { return all_; }
  // The names of the categories, sorted as ACL CAT tells them.
  const std::vector<std::string_view>& categories() const { return category_names_; }
  // The commands that are in a category themselves, in the order of the table.
  std::vector<CommandId> InCategory(std::string_view category) const;

 private:
  std::vector<Command> commands_;
  std::map<std::string_view, CommandId> by_name_;
  std::vector<CommandSet> whole_;
  std::map<std::string_view, CommandSet> by_category_;
  std::vector<std::string_view> category_names_;
  CommandSet all_;
  CommandSet containers_;
};

// ASCII letters of `text` in lower case.
std::string Lower(std::string_view text);

}  // namespace polyarch::acl
