#include "net/tls.h"

#include <algorithm>
#include <arpa/inet.h>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

namespace polyarch::net {

namespace {

// One call writes no more: others on the loop have their turn. More than a record, so that what OpenSSL has begun with is
// always offered to it again.
constexpr size_t kWriteBytesMax = 4 << 20;

// What one call takes from the socket, or an eighth more than what its caller has room for: what the other end sends besides
// bytes for the caller must not hold the loop. A handshake with long certificates takes several calls.
constexpr size_t kSocketBytesMax = 128 << 10;
// Records with bytes for the caller that one Read opens: each costs as much, however few bytes are in it.
constexpr int kRecordsMax = 2000;
// New keys in one Read: each costs as much as a hundred records. Nobody needs them more often than once in some gigabytes.
constexpr int kKeyUpdatesMax = 32;

bool IsTransient(int error) {
  return error == EAGAIN || error == EWOULDBLOCK || error == EINTR;
}

// What the options are called where people give them.
struct OptionNames {
  const char* cert;
  const char* key;
  const char* ca;
  const char* ca_dir;
};
constexpr OptionNames kServerNames = {"--tls-cert-file", "--tls-key-file", "--tls-ca-cert-file", "--tls-ca-cert-dir"};
constexpr OptionNames kToolNames = {"--cert", "--key", "--cacert", "--cacertdir"};

std::string Reason(unsigned long error) {  // NOLINT: OpenSSL's type
  const char* text = ERR_reason_error_string(error);
  return text == nullptr ? "error " + std::to_string(error) : text;
}

std::string TakeReason() {
  const unsigned long error = ERR_peek_error();  // NOLINT
  ERR_clear_error();
  return error == 0 ? "unknown error" : Reason(error);
}

base::Status Readable(const std::string& path, const char* what, const char* option) {
  std::FILE* file = std::fopen(path.c_str(), "re");
  struct stat info {};
  int error = file == nullptr ? errno : 0;
  if (file != nullptr) {
    if (::fstat(::fileno(file), &info) == 0 && S_ISDIR(info.st_mode)) error = EISDIR;
    std::fclose(file);
  }
  if (error == 0) return {};
  return base::Invalid(std::string("cannot read the ") + what + " " + path + " (" + std::strerror(error) +
                       "): give another file with " + option + ", or this user the right to read it");
}

// A terminal is not asked: a server has none.
int NoPassPhrase(char*, int, int, void*) {
  return 0;
}

std::vector<std::string> NamesOf(const X509* certificate) {
  std::vector<std::string> names;
  if (certificate == nullptr) return names;
  auto* all = static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr));
  if (all == nullptr) return names;
  for (int i = 0; i < sk_GENERAL_NAME_num(all); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(all, i);
    if (name->type != GEN_DNS) continue;
    const unsigned char* bytes = ASN1_STRING_get0_data(name->d.dNSName);
    const int size = ASN1_STRING_length(name->d.dNSName);
    names.emplace_back(reinterpret_cast<const char*>(bytes), static_cast<size_t>(std::max(size, 0)));
  }
  GENERAL_NAMES_free(all);
  return names;
}

std::string WarningOf(const X509* certificate, const std::string& path) {
  if (X509_cmp_current_time(X509_get0_notAfter(certificate)) < 0)
    return "the certificate " + path + " has expired: others refuse it; make a new one and load it (CONFIG SET tls-cert-file, or SIGHUP)";
  if (X509_cmp_current_time(X509_get0_notBefore(certificate)) > 0)
    return "the certificate " + path + " is not valid yet: others refuse it; look at its dates, and at this machine's clock";
  return {};
}

base::Status LoadOwn(SSL_CTX* context, const TlsFiles& files, const OptionNames& names) {
  if (files.cert.empty() || files.key.empty()) {
    return base::Invalid(std::string("TLS needs a certificate and its key: give both ") + names.cert + " and " + names.key);
  }
  if (base::Status s = Readable(files.cert, "certificate", names.cert); !s.ok()) return s;
  if (base::Status s = Readable(files.key, "key", names.key); !s.ok()) return s;
  if (SSL_CTX_use_certificate_chain_file(context, files.cert.c_str()) != 1) {
    return base::Invalid("the file " + files.cert + " holds no certificate that can be used (" + TakeReason() +
                         "): give one in PEM with " + names.cert);
  }
  if (SSL_CTX_use_PrivateKey_file(context, files.key.c_str(), SSL_FILETYPE_PEM) != 1) {
    const unsigned long error = ERR_peek_last_error();  // NOLINT
    const bool mismatch =
        ERR_GET_LIB(error) == ERR_LIB_X509 &&
        (ERR_GET_REASON(error) == X509_R_KEY_VALUES_MISMATCH || ERR_GET_REASON(error) == X509_R_KEY_TYPE_MISMATCH);
    const std::string reason = TakeReason();
    if (mismatch) {
      return base::Invalid("the key " + files.key + " does not fit the certificate " + files.cert +
                           ": give the one with which it was made, with " + names.key);
    }
    return base::Invalid("the file " + files.key + " holds no key that can be used (" + reason +
                         "): give one in PEM, without a pass phrase, with " + names.key);
  }
  if (SSL_CTX_check_private_key(context) != 1) {
    ERR_clear_error();
    return base::Invalid("the key " + files.key + " does not fit the certificate " + files.cert +
                         ": give the one with which it was made, with " + names.key);
  }
  return {};
}

base::Status LoadTrusted(SSL_CTX* context, const TlsFiles& files, const OptionNames& names) {
  if (!files.ca.empty()) {
    if (base::Status s = Readable(files.ca, "CA's certificate", names.ca); !s.ok()) return s;
    if (SSL_CTX_load_verify_file(context, files.ca.c_str()) != 1) {
      return base::Invalid("the file " + files.ca + " holds no certificate of a CA (" + TakeReason() +
                           "): give one in PEM with " + names.ca);
    }
  }
  if (!files.ca_dir.empty()) {
    struct stat info {};
    if (::stat(files.ca_dir.c_str(), &info) != 0 || !S_ISDIR(info.st_mode) ||
        ::access(files.ca_dir.c_str(), R_OK | X_OK) != 0) {
      return base::Invalid("cannot read the directory " + files.ca_dir +
                           " of CAs' certificates: give one that is there, and readable for this user, with " + names.ca_dir);
    }
    if (SSL_CTX_load_verify_dir(context, files.ca_dir.c_str()) != 1)
      return base::Invalid("cannot use the directory " + files.ca_dir + " of CAs' certificates: " + TakeReason());
  }
  return {};
}

// Counts the new keys that come.
void NoteMessage(int written, int, int kind, const void* bytes, size_t size, SSL*, void* key_updates) {
  if (written != 0 || kind != SSL3_RT_HANDSHAKE || size == 0 || key_updates == nullptr) return;
  if (*static_cast<const unsigned char*>(bytes) == SSL3_MT_KEY_UPDATE) ++*static_cast<int*>(key_updates);
}

base::Result<SSL_CTX*> NewContext() {
  ERR_clear_error();
  SSL_CTX* context = SSL_CTX_new(TLS_method());
  if (context == nullptr) return base::IoError("OpenSSL cannot be used: " + TakeReason());
  static_cast<void>(SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION));
  SSL_CTX_set_options(context,
                      SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET | SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_mode(context,
                   SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
  // A session that is resumed would show no certificate again: one that has expired meanwhile would do.
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  static_cast<void>(SSL_CTX_set_num_tickets(context, 0));
  // One read of the socket for a record, not one for its head and one for its body.
  SSL_CTX_set_read_ahead(context, 1);
  SSL_CTX_set_msg_callback(context, NoteMessage);
  SSL_CTX_set_default_passwd_cb(context, NoPassPhrase);
  return context;
}

bool IsAddress(const std::string& host) {
  in6_addr any{};
  return ::inet_pton(AF_INET, host.c_str(), &any) == 1 || ::inet_pton(AF_INET6, host.c_str(), &any) == 1;
}

}  // namespace

// ---- contexts

TlsContext::~TlsContext() {
  SSL_CTX_free(context_);
}

TlsContext::Made TlsContext::ForClients(const TlsFiles& files, TlsAuth auth) {
  auto context = NewContext();
  if (!context.ok()) return context.status();
  std::shared_ptr<TlsContext> made(new TlsContext(*context));
  if (base::Status s = LoadOwn(*context, files, kServerNames); !s.ok()) return s;
  if (auth != TlsAuth::kNo) {
    if (files.ca.empty() && files.ca_dir.empty()) {
      return base::Invalid(
          "certificates of clients need a CA to be judged by: give --tls-ca-cert-file or --tls-ca-cert-dir, or --tls-auth-clients no");
    }
    if (base::Status s = LoadTrusted(*context, files, kServerNames); !s.ok()) return s;
    SSL_CTX_set_verify(
        *context, SSL_VERIFY_PEER | (auth == TlsAuth::kYes ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0), nullptr);
  }
  made->own_names_ = NamesOf(SSL_CTX_get0_certificate(*context));
  made->warning_ = WarningOf(SSL_CTX_get0_certificate(*context), files.cert);
  return std::shared_ptr<const TlsContext>(std::move(made));
}

TlsContext::Made TlsContext::ForPeers(const TlsFiles& files) {
  auto context = NewContext();
  if (!context.ok()) return context.status();
  std::shared_ptr<TlsContext> made(new TlsContext(*context));
  if (base::Status s = LoadOwn(*context, files, kServerNames); !s.ok()) return s;
  if (files.ca.empty() && files.ca_dir.empty()) {
    return base::Invalid(
        "certificates of other leaders need a CA to be judged by: give --tls-ca-cert-file or --tls-ca-cert-dir");
  }
  if (base::Status s = LoadTrusted(*context, files, kServerNames); !s.ok()) return s;
  SSL_CTX_set_verify(*context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  made->own_names_ = NamesOf(SSL_CTX_get0_certificate(*context));
  made->warning_ = WarningOf(SSL_CTX_get0_certificate(*context), files.cert);
  return std::shared_ptr<const TlsContext>(std::move(made));
}

TlsContext::Made TlsContext::ForTool(const TlsFiles& files, bool verify) {
  auto context = NewContext();
  if (!context.ok()) return context.status();
  std::shared_ptr<TlsContext> made(new TlsContext(*context));
  if (!files.cert.empty() || !files.key.empty()) {
    if (base::Status s = LoadOwn(*context, files, kToolNames); !s.ok()) return s;
  }
  if (verify) {
    if (files.ca.empty() && files.ca_dir.empty()) {
      static_cast<void>(SSL_CTX_set_default_verify_paths(*context));
    } else if (base::Status s = LoadTrusted(*context, files, kToolNames); !s.ok()) {
      return s;
    }
    SSL_CTX_set_verify(*context, SSL_VERIFY_PEER, nullptr);
  }
  return std::shared_ptr<const TlsContext>(std::move(made));
}

// ---- the socket, as OpenSSL sees it: so that no write raises SIGPIPE, and the end of a connection is told from a failure

struct TlsBio {
  static int Read(BIO* bio, char* to, int size) {
    BIO_clear_retry_flags(bio);
    const int result = Tls::BioRead(BIO_get_data(bio), to, size);
    if (result < 0 && IsTransient(errno)) BIO_set_retry_read(bio);
    return result;
  }
  static int Write(BIO* bio, const char* bytes, int size) {
    BIO_clear_retry_flags(bio);
    const int result = Tls::BioWrite(BIO_get_data(bio), bytes, size);
    if (result < 0 && IsTransient(errno)) BIO_set_retry_write(bio);
    return result;
  }
  static long Control(BIO*, int command, long, void*) {  // NOLINT: OpenSSL's types
    return command == BIO_CTRL_FLUSH ? 1 : 0;
  }
  static int Create(BIO* bio) {
    BIO_set_init(bio, 1);
    return 1;
  }
  // For the life of the process.
  static const BIO_METHOD* Method() {
    static const BIO_METHOD* const kMethod = [] {
      BIO_METHOD* method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "polyarch socket");
      if (method == nullptr) return method;
      BIO_meth_set_read(method, Read);
      BIO_meth_set_write(method, Write);
      BIO_meth_set_ctrl(method, Control);
      BIO_meth_set_create(method, Create);
      return method;
    }();
    return kMethod;
  }
};

int Tls::BioRead(void* data, char* to, int size) {
  auto& wire = *static_cast<Wire*>(data);
  if (wire.key_updates > kKeyUpdatesMax) {  // Read says so
    errno = EPROTO;
    return -1;
  }
  if (wire.bytes_left == 0) {  // the socket tells again of what it has
    wire.empty = false;
    errno = EAGAIN;
    return -1;
  }
  const size_t room = std::min(static_cast<size_t>(size), wire.bytes_left);
  const ssize_t got = ::recv(wire.fd, to, room, 0);
  wire.empty = got < static_cast<ssize_t>(room);
  if (got == 0) wire.ended = true;
  if (got < 0) wire.error = errno;
  if (got > 0) wire.bytes_left -= static_cast<size_t>(got);
  return static_cast<int>(got);
}

int Tls::BioWrite(void* data, const char* bytes, int size) {
  auto& wire = *static_cast<Wire*>(data);
  const ssize_t sent = ::send(wire.fd, bytes, static_cast<size_t>(size), MSG_NOSIGNAL);
  if (sent < 0) wire.error = errno;
  return static_cast<int>(sent);
}

// ---- connections

Tls::Tls(std::shared_ptr<const TlsContext> context, int fd) : context_(std::move(context)) {
  wire_.fd = fd;
}

Tls::~Tls() {
  SSL_free(ssl_);
}

std::unique_ptr<Tls> Tls::Make(std::shared_ptr<const TlsContext> context, int fd) {
  std::unique_ptr<Tls> tls(new Tls(std::move(context), fd));
  tls->ssl_ = SSL_new(tls->context_->get());
  const BIO_METHOD* method = TlsBio::Method();
  BIO* bio = tls->ssl_ == nullptr || method == nullptr ? nullptr : BIO_new(method);
  if (bio == nullptr) {
    ERR_clear_error();
    return nullptr;
  }
  BIO_set_data(bio, &tls->wire_);
  SSL_set_bio(tls->ssl_, bio, bio);  // which owns it
  SSL_set_msg_callback_arg(tls->ssl_, &tls->wire_.key_updates);
  return tls;
}

std::unique_ptr<Tls> Tls::Accept(std::shared_ptr<const TlsContext> context, int fd) {
  std::unique_ptr<Tls> tls = Make(std::move(context), fd);
  if (tls != nullptr) SSL_set_accept_state(tls->ssl_);
  return tls;
}

std::unique_ptr<Tls> Tls::Connect(std::shared_ptr<const TlsContext> context, int fd, const std::string& host) {
  std::unique_ptr<Tls> tls = Make(std::move(context), fd);
  if (tls == nullptr) return tls;
  SSL_set_connect_state(tls->ssl_);
  if (host.empty()) return tls;
  bool well = false;
  if (IsAddress(host)) {
    well = X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(tls->ssl_), host.c_str()) == 1;
  } else {
    well = SSL_set1_host(tls->ssl_, host.c_str()) == 1 && SSL_set_tlsext_host_name(tls->ssl_, host.c_str()) == 1;
  }
  ERR_clear_error();
  return well ? std::move(tls) : nullptr;
}

void Tls::BeginCall(size_t socket_bytes_max) {
  wire_.bytes_left = socket_bytes_max;
  wire_.key_updates = 0;
}

Tls::Progress Tls::Handshake() {
  if (ready_) return Progress::kDone;
  if (broken_) return Progress::kFailed;
  BeginCall(kSocketBytesMax);
  ERR_clear_error();
  const int result = SSL_do_handshake(ssl_);
  if (result == 1) {
    ready_ = true;
    return Progress::kDone;
  }
  switch (SSL_get_error(ssl_, result)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
      return Progress::kUnderWay;
    case SSL_ERROR_SSL:
      error_ = Explain();
      break;
    case SSL_ERROR_ZERO_RETURN:
      error_ = "the other end broke the handshake off";
      break;
    default:
      error_ = wire_.ended ? "the other end broke the handshake off"
                           : std::string("the handshake failed: ") + std::strerror(wire_.error);
  }
  broken_ = true;
  ERR_clear_error();
  return Progress::kFailed;
}

uint32_t Tls::handshake_events() const {
  return SSL_want_write(ssl_) ? EPOLLOUT : EPOLLIN;
}

ssize_t Tls::Failed(int result, bool reading) {
  const int kind = SSL_get_error(ssl_, result);
  if (kind == SSL_ERROR_WANT_READ || kind == SSL_ERROR_WANT_WRITE) {
    if (reading) read_wants_write_ = kind == SSL_ERROR_WANT_WRITE;
    if (!reading) write_wants_read_ = kind == SSL_ERROR_WANT_READ;
    errno = EAGAIN;
    return -1;
  }
  if (kind == SSL_ERROR_ZERO_RETURN) {
    errno = EPIPE;
    return reading ? 0 : -1;
  }
  // Whoever just closes has ended: requests and messages have ends of their own, so that nothing can be cut short. It may
  // have closed its own direction only, and is answered as it would be without TLS.
  if (reading && kind == SSL_ERROR_SYSCALL && wire_.ended) {
    ended_ = true;
    ERR_clear_error();
    return 0;
  }
  // Who cannot be written to may have said why just before.
  (reading ? broken_ : unwritable_) = true;
  if (kind == SSL_ERROR_SSL) {
    broken_ = true;
    error_ = Explain();
    ERR_clear_error();
    errno = EPROTO;
    return -1;
  }
  ERR_clear_error();
  errno = wire_.error != 0 && !IsTransient(wire_.error) ? wire_.error : ECONNRESET;
  return -1;
}

ssize_t Tls::Read(char* to, size_t size) {
  read_wants_write_ = false;
  maybe_more_ = false;
  if (broken_) {
    errno = error_.empty() ? ECONNRESET : EPROTO;
    return wire_.ended ? 0 : -1;
  }
  if (ended_) return 0;
  BeginCall(std::max(kSocketBytesMax, size + size / 8));
  size_t total = 0;
  for (int records = 0; total < size; ++records) {
    if (records == kRecordsMax) {
      maybe_more_ = true;
      break;
    }
    ERR_clear_error();
    size_t got = 0;
    const int result = SSL_read_ex(ssl_, to + total, size - total, &got);
    if (wire_.key_updates > kKeyUpdatesMax) {
      ERR_clear_error();
      broken_ = true;
      error_ = "it changes its keys without end (KeyUpdate), which TLS needs only after gigabytes";
      errno = EPROTO;
      return -1;
    }
    if (result != 1) {
      const ssize_t failed = Failed(result, /*reading=*/true);
      // What has come before goes first: a failure stays and is told the next time, the end, too.
      if (total == 0) return failed;
      maybe_more_ = failed == 0 || errno != EAGAIN;
      break;
    }
    total += got;
    // Nothing within, and nothing at the socket as of the last look at it: it will tell.
    if (wire_.empty && SSL_has_pending(ssl_) == 0) return static_cast<ssize_t>(total);
  }
  if (total == size) maybe_more_ = true;
  return static_cast<ssize_t>(total);
}

bool Tls::pending() const {
  return maybe_more_ && (broken_ || ended_ || SSL_has_pending(ssl_) != 0 || (SSL_get_shutdown(ssl_) & SSL_RECEIVED_SHUTDOWN) != 0);
}

ssize_t Tls::Write(const char* bytes, size_t size) {
  write_wants_read_ = false;
  if (broken_ || unwritable_) {
    errno = EPIPE;
    return -1;
  }
  size = std::min(size, kWriteBytesMax);
  BeginCall(kSocketBytesMax);  // writing may need what the other end says
  size_t total = 0;
  while (total < size) {
    ERR_clear_error();
    size_t sent = 0;
    const int result = SSL_write_ex(ssl_, bytes + total, size - total, &sent);
    if (result != 1) {
      const ssize_t failed = Failed(result, /*reading=*/false);
      if (total == 0) return failed;
      break;
    }
    total += sent;
  }
  return static_cast<ssize_t>(total);
}

uint32_t Tls::Events(bool reads, bool writes) const {
  uint32_t events = 0;
  if (reads) events |= read_wants_write_ ? EPOLLOUT : EPOLLIN;
  if (writes) events |= write_wants_read_ ? EPOLLIN : EPOLLOUT;
  return events;
}

uint32_t Tls::Ready(uint32_t events) const {
  uint32_t ready = events;
  if (read_wants_write_ && (events & EPOLLOUT) != 0) ready |= EPOLLIN;
  if (write_wants_read_ && (events & EPOLLIN) != 0) ready |= EPOLLOUT;
  return ready;
}

void Tls::Finish() {
  // Behind half a record there is no place for it.
  if (!ready_ || broken_ || unwritable_ || SSL_want_write(ssl_)) return;
  BeginCall(kSocketBytesMax);
  ERR_clear_error();
  static_cast<void>(SSL_shutdown(ssl_));
  ERR_clear_error();
}

std::string Tls::Explain() const {
  // The last one is what TLS made of it; the first one, the cause.
  const unsigned long error = ERR_peek_last_error();  // NOLINT
  const int reason = ERR_GET_REASON(error);
  if (ERR_GET_LIB(error) == ERR_LIB_SSL) {
    if (reason == SSL_R_CERTIFICATE_VERIFY_FAILED)
      return std::string("its certificate is refused: ") + X509_verify_cert_error_string(SSL_get_verify_result(ssl_));
    if (reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE) return "it shows no certificate";
    if (reason == SSL_R_UNSUPPORTED_PROTOCOL) return "it speaks no TLS from 1.2 on";
    if (reason == SSL_R_WRONG_VERSION_NUMBER || reason == SSL_R_HTTP_REQUEST) return "it does not speak TLS";
    // The other end has said so, by an alert.
    if (reason > SSL_AD_REASON_OFFSET && reason < SSL_AD_REASON_OFFSET + 256) {
      return "the other end refuses: " + Reason(error) +
             " (it says so of this end's certificate, its CA, or the versions of TLS that this end takes; see its log)";
    }
  }
  return "TLS failed: " + Reason(ERR_peek_error());
}

std::vector<std::string> Tls::PeerNames() const {
  return ready_ ? NamesOf(SSL_get0_peer_certificate(ssl_)) : std::vector<std::string>();
}

bool LooksLikeTls(std::string_view bytes) {
  // A record: alert or handshake, version 3.x.
  return bytes.size() >= 2 && (bytes[0] == '\x15' || bytes[0] == '\x16') && bytes[1] == '\x03';
}

}  // namespace polyarch::net
