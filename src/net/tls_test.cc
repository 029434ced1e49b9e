// TLS, by certificates that are made here: on pairs of sockets, and on a real loop.
#include "net/tls.h"

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <fcntl.h>
#include <filesystem>
#include <functional>
#include <poll.h>
#include <string>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>
#include <vector>

#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "net/net_test_util.h"

namespace polyarch::net {
namespace {

constexpr long kDay = 24 * 3600;  // NOLINT: OpenSSL's type

struct Wanted {
  std::string name = "somebody";
  std::string alternatives;  // subjectAltName as OpenSSL writes it: "DNS:eu,IP:127.0.0.1"
  std::string usage;         // extendedKeyUsage; empty: any
  long from_days = -1;       // NOLINT
  long to_days = 30;         // NOLINT
  bool is_ca = false;
};

// A key with its certificate.
class Issued {
 public:
  // `issuer` null: by itself.
  Issued(const Wanted& wanted, const Issued* issuer) : key_(EVP_EC_gen("P-256")), certificate_(X509_new()) {
    static long serial = 1;  // NOLINT
    X509_set_version(certificate_, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate_), serial++);
    X509_gmtime_adj(X509_getm_notBefore(certificate_), wanted.from_days * kDay);
    X509_gmtime_adj(X509_getm_notAfter(certificate_), wanted.to_days * kDay);
    X509_set_pubkey(certificate_, key_);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate_), "CN", MBSTRING_ASC,
                               reinterpret_cast<const unsigned char*>(wanted.name.c_str()), -1, -1, 0);
    X509* by = issuer == nullptr ? certificate_ : issuer->certificate_;
    X509_set_issuer_name(certificate_, X509_get_subject_name(by));
    Extend(by, NID_basic_constraints, wanted.is_ca ? "critical,CA:TRUE" : "critical,CA:FALSE");
    if (!wanted.alternatives.empty()) Extend(by, NID_subject_alt_name, wanted.alternatives);
    if (!wanted.usage.empty()) Extend(by, NID_ext_key_usage, wanted.usage);
    EXPECT_GT(X509_sign(certificate_, issuer == nullptr ? key_ : issuer->key_, EVP_sha256()), 0);
  }
  ~Issued() {
    X509_free(certificate_);
    EVP_PKEY_free(key_);
  }
  Issued(const Issued&) = delete;
  Issued& operator=(const Issued&) = delete;

  void WriteCertificate(const std::string& path) const {
    std::FILE* file = std::fopen(path.c_str(), "we");
    ASSERT_NE(file, nullptr);
    EXPECT_EQ(PEM_write_X509(file, certificate_), 1);
    std::fclose(file);
  }
  void WriteKey(const std::string& path, const std::string& phrase = "") const {
    std::FILE* file = std::fopen(path.c_str(), "we");
    ASSERT_NE(file, nullptr);
    const EVP_CIPHER* cipher = phrase.empty() ? nullptr : EVP_aes_128_cbc();
    EXPECT_EQ(PEM_write_PrivateKey(file, key_, cipher, nullptr, 0, nullptr,
                                   phrase.empty() ? nullptr : const_cast<char*>(phrase.c_str())),
              1);
    std::fclose(file);
  }

 private:
  void Extend(X509* issuer, int kind, const std::string& value) {
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer, certificate_, nullptr, nullptr, 0);
    X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, kind, value.c_str());
    ASSERT_NE(extension, nullptr);
    X509_add_ext(certificate_, extension, -1);
    X509_EXTENSION_free(extension);
  }

  EVP_PKEY* key_;
  X509* certificate_;
};

class TlsTest : public ::testing::Test {
 protected:
  TlsTest()
      : dir_(::testing::TempDir() + "/polyarch_tls_" + std::to_string(::getpid())),
        ca_({.name = "a CA", .is_ca = true}, nullptr),
        other_ca_({.name = "another CA", .is_ca = true}, nullptr) {
    std::filesystem::create_directories(dir_);
    ca_.WriteCertificate(Path("ca.crt"));
    other_ca_.WriteCertificate(Path("other-ca.crt"));
    Issue("eu", {.name = "eu", .alternatives = "DNS:eu,DNS:localhost,IP:127.0.0.1"});
    Issue("us", {.name = "us", .alternatives = "DNS:us"});
  }
  ~TlsTest() override { std::filesystem::remove_all(dir_); }

  std::string Path(const std::string& name) const { return dir_ + "/" + name; }
  void Write(const std::string& name, const Issued& issued) {
    issued.WriteCertificate(Path(name + ".crt"));
    issued.WriteKey(Path(name + ".key"));
  }
  void Issue(const std::string& name, const Wanted& wanted) { Write(name, Issued(wanted, &ca_)); }
  TlsFiles Files(const std::string& name) const {
    return {.cert = Path(name + ".crt"), .key = Path(name + ".key"), .ca = Path("ca.crt"), .ca_dir = ""};
  }
  TlsFiles Trusting() const { return {.cert = "", .key = "", .ca = Path("ca.crt"), .ca_dir = ""}; }

  static std::shared_ptr<const TlsContext> Well(TlsContext::Made made) {
    EXPECT_TRUE(made.ok()) << made.status().message();
    return made.ok() ? *made : nullptr;
  }

  const std::string dir_;
  const Issued ca_;
  const Issued other_ca_;
};

// Two ends on one pair of sockets.
struct Pair {
  Pair(std::shared_ptr<const TlsContext> by, std::shared_ptr<const TlsContext> from, const std::string& host = "") {
    int fds[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    a = Fd(fds[0]);
    b = Fd(fds[1]);
    accepted = Tls::Accept(std::move(by), a.get());
    connected = Tls::Connect(std::move(from), b.get(), host);
    EXPECT_TRUE(accepted != nullptr && connected != nullptr);
  }
  // Goes on while it can.
  void Shake() {
    for (int i = 0; i < 100; ++i) {
      client = connected->Handshake();
      server = accepted->Handshake();
      if (server != Tls::Progress::kUnderWay && client != Tls::Progress::kUnderWay) return;
    }
  }
  bool well() const { return server == Tls::Progress::kDone && client == Tls::Progress::kDone; }

  Fd a;
  Fd b;
  std::unique_ptr<Tls> accepted;
  std::unique_ptr<Tls> connected;
  Tls::Progress server = Tls::Progress::kUnderWay;
  Tls::Progress client = Tls::Progress::kUnderWay;
};

std::string Noise(size_t size) {
  std::string bytes(size, '\0');
  uint32_t state = 12345;
  for (char& c : bytes) {
    state = state * 1664525 + 1013904223;
    c = static_cast<char>('a' + (state >> 24) % 26);
  }
  return bytes;
}

TEST_F(TlsTest, BytesAreExactHoweverLittleTheSocketTakes) {
  Pair pair(Well(TlsContext::ForClients(Files("eu"), TlsAuth::kNo)), Well(TlsContext::ForTool(Trusting(), true)), "eu");
  const int small = 4096;
  for (int fd : {pair.a.get(), pair.b.get()})
    ASSERT_EQ(::setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small), 0);
  pair.Shake();
  ASSERT_TRUE(pair.well()) << pair.accepted->error() << pair.connected->error();
  const std::string sent = Noise(1'000'000);
  std::string got;
  std::string waiting = sent;  // moves in memory with each write
  size_t room = 1;
  bool blocked = false;
  bool was_pending = false;
  for (int i = 0; i < 1'000'000 && got.size() < sent.size(); ++i) {
    if (!waiting.empty()) {
      std::string moved = waiting;
      const ssize_t n = pair.connected->Write(moved.data(), moved.size());
      if (n > 0) {
        waiting.erase(0, static_cast<size_t>(n));
      } else {
        ASSERT_EQ(errno, EAGAIN);
        blocked = true;
      }
    }
    char bytes[20'000];
    room = room * 7 % sizeof bytes + 1;
    const ssize_t n = pair.accepted->Read(bytes, room);
    if (n > 0) {
      got.append(bytes, static_cast<size_t>(n));
    } else {
      ASSERT_EQ(n, -1);
      ASSERT_EQ(errno, EAGAIN);
      ASSERT_FALSE(pair.accepted->pending());
    }
    was_pending = was_pending || pair.accepted->pending();
  }
  EXPECT_TRUE(got == sent) << got.size();
  EXPECT_TRUE(blocked);
  EXPECT_TRUE(was_pending);
}

TEST_F(TlsTest, WhatItHoldsIsPending) {
  Pair pair(Well(TlsContext::ForClients(Files("eu"), TlsAuth::kNo)), Well(TlsContext::ForTool(Trusting(), true)));
  pair.Shake();
  ASSERT_TRUE(pair.well());
  ASSERT_EQ(pair.connected->Write("0123456789", 10), 10);
  char bytes[100];
  ASSERT_EQ(pair.accepted->Read(bytes, 4), 4);
  // The socket has nothing any more.
  pollfd polled{.fd = pair.a.get(), .events = POLLIN, .revents = 0};
  EXPECT_EQ(::poll(&polled, 1, 0), 0);
  EXPECT_TRUE(pair.accepted->pending());
  ASSERT_EQ(pair.accepted->Read(bytes, sizeof bytes), 6);
  EXPECT_FALSE(pair.accepted->pending());
  // An end is told once, by whoever closes well and by whoever just goes.
  pair.connected->Finish();
  EXPECT_EQ(pair.accepted->Read(bytes, sizeof bytes), 0);
  EXPECT_EQ(pair.accepted->error(), "");
}

TEST_F(TlsTest, WhoJustGoesHasEnded) {
  Pair pair(Well(TlsContext::ForClients(Files("eu"), TlsAuth::kNo)), Well(TlsContext::ForTool(Trusting(), true)));
  pair.Shake();
  ASSERT_TRUE(pair.well());
  ASSERT_EQ(pair.connected->Write("bye", 3), 3);
  pair.connected.reset();
  pair.b.Reset();
  char bytes[100];
  ASSERT_EQ(pair.accepted->Read(bytes, sizeof bytes), 3);
  EXPECT_EQ(pair.accepted->Read(bytes, sizeof bytes), 0);
  EXPECT_EQ(pair.accepted->error(), "");
  // And no SIGPIPE: this process would be gone.
  for (int i = 0; i < 3; ++i) EXPECT_EQ(pair.accepted->Write("x", 1), -1);
}

TEST_F(TlsTest, BrokenBytesAreTold) {
  Pair pair(Well(TlsContext::ForClients(Files("eu"), TlsAuth::kNo)), Well(TlsContext::ForTool(Trusting(), true)));
  pair.Shake();
  ASSERT_TRUE(pair.well());
  ASSERT_EQ(::send(pair.b.get(), "\x17\x03\x03\x00\x20 this is no record that was encrypted..", 40, 0), 40);
  char bytes[100];
  EXPECT_EQ(pair.accepted->Read(bytes, sizeof bytes), -1);
  EXPECT_EQ(errno, EPROTO);
  EXPECT_NE(pair.accepted->error().find("TLS failed"), std::string::npos) << pair.accepted->error();
}

// An end of which the other one may think what it likes: what it says is put together first, and sent at once.
struct Raw {
  Raw(std::shared_ptr<const TlsContext> by, const std::shared_ptr<const TlsContext>& from) {
    int fds[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    a = Fd(fds[0]);
    b = Fd(fds[1]);
    accepted = Tls::Accept(std::move(by), a.get());
    ssl = SSL_new(from->get());
    SSL_set_fd(ssl, b.get());
    SSL_set_connect_state(ssl);
    int client = 0;
    Tls::Progress server = Tls::Progress::kUnderWay;
    for (int i = 0; i < 100 && (client != 1 || server == Tls::Progress::kUnderWay); ++i) {
      client = SSL_do_handshake(ssl);
      server = accepted->Handshake();
    }
    EXPECT_EQ(client, 1);
    EXPECT_EQ(server, Tls::Progress::kDone);
    out = BIO_new(BIO_s_mem());
    SSL_set0_wbio(ssl, out);
  }
  ~Raw() { SSL_free(ssl); }
  Raw(const Raw&) = delete;
  Raw& operator=(const Raw&) = delete;

  void Say(std::string_view bytes) {
    ASSERT_EQ(SSL_write(ssl, bytes.data(), static_cast<int>(bytes.size())), static_cast<int>(bytes.size()));
  }
  void ChangeKey() {
    ASSERT_EQ(SSL_key_update(ssl, SSL_KEY_UPDATE_NOT_REQUESTED), 1);
    ASSERT_EQ(SSL_do_handshake(ssl), 1);
  }
  void Send() {
    char* bytes = nullptr;
    const long size = BIO_get_mem_data(out, &bytes);  // NOLINT: OpenSSL's type
    ASSERT_EQ(::send(b.get(), bytes, static_cast<size_t>(size), 0), size);
    BIO_reset(out);
  }

  Fd a;
  Fd b;
  std::unique_ptr<Tls> accepted;
  SSL* ssl = nullptr;
  BIO* out = nullptr;
};

TEST_F(TlsTest, OneReadOpensSoManyRecords) {
  Raw raw(Well(TlsContext::ForClients(Files("eu"), TlsAuth::kNo)), Well(TlsContext::ForTool(Trusting(), true)));
  const std::string sent = Noise(3000);
  for (char c : sent) raw.Say({&c, 1});
  raw.Send();
  char bytes[10'000];
  ASSERT_EQ(raw.accepted->Read(bytes, sizeof bytes), 2000);
  std::string got(bytes, 2000);
  // The others are not forgotten: it has them, or the socket tells.
  pollfd polled{.fd = raw.a.get(), .events = POLLIN, .revents = 0};
  EXPECT_TRUE(raw.accepted->pending() || ::poll(&polled, 1, 0) == 1);
  ASSERT_EQ(raw.accepted->Read(bytes, sizeof bytes), 1000);
  got.append(bytes, 1000);
  EXPECT_TRUE(got == sent);
  EXPECT_EQ(raw.accepted->Read(bytes, sizeof bytes), -1);
  EXPECT_EQ(errno, EAGAIN);
  EXPECT_FALSE(raw.accepted->pending());
}

TEST_F(TlsTest, NewKeysWithoutEndBreakTheConnection) {
  Raw raw(Well(TlsContext::ForClients(Files("eu"), TlsAuth::kNo)), Well(TlsContext::ForTool(Trusting(), true)));
  char bytes[100];
  for (int i = 0; i < 5; ++i) {
    for (int k = 0; k < 32; ++k) raw.ChangeKey();
    raw.Say("x");
    raw.Send();
    ASSERT_EQ(raw.accepted->Read(bytes, sizeof bytes), 1) << raw.accepted->error();
  }
  for (int k = 0; k < 3000; ++k) raw.ChangeKey();
  raw.Say("x");
  raw.Send();
  int before = 0;
  ASSERT_EQ(::ioctl(raw.a.get(), FIONREAD, &before), 0);
  EXPECT_EQ(raw.accepted->Read(bytes, sizeof bytes), -1);
  EXPECT_EQ(errno, EPROTO);
  EXPECT_NE(raw.accepted->error().find("KeyUpdate"), std::string::npos) << raw.accepted->error();
  // It has not read them all to find that out.
  int left = 0;
  ASSERT_EQ(::ioctl(raw.a.get(), FIONREAD, &left), 0);
  EXPECT_GT(left, before / 2);
  EXPECT_FALSE(raw.accepted->pending());
  EXPECT_EQ(raw.accepted->Write("x", 1), -1);
}

TEST_F(TlsTest, OneCallTakesSoMuchFromTheSocket) {
  int fds[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
  Fd a(fds[0]);
  Fd b(fds[1]);
  auto accepted = Tls::Accept(Well(TlsContext::ForClients(Files("eu"), TlsAuth::kNo)), a.get());
  // A ClientHello as large as OpenSSL takes one, of nothing.
  std::string hello("\x01\x02\x01\x3e", 4);
  hello.resize(4 + 0x2013e);
  std::string records;
  for (size_t at = 0; at < hello.size(); at += 16384) {
    const std::string part = hello.substr(at, 16384);
    records += std::string("\x16\x03\x01", 3) + static_cast<char>(part.size() >> 8) + static_cast<char>(part.size() & 255) + part;
  }
  ASSERT_EQ(::send(b.get(), records.data(), records.size(), 0), static_cast<ssize_t>(records.size()));
  EXPECT_EQ(accepted->Handshake(), Tls::Progress::kUnderWay) << accepted->error();
  int left = 0;
  ASSERT_EQ(::ioctl(a.get(), FIONREAD, &left), 0);
  EXPECT_EQ(static_cast<size_t>(left), records.size() - (128 << 10));
  EXPECT_EQ(accepted->handshake_events(), POLLIN);
  EXPECT_EQ(accepted->Handshake(), Tls::Progress::kFailed);
}

TEST_F(TlsTest, WhoHasClosedItsDirectionIsStillAnswered) {
  Pair pair(Well(TlsContext::ForClients(Files("eu"), TlsAuth::kNo)), Well(TlsContext::ForTool(Trusting(), true)));
  pair.Shake();
  ASSERT_TRUE(pair.well());
  ASSERT_EQ(pair.connected->Write("ping", 4), 4);
  ASSERT_EQ(::shutdown(pair.b.get(), SHUT_WR), 0);  // without a word of TLS
  char bytes[100];
  ASSERT_EQ(pair.accepted->Read(bytes, sizeof bytes), 4);
  for (int i = 0; i < 3; ++i) ASSERT_EQ(pair.accepted->Read(bytes, sizeof bytes), 0);
  ASSERT_EQ(pair.accepted->Write("pong", 4), 4);
  ASSERT_EQ(pair.connected->Read(bytes, sizeof bytes), 4);
  pair.accepted->Finish();
  EXPECT_EQ(pair.connected->Read(bytes, sizeof bytes), 0);
}

TEST_F(TlsTest, CertificatesOfClients) {
  Issue("expired", {.name = "expired", .from_days = -20, .to_days = -10});
  Issue("early", {.name = "early", .from_days = 10, .to_days = 20});
  Issue("wrong-usage", {.name = "wrong usage", .usage = "serverAuth"});
  Issue("right-usage", {.name = "right usage", .usage = "clientAuth"});
  Write("stranger", Issued({.name = "stranger"}, &other_ca_));
  Write("alone", Issued({.name = "alone"}, nullptr));
  const auto none = [&] { return TlsContext::ForTool(Trusting(), true); };
  struct Case {
    const char* name;
    const char* why;  // empty: it is let in
  };
  for (const Case& c : {Case{"us", ""}, Case{"right-usage", ""}, Case{"", "it shows no certificate"},
                        Case{"expired", "certificate has expired"}, Case{"early", "certificate is not yet valid"},
                        Case{"wrong-usage", "certificate purpose"}, Case{"stranger", "unable to get local issuer certificate"},
                        Case{"alone", "self-signed certificate"}}) {
    const std::string name = c.name;
    const std::string why = c.why;
    Pair pair(Well(TlsContext::ForClients(Files("eu"), TlsAuth::kYes)),
              Well(name.empty() ? none() : TlsContext::ForTool(Files(name), true)), "eu");
    pair.Shake();
    EXPECT_EQ(pair.server == Tls::Progress::kDone, why.empty()) << name << ": " << pair.accepted->error();
    EXPECT_NE(pair.accepted->error().find(why), std::string::npos) << name << ": " << pair.accepted->error();
    if (!why.empty()) {
      // The client is told by an alert, behind a handshake that was done for it.
      char bytes[10];
      EXPECT_EQ(pair.connected->Read(bytes, sizeof bytes), -1) << name;
      EXPECT_NE(pair.connected->error().find("the other end refuses"), std::string::npos) << name << ": " << pair.connected->error();
    }
    // Optional: none will do, a bad one will not. Not asked: all will do.
    Pair optional(Well(TlsContext::ForClients(Files("eu"), TlsAuth::kOptional)),
                  Well(name.empty() ? none() : TlsContext::ForTool(Files(name), true)), "eu");
    optional.Shake();
    EXPECT_EQ(optional.server == Tls::Progress::kDone, why.empty() || name.empty()) << name;
    Pair any(Well(TlsContext::ForClients(Files("eu"), TlsAuth::kNo)),
             Well(name.empty() ? none() : TlsContext::ForTool(Files(name), true)), "eu");
    any.Shake();
    EXPECT_TRUE(any.well()) << name;
  }
}

TEST_F(TlsTest, WhomATool) {
  Write("stranger", Issued({.name = "eu", .alternatives = "DNS:eu"}, &other_ca_));
  const auto why = [&](const std::string& server, const std::string& host, bool verify) {
    Pair pair(Well(TlsContext::ForClients(Files(server), TlsAuth::kNo)), Well(TlsContext::ForTool(Trusting(), verify)), host);
    pair.Shake();
    return pair.connected->error();
  };
  EXPECT_EQ(why("eu", "eu", true), "");
  EXPECT_EQ(why("eu", "127.0.0.1", true), "");
  EXPECT_NE(why("eu", "us", true).find("hostname mismatch"), std::string::npos) << why("eu", "us", true);
  EXPECT_NE(why("eu", "127.0.0.2", true).find("IP address mismatch"), std::string::npos) << why("eu", "127.0.0.2", true);
  EXPECT_NE(why("stranger", "eu", true).find("its certificate is refused"), std::string::npos);
  EXPECT_EQ(why("stranger", "", false), "");
}

TEST_F(TlsTest, FilesThatCannotBeUsed) {
  Issued({.name = "locked"}, &ca_).WriteKey(Path("locked.key"), "a pass phrase");
  std::FILE* file = std::fopen(Path("text").c_str(), "we");
  ASSERT_NE(file, nullptr);
  std::fputs("no certificate\n", file);
  std::fclose(file);
  const auto why = [&](const std::function<void(TlsFiles&)>& change) {
    TlsFiles files = Files("eu");
    change(files);
    auto made = TlsContext::ForPeers(files);
    EXPECT_FALSE(made.ok());
    const std::string text = made.ok() ? "" : made.status().message();
    EXPECT_EQ(text.find('\n'), std::string::npos);
    return text;
  };
  const auto expect = [](const std::string& text, std::initializer_list<const char*> words) {
    for (const char* word : words) EXPECT_NE(text.find(word), std::string::npos) << word << " in " << text;
  };
  expect(why([&](TlsFiles& f) { f.cert = Path("none"); }), {"No such file", "/none", "--tls-cert-file"});
  expect(why([&](TlsFiles& f) { f.key = Path("none"); }), {"No such file", "/none", "--tls-key-file"});
  expect(why([&](TlsFiles& f) { f.ca = Path("none"); }), {"No such file", "/none", "--tls-ca-cert-file"});
  expect(why([&](TlsFiles& f) { f.cert = dir_; }), {"Is a directory", "--tls-cert-file"});
  expect(why([&](TlsFiles& f) { f.cert = Path("text"); }), {"holds no certificate", "/text", "--tls-cert-file"});
  expect(why([&](TlsFiles& f) { f.key = Path("text"); }), {"holds no key", "/text", "--tls-key-file"});
  expect(why([&](TlsFiles& f) { f.ca = Path("text"); }), {"holds no certificate of a CA", "/text", "--tls-ca-cert-file"});
  expect(why([&](TlsFiles& f) { f.key = Path("us.key"); }), {"does not fit", "us.key", "eu.crt", "--tls-key-file"});
  expect(why([&](TlsFiles& f) { f.key = Path("locked.key"); }), {"pass phrase", "locked.key"});
  expect(why([&](TlsFiles& f) { f.ca = ""; }), {"need a CA", "--tls-ca-cert-file"});
  expect(why([&](TlsFiles& f) { f.ca_dir = Path("nowhere"); }), {"/nowhere", "--tls-ca-cert-dir"});
  expect(why([&](TlsFiles& f) { f.key = ""; }), {"--tls-cert-file", "--tls-key-file"});
}

TEST_F(TlsTest, OwnNamesAndDates) {
  auto eu = Well(TlsContext::ForPeers(Files("eu")));
  EXPECT_EQ(eu->own_names(), (std::vector<std::string>{"eu", "localhost"}));
  EXPECT_EQ(eu->warning(), "");
  Issue("old", {.name = "old", .from_days = -20, .to_days = -10});
  EXPECT_NE(Well(TlsContext::ForPeers(Files("old")))->warning().find("has expired"), std::string::npos);
  Issue("early", {.name = "early", .from_days = 10, .to_days = 20});
  EXPECT_NE(Well(TlsContext::ForPeers(Files("early")))->warning().find("not valid yet"), std::string::npos);
}

// ---- on a loop

// A client by TLS that waits.
class Secure {
 public:
  Secure(int port, std::shared_ptr<const TlsContext> context) : peer_(port) {
    EXPECT_EQ(::fcntl(peer_.fd(), F_SETFL, O_NONBLOCK), 0);
    tls_ = Tls::Connect(std::move(context), peer_.fd(), "");
    Tls::Progress progress = Tls::Progress::kUnderWay;
    while ((progress = tls_->Handshake()) == Tls::Progress::kUnderWay)
      Wait(static_cast<short>(tls_->handshake_events()));
    EXPECT_EQ(progress, Tls::Progress::kDone) << tls_->error();
  }
  void Send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t n = tls_->Write(bytes.data(), bytes.size());
      if (n > 0) {
        bytes.remove_prefix(static_cast<size_t>(n));
        continue;
      }
      ASSERT_EQ(errno, EAGAIN) << tls_->error();
      // The server may wait for its replies to be read.
      Wait(static_cast<short>(tls_->Events(true, true)));
      Take();
    }
  }
  void Ask(std::initializer_list<std::string_view> arguments) {
    std::string bytes;
    resp::AppendRequest(bytes, arguments);
    Send(bytes);
  }
  std::string Reply() {
    while (true) {
      if (reader_.Next() == resp::ReplyReader::State::kValue) return reader_.value().ToString();
      const bool open = Take();
      if (reader_.Next() == resp::ReplyReader::State::kValue) return reader_.value().ToString();
      if (!open) return "closed" + (tls_->error().empty() ? "" : ": " + tls_->error());
      if (!tls_->pending()) Wait(static_cast<short>(tls_->Events(true, false)));
    }
  }
  std::string Call(std::initializer_list<std::string_view> arguments) {
    Ask(arguments);
    return Reply();
  }
  void FinishSending() { peer_.FinishSending(); }  // the socket's, without a word of TLS

 private:
  bool Take() {
    char bytes[10'000];  // less than a record: it keeps some
    ssize_t got = 0;
    while ((got = tls_->Read(bytes, sizeof bytes)) > 0) reader_.Feed({bytes, static_cast<size_t>(got)});
    return got < 0 && errno == EAGAIN;
  }
  void Wait(short events) {
    pollfd polled{.fd = peer_.fd(), .events = events, .revents = 0};
    EXPECT_EQ(::poll(&polled, 1, 20'000), 1);
  }

  Peer peer_;
  std::unique_ptr<Tls> tls_;
  resp::ReplyReader reader_;
};

TEST_F(TlsTest, ClientsOfALoop) {
  Server server({}, false, Well(TlsContext::ForClients(Files("eu"), TlsAuth::kYes)));
  ASSERT_NE(server.loop.tls_port(), 0);
  auto context = Well(TlsContext::ForTool(Files("us"), true));
  Secure client(server.loop.tls_port(), context);
  EXPECT_EQ(client.Call({"ECHO", "hello"}), Text("hello"));
  // Long requests and replies, many at once.
  const std::string large = Noise(3'000'000);
  for (int i = 0; i < 8; ++i) client.Ask({"ECHO", large});
  for (int i = 0; i < 1000; ++i) client.Ask({"ECHO", std::to_string(i)});
  const std::string expected = Text(large);
  for (int i = 0; i < 8; ++i) ASSERT_TRUE(client.Reply() == expected);
  for (int i = 0; i < 1000; ++i) ASSERT_EQ(client.Reply(), Text(std::to_string(i)));
  EXPECT_EQ(client.Call({"BIG", "10000000"}).size(), 10'000'002u);
  // One that is closed by another client, and one that waits.
  Secure other(server.loop.tls_port(), context);
  const std::string id = other.Call({"ID"});
  other.Ask({"WAIT", "for it"});
  server.toy.Await("suspended ");
  EXPECT_EQ(client.Call({"RESUME", id}), "+OK");
  EXPECT_EQ(other.Reply(), Text("for it"));
  EXPECT_EQ(client.Call({"KILL", id}), "+OK");
  EXPECT_EQ(other.Reply(), "closed");
  // Plain clients are served beside them.
  Peer plain(server.loop.port());
  EXPECT_EQ(plain.Call({"COUNT"}), "2");
  EXPECT_EQ(server.StatsAtEnd().tls_handshakes, 2u);
}

TEST_F(TlsTest, AClientThatHasFinishedSendingGetsItsReplies) {
  Server server({}, false, Well(TlsContext::ForClients(Files("eu"), TlsAuth::kNo)));
  Secure client(server.loop.tls_port(), Well(TlsContext::ForTool(Trusting(), true)));
  for (int i = 0; i < 1000; ++i) client.Ask({"ECHO", std::to_string(i)});
  client.Ask({"HOLD", "held"});
  client.FinishSending();
  for (int i = 0; i < 1000; ++i) ASSERT_EQ(client.Reply(), Text(std::to_string(i)));
  server.MakeDurable(1);
  EXPECT_EQ(client.Reply(), Text("held"));
  EXPECT_EQ(client.Reply(), "closed");
  server.toy.Await("close 1");
}

// The end of its request is within TLS, and the socket does not tell of it any more: others take all the time of each tick.
TEST_F(TlsTest, WhatTlsHoldsIsReadHoweverBusyTheLoopIs) {
  LoopOptions options;
  options.tick_clients_us = 5000;
  Server server(options, false, Well(TlsContext::ForClients(Files("eu"), TlsAuth::kNo)));
  Secure client(server.loop.tls_port(), Well(TlsContext::ForTool(Trusting(), true)));
  EXPECT_EQ(client.Call({"ECHO", "x"}), Text("x"));
  constexpr int kCallsMax = 150;
  std::atomic<bool> done = false;
  std::atomic<int> given_up = 0;
  std::atomic<int> calls = 0;
  std::vector<std::thread> busy;
  for (int i = 0; i < 4; ++i) {
    busy.emplace_back([&] {
      Peer peer(server.loop.port());
      int n = 0;
      for (; n < kCallsMax && !done; ++n) {
        peer.Call({"SPIN", "12"});
        ++calls;
      }
      if (n == kCallsMax) ++given_up;
    });
  }
  while (calls < 8) std::this_thread::yield();
  const std::string large = Noise(66'000);
  EXPECT_TRUE(client.Call({"ECHO", large}) == Text(large));
  EXPECT_EQ(given_up, 0);
  done = true;
  for (std::thread& thread : busy) thread.join();
}

TEST_F(TlsTest, SilentStrangersLockNobodyOut) {
  LoopOptions options;
  options.maxclients = 4;
  options.tls_handshakes_max = 2;
  options.tls_peer_handshakes_max = 2;
  options.links_max = 1;
  Server eu(options, false, Well(TlsContext::ForClients(Files("eu"), TlsAuth::kNo)), Well(TlsContext::ForPeers(Files("eu"))));
  auto context = Well(TlsContext::ForTool(Trusting(), true));
  Peer plain(eu.loop.port());
  EXPECT_EQ(plain.Call({"ECHO", "x"}), Text("x"));
  // The oldest one makes room for who comes behind it, whatever it has said.
  Peer first(eu.loop.tls_port());
  first.Send("\x16");
  Peer second(eu.loop.tls_port());
  Secure client(eu.loop.tls_port(), context);
  EXPECT_EQ(client.Call({"ECHO", "y"}), Text("y"));
  EXPECT_EQ(first.AllBytes(), "");
  eu.toy.Await("denied a client at 127.0.0.1 is refused: no handshake of TLS, and too many others");
  // As many as clients there may be, two of them served.
  Peer third(eu.loop.tls_port());
  Peer more(eu.loop.port());
  EXPECT_EQ(more.Call({"ECHO", "z"}), Text("z"));
  EXPECT_EQ(second.AllBytes(), "");
  Peer last(eu.loop.port());
  EXPECT_EQ(last.Call({"ECHO", "z"}), Text("z"));
  EXPECT_EQ(third.AllBytes(), "");
  Peer beyond(eu.loop.port());
  EXPECT_EQ(beyond.AllBytes(), "-ERR max number of clients reached\r\n");
  // Peers: their handshakes take no link's place.
  Peer silent(eu.loop.peer_port());
  Peer silent_too(eu.loop.peer_port());
  Server us({}, false, nullptr, Well(TlsContext::ForPeers(Files("us"))));
  Peer at_us(us.loop.port());
  const std::string address = "127.0.0.1:" + std::to_string(eu.loop.peer_port());
  EXPECT_EQ(at_us.Call({"DIAL", address}), "+OK");
  us.toy.Await("up " + address);
  eu.toy.Await("up ");
  EXPECT_EQ(silent.AllBytes(), "");
  const LoopStats& stats = eu.StatsAtEnd();
  EXPECT_EQ(stats.clients_rejected, 1u);
  EXPECT_EQ(stats.links_rejected, 0u);
}

TEST_F(TlsTest, HandshakesThatFailCloseOnlyThemselves) {
  LoopOptions options;
  options.tls_handshake_ms = 2000;
  Server server(options, false, Well(TlsContext::ForClients(Files("eu"), TlsAuth::kYes)));
  auto context = Well(TlsContext::ForTool(Files("us"), true));
  Secure before(server.loop.tls_port(), context);
  Peer silent(server.loop.tls_port());
  Peer half(server.loop.tls_port());
  half.Send(std::string_view("\x16\x03\x01\x02\x00\x01\x00", 7));
  Peer garbage(server.loop.tls_port());
  garbage.Send("\x16\x03\x01" + Noise(2000));
  EXPECT_NE(server.toy.Await("denied a client at 127.0.0.1 is refused: TLS failed").find("TLS failed"), std::string::npos);
  Peer resp(server.loop.tls_port());
  EXPECT_NE(resp.Call({"PING"}).find("speaks TLS only"), std::string::npos);
  EXPECT_EQ(resp.Reply(), "closed");
  server.toy.Await("denied a client at 127.0.0.1 is refused: it does not speak TLS");
  {
    // Its handshake seems done to it; the refusal comes behind.
    Secure nobody(server.loop.tls_port(), Well(TlsContext::ForTool(Trusting(), true)));
    EXPECT_NE(nobody.Reply().find("the other end refuses"), std::string::npos);
  }
  server.toy.Await("denied a client at 127.0.0.1 is refused: it shows no certificate");
  EXPECT_EQ(silent.AllBytes(), "");
  half.AllBytes();
  server.toy.Await("denied a client at 127.0.0.1 is refused: no handshake of TLS within 2000 ms");
  EXPECT_EQ(before.Call({"ECHO", "still here"}), Text("still here"));
  Secure after(server.loop.tls_port(), context);
  EXPECT_EQ(after.Call({"ECHO", "new"}), Text("new"));
  EXPECT_EQ(server.StatsAtEnd().tls_handshakes_failed, 5u);
}

TEST_F(TlsTest, PeersOfALoop) {
  Server eu({}, false, nullptr, Well(TlsContext::ForPeers(Files("eu"))));
  Server us({}, false, nullptr, Well(TlsContext::ForPeers(Files("us"))));
  const std::string address = "127.0.0.1:" + std::to_string(us.loop.peer_port());
  Peer at_eu(eu.loop.port());
  Peer at_us(us.loop.port());
  EXPECT_EQ(at_eu.Call({"DIAL", address}), "+OK");
  eu.toy.Await("up " + address);
  us.toy.Await("up ");
  // Each knows the other one by its certificate.
  EXPECT_EQ(at_eu.Call({"REFUSAL", "us"}), Text(""));
  EXPECT_EQ(at_us.Call({"REFUSAL", "eu"}), Text(""));
  EXPECT_EQ(at_us.Call({"REFUSAL", "us"}), Text("its certificate is for 'eu', 'localhost'"));
  EXPECT_EQ(at_eu.Call({"REFUSAL", "asia"}), Text("its certificate is for 'us'"));
  EXPECT_EQ(at_eu.Call({"LINK", "echo hello"}), "+OK");
  us.toy.Await("message 10 echo hello");
  eu.toy.Await("message 5 hello");
  at_eu.Call({"LINKBIG", "20000000"});
  us.toy.Await("message 20000000 mmm");
  at_us.Call({"LINKBIG", "20000000"});
  eu.toy.Await("message 20000000 mmm");
  us.Stop();
  eu.toy.Await("down");
}

TEST_F(TlsTest, PeersThatAreRefused) {
  Issue("expired", {.name = "expired", .alternatives = "DNS:expired", .from_days = -20, .to_days = -10});
  Write("stranger", Issued({.name = "us", .alternatives = "DNS:us"}, &other_ca_));
  Server eu({}, false, nullptr, Well(TlsContext::ForPeers(Files("eu"))));
  const std::string to_eu = "127.0.0.1:" + std::to_string(eu.loop.peer_port());
  Peer at_eu(eu.loop.port());
  for (const auto& [name, why] : {std::pair{"expired", "certificate has expired"},
                                  std::pair{"stranger", "unable to get local issuer certificate"}}) {
    Server other({}, false, nullptr, Well(TlsContext::ForPeers(Files(name))));
    const std::string to_other = "127.0.0.1:" + std::to_string(other.loop.peer_port());
    Peer at_other(other.loop.port());
    at_other.Call({"DIAL", to_eu});
    eu.toy.Await(std::string("denied a peer at 127.0.0.1 is refused: its certificate is refused: ") + why);
    EXPECT_NE(other.toy.Await("denied " + to_eu + " the link with the peer at").find("the other end refuses"), std::string::npos);
    at_eu.Call({"DIAL", to_other});
    eu.toy.Await("denied " + to_other + " the peer at " + to_other + " is refused: its certificate is refused: " + why);
    eu.toy.Await("failed " + to_other);
    EXPECT_NE(other.toy.Await("denied a peer at 127.0.0.1").find("the other end refuses"), std::string::npos);
  }
  // Without TLS, in both directions; each end says so.
  Server plain;
  const std::string to_plain = "127.0.0.1:" + std::to_string(plain.loop.peer_port());
  Peer at_plain(plain.loop.port());
  at_eu.Call({"DIAL", to_plain});
  plain.toy.Await("denied the peer at 127.0.0.1 is refused: it speaks TLS");
  at_plain.Call({"DIAL", to_eu});
  plain.toy.Await("up " + to_eu);
  at_plain.Call({"LINK", "a first message"});
  eu.toy.Await("denied a peer at 127.0.0.1 is refused: it does not speak TLS");
  plain.toy.Await("denied " + to_eu + " the peer at " + to_eu + " is refused: it speaks TLS");
}

}  // namespace
}  // namespace polyarch::net
