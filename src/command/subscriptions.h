// Which clients of this leader are subscribed to which channels, patterns and shard channels, and
// what a message looks like to each. A book: sending is the caller's.
//
// Clients are the caller's; one must be forgotten before it goes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/function_ref.h"
#include "command/client.h"

namespace polyarch::command {

class Subscriptions {
 public:
  enum class Kind : uint8_t { kChannel, kPattern, kShard };
  // What one client may be subscribed to at once, of all kinds.
  static constexpr size_t kClientMax = 1 << 20;

  using Names = std::set<std::string, std::less<>>;

  // False: it is subscribed already.
  bool Add(Client& client, Kind kind, std::string_view name);
  // False: it is not.
  bool Remove(Client& client, Kind kind, std::string_view name);
  // Ends all of a client's.
  void Clear(Client& client);
  // The same for a client that is gone.
  void Forget(uint64_t client);
  const Names& Of(const Client& client, Kind kind) const;
  size_t CountOf(const Client& client) const;

  // To how many subscriptions a message would go.
  size_t Receivers(bool shard, std::string_view channel) const;
  // Gives each receiver the bytes of its message: of the channel first, then of matching patterns.
  // Returns how many there were.
  using Send = base::FunctionRef<void(Client& client, std::string_view bytes)>;
  size_t Deliver(bool shard, std::string_view channel, std::string_view message, Send send) const;

  // Who is subscribed to this very name.
  size_t Subscribers(Kind kind, std::string_view name) const;
  // Names of this kind with subscribers, sorted.
  void ForEachName(Kind kind, base::FunctionRef<void(std::string_view name)> visit) const;
  size_t names(Kind kind) const { return by_name_[Index(kind)].size(); }
  size_t clients() const { return clients_.size(); }
  bool empty() const { return clients_.empty(); }

 private:
  struct Subscriber {
    Client* client = nullptr;
    std::array<Names, 3> names;
  };
  static size_t Index(Kind kind) { return static_cast<size_t>(kind); }
  void Unlist(Subscriber& subscriber, Kind kind, std::string_view name);

  std::map<uint64_t, Subscriber> clients_;
  // In the order of subscription.
  std::array<std::map<std::string, std::vector<Client*>, std::less<>>, 3> by_name_;
};

}  // namespace polyarch::command
