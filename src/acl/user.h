// A user: who may authenticate, and with what rights. A value; it is kept and replicated as three texts
// (docs/FORMATS.md), so that two leaders which change its state, its passwords and its rights meanwhile keep all of it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "acl/selector.h"
#include "base/status.h"

namespace polyarch::acl {

class User {
 public:
  // As Redis makes one: off, no password, no right.
  User(const Catalogue& catalogue, std::string name, uint64_t born);

  // What the user `default` is until somebody changes it: everything, without a password.
  static User Default(const Catalogue& catalogue);

  // One rule of ACL SETUSER. Nothing has changed if it is wrong.
  // `hears_all`: a selector that it makes may use all channels, before its own rules.
  RuleError Apply(std::string_view rule, Reading reading = Reading::kStrict, bool hears_all = false);
  // All of them, or none; kInvalid with the line of Redis, but for the "ERR ".
  base::Status ApplyAll(std::vector<std::string_view> rules, bool hears_all = false);

  // Made anew, with what it is allowed now.
  void Begin(uint64_t born) { born_ = born; }

  const std::string& name() const { return name_; }
  // A random number of its creation: who is created anew under the same name is another one.
  uint64_t born() const { return born_; }
  bool enabled() const { return enabled_; }
  bool no_password() const { return no_password_; }
  const std::vector<std::string>& passwords() const { return passwords_; }  // SHA-256, hexadecimal
  // The first is its own.
  const std::vector<Selector>& selectors() const { return selectors_; }
  // May it do everything that there is, whatever it names?
  bool unrestricted() const;
  // Is that its password? In constant time over the hash. Not asked whether it is enabled.
  bool Knows(std::string_view password) const;

  // "on", "nopass", "sanitize-payload", in the order of ACL GETUSER.
  std::vector<std::string_view> Flags() const;
  // Behind "user <name> " in ACL LIST.
  std::string Describe() const;

  // ---- as it is kept
  std::string StateText() const;
  std::string SecretsText() const;
  std::string RightsText() const;
  // What such a text says of its user; 0 if it cannot be read. `rest` are its words.
  static uint64_t BornOf(std::string_view text, std::vector<std::string_view>* rest = nullptr);
  // Of three texts of one birth; an empty one says nothing: no password, no right. What cannot be read grants nothing.
  static User Read(const Catalogue& catalogue,
                   std::string name,
                   std::string_view state,
                   std::string_view secrets,
                   std::string_view rights);

 private:
  RuleError ApplyPassword(std::string_view rule);
  RuleError ApplySelector(std::string_view rules, Reading reading, bool hears_all);

  const Catalogue* catalogue_;
  std::string name_;
  uint64_t born_;
  bool enabled_ = false;
  bool no_password_ = false;
  bool skip_sanitize_ = false;  // kept and told; nothing here depends on it
  bool sanitize_ = false;
  std::vector<std::string> passwords_;
  std::vector<Selector> selectors_;
};

// Rules in parentheses may be spread over several arguments; they are put together. kInvalid: a parenthesis is not
// closed.
base::Result<std::vector<std::string>> JoinSelectors(const std::vector<std::string_view>& rules);

}  // namespace polyarch::acl
