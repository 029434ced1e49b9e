// What a server is told at its start: by flags, by a TOML file (config_file.h), by defaults, in that
// order. Every flag is also a key of the file, by the same name without dashes in front.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "engine/engine.h"

namespace polyarch::server {

inline constexpr int64_t kConflictLogAgeMaxS = 1000LL * 366 * 24 * 3600;  // a thousand years

struct Config {
  std::string id;
  std::vector<std::string> bind = {"127.0.0.1"};
  int port = 7400;
  int peer_port = 0;      // 0: port + 1000
  std::string unix_socket;  // a path; empty: none
  int http_port = -1;     // -1: port + 2000; 0: off
  std::string advertise;  // empty: the first bind address and the peer port
  std::string dir = "data";
  std::vector<std::string> join;
  bool rejoin = false;
  std::string durability = "always";
  std::string requirepass;
  uint64_t log_ring_bytes = 64ULL << 20;
  uint64_t log_segment_bytes = 64ULL << 20;
  uint64_t log_quota_bytes = 4ULL << 30;  // at least 16 MiB; bounds segments and checkpoints, too
  uint64_t residue_quota = 1'000'000;     // keys and elements, for members that are away
  uint64_t checkpoint_bytes = 1ULL << 30;
  int64_t state_timeout_ms = 30'000;  // of a state transfer of which nothing is heard
  uint64_t bulk_bytes_max = 64ULL << 20;
  uint64_t conflict_log_bytes = 256ULL << 20;
  uint64_t conflict_log_entries = 1'000'000;
  int64_t conflict_log_age_s = 7 * 24 * 3600;  // at most kConflictLogAgeMaxS
  int64_t clock_skew_ms_max = 5000;
  size_t maxclients = 10000;
  // As CONFIG SET takes them.
  std::string maxmemory = "0";
  std::string maxmemory_policy = "noeviction";
  std::string maxmemory_samples = "5";
  std::vector<std::string> peer_bind;  // empty: as bind, if that is allowed
  int tls_port = 0;                    // for clients; 0: none
  std::string tls_cert_file;
  std::string tls_key_file;
  std::string tls_ca_cert_file;
  std::string tls_ca_cert_dir;
  std::string tls_auth_clients = "yes";  // or "no", "optional"
  std::string tls_peers = "no";          // or "yes": links between leaders go by mutual TLS
  bool insecure = false;
  std::string file;  // from which it was read, the whole path; empty: none
  std::string log_level = "info";
  // For drills and tests only.
  std::string io = "posix";     // or "power-cut": what was not synced dies with the process
  int64_t clock_offset_ms = 0;  // this process's wall clock is off by so much

  bool peers_use_tls() const { return tls_peers == "yes"; }
  bool uses_tls() const { return tls_port != 0 || peers_use_tls(); }
  // Beside the port for TLS there may be none without.
  bool has_plain_port() const { return port != 0 || tls_port == 0; }
  // Every client shows a certificate.
  bool clients_use_mutual_tls() const { return !has_plain_port() && tls_auth_clients == "yes"; }
};

// Reads the command line of `polyarch server`. On --help or an error prints to the terminal and
// gives the exit code to end with (0 or 2) in `exit_code`.
bool ReadConfig(int argc, char** argv, Config& config, int& exit_code);
// May this be the password of a leader that is otherwise configured so?
base::Status CheckPasswordSetting(const Config& config, std::string_view password);
// Is there all that TLS needs, where it is used? The files are not looked at.
base::Status CheckTlsSettings(const Config& config);

// "always" and so on; kInvalid names the choices.
base::Result<engine::Durability> ParseDurability(const std::string& text);
const char* DurabilityName(engine::Durability durability);

}  // namespace polyarch::server
