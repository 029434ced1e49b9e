// TLS on connections: the only door to OpenSSL. TLS 1.2 and 1.3, without renegotiation, compression or resumption of
// sessions. It does no I/O but on the socket that it is given, never waits, and knows no time but that of certificates.
//
// A TlsContext is who this end is and whom it trusts. It does not change: new files make another one, and connections
// keep the one with which they began. A Tls is one connection; used by one thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <sys/types.h>
#include <vector>

#include "base/status.h"

struct ssl_st;
struct ssl_ctx_st;

namespace polyarch::net {

// Files, all in PEM. Empty: none.
struct TlsFiles {
  std::string cert;     // this end's certificate, behind it those between it and the CA
  std::string key;      // its key, without a pass phrase
  std::string ca;       // certificates of CAs: who has one of theirs is trusted
  std::string ca_dir;   // a directory of such, named by hash (openssl rehash)
};

// Must a client show a certificate?
enum class TlsAuth : uint8_t {
  kNo,        // it is not asked
  kOptional,  // one that it shows must be good
  kYes,
};

class TlsContext {
 public:
  using Made = base::Result<std::shared_ptr<const TlsContext>>;

  // Of a port for clients. Errors are one line that names file, cause and remedy.
  static Made ForClients(const TlsFiles& files, TlsAuth auth);
  // Of links between leaders, both ends alike: each shows a certificate of a CA that the other one trusts.
  static Made ForPeers(const TlsFiles& files);
  // Of a program that connects to a server. Without a CA those that the machine trusts; without `verify` anybody. Its own
  // certificate may be missing.
  static Made ForTool(const TlsFiles& files, bool verify);

  ~TlsContext();
  TlsContext(const TlsContext&) = delete;
  TlsContext& operator=(const TlsContext&) = delete;

  ssl_ctx_st* get() const { return context_; }
  // The names in this end's own certificate (subjectAltName, DNS).
  const std::vector<std::string>& own_names() const { return own_names_; }
  // What is wrong with it and others will refuse: it has expired, or is not valid yet. Empty: nothing.
  const std::string& warning() const { return warning_; }

 private:
  explicit TlsContext(ssl_ctx_st* context) : context_(context) {}

  ssl_ctx_st* context_;
  std::vector<std::string> own_names_;
  std::string warning_;
};

class Tls {
 public:
  enum class Progress : uint8_t { kUnderWay, kDone, kFailed };

  // On a connected socket that does not block and stays the caller's, who closes it after this has gone. Null: no memory.
  static std::unique_ptr<Tls> Accept(std::shared_ptr<const TlsContext> context, int fd);
  // `host`: the name, or address in digits, that the other end's certificate must be for; empty: any.
  static std::unique_ptr<Tls> Connect(std::shared_ptr<const TlsContext> context, int fd, const std::string& host);
  ~Tls();
  Tls(const Tls&) = delete;
  Tls& operator=(const Tls&) = delete;

  // Goes on with the handshake. kUnderWay: again when the socket has one of handshake_events().
  Progress Handshake();
  uint32_t handshake_events() const;  // EPOLLIN or EPOLLOUT

  // As ::read and ::send, of what is within: the count of bytes; 0: the other end has ended (Read); -1 and errno, which is
  // EPROTO if TLS was broken: error() says why. As many as there are, up to `size`; of much, a part. Whatever the other end
  // sends, one Read costs a bounded time: EAGAIN may also mean that the socket has more, and tells of it again.
  ssize_t Read(char* to, size_t size);
  ssize_t Write(const char* bytes, size_t size);
  // Bytes have come that the socket does not tell of any more: Read has them, or a part of what it needs.
  bool pending() const;
  // What the socket must be polled for by who wants to read, to write; either may need the other.
  uint32_t Events(bool reads, bool writes) const;
  // The events for the caller, when the socket has had `events`.
  uint32_t Ready(uint32_t events) const;
  bool reads_on_write() const { return read_wants_write_; }

  // Says that nothing more comes, if that can be said without waiting.
  void Finish();

  // Why the handshake or the connection failed, for people; empty: it did not, or the other end just went.
  const std::string& error() const { return error_; }
  // The names in the other end's certificate (subjectAltName, DNS), byte by byte; none if it showed none.
  std::vector<std::string> PeerNames() const;

 private:
  // What the socket has said; OpenSSL's end of it (a BIO) points here.
  struct Wire {
    int fd = -1;
    int error = 0;       // of the last call that failed
    bool ended = false;
    bool empty = false;  // it had less than was asked for
    size_t bytes_left = 0;  // that may still be taken from it in this call
    int key_updates = 0;    // that have come in this call
  };

  Tls(std::shared_ptr<const TlsContext> context, int fd);
  static std::unique_ptr<Tls> Make(std::shared_ptr<const TlsContext> context, int fd);
  static int BioRead(void* bio, char* to, int size);
  static int BioWrite(void* bio, const char* bytes, int size);
  void BeginCall(size_t socket_bytes_max);
  friend struct TlsBio;
  ssize_t Failed(int result, bool reading);
  std::string Explain() const;

  std::shared_ptr<const TlsContext> context_;
  ssl_st* ssl_ = nullptr;
  Wire wire_;
  bool ready_ = false;   // the handshake is done
  bool broken_ = false;  // nothing more can be read or said
  bool ended_ = false;   // nothing more comes; what is said may still be heard
  bool unwritable_ = false;
  bool read_wants_write_ = false;
  bool write_wants_read_ = false;
  bool maybe_more_ = true;  // Read stopped since its caller had no more room
  std::string error_;
};

// Bytes, two at least, that begin a record of TLS as it comes first: a handshake or an alert.
bool LooksLikeTls(std::string_view bytes);

}  // namespace polyarch::net
