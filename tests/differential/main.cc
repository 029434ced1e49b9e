// polyarch-differential: the same random commands to two servers, ours and a redis-server; replies are compared.
// The first difference is shown with its seed and what touched its keys before; exit status 1.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <deque>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <CLI/CLI.hpp>

#include "resp/reply.h"
#include "tests/differential/equal.h"
#include "tests/differential/generator.h"
#include "tests/differential/reply.h"

namespace polyarch::differential {
namespace {

constexpr size_t kBatch = 50;
constexpr size_t kHistory = 20'000;

class Connection {
 public:
  explicit Connection(int port) : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<uint16_t>(port));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::connect(socket_, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) {
      throw std::runtime_error("cannot connect to port " + std::to_string(port) + ": " + std::strerror(errno));
    }
    const int on = 1;
    (void)::setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }
  ~Connection() { ::close(socket_); }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  void Send(const std::vector<Words>& commands) {
    std::string bytes;
    for (const Words& words : commands) {
      const std::vector<std::string_view> views(words.begin(), words.end());
      resp::AppendRequest(bytes, views);
    }
    for (size_t at = 0; at < bytes.size();) {
      const ssize_t n = ::send(socket_, bytes.data() + at, bytes.size() - at, MSG_NOSIGNAL);
      if (n <= 0) throw std::runtime_error("a server closed the connection");
      at += static_cast<size_t>(n);
    }
  }

  Reply Receive() {
    Reply reply;
    for (;;) {
      if (const size_t size = at_ < buffer_.size() ? Read(std::string_view(buffer_).substr(at_), reply) : 0; size != 0) {
        at_ += size;
        return reply;
      }
      buffer_.erase(0, at_);
      at_ = 0;
      char bytes[65536];
      const ssize_t n = ::recv(socket_, bytes, sizeof bytes, 0);
      if (n <= 0) throw std::runtime_error("a server closed the connection");
      buffer_.append(bytes, static_cast<size_t>(n));
    }
  }

  Reply Ask(Words words) {
    Send({std::move(words)});
    return Receive();
  }

 private:
  int socket_;
  std::string buffer_;
  size_t at_ = 0;
};

std::string Shown(std::string_view bytes, size_t most) {
  std::string out;
  for (char c : bytes.substr(0, most)) {
    char text[8];
    if (c >= ' ' && c < 127) {
      out += c;
    } else {
      std::snprintf(text, sizeof text, "\\x%02x", static_cast<unsigned char>(c));
      out += text;
    }
  }
  return bytes.size() > most ? out + "..." : out;
}

std::string Shown(const Words& words) {
  std::string out;
  for (const std::string& word : words) out += " '" + Shown(word, 80) + "'";
  return out.substr(1);
}

// Of two replies, a part of the first that begins a little before they differ.
std::string FromDifference(const std::string& text, const std::string& other) {
  constexpr size_t kBefore = 150;
  const auto at = static_cast<size_t>(std::mismatch(text.begin(), text.end(), other.begin(), other.end()).first - text.begin());
  return at <= kBefore ? Shown(text, 400) : "..." + Shown(std::string_view(text).substr(at - kBefore), 400);
}

// What was asked, to tell how a difference came about.
class History {
 public:
  void Note(const Words& words, const Reply& reply) {
    entries_.push_back({++count_, words, Shown(reply.Text(), 100)});
    if (entries_.size() > kHistory) entries_.pop_front();
  }
  uint64_t count() const { return count_; }
  std::string Story(const Words& words) const {
    std::vector<const Entry*> related;
    for (const Entry& entry : entries_) {
      const std::string name = UpperCase(entry.words[0]);
      const bool meets = std::any_of(entry.words.begin() + 1, entry.words.end(), [&](const std::string& word) {
        return word.size() > 1 && std::find(words.begin() + 1, words.end(), word) != words.end();
      });
      if (meets || name == "SELECT" || name.starts_with("FLUSH")) related.push_back(&entry);
    }
    std::string out;
    for (size_t i = related.size() - std::min<size_t>(related.size(), 60); i < related.size(); ++i) {
      out += "    " + std::to_string(related[i]->number) + ": " + Shown(related[i]->words) + " -> " + related[i]->reply + "\n";
    }
    return out;
  }

 private:
  struct Entry {
    uint64_t number;
    Words words;
    std::string reply;
  };
  std::deque<Entry> entries_;
  uint64_t count_ = 0;
};

class Round {
 public:
  Round(Connection& ours, Connection& theirs, uint64_t seed, int protocol)
      : ours_(ours), theirs_(theirs), generator_(seed), seed_(seed), protocol_(protocol) {}

  void Run(uint64_t commands) {
    const Words hello = {"HELLO", std::to_string(protocol_)};
    (void)ours_.Ask(hello);
    (void)theirs_.Ask(hello);
    Both({{"FLUSHALL"}, {"SELECT", "0"}});
    while (history_.count() < commands) {
      std::vector<Words> batch;
      for (size_t i = 0; i < kBatch; ++i) batch.push_back(generator_.Next());
      Both(batch);
      if (history_.count() % 1000 < kBatch) MoveADump();
    }
  }
  uint64_t done() const { return history_.count(); }

 private:
  void Both(const std::vector<Words>& batch) {
    ours_.Send(batch);
    theirs_.Send(batch);
    for (const Words& words : batch) {
      const Reply ours = ours_.Receive();
      const Reply theirs = theirs_.Receive();
      history_.Note(words, theirs);
      if (Equal(words, ours, theirs)) continue;
      throw std::runtime_error("command " + std::to_string(history_.count()) + " of seed " + std::to_string(seed_) + " in RESP" +
                               std::to_string(protocol_) + ": " + Shown(words) + "\n  redis:    " + FromDifference(theirs.Text(), ours.Text()) +
                               "\n  polyarch: " + FromDifference(ours.Text(), theirs.Text()) + "\n  what touched its keys before (with redis's replies):\n" +
                               history_.Story(words));
    }
  }

  // What one of them dumps, both restore.
  void MoveADump() {
    const std::string key = generator_.AnyKey();
    for (Connection* from : {&ours_, &theirs_}) {
      const Reply dump = from->Ask({"DUMP", key});
      if (dump.type != '$' || dump.text == "-1") continue;
      Both({{"RESTORE", key, "0", dump.text, "REPLACE"}, {"RESTORE", key, "0", dump.text}, {"TYPE", key},
            {"RESTORE", key, "4000000000000", dump.text, "REPLACE", "ABSTTL"}, {"EXPIRETIME", key},
            {"RESTORE", key, "5000000", dump.text, "replace", "IDLETIME", "100"}, {"PTTL", key},
            {"RESTORE", key, "-1", dump.text, "REPLACE"}, {"RESTORE", key, "0", dump.text, "REPLACE", "FREQ", "256"},
            {"RESTORE", key, "0", dump.text, "REPLACE", "X"}, {"RESTORE", key, "0", dump.text + "x", "REPLACE"},
            {"RESTORE", key, "0", dump.text, "FREQ", "5", "REPLACE"}});
    }
  }

  Connection& ours_;
  Connection& theirs_;
  Generator generator_;
  uint64_t seed_;
  int protocol_;
  History history_;
};

int Main(int argc, char** argv) {
  CLI::App app("Sends the same random commands to a leader and to a redis-server, and compares the replies.");
  int ours_port = 0;
  int theirs_port = 0;
  uint64_t seed = 1;
  uint64_t commands = 300'000;
  uint64_t round = 10'000;
  app.add_option("--ours", ours_port, "the leader's port")->required();
  app.add_option("--theirs", theirs_port, "redis-server's port")->required();
  app.add_option("--seed", seed, "of the first round");
  app.add_option("--commands", commands, "how many in all");
  app.add_option("--round", round, "how many until everything is flushed and another seed begins");
  CLI11_PARSE(app, argc, argv);
  uint64_t done = 0;
  try {
    for (; done < commands; ++seed) {
      Connection ours(ours_port);
      Connection theirs(theirs_port);
      Round one(ours, theirs, seed, seed % 2 == 0 ? 3 : 2);
      one.Run(std::min(round, commands - done));
      done += one.done();
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  std::printf("%llu commands, all replies equal\n", static_cast<unsigned long long>(done));
  return 0;
}

}  // namespace
}  // namespace polyarch::differential

int main(int argc, char** argv) { return polyarch::differential::Main(argc, argv); }
