#include "acl/selector.h"

#include <algorithm>
#include <utility>

#include "base/glob.h"

namespace polyarch::acl {
namespace {

// DEBUG holds nothing in Redis: whatever follows it is an argument there.
constexpr std::string_view kLooseContainer = "debug";

void Join(std::string& out, std::string_view word) {
  if (!out.empty()) out += ' ';
  out.append(word);
}

}  // namespace

std::string_view TextOf(RuleError error) {
  switch (error) {
    case RuleError::kNone:
      return "";
    case RuleError::kSyntax:
      return "Syntax error";
    case RuleError::kUnknownCommand:
      return "Unknown command or category name in ACL";
    case RuleError::kPatternAfterAll:
      return "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have any "
             "effect. Try 'resetkeys' to start with an empty list of patterns";
    case RuleError::kChannelAfterAll:
      return "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and does not have any "
             "effect. Try 'resetchannels' to start with an empty list of channels";
    case RuleError::kNoSuchPassword:
      return "The password you are trying to remove from the user does not exist";
    case RuleError::kBadHash:
      return "The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters";
    case RuleError::kFirstArgument:
      return "Allowing first-arg of a subcommand is not supported";
  }
  return "";
}

bool IsWord(std::string_view text) {
  return std::none_of(text.begin(), text.end(), [](char c) {
    return c == '\0' || c == ' ' || (c >= '\t' && c <= '\r');
  });
}

RuleError Selector::Apply(std::string_view rule, Reading reading) {
  const std::string lower = Lower(rule);
  if (lower == "allkeys" || lower == "~*" || lower == "resetkeys") {
    all_keys_ = lower != "resetkeys";
    keys_.clear();
    return RuleError::kNone;
  }
  if (lower == "allchannels" || lower == "&*" || lower == "resetchannels") {
    all_channels_ = lower != "resetchannels";
    channels_.clear();
    return RuleError::kNone;
  }
  if (lower == "allcommands" || lower == "+@all") {
    SetAllCommands(true);
    return RuleError::kNone;
  }
  if (lower == "nocommands" || lower == "-@all") {
    SetAllCommands(false);
    return RuleError::kNone;
  }
  if (rule.starts_with('~') || rule.starts_with('%')) return ApplyKeys(rule);
  if (rule.starts_with('&')) return ApplyChannel(rule.substr(1));
  if (rule.starts_with('+') || rule.starts_with('-')) return ApplyCommand(lower, reading);
  return RuleError::kSyntax;
}

void Selector::SetAllCommands(bool allow) {
  all_commands_ = starts_with_all_ = allow;
  commands_ = allow ? catalogue_->all() : CommandSet(catalogue_->size());
  rules_.clear();
  first_arguments_.clear();
}

// Notes a rule and forgets earlier ones of which nothing is left.
void Selector::Change(bool allow, const CommandSet& about, std::string text) {
  for (auto it = first_arguments_.begin(); it != first_arguments_.end();)
    it = about.Has(it->first) ? first_arguments_.erase(it) : std::next(it);
  std::erase_if(rules_, [&](const CommandRule& r) {
    const size_t bar = r.text.rfind('|');
    if (r.about == CommandSet(catalogue_->size()) && bar != std::string::npos) {
      const auto id = catalogue_->Find(std::string_view(r.text).substr(1, bar - 1));
      return id && about.Has(*id);
    }
    return false;
  });
  const bool changes = allow ? !about.Within(commands_) : !about.Disjoint(commands_);
  if (!changes) return;
  std::erase_if(rules_, [&](const CommandRule& r) {
    return r.about != CommandSet(catalogue_->size()) && r.about.Within(about);
  });
  if (allow) {
    commands_.Unite(about);
  } else {
    commands_.Remove(about);
    all_commands_ = false;
  }
  rules_.push_back({std::move(text), about});
  // Back to where the rules began?
  const bool known = std::none_of(rules_.begin(), rules_.end(), [&](const CommandRule& r) {
    return r.about == CommandSet(catalogue_->size());
  });
  if (!known || commands_ != (starts_with_all_ ? catalogue_->all() : CommandSet(catalogue_->size()))) return;
  rules_.clear();
  all_commands_ = starts_with_all_;
}

RuleError Selector::ApplyFirstArgument(CommandId id, std::string_view argument, std::string_view rule) {
  // It is kept as one word of a text.
  if (argument.empty() || !IsWord(argument) || argument.back() == ')') return RuleError::kSyntax;
  std::vector<std::string>& known = first_arguments_[id];
  if (std::find(known.begin(), known.end(), argument) != known.end()) return RuleError::kNone;
  known.emplace_back(argument);
  if (!commands_.Has(id)) rules_.push_back({std::string(rule), CommandSet(catalogue_->size())});
  return RuleError::kNone;
}

// In lower case.
RuleError Selector::ApplyCommand(std::string_view rule, Reading reading) {
  const bool allow = rule.front() == '+';
  const std::string_view name = rule.substr(1);
  const bool category = name.starts_with('@');
  const CommandSet* about = nullptr;
  if (category) {
    about = catalogue_->CategoryRule(name.substr(1));
  } else if (const auto id = catalogue_->Find(name)) {
    about = &catalogue_->WholeOf(*id);
  }
  if (about != nullptr) {
    Change(allow, *about, std::string(rule));
    return RuleError::kNone;
  }
  const size_t bar = name.rfind('|');
  const auto container = bar == std::string_view::npos || category ? std::nullopt : catalogue_->Find(name.substr(0, bar));
  if (allow && container) {
    const std::string_view whole = catalogue_->NameOf(*container);
    // A container within another may hold more.
    if (whole.find('|') != std::string_view::npos && !catalogue_->IsContainer(*container)) return RuleError::kFirstArgument;
    if (!catalogue_->IsContainer(*container) || whole == kLooseContainer)
      return ApplyFirstArgument(*container, name.substr(bar + 1), rule);
    if (bar + 1 == name.size()) return RuleError::kSyntax;
  }
  if (reading == Reading::kStrict) return RuleError::kUnknownCommand;
  // Kept for who knows it: it goes on with this record when somebody changes it here.
  rules_.push_back({std::string(rule), CommandSet(catalogue_->size())});
  if (!allow) all_commands_ = false;
  return RuleError::kNone;
}

RuleError Selector::ApplyKeys(std::string_view rule) {
  if (all_keys_) return RuleError::kPatternAfterAll;
  KeyPattern fresh;
  size_t at = 1;
  if (rule.front() == '%') {
    fresh.read = fresh.write = false;
    for (; at < rule.size() && rule[at] != '~'; ++at) {
      const bool read = rule[at] == 'R' || rule[at] == 'r';
      const bool write = rule[at] == 'W' || rule[at] == 'w';
      if ((!read && !write) || (read && fresh.read) || (write && fresh.write)) return RuleError::kSyntax;
      (read ? fresh.read : fresh.write) = true;
    }
    if (at == rule.size() || (!fresh.read && !fresh.write)) return RuleError::kSyntax;
    ++at;
  }
  fresh.pattern = rule.substr(at);
  if (!IsWord(fresh.pattern)) return RuleError::kSyntax;
  for (KeyPattern& known : keys_) {
    if (known.pattern != fresh.pattern) continue;
    known.read |= fresh.read;
    known.write |= fresh.write;
    return RuleError::kNone;
  }
  keys_.push_back(std::move(fresh));
  return RuleError::kNone;
}

RuleError Selector::ApplyChannel(std::string_view pattern) {
  if (all_channels_) return RuleError::kChannelAfterAll;
  if (!IsWord(pattern)) return RuleError::kSyntax;
  if (std::find(channels_.begin(), channels_.end(), pattern) == channels_.end()) channels_.emplace_back(pattern);
  return RuleError::kNone;
}

bool Selector::MayRun(CommandId id, std::string_view first_argument, bool has_argument) const {
  if (all_commands_ || commands_.Has(id)) return true;
  if (!has_argument || first_arguments_.empty()) return false;
  const auto it = first_arguments_.find(id);
  return it != first_arguments_.end() &&
         std::find(it->second.begin(), it->second.end(), Lower(first_argument)) != it->second.end();
}

bool Selector::MayUseKey(std::string_view key, bool read, bool write) const {
  if (all_keys_) return true;
  return std::any_of(keys_.begin(), keys_.end(), [&](const KeyPattern& p) {
    return (p.read || !read) && (p.write || !write) && base::GlobMatch(p.pattern, key);
  });
}

bool Selector::MayUseAnyKey(bool read, bool write) const {
  if (all_keys_) return true;
  return std::any_of(keys_.begin(), keys_.end(), [&](const KeyPattern& p) {
    return (p.read || !read) && (p.write || !write) && p.pattern == "*";
  });
}

bool Selector::MayUseChannel(std::string_view channel, bool is_pattern) const {
  if (all_channels_) return true;
  return std::any_of(channels_.begin(), channels_.end(), [&](const std::string& p) {
    return is_pattern ? p == channel : base::GlobMatch(p, channel);
  });
}

std::string Selector::CommandRules() const {
  std::string out = starts_with_all_ ? "+@all" : "-@all";
  for (const CommandRule& rule : rules_) Join(out, rule.text);
  return out;
}

std::string Selector::KeyRules() const {
  if (all_keys_) return "~*";
  std::string out;
  for (const KeyPattern& p : keys_) {
    const char* prefix = p.read && p.write ? "~" : p.read ? "%R~" : "%W~";
    Join(out, prefix + p.pattern);
  }
  return out;
}

std::string Selector::ChannelRules() const {
  if (all_channels_) return "&*";
  std::string out;
  for (const std::string& p : channels_) Join(out, "&" + p);
  return out;
}

std::string Selector::Describe() const {
  std::string out = KeyRules();
  if (!all_channels_) Join(out, "resetchannels");
  if (const std::string channels = ChannelRules(); !channels.empty()) Join(out, channels);
  Join(out, CommandRules());
  return out;
}

}  // namespace polyarch::acl
