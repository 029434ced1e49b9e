// Settings and counters of the event loop. Every limit has its reason beside it; docs/limits.md
// lists them for operators. Values only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "resp/parser.h"

namespace polyarch::net {

struct LoopOptions {
  // Where to listen. Port 0 of `port` and `peer_port` is any free port (Loop tells which); a
  // negative port is off, and so is http_port 0.
  std::vector<std::string> bind = {"127.0.0.1"};
  std::vector<std::string> peer_bind;  // empty: as `bind`
  std::vector<std::string> http_bind;  // empty: as `bind`
  int port = 7001;
  int tls_port = -1;  // for clients, by TLS, at the addresses of `bind`; as `port`
  int peer_port = -1;
  int http_port = 0;
  bool http_any_port = false;  // http_port 0 is any free port (tests)
  std::string unix_socket;     // a path; empty: none
  unsigned unix_socket_mode =
      0700;  // set by umask before the bind, so there is no moment without it

  int timer_ms = 10;
  int tcp_keepalive_s = 300;  // 0: off

  // Clients. Connections beyond get an error and are closed; peers and HTTP have their own budgets,
  // so that a flood of clients cannot lock them out.
  size_t maxclients = 10000;
  size_t links_max = 256;
  size_t http_connections_max = 64;

  // TLS. Connections whose handshake is under way, which take some 50 KB each: of clients (who count among maxclients, too),
  // of peers. Beyond it the oldest one goes: strangers lock nobody out.
  size_t tls_handshakes_max = 1000;
  size_t tls_peer_handshakes_max = 256;
  int tls_handshake_ms = 10'000;

  // Input. A client is charged for what it sent and what is not yet executed.
  resp::Limits limits;
  size_t input_bytes_max = 128ULL << 20;  // one client; at least one largest bulk and its line
  size_t input_bytes_total_max = 2048ULL << 20;        // all clients
  size_t preauth_input_bytes_total_max = 16ULL << 20;  // all clients that have not authenticated

  // Output. A client that does not read its replies is closed: at once beyond the hard limit, or
  // after a while beyond the soft one. One reply can be no larger than the hard limit.
  size_t output_bytes_hard_max = 256ULL << 20;
  size_t output_bytes_total_max = 2048ULL << 20;  // all clients; the one that wants more is closed
  size_t output_bytes_soft_max = 64ULL << 20;
  int output_soft_s = 60;
  // Of that, messages to a subscriber (pub/sub).
  size_t push_bytes_hard_max = 32ULL << 20;
  size_t push_bytes_soft_max = 8ULL << 20;
  int push_soft_s = 60;
  size_t preauth_output_bytes_max = 1024;
  int preauth_deadline_ms = 10'000;  // only where authentication is required
  // Who has sent and taken nothing for so long is closed, unless it waits for something or listens. 0: nobody.
  int64_t idle_s_max = 0;

  // Fairness: what one client may have executed in one tick before others have their turn.
  size_t turn_input_bytes = 1 << 20;
  size_t turn_output_bytes = 1 << 20;
  size_t turn_commands = 4096;
  // In one tick clients get no turn any more after so long: peers and timers wait for its end.
  int64_t tick_clients_us = 50'000;

  // Peer links.
  size_t link_message_bytes_max = 80ULL << 20;
  size_t link_first_message_bytes_max = 64 << 10;  // until a peer has shown that it is one
  size_t link_output_bytes_max = 512ULL << 20;
  int link_first_message_ms = 10'000;
  int dial_timeout_ms = 5'000;
  int dial_address_ms = 1'000;  // of that, one address of a name while more follow

  int http_deadline_ms = 10'000;
  int stop_flush_ms = 1'000;  // how long replies may still leave after Stop
};

// How much output a client may leave unread: at once, or for so long. As `client-output-buffer-limit`.
struct OutputLimit {
  size_t hard_bytes;
  size_t soft_bytes;
  int soft_s;
};

// Written on the loop's thread; read there, or after Run has returned.
struct LoopStats {
  uint64_t ticks = 0;
  int64_t longest_tick_us = 0;  // since the start, or since it was asked to forget
  uint64_t commands = 0;
  uint64_t clients_received = 0;
  uint64_t clients_rejected = 0;  // beyond maxclients
  uint64_t accept_errors = 0;     // EMFILE and others
  uint64_t net_input_bytes = 0;   // clients
  uint64_t net_output_bytes = 0;
  uint64_t reads = 0;  // how often it has read from a client, and
  uint64_t writes = 0;  // how often it has written to one
  uint64_t protocol_errors = 0;
  uint64_t input_limit_closes = 0;   // input budgets
  uint64_t output_limit_closes = 0;  // slow readers, subscribers among them
  uint64_t push_limit_closes = 0;    // slow subscribers
  uint64_t preauth_closes = 0;       // deadline or reply limit before authentication
  uint64_t tls_handshakes = 0;         // done, of clients and peers that came here
  uint64_t tls_handshakes_failed = 0;  // of those, and of dialed peers
  uint64_t links_accepted = 0;
  uint64_t links_rejected = 0;
  uint64_t link_errors = 0;  // CRC, size, deadline or backlog violations
  uint64_t link_input_bytes = 0;
  uint64_t link_output_bytes = 0;
  uint64_t dial_failures = 0;
  uint64_t http_requests = 0;
  uint64_t input_bytes = 0;          // buffered now, all clients
  uint64_t output_bytes = 0;         // replies that the kernel has not taken, all clients
  uint64_t preauth_input_bytes = 0;  // buffered now, clients that have not authenticated
};

}  // namespace polyarch::net
