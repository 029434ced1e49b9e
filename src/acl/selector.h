// One set of rights: commands, keys, channels. A user has one of its own and may have more; a request must be allowed
// by one of them alone.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "acl/catalogue.h"

namespace polyarch::acl {

// What may be wrong with a rule.
enum class RuleError : uint8_t {
  kNone,
  kSyntax,
  kUnknownCommand,     // or category
  kPatternAfterAll,    // of keys
  kChannelAfterAll,
  kNoSuchPassword,
  kBadHash,
  kFirstArgument,      // of a subcommand
};
// As Redis says it.
std::string_view TextOf(RuleError error);

// How rules are read. Those of an operator must name what there is. Stored ones may come from a later version, which
// knows more commands: what they grant of those is not needed here, and what they deny neither.
enum class Reading : uint8_t { kStrict, kStored };

struct KeyPattern {
  std::string pattern;
  bool read = true;
  bool write = true;
  friend bool operator==(const KeyPattern&, const KeyPattern&) = default;
};

class Selector {
 public:
  explicit Selector(const Catalogue& catalogue) : catalogue_(&catalogue), commands_(catalogue.size()) {}

  // One rule about commands, keys or channels ("+get", "%R~a*", "&c"). Nothing has changed if it is wrong.
  RuleError Apply(std::string_view rule, Reading reading);

  bool all_commands() const { return all_commands_; }
  bool all_keys() const { return all_keys_; }
  bool all_channels() const { return all_channels_; }
  // May it be run, with that first argument (if there is one)?
  bool MayRun(CommandId id, std::string_view first_argument, bool has_argument) const;
  // `read`, `write`: what is done to the key; neither: it is only looked at.
  bool MayUseKey(std::string_view key, bool read, bool write) const;
  // Of all keys, those too that nobody has named.
  bool MayUseAnyKey(bool read, bool write) const;
  // A pattern to subscribe to must be one of those that are allowed, letter by letter.
  bool MayUseChannel(std::string_view channel, bool is_pattern) const;

  // As they would be set: "-@all +get", "~a* %R~b", "&c*".
  std::string CommandRules() const;
  std::string KeyRules() const;
  std::string ChannelRules() const;
  // All of that, as ACL LIST shows it: "~a* resetchannels &c -@all +get".
  std::string Describe() const;

 private:
  // A rule that still has effect, or may have some on commands of later versions.
  struct CommandRule {
    std::string text;
    CommandSet about;  // empty: none that is known here, or a first argument
  };
  RuleError ApplyCommand(std::string_view rule, Reading reading);
  RuleError ApplyFirstArgument(CommandId id, std::string_view argument, std::string_view rule);
  RuleError ApplyKeys(std::string_view rule);
  RuleError ApplyChannel(std::string_view rule);
  void Change(bool allow, const CommandSet& about, std::string text);
  void SetAllCommands(bool allow);

  const Catalogue* catalogue_;
  CommandSet commands_;
  std::vector<CommandRule> rules_;
  bool starts_with_all_ = false;  // the rules begin with +@all
  // Arguments that allow a command which is not allowed otherwise ("+select|0"), in lower case.
  std::map<CommandId, std::vector<std::string>> first_arguments_;
  std::vector<KeyPattern> keys_;
  std::vector<std::string> channels_;
  bool all_commands_ = false;
  bool all_keys_ = false;
  bool all_channels_ = false;
};

// No spaces and no zero bytes: rules are words.
bool IsWord(std::string_view text);

}  // namespace polyarch::acl
