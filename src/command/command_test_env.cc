#include "command/command_test_env.h"

#include <gtest/gtest.h>

#include "base/glob.h"
#include "command/rights.h"

namespace polyarch::command {

std::vector<std::pair<std::string, std::string>> FakeServer::ConfigGet(std::string_view pattern) {
  std::vector<std::pair<std::string, std::string>> found;
  for (const auto& parameter : parameters) {
    if (base::GlobMatch(pattern, parameter.first)) found.push_back(parameter);
  }
  for (auto& parameter : remembered().All(pattern.find_first_of("*?[") == std::string_view::npos)) {
    if (base::GlobMatch(pattern, parameter.first)) found.push_back(std::move(parameter));
  }
  return found;
}

base::Status FakeServer::ConfigSet(std::string_view name, std::string_view value) {
  sets.push_back(std::string(name) + "=" + std::string(value));
  for (auto& parameter : parameters) {
    if (parameter.first != name) continue;
    parameter.second = value;
    return {};
  }
  return remembered().Set(name, value);
}

TestNode::TestNode()
    : keys(origins, policies, base::SipKey{1, 2}), cluster(policies, origins, sink) {
  origins.Intern({"eu", 1});
  origins.Intern({"us", 2});
  keys.SetTime(now_ms_);
  keys.SetObserver(this);
  cluster.settle_users = [this] { SettleUsers(); };
  Connect();
}

void TestNode::SetPassword(std::string_view password) {
  cluster.users().SetLocalPassword(password);
  SettleUsers();
}

void TestNode::SettleUsers() {
  Users& users = cluster.users();
  users.Settle(keys, origins);
  std::vector<uint64_t> gone;
  for (const auto& client : server.clients) {
    if (users.just_changed().count(client->user) == 0) continue;
    if (users.Refresh(*client) && MayStillListen(users, cluster.subscriptions(), *client)) continue;
    client->id == running_ ? client->expelled = true : (gone.push_back(client->id), true);
  }
  for (uint64_t id : gone) server.KillClient(id);
}

Client& TestNode::Connect() {
  auto client = std::make_unique<Client>();
  client->id = next_client_id_++;
  client->address = "127.0.0.1:" + std::to_string(50000 + client->id);
  client->local_address = "127.0.0.1:7400";
  client->created_ms = client->active_ms = now_ms_;
  cluster.users().Welcome(*client);
  server.clients.push_back(std::move(client));
  return *server.clients.back();
}

void TestNode::TellTracking(bool end_of_tick) {
  auto send = [this](Client& client, std::string_view bytes, bool held) {
    cluster.pushes[client.id].append(bytes);
    cluster.held_pushes += held ? 1 : 0;
  };
  cluster.tracking().Settle(send);
  if (end_of_tick) cluster.tracking().Broadcast(send);
}

std::vector<resp::Value> TestNode::Run(Client& client, std::span<const std::string_view> args) {
  resp::Buffer out;
  // As the engine does, without what it takes beside keys and values. Nothing is evicted.
  const MemoryLimit& limit = server.remembered().memory_limit();
  keys.SetMemoryLine(limit.bytes == 0 ? SIZE_MAX : limit.bytes);
  using Order = MemoryLimit::Order;
  keys.NoteUsesAs(limit.order == Order::kLru   ? std::optional(keyspace::Uses::Kind::kTime)
                  : limit.order == Order::kLfu ? std::optional(keyspace::Uses::Kind::kCount)
                                               : std::nullopt);
  {
    resp::Writer reply(out, client.protocol);
    keyspace::Change change(sink, keys);
    Context context{.client = client,
                    .args = args,
                    .reply = reply,
                    .keys = keys,
                    .change = change,
                    .cluster = cluster,
                    .server = server,
                    .now_ms = now_ms_,
                    .random = 42,
                    .may_wait = may_wait,
                    .notify = notify};
    running_ = client.id;
    Dispatch(context);
    if (cluster.users().unsettled()) SettleUsers();
    context.close |= client.expelled;
    running_ = 0;
    cluster.watches().Settle(keys);
    TellTracking();
    cluster.monitors().Settle([&](Client& to, std::string_view bytes) { cluster.pushes[to.id].append(bytes); });
    last_suspended = context.suspended;
    last_close = context.close;
    last_pushed = context.pushed;
  }
  resp::ReplyReader reader;
  reader.Feed(out.view());
  std::vector<resp::Value> replies;
  while (true) {
    resp::ReplyReader::State state = reader.Next();
    EXPECT_NE(state, resp::ReplyReader::State::kError) << reader.error() << ": " << out.view();
    if (state != resp::ReplyReader::State::kValue) break;
    replies.push_back(std::move(reader.value()));
  }
  // Well-formed, and not more than one reply a request.
  EXPECT_TRUE(last_pushed || replies.size() <= 1) << out.view();
  EXPECT_EQ(replies.empty(), out.empty()) << out.view();
  return replies;
}

std::string TestNode::Ask(Client& client, std::initializer_list<std::string_view> args) {
  std::vector<std::string_view> list(args);
  std::vector<resp::Value> replies = Run(client, list);
  return replies.empty() ? "(none)" : replies[0].ToString();
}

std::string TestNode::Ask(std::initializer_list<std::string_view> args) {
  return Ask(*server.clients.front(), args);
}

void TestNode::Remote(std::string_view key, std::string_view value) {
  crdt::Effect effect{.kind = crdt::EffectKind::kPut, .flags = crdt::kNeverFlag, .key = key};
  effect.value = value;
  ApplyRemote(effect);
}

void TestNode::RemoteElement(std::string_view key,
                             crdt::Type type,
                             std::string_view name,
                             std::string_view value) {
  crdt::Effect effect{
      .kind = crdt::EffectKind::kPut, .type = type, .key = key, .element = name, .value = value};
  ApplyRemote(effect);
}

void TestNode::ApplyRemote(const crdt::Effect& effect) {
  crdt::Seen seen(nothing_seen_, clock::OriginIndex{1}, {++remote_sequence_, 0});
  keys.Apply(effect, seen, sink.NextHlc(), keyspace::Cause::kRemote);
  cluster.watches().Settle(keys);
  sink.Applied(seen.dot());
}

void TestNode::SetPolicy(std::string_view pattern, std::string_view policy) {
  auto parsed = conflict::Policy::ParseText(policy);
  ASSERT_TRUE(parsed.ok()) << parsed.status().message();
  policies.Set(std::string(pattern), *parsed);
}

void TestNode::Advance(int64_t ms) {
  now_ms_ += ms;
  keys.SetTime(now_ms_);
}

}  // namespace polyarch::command
