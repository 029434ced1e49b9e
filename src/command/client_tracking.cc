// CLIENT TRACKING and what belongs to it; which reads count. The book: tracking.h.
#include <algorithm>
#include <vector>

#include "command/families.h"
#include "command/support.h"
#include "command/tracking.h"

namespace polyarch::command {
namespace {

struct TrackingOptions {
  KeyTracking mode;
  Client* redirect = nullptr;
  std::vector<std::string_view> prefixes;
};

bool ReadRedirect(Context& c, std::string_view word, TrackingOptions& options) {
  if (options.mode.redirect != 0) {
    c.reply.Error("ERR A client can only redirect to a single other client");
    return false;
  }
  const std::optional<int64_t> id = ReadInteger(c, word);
  if (!id) return false;
  c.server.ForEachClient([&](Client& client) {
    if (client.id == static_cast<uint64_t>(*id)) options.redirect = &client;
  });
  options.mode.redirect = static_cast<uint64_t>(*id);
  if (options.redirect == nullptr) c.reply.Error("ERR The client ID you want redirect to does not exist");
  return options.redirect != nullptr;
}

bool ReadTrackingOptions(Context& c, TrackingOptions& options) {
  for (size_t i = 3; i < c.count(); ++i) {
    const std::string_view word = c.args[i];
    const bool more = i + 1 < c.count();
    if (EqualsIgnoreCase(word, "redirect") && more) {
      if (!ReadRedirect(c, c.args[++i], options)) return false;
    } else if (EqualsIgnoreCase(word, "prefix") && more) {
      options.prefixes.push_back(c.args[++i]);
    } else if (EqualsIgnoreCase(word, "bcast")) {
      options.mode.broadcast = true;
    } else if (EqualsIgnoreCase(word, "optin")) {
      options.mode.opt_in = true;
    } else if (EqualsIgnoreCase(word, "optout")) {
      options.mode.opt_out = true;
    } else if (EqualsIgnoreCase(word, "noloop")) {
      options.mode.no_loop = true;
    } else {
      ReplySyntaxError(c);
      return false;
    }
  }
  return true;
}

// Do the options go together, and with what the client does already?
bool AllowModes(Context& c, const TrackingOptions& options) {
  const KeyTracking& mode = options.mode;
  const KeyTracking* before = c.client.tracking.get();
  auto refuse = [&](std::string_view error) {
    c.reply.Error(error);
    return false;
  };
  if (!mode.broadcast && !options.prefixes.empty())
    return refuse("ERR PREFIX option requires BCAST mode to be enabled");
  if (before != nullptr && before->broadcast != mode.broadcast) {
    return refuse(
        "ERR You can't switch BCAST mode on/off before disabling tracking for this client, and then "
        "re-enabling it with a different mode.");
  }
  if (mode.broadcast && (mode.opt_in || mode.opt_out))
    return refuse("ERR OPTIN and OPTOUT are not compatible with BCAST");
  if (mode.opt_in && mode.opt_out)
    return refuse("ERR You can't specify both OPTIN mode and OPTOUT mode");
  if (before != nullptr && ((mode.opt_in && before->opt_out) || (mode.opt_out && before->opt_in))) {
    return refuse(
        "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then "
        "re-enabling it with a different mode.");
  }
  return true;
}

bool Overlap(std::string_view a, std::string_view b) {
  return a.starts_with(b) || b.starts_with(a);
}

bool AllowPrefixes(Context& c, const TrackingOptions& options) {
  static const std::set<std::string, std::less<>> kNone;
  const auto& before = c.client.tracking == nullptr ? kNone : c.client.tracking->prefixes;
  const std::vector<std::string_view>& prefixes = options.prefixes;
  if (before.size() + prefixes.size() > Tracking::kPrefixesMax) {
    c.reply.Error("LIMIT one client may track 1024 prefixes");
    return false;
  }
  auto refuse = [&](std::string_view prefix, std::string_view what, std::string_view other) {
    c.reply.Error("ERR Prefix '" + std::string(prefix) + "' overlaps with " + std::string(what) + " prefix '" +
                  std::string(other) + "'. Prefixes for a single client must not overlap.");
    return false;
  };
  for (size_t i = 0; i < prefixes.size(); ++i) {
    if (prefixes[i].size() > kKeyBytesMax) {
      c.reply.Error("LIMIT prefix longer than 65535 bytes");
      return false;
    }
    for (const std::string& other : before) {
      if (Overlap(prefixes[i], other)) return refuse(prefixes[i], "an existing", other);
    }
    for (std::string_view other : std::span(prefixes).subspan(i + 1)) {
      if (Overlap(prefixes[i], other)) return refuse(prefixes[i], "another provided", other);
    }
  }
  return true;
}

void ClientTracking(Context& c) {
  TrackingOptions options;
  if (!ReadTrackingOptions(c, options)) return;
  if (EqualsIgnoreCase(c.args[2], "off")) {
    c.cluster.tracking().Disable(c.client);
    return c.reply.Ok();
  }
  if (!EqualsIgnoreCase(c.args[2], "on")) return ReplySyntaxError(c);
  if (!AllowModes(c, options)) return;
  if (options.mode.broadcast && !AllowPrefixes(c, options)) return;
  options.mode.prefixes.insert(options.prefixes.begin(), options.prefixes.end());
  c.cluster.tracking().Enable(c.client, std::move(options.mode), options.redirect);
  c.reply.Ok();
}

void ClientCaching(Context& c) {
  KeyTracking* mode = c.client.tracking.get();
  if (mode == nullptr) {
    return c.reply.Error(
        "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode "
        "enabled");
  }
  const bool yes = EqualsIgnoreCase(c.args[2], "yes");
  if (!yes && !EqualsIgnoreCase(c.args[2], "no")) return ReplySyntaxError(c);
  if (yes && !mode->opt_in)
    return c.reply.Error("ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.");
  if (!yes && !mode->opt_out)
    return c.reply.Error("ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.");
  mode->caching = true;
  c.reply.Ok();
}

int64_t Redirection(const Client& client) {
  return client.tracking == nullptr ? -1 : static_cast<int64_t>(client.tracking->redirect);
}

void ClientGetredir(Context& c) {
  c.reply.Integer(Redirection(c.client));
}

void ClientTrackinginfo(Context& c) {
  const KeyTracking* mode = c.client.tracking.get();
  std::vector<std::string_view> flags = {mode == nullptr ? "off" : "on"};
  if (mode != nullptr) {
    if (mode->broadcast) flags.push_back("bcast");
    if (mode->opt_in) flags.push_back("optin");
    if (mode->opt_in && mode->caching) flags.push_back("caching-yes");
    if (mode->opt_out) flags.push_back("optout");
    if (mode->opt_out && mode->caching) flags.push_back("caching-no");
    if (mode->no_loop) flags.push_back("noloop");
    if (mode->broken) flags.push_back("broken_redirect");
  }
  c.reply.Map(3);
  c.reply.Bulk("flags");
  c.reply.Set(flags.size());
  for (std::string_view flag : flags)
    c.reply.Bulk(flag);
  c.reply.Bulk("redirect");
  c.reply.Integer(Redirection(c.client));
  c.reply.Bulk("prefixes");
  c.reply.Array(mode == nullptr ? 0 : mode->prefixes.size());
  if (mode == nullptr) return;
  for (const std::string& prefix : mode->prefixes)
    c.reply.Bulk(prefix);
}

}  // namespace

namespace {

void TrackKeys(Context& c, const Row& row) {
  const KeyTracking& mode = *c.client.tracking;
  if (mode.broadcast || (mode.opt_in && !mode.caching) || (mode.opt_out && mode.caching)) return;
  std::vector<size_t> indices;
  if (!KeyIndices(row, c.args, indices)) return;
  for (size_t i : indices) {
    // Nobody can write a longer one.
    if (c.args[i].size() <= kKeyBytesMax) c.cluster.tracking().NoteRead(c.client, c.Ref(c.args[i]));
  }
}

}  // namespace

void TrackRead(Context& c, const Row& row) {
  // What a script reads is noted by its own calls.
  if ((row.flags & kReadonly) != 0 && (row.flags & (kRunsScript | kPubsub)) == 0) TrackKeys(c, row);
}

void TrackDeclared(Context& c) {
  if (const Row* row = Table::Instance().Find(c.args)) TrackKeys(c, *row);
}

void AddClientTrackingFamily(std::vector<Row>& rows) {
  // clang-format off: a row as few lines as it needs
  static constexpr uint32_t kAlways = kNoScript | kLoading | kStale;
  static constexpr Row kRows[] = {
      {.name = "client|tracking", .arity = -3, .flags = kAlways, .categories = "@slow @connection",
       .handler = ClientTracking, .summary = "Tells the connection which of the keys that it has read have changed",
       .since = "6.0.0", .group = "connection",
       .complexity = "O(1), and O(N*M) where N and M count the prefixes given and those there are",
       .syntax = "status:(ON|OFF) REDIRECT client-id:integer? PREFIX prefix:string?*+ BCAST? OPTIN? "
                 "OPTOUT? NOLOOP?"},
      {.name = "client|caching", .arity = 3, .flags = kAlways, .categories = "@slow @connection",
       .handler = ClientCaching, .summary = "Says whether what the next command reads is tracked",
       .since = "6.0.0", .group = "connection", .complexity = "O(1)", .syntax = "mode:(YES|NO)"},
      {.name = "client|getredir", .arity = 2, .flags = kAlways, .categories = "@slow @connection",
       .handler = ClientGetredir, .summary = "Returns the client that is told of changes instead of this one",
       .since = "6.0.0", .group = "connection", .complexity = "O(1)"},
      {.name = "client|trackinginfo", .arity = 2, .flags = kAlways, .categories = "@slow @connection",
       .handler = ClientTrackinginfo, .summary = "Tells how the connection tracks keys",
       .since = "6.2.0", .group = "connection", .complexity = "O(1)"},
  };
  // clang-format on
  rows.insert(rows.end(), std::begin(kRows), std::end(kRows));
}

}  // namespace polyarch::command
