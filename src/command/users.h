// The users that this leader knows. They are kept in the reserved database, so every leader knows them; this is made
// from there. docs/design/0027-acl.md.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>

#include "acl/catalogue.h"
#include "acl/log.h"
#include "acl/user.h"
#include "command/client.h"
#include "keyspace/change.h"
#include "keyspace/keyspace.h"

namespace polyarch::command {

// Where they are kept in the reserved database: three registers a user, by name.
inline constexpr std::string_view kUserPrefix = "user/";
inline constexpr std::string_view kUserStatePrefix = "user/state/";
inline constexpr std::string_view kUserSecretsPrefix = "user/secrets/";
inline constexpr std::string_view kUserRightsPrefix = "user/rights/";
inline constexpr std::string_view kDefaultUser = "default";

inline constexpr size_t kUsersMax = 10'000;
inline constexpr size_t kUserBytesMax = 64 << 10;  // each of the three texts
inline constexpr size_t kUserNameBytesMax = 1024;

// The commands that rules may name: a row's place in the table is its number.
const acl::Catalogue& CommandCatalogue();

class Users {
 public:
  using Map = std::map<std::string, acl::User, std::less<>>;

  Users();

  static bool Owns(std::string_view key) { return key.starts_with(kUserPrefix); }
  // Such a key has changed, by whomever; or all may have.
  void NoteChanged(std::string_view key);
  void NoteAll() { unsettled_ = all_changed_ = true; }
  bool unsettled() const { return unsettled_; }
  // Reads what has changed. `changed`: of whose clients something may be different now.
  void Settle(keyspace::Keyspace& keys, const clock::OriginTable& origins);
  const std::set<std::string, std::less<>>& just_changed() const { return just_changed_; }

  // By name; those that are off too. Null: there is none.
  const acl::User* Find(std::string_view name) const;
  const acl::User& Default() const { return *Find(kDefaultUser); }
  const Map& all() const { return users_; }
  // Is the user `default` in the reserved database? Else it is what this leader's configuration says.
  bool default_is_shared() const { return default_is_shared_; }
  // This leader's `requirepass`; empty: none. It counts until somebody changes the user `default` by ACL SETUSER.
  void SetLocalPassword(std::string_view password);

  // Must who connects authenticate first?
  bool must_authenticate() const { return !Default().no_password() || !Default().enabled(); }
  // Null: no such user, it is off, or that is not its password.
  const acl::User* Authenticate(std::string_view name, std::string_view password) const;
  // The user of a client; null: it has none any more, or must authenticate first.
  const acl::User* UserOf(const Client& client) const;
  // A new connection, or one that begins anew (RESET).
  void Welcome(Client& client) const;
  void Became(Client& client, const acl::User& user) const;
  // Sets whether its requests are judged. False: its user is gone.
  bool Refresh(Client& client) const;

  // Writes what differs from `before` (null: there was none).
  static void Store(keyspace::Keyspace& keys, keyspace::Change& change, const acl::User* before, const acl::User& after);
  static void Erase(keyspace::Keyspace& keys, keyspace::Change& change, std::string_view name);

  acl::Log& log() { return log_; }
  // This leader's `acl-pubsub-default`: users that are made or reset here may use all channels.
  bool new_users_hear_all() const { return new_users_hear_all_; }
  void SetNewUsersHearAll(bool all) { new_users_hear_all_ = all; }

 private:
  void ReadOne(keyspace::Keyspace& keys, const clock::OriginTable& origins, const std::string& name);

  Map users_;
  std::set<std::string, std::less<>> changed_;
  std::set<std::string, std::less<>> just_changed_;
  bool unsettled_ = true;
  bool all_changed_ = true;
  bool default_is_shared_ = false;
  bool new_users_hear_all_ = false;
  acl::User local_default_;
  acl::Log log_;
};

}  // namespace polyarch::command
