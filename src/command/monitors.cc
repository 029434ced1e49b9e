#include "command/monitors.h"

#include <cstdio>
#include <utility>

#include "command/families.h"
#include "command/observations.h"
#include "command/support.h"

namespace polyarch::command {
namespace {

// As Redis quotes it.
void AppendQuoted(std::string& out, std::string_view word) {
  constexpr std::string_view kHex = "0123456789abcdef";
  constexpr std::string_view kEscaped = "\n\r\t\a\b\\\"";
  constexpr std::string_view kLetters = "nrtab\\\"";
  out += '"';
  for (char ch : word) {
    const auto byte = static_cast<unsigned char>(ch);
    const size_t escape = kEscaped.find(ch);
    if (escape != std::string_view::npos) {
      out += '\\';
      out += kLetters[escape];
    } else if (byte >= 0x20 && byte < 0x7f) {
      out += ch;
    } else {
      out += "\\x";
      out += kHex[byte >> 4];
      out += kHex[byte & 15];
    }
  }
  out += '"';
}

void Monitor(Context& c) {
  if (!c.may_wait) return c.reply.Error("ERR MONITOR isn't allowed for DENY BLOCKING client");
  c.cluster.monitors().Add(c.client);
  c.reply.Ok();
}

}  // namespace

void Monitors::Add(Client& client) {
  client.monitors = true;
  clients_[client.id] = &client;
}

void Monitors::Forget(uint64_t client) {
  auto it = clients_.find(client);
  if (it == clients_.end()) return;
  it->second->monitors = false;
  clients_.erase(it);
}

void Monitors::Note(Context& c, const Row& row, bool of_script) {
  const int64_t now_us = c.server.WallMicros();
  char time[64];
  std::snprintf(time, sizeof time, "+%lld.%06lld [%u ", static_cast<long long>(now_us / 1'000'000),  // NOLINT
                static_cast<long long>(now_us % 1'000'000), static_cast<unsigned>(c.client.db));     // NOLINT
  lines_ += time;
  // A Unix socket's address is its path.
  const std::string& address = c.client.address;
  lines_ += of_script ? "lua" : address.starts_with('/') ? "unix:" + address.substr(0, address.rfind(':')) : address;
  lines_ += ']';
  for (std::string_view word : WithoutSecrets(row, c.args)) {
    if (lines_.size() > kBytesMax) break;
    lines_ += ' ';
    AppendQuoted(lines_, word);
  }
  lines_ += "\r\n";
}

void Monitors::Settle(Send send) {
  const std::string lines = std::exchange(lines_, {});
  for (const auto& [id, client] : clients_)
    send(*client, lines);
}

void FeedMonitors(Context& c, const Row& row, bool of_script) {
  Monitors& monitors = c.cluster.monitors();
  if ((row.flags & kAdmin) != 0 || row.name == "quit") return;
  // It was shown when it began to wait.
  if (c.ready != nullptr || c.again || (c.agreed != nullptr && c.agreed->Tries())) return;
  monitors.Note(c, row, of_script);
}

void AddMonitorFamily(std::vector<Row>& rows) {
  rows.push_back({.name = "monitor",
                  .arity = 1,
                  .flags = kAdmin | kNoScript | kLoading | kStale,
                  .categories = "@admin @slow @dangerous",
                  .handler = Monitor,
                  .summary = "Shows every command that this leader's clients run",
                  .since = "1.0.0",
                  .group = "server"});
}

}  // namespace polyarch::command
