#include "command/pubsub.h"

#include <algorithm>
#include <utility>

#include "base/glob.h"
#include "base/number.h"
#include "command/families.h"
#include "command/support.h"

namespace polyarch::command {
namespace {

using Kind = Subscriptions::Kind;

// Of a channel or a pattern; the name is kept for each of its subscribers.
constexpr size_t kChannelBytesMax = 65535;

bool FitsChannel(Context& c, std::string_view name) {
  if (name.size() <= kChannelBytesMax) return true;
  c.reply.Error("LIMIT channel longer than 65535 bytes");
  return false;
}

// The count that goes with it: of shard channels, or of channels and patterns.
int64_t Count(Context& c, Kind kind) {
  const Subscriptions& all = c.cluster.subscriptions();
  const size_t count = kind == Kind::kShard ? all.Of(c.client, kind).size() : all.CountOf(c.client);
  return static_cast<int64_t>(count);
}

void Confirm(Context& c, std::string_view word, const std::string_view* name, Kind kind) {
  c.reply.Push(3);
  c.reply.Bulk(word);
  name == nullptr ? c.reply.Null() : c.reply.Bulk(*name);
  c.reply.Integer(Count(c, kind));
}

void SubscribeTo(Context& c, std::string_view word, Kind kind) {
  for (std::string_view name : c.args.subspan(1)) {
    if (!FitsChannel(c, name)) return;
  }
  if (c.client.subscribed + c.count() - 1 > Subscriptions::kClientMax) {
    return c.reply.Error("LIMIT one client may have 1048576 subscriptions");
  }
  c.pushed = true;
  for (std::string_view name : c.args.subspan(1)) {
    c.cluster.subscriptions().Add(c.client, kind, name);
    Confirm(c, word, &name, kind);
  }
}

void UnsubscribeFrom(Context& c, std::string_view word, Kind kind) {
  Subscriptions& all = c.cluster.subscriptions();
  c.pushed = true;
  if (c.count() > 1) {
    for (std::string_view name : c.args.subspan(1)) {
      all.Remove(c.client, kind, name);
      Confirm(c, word, &name, kind);
    }
    return;
  }
  const Subscriptions::Names names = all.Of(c.client, kind);
  for (const std::string& name : names) {
    const std::string_view view = name;
    all.Remove(c.client, kind, view);
    Confirm(c, word, &view, kind);
  }
  if (names.empty()) Confirm(c, word, nullptr, kind);
}

void Subscribe(Context& c) {
  SubscribeTo(c, "subscribe", Kind::kChannel);
}
void Psubscribe(Context& c) {
  SubscribeTo(c, "psubscribe", Kind::kPattern);
}
void Ssubscribe(Context& c) {
  // Of EXEC, as in Redis, which lets SUBSCRIBE and PSUBSCRIBE through.
  if (c.publications != nullptr) return c.reply.Error("ERR SSUBSCRIBE isn't allowed for a DENY BLOCKING client");
  SubscribeTo(c, "ssubscribe", Kind::kShard);
}
void Unsubscribe(Context& c) {
  UnsubscribeFrom(c, "unsubscribe", Kind::kChannel);
}
void Punsubscribe(Context& c) {
  UnsubscribeFrom(c, "punsubscribe", Kind::kPattern);
}
void Sunsubscribe(Context& c) {
  UnsubscribeFrom(c, "sunsubscribe", Kind::kShard);
}

void PublishTo(Context& c, bool shard) {
  const std::string_view channel = c.args[1];
  const std::string_view message = c.args[2];
  if (!FitsChannel(c, channel)) return;
  if (channel.size() + message.size() > kChangeBytesMax) {
    return c.reply.Error("LIMIT message larger than " +
                         base::FormatInt64(static_cast<int64_t>(kChangeBytesMax)) + " bytes");
  }
  size_t receivers = 0;
  if (c.publications != nullptr) {
    receivers = c.cluster.subscriptions().Receivers(shard, channel);
    PublishLater(c, {.shard = shard, .channel = std::string(channel), .message = std::string(message)});
  } else {
    receivers = c.cluster.Publish(shard, channel, message);
  }
  c.reply.Integer(static_cast<int64_t>(receivers));
}

void Publish(Context& c) {
  PublishTo(c, /*shard=*/false);
}
void Spublish(Context& c) {
  PublishTo(c, /*shard=*/true);
}

void ListNames(Context& c, Kind kind) {
  if (c.count() > 3) return ReplySubcommandSyntax(c);
  std::vector<std::string> names;
  c.cluster.subscriptions().ForEachName(kind, [&](std::string_view name) {
    if (c.count() == 2 || base::GlobMatch(c.args[2], name)) names.emplace_back(name);
  });
  c.reply.Array(names.size());
  for (const std::string& name : names)
    c.reply.Bulk(name);
}

void CountNames(Context& c, Kind kind) {
  c.reply.Array(2 * (c.count() - 2));
  for (std::string_view name : c.args.subspan(2)) {
    c.reply.Bulk(name);
    c.reply.Integer(static_cast<int64_t>(c.cluster.subscriptions().Subscribers(kind, name)));
  }
}

void PubsubChannels(Context& c) {
  ListNames(c, Kind::kChannel);
}
void PubsubShardchannels(Context& c) {
  ListNames(c, Kind::kShard);
}
void PubsubNumsub(Context& c) {
  CountNames(c, Kind::kChannel);
}
void PubsubShardnumsub(Context& c) {
  CountNames(c, Kind::kShard);
}
void PubsubNumpat(Context& c) {
  c.reply.Integer(static_cast<int64_t>(c.cluster.subscriptions().names(Kind::kPattern)));
}

}  // namespace

void PublishLater(Context& c, Publication publication) {
  if (c.scripted) {
    size_t& bytes = c.published_bytes();
    bytes += sizeof(Publication) + publication.channel.size() + publication.message.size();
    if (bytes > kPublishedBytesMax) return;
  }
  c.publications->push_back(std::move(publication));
}

bool AllowSubscriber(Context& c, const Row& row) {
  if (c.client.protocol >= 3) return true;
  constexpr std::string_view kNames[] = {"ping", "psubscribe", "punsubscribe", "quit", "reset",
                                         "ssubscribe", "subscribe", "sunsubscribe", "unsubscribe"};
  if (std::find(std::begin(kNames), std::end(kNames), row.name) != std::end(kNames)) return true;
  c.reply.Error("ERR Can't execute '" + std::string(row.name) +
                "': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in "
                "this context");
  return false;
}

void AddPubsubFamily(std::vector<Row>& rows) {
  // clang-format off: a row as few lines as it needs
  static constexpr uint32_t kListen = kPubsub | kNoScript | kLoading | kStale;
  static constexpr uint32_t kLook = kPubsub | kLoading | kStale;
  static constexpr Row kRows[] = {
      {.name = "subscribe", .arity = -2, .flags = kListen, .categories = "@pubsub @slow",
       .handler = Subscribe, .summary = "Listens to messages of channels", .since = "2.0.0",
       .group = "pubsub", .complexity = "O(N) where N is the number of channels",
       .syntax = "channel*"},
      {.name = "unsubscribe", .arity = -1, .flags = kListen, .categories = "@pubsub @slow",
       .handler = Unsubscribe, .summary = "Stops listening to channels", .since = "2.0.0",
       .group = "pubsub", .complexity = "O(N) where N is the number of channels",
       .syntax = "channel?*"},
      {.name = "psubscribe", .arity = -2, .flags = kListen, .categories = "@pubsub @slow",
       .handler = Psubscribe, .summary = "Listens to channels whose names match patterns",
       .since = "2.0.0", .group = "pubsub", .complexity = "O(N) where N is the number of patterns",
       .syntax = "pattern:{pattern:pattern}*"},
      {.name = "punsubscribe", .arity = -1, .flags = kListen, .categories = "@pubsub @slow",
       .handler = Punsubscribe, .summary = "Stops listening to patterns", .since = "2.0.0",
       .group = "pubsub", .complexity = "O(N) where N is the number of patterns",
       .syntax = "pattern:pattern?*"},
      {.name = "ssubscribe", .arity = -2, .flags = kListen, .keys = {1, -1, 1},
       .categories = "@pubsub @slow", .handler = Ssubscribe,
       .summary = "Listens to messages of shard channels", .since = "7.0.0", .group = "pubsub",
       .complexity = "O(N) where N is the number of channels", .syntax = "shardchannel*",
       .key_access = "not_key"},
      {.name = "sunsubscribe", .arity = -1, .flags = kListen, .keys = {1, -1, 1},
       .categories = "@pubsub @slow", .handler = Sunsubscribe,
       .summary = "Stops listening to shard channels", .since = "7.0.0", .group = "pubsub",
       .complexity = "O(N) where N is the number of channels", .syntax = "shardchannel?*",
       .key_access = "not_key"},
      {.name = "publish", .arity = 3, .flags = kLook | kFast, .categories = "@pubsub @fast",
       .handler = Publish, .summary = "Sends a message to a channel, at every leader",
       .since = "2.0.0", .group = "pubsub",
       .complexity = "O(N+M) where N is the number of receivers and M that of all patterns",
       .syntax = "channel message"},
      {.name = "spublish", .arity = 3, .flags = kLook | kFast, .keys = {1, 1, 1},
       .categories = "@pubsub @fast", .handler = Spublish,
       .summary = "Sends a message to a shard channel, at every leader", .since = "7.0.0",
       .group = "pubsub", .complexity = "O(N) where N is the number of receivers",
       .syntax = "shardchannel message", .key_access = "not_key"},
      {.name = "pubsub", .arity = -2, .categories = "@slow",
       .summary = "Tells of channels and patterns", .since = "2.8.0", .group = "pubsub",
       .complexity = "Depends on the subcommand"},
      {.name = "pubsub|channels", .arity = -2, .flags = kLook, .categories = "@pubsub @slow",
       .handler = PubsubChannels, .summary = "Lists channels with subscribers at this leader",
       .since = "2.8.0", .group = "pubsub", .complexity = "O(N) where N is the number of channels",
       .syntax = "pattern:pattern?"},
      {.name = "pubsub|numpat", .arity = 2, .flags = kLook, .categories = "@pubsub @slow",
       .handler = PubsubNumpat, .summary = "Counts patterns with subscribers at this leader",
       .since = "2.8.0", .group = "pubsub", .complexity = "O(1)"},
      {.name = "pubsub|numsub", .arity = -2, .flags = kLook, .categories = "@pubsub @slow",
       .handler = PubsubNumsub, .summary = "Counts the subscribers of channels at this leader",
       .since = "2.8.0", .group = "pubsub", .complexity = "O(N) where N is the number of channels",
       .syntax = "channel?*"},
      {.name = "pubsub|shardchannels", .arity = -2, .flags = kLook, .categories = "@pubsub @slow",
       .handler = PubsubShardchannels,
       .summary = "Lists shard channels with subscribers at this leader", .since = "7.0.0",
       .group = "pubsub", .complexity = "O(N) where N is the number of channels",
       .syntax = "pattern:pattern?"},
      {.name = "pubsub|shardnumsub", .arity = -2, .flags = kLook, .categories = "@pubsub @slow",
       .handler = PubsubShardnumsub,
       .summary = "Counts the subscribers of shard channels at this leader", .since = "7.0.0",
       .group = "pubsub", .complexity = "O(N) where N is the number of channels",
       .syntax = "shardchannel?*"},
      {.name = "pubsub|help", .arity = 2, .flags = kLoading | kStale, .categories = "@slow",
       .handler = ContainerHelp, .summary = "Print this help", .since = "6.2.0",
       .group = "pubsub", .complexity = "O(1)"},
  };
  // clang-format on
  rows.insert(rows.end(), std::begin(kRows), std::end(kRows));
}

}  // namespace polyarch::command
