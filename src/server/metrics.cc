#include "server/metrics.h"

#include <algorithm>
#include <cstdio>
#include <span>

#include "base/number.h"

namespace polyarch::server {

namespace {

struct Known {
  std::string_view info;    // INFO's name
  std::string_view family;  // without "polyarch_"; empty: not shown
  std::string_view type;
  std::string_view help;
  bool milliseconds = false;
};

constexpr Known kKnown[] = {
    // Redis's, which say nothing here.
    {"connected_slaves", "", "", ""},
    {"loading", "", "", ""},
    {"async_loading", "", "", ""},
    {"second_repl_offset", "", "", ""},
    {"evicted_clients", "", "", ""},
    {"current_eviction_exceeded_time", "", "", ""},
    {"unexpected_error_replies", "", "", ""},
    {"used_memory_dataset", "", "", ""},
    {"used_memory_overhead", "", "", ""},
    {"aof_enabled", "", "", ""},
    {"aof_rewrite_scheduled", "", "", ""},
    // The same as others of our own.
    {"rdb_bgsave_in_progress", "", "", ""},
    {"rdb_last_save_time", "", "", ""},
    {"rdb_current_bgsave_time_sec", "", "", ""},
    {"aof_current_size", "", "", ""},
    {"mem_fragmentation_bytes", "", "", ""},
    {"aof_rewrite_in_progress", "", "", ""},
    {"master_repl_offset", "", "", ""},
    // Texts, of which some look like numbers.
    {"leader_id", "", "", ""},
    {"incarnation", "", "", ""},
    {"run_id", "", "", ""},
    {"master_replid", "", "", ""},
    {"redis_git_sha1", "", "", ""},
    {"redis_git_dirty", "", "", ""},
    {"topology", "", "", ""},
    {"state_transfer_from", "", "", ""},
    {"electors", "", "", ""},
    {"electors_lost", "", "", ""},
    // replication
    {"leaders", "leaders", "gauge", "Members of the cluster, this leader included."},
    {"admitted", "admitted", "gauge", "1 if this leader has been admitted to its cluster."},
    {"changes_local", "changes_local_total", "counter", "Changes written here since the start."},
    {"changes_remote",
     "changes_remote_total",
     "counter",
     "Changes of other leaders applied here since the start."},
    {"frames_received", "frames_received_total", "counter", "Frames that came from peers."},
    {"frames_sent", "frames_sent_total", "counter", "Frames sent to peers."},
    {"duplicates_dropped",
     "duplicates_dropped_total",
     "counter",
     "Frames that came again and were dropped."},
    {"resubscribed",
     "resubscribed_total",
     "counter",
     "Streams moved to another peer, or asked for again."},
    {"causal_waiting", "causal_waiting_frames", "gauge", "Frames that wait for their causes."},
    {"forks_detected",
     "forks_detected_total",
     "counter",
     "Dots seen with two contents; must be 0."},
    {"stamps_from_the_future",
     "stamps_from_the_future_total",
     "counter",
     "Frames whose stamp was more than max-clock-skew ahead."},
    {"conflicts_detected",
     "conflicts_detected_total",
     "counter",
     "Concurrent writes that met here since the start."},
    {"conflicts_open",
     "conflicts_open",
     "gauge",
     "Keys with concurrent versions that nobody has resolved."},
    {"conflicts_logged", "conflicts_logged", "gauge", "Decided conflicts that CONFLICT LOG lists."},
    {"state_transfers", "state_transfers_total", "counter", "State transfers since the start."},
    {"state_transfers_restarted",
     "state_transfers_restarted_total",
     "counter",
     "State transfers that began anew."},
    {"state_transfers_resumed",
     "state_transfers_resumed_total",
     "counter",
     "State transfers that went on after an interruption."},
    {"state_transfers_serving",
     "state_transfers_serving",
     "gauge",
     "Leaders that get their state from this one now."},
    {"state_transfer_in_progress",
     "state_transfer_in_progress",
     "gauge",
     "1 while this leader gets its state from another."},
    {"state_transfer_percent", "state_transfer_percent", "gauge", "How much of it is there."},
    {"state_transfer_bytes", "state_transfer_bytes", "gauge", "Bytes of it that have come."},
    {"bypasses_opened", "bypasses_opened_total", "counter", "Links opened around what failed."},
    {"frames_written", "frames_written_total", "counter", "Frames of this leader's own."},
    {"link_states_sent",
     "link_states_sent_total",
     "counter",
     "Announcements of links sent to peers."},
    {"links_drained",
     "links_drained_total",
     "counter",
     "Links closed because the topology has no use for them."},
    {"subscriptions_moved",
     "subscriptions_moved_total",
     "counter",
     "Streams moved from one peer to another."},
    // persistence
    {"origins_known", "origins_known", "gauge", "Origins that were ever met: starts of leaders that wrote."},
    {"origins_ended", "origins_ended", "gauge", "Those whose process is known to be gone for good."},
    {"origins_folded", "origins_folded", "gauge", "Those that vectors need not list any more."},
    {"folds_written", "folds_written_total", "counter", "Fold records that this leader has written."},
    {"frames_beyond_fold",
     "frames_beyond_fold_total",
     "counter",
     "Frames of folded origins that went on."},
    {"frames_orphaned",
     "frames_orphaned_total",
     "counter",
     "Frames dropped because nobody holds what they wait for."},
    {"log_begin", "log_begin_bytes", "gauge", "Position of the oldest record of the log."},
    {"log_end", "log_end_bytes", "gauge", "Position behind the newest record of the log."},
    {"log_durable", "log_durable_bytes", "gauge", "Position up to which the log is on the disk."},
    {"log_quota_bytes",
     "log_quota_bytes",
     "gauge",
     "How much log is kept for members that are away."},
    {"log_retained_bytes", "log_retained_bytes", "gauge", "How much log is kept."},
    {"checkpoint_position",
     "checkpoint_position_bytes",
     "gauge",
     "Position from which a start would replay."},
    {"checkpoint_in_progress", "checkpoint_in_progress", "gauge", "1 while a checkpoint is made."},
    {"checkpoints_done", "checkpoints_total", "counter", "Checkpoints since the start."},
    {"checkpoint_age_ms",
     "checkpoint_age_seconds",
     "gauge",
     "Since the last checkpoint, or since the start.",
     true},
    {"rdb_last_bgsave_time_sec",
     "checkpoint_last_seconds",
     "gauge",
     "How long the last checkpoint took; -1: there was none since the start."},
    {"dirty_keys", "dirty_keys", "gauge", "Keys changed since the last checkpoint."},
    {"residue_keys",
     "residue_keys",
     "gauge",
     "Keys of which something is kept that nothing shows, until all members know."},
    {"residue_given_up",
     "residue_given_up_total",
     "counter",
     "Pieces of it that went though leaders that are away do not know."},
    {"backup_in_progress", "backup_in_progress", "gauge", "1 while a backup is made."},
    {"backups_done", "backups_total", "counter", "Backups since the start."},
    {"backups_failed", "backups_failed_total", "counter", "Backups that failed since the start."},
    {"backup_last_time",
     "backup_last_timestamp_seconds",
     "gauge",
     "When the last backup of this process ended well; 0: none."},
    {"rdb_changes_since_last_save",
     "changes_since_checkpoint",
     "gauge",
     "Changes applied since the last checkpoint, or since the start."},
    // clients and memory
    {"connected_clients", "connected_clients", "gauge", "Clients connected."},
    {"maxclients", "clients_max", "gauge", "How many clients may be connected."},
    {"blocked_clients", "blocked_clients", "gauge", "Clients that wait in a blocking command."},
    {"used_memory", "memory_used_bytes", "gauge", "Memory of keys and values, and of what finds them."},
    {"maxmemory", "memory_limit_bytes", "gauge", "How much that may be; 0: there is no limit."},
    {"used_memory_peak", "memory_used_peak_bytes", "gauge", "The most that this was since the start."},
    {"total_system_memory", "memory_system_bytes", "gauge", "Memory of the machine."},
    {"used_memory_rss",
     "memory_resident_bytes",
     "gauge",
     "Memory of the process that is resident."},
    {"number_of_cached_scripts", "scripts_compiled", "gauge", "Scripts that are compiled here."},
    {"number_of_functions", "functions", "gauge", "Functions of the libraries that were read here."},
    {"number_of_libraries", "libraries", "gauge", "Libraries of functions that were read here."},
    // stats
    {"evicted_keys", "evicted_keys_total", "counter", "Keys removed here for their memory."},
    {"total_eviction_exceeded_time",
     "memory_exceeded_seconds_total",
     "counter",
     "How long keys and values took more than maxmemory.",
     true},
    {"expired_keys", "expired_keys_total", "counter", "Keys removed here that were past their time."},
    {"total_error_replies", "error_replies_total", "counter", "Replies that were errors."},
    {"total_connections_received",
     "connections_received_total",
     "counter",
     "Clients that have connected."},
    {"total_commands_processed", "commands_processed_total", "counter", "Commands executed."},
    {"instantaneous_ops_per_sec",
     "commands_per_second",
     "gauge",
     "Commands executed, a second, of the last 1.6 s."},
    {"keyspace_hits", "keyspace_hits_total", "counter", "Keys that were looked up for reading and found."},
    {"keyspace_misses", "keyspace_misses_total", "counter", "Keys that were looked up for reading and not there."},
    {"total_reads_processed", "client_reads_total", "counter", "Reads from the sockets of clients."},
    {"total_writes_processed", "client_writes_total", "counter", "Writes to the sockets of clients."},
    {"total_net_input_bytes", "net_input_bytes_total", "counter", "Bytes from clients."},
    {"total_net_output_bytes", "net_output_bytes_total", "counter", "Bytes to clients."},
    {"rejected_connections",
     "connections_rejected_total",
     "counter",
     "Clients refused because of maxclients."},
    {"publishes_received", "publishes_received_total", "counter", "Messages of PUBLISH that came from peers."},
    {"publishes_duplicate", "publishes_duplicate_total", "counter", "Those that had come before: dropped."},
    {"publishes_sent", "publishes_sent_total", "counter", "Messages of PUBLISH sent to peers."},
    {"publishes_dropped", "publishes_dropped_total", "counter", "Those that a link had no room for."},
    {"electorate_epoch", "electorate_epoch", "gauge", "Of who votes on keys under policy sync; rises with each change."},
    {"electors_changing", "electors_changing", "gauge", "1 while they change."},
    {"sync_in_force", "sync_in_force", "gauge", "1 if policies sync are as they were set; 0 while one begins or ends."},
    {"pop_owner_ready", "pop_owner_ready", "gauge", "1: this process has heard what it did before its start, and pops."},
    {"pop_owner_granted", "pop_owner_granted_total", "counter", "Elements of lists under policy pop-owner that this leader has granted."},
    {"pop_owner_acted", "pop_owner_acted_total", "counter", "Of them, those that it has granted for a leader out of reach."},
    {"pop_owner_asked", "pop_owner_asked", "gauge", "Lists under policy pop-owner for which other leaders wait here."},
    {"escrow_ready", "escrow_ready", "gauge", "1: this process has heard what it had sold before its start, and sells."},
    {"escrow_spends", "escrow_spends_total", "counter", "Spends from stocks (ESCROW) that this leader has granted."},
    {"escrow_refused", "escrow_refused_total", "counter", "Spends that it refused for lack of rights here."},
    {"escrow_moved", "escrow_moved_total", "counter", "Units whose rights it has moved to other leaders."},
    {"pop_owner_removed_twice", "pop_owner_removed_twice_total", "counter", "Elements of such lists that two leaders have taken out at once."},
    {"sync_rounds", "sync_rounds_total", "counter", "Rounds on keys under policy sync that a majority has answered."},
    {"sync_rounds_fast", "sync_rounds_fast_total", "counter", "Of them in one round trip."},
    {"sync_no_quorum", "sync_no_quorum_total", "counter", "Commands answered NOQUORUM."},
    {"sync_quorum", "sync_quorum", "gauge", "1 while a majority of the electors is in reach of this leader."},
    {"sync_quorum_lost", "sync_quorum_lost", "gauge", "1: so many electors' directories were replaced that only LEADER ELECTORS FORCE helps."},
    {"sync_in_doubt", "sync_in_doubt_total", "counter", "Commands answered TIMEOUT, in doubt."},
    {"pubsub_clients", "pubsub_clients", "gauge", "Clients that subscribe to anything."},
    {"pubsub_channels", "pubsub_channels", "gauge", "Channels with subscribers here."},
    {"pubsub_patterns", "pubsub_patterns", "gauge", "Patterns with subscribers here."},
    {"pubsubshard_channels", "pubsubshard_channels", "gauge", "Sharded channels with subscribers here."},
    {"tracking_clients", "tracking_clients", "gauge", "Clients that track keys (CLIENT TRACKING)."},
    {"tracking_total_keys", "tracking_keys", "gauge", "Keys that clients have read and track."},
    {"tracking_total_items", "tracking_items", "gauge", "Pairs of such a key and a client that has read it."},
    {"tracking_total_prefixes", "tracking_prefixes", "gauge", "Prefixes that clients track."},
    {"pubsub_limit_disconnections",
     "pubsub_limit_disconnections_total",
     "counter",
     "Subscribers closed since they read too slowly."},
    {"protocol_errors", "protocol_errors_total", "counter", "Clients closed for what they sent."},
    {"client_output_buffer_limit_disconnections",
     "output_limit_disconnections_total",
     "counter",
     "Clients closed because they did not read."},
    {"client_query_buffer_limit_disconnections",
     "input_limit_disconnections_total",
     "counter",
     "Clients closed for too much input."},
    {"link_errors", "link_errors_total", "counter", "Peer links closed for what came over them."},
    {"tls_handshakes", "tls_handshakes_total", "counter", "Clients and peers that came by TLS."},
    {"tls_handshakes_failed", "tls_handshakes_failed_total", "counter", "Handshakes of TLS that failed, dialed ones included."},
    {"log_lines_dropped", "log_lines_dropped_total", "counter", "Lines of the log dropped since nobody read standard error."},
    {"counters_saturated",
     "counters_saturated_total",
     "counter",
     "Increments that did not fit into a counter."},
    {"ticks", "ticks_total", "counter", "Rounds of the event loop."},
    {"longest_tick_us",
     "longest_tick_us",
     "gauge",
     "The longest round of the event loop since the start, or since CONFIG RESETSTAT, in microseconds."},
};

// Numbers in the lines of a leader: "link_<leader>" and "claim_<leader>".
constexpr Known kKnownFields[] = {
    {"link_lag_changes",
     "link_lag_changes",
     "gauge",
     "Changes applied here that the peer has not said it has applied."},
    {"link_lag_ms",
     "link_lag_seconds",
     "gauge",
     "Age of the oldest of them, up to 30 s; without a link, since it was heard last.",
     true},
    {"link_unreachable_ms",
     "link_unreachable_seconds",
     "gauge",
     "Since when the peer is out of reach, directly and over others; 0 while it is not.",
     true},
    {"link_bytes_in", "link_received_bytes_total", "counter", "Bytes from the peer."},
    {"link_bytes_out", "link_sent_bytes_total", "counter", "Bytes to the peer."},
    {"link_hops", "link_hops", "gauge", "Links on the way to the peer; 0 while it is out of reach."},
    {"link_log_held", "retained_log_bytes", "gauge", "Bytes of the log kept for the peer."},
    {"claim_behind",
     "unclaimed_changes",
     "gauge",
     "Changes applied here that the member has not confirmed; they hold back purging."},
};

const Known* FindKnown(std::span<const Known> table, std::string_view info) {
  for (const Known& known : table) {
    if (known.info == info) return &known;
  }
  return nullptr;
}

std::string Escaped(std::string_view text) {
  std::string out;
  for (char c : text) {
    if (c == '\\' || c == '"') out.push_back('\\');
    if (c == '\n') {
      out += "\\n";
    } else {
      out.push_back(c);
    }
  }
  return out;
}

// A metric's name may hold letters, digits, '_' and ':'.
std::string Name(std::string_view text) {
  std::string out = "polyarch_";
  for (char c : text) {
    const bool good =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
    out.push_back(good ? c : '_');
  }
  return out;
}

}  // namespace

std::string Seconds(int64_t ms) {
  char text[40];
  std::snprintf(text, sizeof text, "%.3f", static_cast<double>(ms) / 1000);
  return text;
}

void Metrics::Add(std::string_view family,
                  std::string_view type,
                  std::string_view help,
                  const Labels& labels,
                  std::string value) {
  auto [at, fresh] = families_.try_emplace(std::string(family));
  if (fresh) {
    order_.emplace_back(family);
    at->second.type = type;
    at->second.help = help;
  }
  std::string sample(family);
  for (size_t i = 0; i < labels.size(); ++i) {
    sample += i == 0 ? "{" : ",";
    sample += labels[i].first + "=\"" + Escaped(labels[i].second) + "\"";
  }
  if (!labels.empty()) sample += "}";
  at->second.samples.push_back(sample + " " + std::move(value));
}

void Metrics::AddNumber(std::string_view name, std::string_view value) {
  if (name == "writes_refused") {
    return Add("polyarch_writes_refused",
               "gauge",
               "1 while this leader refuses clients' writes; writes_refused in INFO says why.",
               {},
               value == "no" ? "0" : "1");
  }
  const auto number = base::ParseInt64(value);
  if (!number) return;
  const Known* known = FindKnown(kKnown, name);
  if (known == nullptr) {
    return Add(
        Name(name), "untyped", "As " + std::string(name) + " in INFO.", {}, std::string(value));
  }
  if (known->family.empty()) return;
  Add(Name(known->family),
      known->type,
      known->help,
      {},
      known->milliseconds ? Seconds(*number) : std::string(value));
}

void Metrics::AddFields(std::string_view what, std::string_view leader, std::string_view fields) {
  const Labels labels = {{what == "link" ? "peer" : "leader", std::string(leader)}};
  // A link that is cut here leaves the way over others.
  const size_t found = fields.find(",hops=");
  const std::string_view rest = found == std::string_view::npos ? "0" : fields.substr(found + 6);
  const int64_t hops = base::ParseInt64(rest.substr(0, rest.find(','))).value_or(0);
  while (!fields.empty()) {
    const size_t end = std::min(fields.find(','), fields.size());
    const std::string_view pair = fields.substr(0, end);
    fields.remove_prefix(std::min(end + 1, fields.size()));
    const size_t equal = pair.find('=');
    if (equal == std::string_view::npos) continue;
    const std::string_view value = pair.substr(equal + 1);
    const std::string name = std::string(what) + "_" + std::string(pair.substr(0, equal));
    const auto number = base::ParseInt64(value);
    if (name == "link_state") {
      Add("polyarch_link_up",
          "gauge",
          "1 while the link to the peer is up.",
          labels,
          value == "up" ? "1" : "0");
      Add("polyarch_link_reachable",
          "gauge",
          "1 while the peer is in reach, over its own link or others.",
          labels,
          value == "up" || value == "routed" || hops > 0 ? "1" : "0");
      Add("polyarch_link_cut",
          "gauge",
          "1 while the link is cut by LINK CUT.",
          labels,
          value == "cut" ? "1" : "0");
    } else if (const Known* known = FindKnown(kKnownFields, name); known != nullptr && number) {
      Add(Name(known->family),
          known->type,
          known->help,
          labels,
          known->milliseconds ? Seconds(*number) : std::string(value));
    } else if (number) {
      Add(Name(name), "untyped", "As " + name + " in INFO.", labels, std::string(value));
    }
  }
}

void Metrics::AddInfo(std::string_view lines) {
  while (!lines.empty()) {
    const size_t end = std::min(lines.find('\n'), lines.size());
    std::string_view line = lines.substr(0, end);
    lines.remove_prefix(std::min(end + 1, lines.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    const size_t colon = line.find(':');
    if (colon == std::string_view::npos) continue;
    const std::string_view name = line.substr(0, colon);
    const std::string_view value = line.substr(colon + 1);
    const size_t bar = name.find('_');
    if (value.find('=') != std::string_view::npos && bar != std::string_view::npos) {
      AddFields(name.substr(0, bar), name.substr(bar + 1), value);
    } else {
      AddNumber(name, value);
    }
  }
}

std::string Metrics::Text() const {
  std::string out;
  for (const std::string& name : order_) {
    const Family& family = families_.find(name)->second;
    out += "# HELP " + name + " " + family.help + "\n# TYPE " + name + " " + family.type + "\n";
    for (const std::string& sample : family.samples)
      out += sample + "\n";
  }
  return out;
}

}  // namespace polyarch::server
