#include "command/users.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "command/table.h"

namespace polyarch::command {
namespace {

using acl::User;

std::string Key(std::string_view prefix, std::string_view name) {
  return std::string(prefix).append(name);
}

std::vector<crdt::Version> VersionsOf(keyspace::Keyspace& keys, std::string_view prefix, std::string_view name) {
  const std::string key = Key(prefix, name);
  return keys.State(keys.Ref(crdt::kReservedDatabase, key)).versions;
}

bool Newer(const crdt::Version& a, const crdt::Version& b, const clock::OriginTable& origins) {
  const crdt::TagRank rank_a{a.hlc, a.dot.origin(), {a.dot.sequence(), 0}};
  const crdt::TagRank rank_b{b.hlc, b.dot.origin(), {b.dot.sequence(), 0}};
  return rank_b.Less(rank_a, origins);
}

// The newest of those of that birth.
std::string_view NewestOf(const std::vector<crdt::Version>& versions, uint64_t born, const clock::OriginTable& origins) {
  const crdt::Version* newest = nullptr;
  for (const crdt::Version& v : versions) {
    if (v.absent || User::BornOf(v.value) != born) continue;
    if (newest == nullptr || Newer(v, *newest, origins)) newest = &v;
  }
  return newest == nullptr ? std::string_view() : std::string_view(newest->value);
}

}  // namespace

const acl::Catalogue& CommandCatalogue() {
  static const acl::Catalogue catalogue([] {
    std::vector<acl::Catalogue::Command> commands;
    for (const Row& row : Table::Instance().rows()) commands.push_back({row.name, row.categories});
    return commands;
  }());
  return catalogue;
}

Users::Users() : local_default_(User::Default(CommandCatalogue())) {
  users_.emplace(kDefaultUser, local_default_);
}

void Users::NoteChanged(std::string_view key) {
  for (std::string_view prefix : {kUserStatePrefix, kUserSecretsPrefix, kUserRightsPrefix}) {
    if (key.starts_with(prefix)) changed_.emplace(key.substr(prefix.size()));
  }
  unsettled_ = true;
}

void Users::SetLocalPassword(std::string_view password) {
  local_default_ = User::Default(CommandCatalogue());
  if (!password.empty()) {
    (void)local_default_.Apply("resetpass");
    (void)local_default_.Apply(">" + std::string(password));
  }
  changed_.emplace(kDefaultUser);
  unsettled_ = true;
  if (!default_is_shared_) users_.insert_or_assign(std::string(kDefaultUser), local_default_);
}

void Users::Settle(keyspace::Keyspace& keys, const clock::OriginTable& origins) {
  if (std::exchange(all_changed_, false)) {
    for (const auto& [name, user] : users_) changed_.insert(name);
    uint64_t cursor = 0;
    do {
      cursor = keys.Scan(crdt::kReservedDatabase, cursor, 1000, [&](std::string_view key) {
        if (Owns(key)) NoteChanged(key);
      });
    } while (cursor != 0);
  }
  unsettled_ = false;
  just_changed_ = std::exchange(changed_, {});
  for (const std::string& name : just_changed_) ReadOne(keys, origins, name);
}

// What concurrent changes of a user come to (docs/design/0027-acl.md): who is deleted anywhere is gone, who is switched
// off anywhere is off; of passwords and of rights the newest counts, each for itself.
void Users::ReadOne(keyspace::Keyspace& keys, const clock::OriginTable& origins, const std::string& name) {
  const std::vector<crdt::Version> states = VersionsOf(keys, kUserStatePrefix, name);
  const crdt::Version* newest = nullptr;
  bool deleted = false;
  for (const crdt::Version& v : states) {
    deleted |= v.absent;
    if (newest == nullptr || Newer(v, *newest, origins)) newest = &v;
  }
  const bool is_default = name == kDefaultUser;
  if (is_default) default_is_shared_ = newest != nullptr && !deleted;
  if (newest == nullptr || deleted) {
    is_default ? (void)users_.insert_or_assign(name, local_default_) : (void)users_.erase(name);
    return;
  }
  if (User::BornOf(newest->value) == 0) {  // of a later version: it may do nothing here
    users_.insert_or_assign(name, User(CommandCatalogue(), name, 0));
    return;
  }
  const uint64_t born = User::BornOf(newest->value);
  const std::vector<crdt::Version> secrets = VersionsOf(keys, kUserSecretsPrefix, name);
  const std::vector<crdt::Version> rights = VersionsOf(keys, kUserRightsPrefix, name);
  User user = User::Read(CommandCatalogue(), name, newest->value, NewestOf(secrets, born, origins), NewestOf(rights, born, origins));
  for (const crdt::Version& v : states) {
    std::vector<std::string_view> words;
    if (User::BornOf(v.value, &words) == born && std::find(words.begin(), words.end(), "off") != words.end())
      (void)user.Apply("off");
  }
  users_.insert_or_assign(name, std::move(user));
}

const acl::User* Users::Find(std::string_view name) const {
  const auto it = users_.find(name);
  return it == users_.end() ? nullptr : &it->second;
}

const acl::User* Users::Authenticate(std::string_view name, std::string_view password) const {
  const User* user = Find(name);
  return user != nullptr && user->enabled() && user->Knows(password) ? user : nullptr;
}

const acl::User* Users::UserOf(const Client& client) const {
  if (!client.authenticated) return must_authenticate() ? nullptr : &Default();
  const User* user = Find(client.user);
  // The default user is one and the same, whoever set it.
  return user != nullptr && (user->born() == client.user_born || client.user == kDefaultUser) ? user : nullptr;
}

void Users::Welcome(Client& client) const {
  client.user = kDefaultUser;
  client.user_born = Default().born();
  client.authenticated = !must_authenticate();
  Refresh(client);
}

void Users::Became(Client& client, const acl::User& user) const {
  client.user = user.name();
  client.user_born = user.born();
  client.authenticated = true;
  Refresh(client);
}

bool Users::Refresh(Client& client) const {
  const User* user = UserOf(client);
  client.judged = user == nullptr || !user->unrestricted();
  return user != nullptr || !client.authenticated;
}

void Users::Store(keyspace::Keyspace& keys, keyspace::Change& change, const acl::User* before, const acl::User& after) {
  auto put = [&](std::string_view prefix, const std::string& text, bool differs) {
    if (!differs) return;
    const std::string key = Key(prefix, after.name());
    change.Put(keys.Ref(crdt::kReservedDatabase, key), text, keyspace::Change::Ttl::kNone);
  };
  const bool fresh = before == nullptr;
  put(kUserSecretsPrefix, after.SecretsText(), fresh || before->SecretsText() != after.SecretsText());
  put(kUserRightsPrefix, after.RightsText(), fresh || before->RightsText() != after.RightsText());
  put(kUserStatePrefix, after.StateText(), fresh || before->StateText() != after.StateText());
}

void Users::Erase(keyspace::Keyspace& keys, keyspace::Change& change, std::string_view name) {
  for (std::string_view prefix : {kUserSecretsPrefix, kUserRightsPrefix}) {
    const std::string key = Key(prefix, name);
    const keyspace::KeyRef ref = keys.Ref(crdt::kReservedDatabase, key);
    if (keys.Exists(ref)) change.Delete(ref);
  }
  // A version of its own: whoever switches the user on or off meanwhile does not bring it back.
  const std::string key = Key(kUserStatePrefix, name);
  std::vector<clock::Dot> seen;
  for (const crdt::Version& v : VersionsOf(keys, kUserStatePrefix, name)) seen.push_back(v.dot);
  change.Resolve(keys.Ref(crdt::kReservedDatabase, key), {}, /*absent=*/true, seen, {});
}

}  // namespace polyarch::command
