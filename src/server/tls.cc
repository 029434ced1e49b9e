// The certificates of this leader: read at the start, by CONFIG SET and at SIGHUP; and what is told of those whom TLS refuses.
#include "net/tls.h"

#include <algorithm>

#include "command/support.h"
#include "server/logging.h"
#include "server/server.h"

namespace polyarch::server {

namespace {

constexpr int64_t kSameRefusalUs = 60'000'000;
constexpr int64_t kRefusalsUs = 1'000'000;  // in so long
constexpr size_t kRefusalsMax = 10;         // so many lines
constexpr size_t kRefusalsKept = 64;

net::TlsAuth AuthOf(const std::string& text) {
  if (text == "no") return net::TlsAuth::kNo;
  return text == "optional" ? net::TlsAuth::kOptional : net::TlsAuth::kYes;
}

// What peers compare with the name that this leader announces (replication/replica.cc).
base::Status CheckNames(const net::TlsContext& context, const Config& config) {
  const std::vector<std::string>& names = context.own_names();
  if (std::find(names.begin(), names.end(), config.id) != names.end()) return {};
  std::string listed;
  for (const std::string& name : names)
    listed += (listed.empty() ? "'" : ", '") + name + "'";
  return base::Invalid("the certificate " + config.tls_cert_file + " is not for leader '" + config.id + "' (" +
                       (names.empty() ? "it names nobody" : "it is for " + listed) +
                       "): other leaders would refuse it; make one with subjectAltName DNS:" + config.id);
}

}  // namespace

base::Status Server::LoadTls() {
  if (!config_.uses_tls()) return {};
  const net::TlsFiles files{.cert = config_.tls_cert_file,
                            .key = config_.tls_key_file,
                            .ca = config_.tls_ca_cert_file,
                            .ca_dir = config_.tls_ca_cert_dir};
  std::shared_ptr<const net::TlsContext> clients;
  std::shared_ptr<const net::TlsContext> peers;
  if (config_.tls_port != 0) {
    auto made = net::TlsContext::ForClients(files, AuthOf(config_.tls_auth_clients));
    if (!made.ok()) return made.status();
    clients = std::move(*made);
  }
  if (config_.peers_use_tls()) {
    auto made = net::TlsContext::ForPeers(files);
    if (!made.ok()) return made.status();
    if (base::Status s = CheckNames(**made, config_); !s.ok()) return s;
    peers = std::move(*made);
  }
  const std::string& warning = (peers != nullptr ? peers : clients)->warning();
  if (!warning.empty()) Log(1, warning);
  loop_->SetTls(std::move(clients), std::move(peers));
  return {};
}

base::Status Server::SetTls(std::string_view name, std::string_view value) {
  if (name == "tls-auth-clients") {
    const std::string word = command::ToLower(value);
    if (word != "yes" && word != "no" && word != "optional")
      return base::Invalid("argument(s) must be one of the following: no, yes, optional");
    config_.tls_auth_clients = word;
  } else if (name == "tls-cert-file") {
    config_.tls_cert_file = value;
  } else if (name == "tls-key-file") {
    config_.tls_key_file = value;
  } else if (name == "tls-ca-cert-file") {
    config_.tls_ca_cert_file = value;
  } else if (name == "tls-ca-cert-dir") {
    config_.tls_ca_cert_dir = value;
  } else {
    return base::NotFound("there is no such parameter");
  }
  // Certificate and key go together: they are read when all is set, also if the names are what they were.
  tls_changed_ = true;
  return {};
}

base::Status Server::ConfigSettle(bool keep) {
  const bool tls = std::exchange(tls_changed_, false);
  const bool password = std::exchange(password_changed_, false);
  if (!keep || (!tls && !password)) return {};
  if (base::Status fits = CheckPasswordSetting(config_, config_.requirepass); !fits.ok()) return fits;
  if (tls) {
    if (base::Status fits = CheckTlsSettings(config_); !fits.ok()) return fits;
    if (base::Status loaded = LoadTls(); !loaded.ok()) return loaded;
  }
  if (password) engine_->users().SetLocalPassword(config_.requirepass);
  if (tls && config_.uses_tls()) Log(0, "certificates and keys were read again: connections from now on use them");
  return {};
}

void Server::RequestReload() {
  reload_asked_.store(true);
  loop_->Wake();
}

void Server::ReloadIfAsked() {
  if (!reload_asked_.load(std::memory_order_relaxed) || !reload_asked_.exchange(false)) return;
  const base::Status loaded = LoadTls();
  if (loaded.ok()) {
    Log(0, "certificates and keys were read again: connections from now on use them");
  } else {
    Log(2, "the certificates stay as they were: " + loaded.message());
  }
}

void Server::OnRefused(const std::string& dialed, const std::string& line) {
  if (join_watch_ && !dialed.empty()) join_watch_->Refused(dialed, line);
  // Strangers cause these lines: the same one once a minute, and no more than some in a second.
  const int64_t now_us = MonotonicMicros();
  while (!refusals_.empty() &&
         (now_us - refusals_.front().first > kSameRefusalUs || refusals_.size() > kRefusalsKept))
    refusals_.pop_front();
  const auto same = [&](const auto& told) { return told.second == line; };
  const bool told = std::any_of(refusals_.begin(), refusals_.end(), same);
  const bool many =
      refusals_.size() >= kRefusalsMax && now_us - refusals_[refusals_.size() - kRefusalsMax].first < kRefusalsUs;
  if (told || many) {
    ++refusals_untold_;
    return;
  }
  refusals_.emplace_back(now_us, line);
  const uint64_t untold = std::exchange(refusals_untold_, 0);
  Log(1, line + (untold == 0 ? "" : " (and " + std::to_string(untold) + " others before, not told)"));
}

}  // namespace polyarch::server
