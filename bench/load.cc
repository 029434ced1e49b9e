// Load and lag, for the benchmarks (bench/*.py): pipelined commands over a few connections, and how
// long a write at one server takes to show at another.
//
//   polyarch-bench-load --load PORT:RATE [--load ...] --seconds S     open loop: RATE commands a
//   second polyarch-bench-load --load PORT:0 --count N                       closed loop: as fast
//   as it goes
//     [--connections 4] [--pipeline 16] [--keys 100000] [--first-key 0] [--sequential]
//     [--value-size 16]
//     [--mix SET,GET,INCR percentages, e.g. 100,0,0] [--probe PORT_A:PORT_B]
//
// Open loop: latencies count from when a batch was due, so a server that stalls cannot hide it by
// stalling the load. A probe is a key written at A every 2 ms with the time of sending in it and
// read at B over and over; its lag is the time from sending the write at A to the first reply of B
// that shows it or a later one. Prints one JSON object. One thread a --load, one to write and one
// to read probes.
#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <fcntl.h>
#include <mutex>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <random>
#include <string>
#include <string_view>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>
#include <vector>

namespace {

struct Options {
  struct Load {
    int port = 0;
    double rate = 0;  // commands a second; 0: closed loop
  };
  std::vector<Load> loads;
  int connections = 4;
  int pipeline = 16;
  uint64_t keys = 100'000;
  uint64_t first_key = 0;
  bool sequential = false;
  int value_size = 16;
  int set_percent = 100;
  int get_percent = 0;
  uint64_t count = 0;
  double seconds = 10;
  int probe_from = 0;
  int probe_to = 0;
};

constexpr int64_t kProbeIntervalNs = 2'000'000;
constexpr int64_t kProbePauseNs = 20'000;
constexpr size_t kOutstandingBatchesMax =
    256;  // a connection; then the load falls behind, and shows it

[[noreturn]] void Fail(const std::string& text) {
  std::fprintf(stderr, "polyarch-bench-load: %s\n", text.c_str());
  std::exit(1);
}

int64_t NowNs() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

int Connect(int port) {
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    Fail("no connection to port " + std::to_string(port) + ": " + std::strerror(errno));
  }
  int one = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  return fd;
}

// Counts whole replies in a stream (+, -, : and $ only); an error reply ends the program.
class ReplyCounter {
 public:
  uint64_t Feed(std::string_view bytes) {
    uint64_t replies = 0;
    while (!bytes.empty()) {
      if (skip_ > 0) {
        size_t step = std::min(skip_, bytes.size());
        skip_ -= step;
        bytes.remove_prefix(step);
        if (skip_ == 0) ++replies;
        continue;
      }
      size_t end = bytes.find('\n');
      line_.append(bytes.substr(0, end == std::string_view::npos ? bytes.size() : end + 1));
      if (end == std::string_view::npos) return replies;
      bytes.remove_prefix(end + 1);
      if (line_[0] == '-') Fail("the server answered " + line_);
      int64_t size = line_[0] == '$' ? std::atoll(line_.c_str() + 1) : -1;
      if (size >= 0) {
        skip_ = static_cast<size_t>(size) + 2;
      } else {
        ++replies;
      }
      line_.clear();
    }
    return replies;
  }

 private:
  std::string line_;
  size_t skip_ = 0;
};

struct Latencies {
  std::vector<int64_t> ns;

  double Quantile(double q) {
    if (ns.empty()) return 0;
    size_t index = std::min(ns.size() - 1, static_cast<size_t>(q * static_cast<double>(ns.size())));
    std::nth_element(ns.begin(), ns.begin() + static_cast<ptrdiff_t>(index), ns.end());
    return static_cast<double>(ns[index]) / 1e6;
  }
};

class Loader {
 public:
  Loader(const Options& options, Options::Load load, uint64_t seed)
      : options_(options), load_(load), random_(seed), next_key_(options.first_key) {
    value_.assign(static_cast<size_t>(options.value_size), 'v');
    lanes_.resize(static_cast<size_t>(options.connections));
    for (Lane& lane : lanes_) {
      lane.fd = Connect(load.port);
      fcntl(lane.fd, F_SETFL, O_NONBLOCK);
    }
  }

  void Run() {
    begin_ns_ = NowNs();
    int64_t end_ns = begin_ns_ + static_cast<int64_t>(options_.seconds * 1e9);
    while (true) {
      int64_t now = NowNs();
      bool sending = options_.count > 0 ? sent_ < options_.count : now < end_ns;
      if (sending) SendDue(now);
      if (!sending && done_ == sent_) break;
      WaitAndRead(sending);
    }
    elapsed_ns_ = NowNs() - begin_ns_;
    for (Lane& lane : lanes_)
      close(lane.fd);
  }

  void Print() {
    std::printf(
        "{\"port\": %d, \"commands\": %llu, \"seconds\": %.6f, \"rate\": %.0f, "
        "\"p50_ms\": %.4f, \"p99_ms\": %.4f}",
        load_.port,
        static_cast<unsigned long long>(done_),
        static_cast<double>(elapsed_ns_) / 1e9,
        static_cast<double>(done_) * 1e9 / static_cast<double>(elapsed_ns_),
        latencies_.Quantile(0.5),
        latencies_.Quantile(0.99));
  }

 private:
  struct Batch {
    int64_t due_ns;
    uint64_t size;
  };
  struct Lane {
    int fd = -1;
    std::string out;
    size_t written = 0;
    std::deque<Batch> waiting;
    uint64_t replies = 0;  // of the first waiting batch
    ReplyCounter counter;
  };

  void AppendBulk(std::string& out, std::string_view text) {
    char head[24];
    int size = std::snprintf(head, sizeof head, "$%zu\r\n", text.size());
    out.append(head, static_cast<size_t>(size));
    out.append(text);
    out.append("\r\n");
  }

  void AppendCommand(std::string& out) {
    uint64_t number =
        options_.sequential ? next_key_++ : options_.first_key + random_() % options_.keys;
    char key[32];
    int kind = static_cast<int>(random_() % 100);
    bool incr = kind >= options_.set_percent + options_.get_percent;
    std::snprintf(
        key, sizeof key, incr ? "n:%014llu" : "k:%014llu", static_cast<unsigned long long>(number));
    if (kind < options_.set_percent) {
      out.append("*3\r\n$3\r\nSET\r\n");
      AppendBulk(out, key);
      for (size_t i = 0; i < std::min<size_t>(8, value_.size()); ++i) {
        value_[i] = static_cast<char>('a' + random_() % 26);
      }
      AppendBulk(out, value_);
    } else {
      out.append(incr ? "*2\r\n$4\r\nINCR\r\n" : "*2\r\n$3\r\nGET\r\n");
      AppendBulk(out, key);
    }
  }

  void SendDue(int64_t now) {
    auto batch = static_cast<uint64_t>(options_.pipeline);
    for (size_t tried = 0; tried < lanes_.size();) {
      int64_t due = now;
      if (options_.count > 0) batch = std::min<uint64_t>(batch, options_.count - sent_);
      if (batch == 0) return;
      if (load_.rate > 0) {
        due = begin_ns_ + static_cast<int64_t>(static_cast<double>(sent_) / load_.rate * 1e9);
        if (due > now) return;
      }
      Lane& lane = lanes_[turn_++ % lanes_.size()];
      if (lane.waiting.size() >= (load_.rate > 0 ? kOutstandingBatchesMax : 1)) {
        ++tried;
        continue;
      }
      for (uint64_t i = 0; i < batch; ++i)
        AppendCommand(lane.out);
      lane.waiting.push_back({due, batch});
      sent_ += batch;
      Write(lane);
    }
  }

  void Write(Lane& lane) {
    while (lane.written < lane.out.size()) {
      ssize_t n = send(
          lane.fd, lane.out.data() + lane.written, lane.out.size() - lane.written, MSG_NOSIGNAL);
      if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
      if (n < 0) Fail(std::string("send: ") + std::strerror(errno));
      lane.written += static_cast<size_t>(n);
    }
    lane.out.clear();
    lane.written = 0;
  }

  void WaitAndRead(bool sending) {
    std::vector<pollfd> polls;
    for (Lane& lane : lanes_) {
      short events = POLLIN;
      if (!lane.out.empty()) events |= POLLOUT;
      polls.push_back({lane.fd, events, 0});
    }
    int64_t wait_ns = 100'000'000;
    if (sending && load_.rate > 0) {
      wait_ns =
          begin_ns_ + static_cast<int64_t>(static_cast<double>(sent_) / load_.rate * 1e9) - NowNs();
    }
    timespec timeout{};
    if (wait_ns > 0) timeout = {wait_ns / 1'000'000'000, wait_ns % 1'000'000'000};
    if (ppoll(polls.data(), polls.size(), &timeout, nullptr) <= 0) return;
    for (size_t i = 0; i < lanes_.size(); ++i) {
      if (polls[i].revents & POLLOUT) Write(lanes_[i]);
      if (polls[i].revents & (POLLIN | POLLHUP | POLLERR)) Read(lanes_[i]);
    }
  }

  void Read(Lane& lane) {
    ssize_t n = recv(lane.fd, buffer_, sizeof buffer_, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n <= 0) Fail("port " + std::to_string(load_.port) + " closed the connection");
    lane.replies += lane.counter.Feed({buffer_, static_cast<size_t>(n)});
    int64_t now = NowNs();
    while (!lane.waiting.empty() && lane.replies >= lane.waiting.front().size) {
      lane.replies -= lane.waiting.front().size;
      done_ += lane.waiting.front().size;
      latencies_.ns.push_back(now - lane.waiting.front().due_ns);
      lane.waiting.pop_front();
    }
  }

  const Options& options_;
  Options::Load load_;
  std::minstd_rand random_;
  uint64_t next_key_;
  std::string value_;
  std::vector<Lane> lanes_;
  size_t turn_ = 0;
  uint64_t sent_ = 0;
  uint64_t done_ = 0;
  int64_t begin_ns_ = 0;
  int64_t elapsed_ns_ = 0;
  Latencies latencies_;
  char buffer_[65536];
};

// One blocking request and its reply's payload.
std::string Ask(int fd, const std::string& request) {
  if (send(fd, request.data(), request.size(), MSG_NOSIGNAL) !=
      static_cast<ssize_t>(request.size())) {
    Fail("probe: cannot send");
  }
  std::string reply;
  char buffer[4096];
  ReplyCounter counter;
  uint64_t replies = 0;
  while (replies == 0) {
    ssize_t n = recv(fd, buffer, sizeof buffer, 0);
    if (n <= 0) Fail("probe: the server closed the connection");
    reply.append(buffer, static_cast<size_t>(n));
    replies += counter.Feed({buffer, static_cast<size_t>(n)});
  }
  if (reply[0] != '$' || reply[1] == '-') return "";
  size_t begin = reply.find('\n') + 1;
  return reply.substr(begin, reply.size() - begin - 2);
}

class Probe {
 public:
  Probe(int from, int to) : from_fd_(Connect(from)), to_fd_(Connect(to)) {}

  void Write() {
    int64_t next = NowNs();
    while (!stop_) {
      next += kProbeIntervalNs;
      std::this_thread::sleep_for(std::chrono::nanoseconds(std::max<int64_t>(0, next - NowNs())));
      char time[24];
      int64_t sent = NowNs();
      std::snprintf(time, sizeof time, "%020lld", static_cast<long long>(sent));
      {
        std::lock_guard lock(mutex_);
        unseen_.push_back(sent);
      }
      Ask(from_fd_, std::string("*3\r\n$3\r\nSET\r\n$10\r\nprobe:time\r\n$20\r\n") + time + "\r\n");
    }
    written_ = true;
  }

  void Read() {
    int64_t give_up = 0;
    while (true) {
      int64_t shown = std::atoll(Ask(to_fd_, "*2\r\n$3\r\nGET\r\n$10\r\nprobe:time\r\n").c_str());
      int64_t now = NowNs();
      {
        std::lock_guard lock(mutex_);
        while (!unseen_.empty() && unseen_.front() <= shown) {
          lags_.ns.push_back(now - unseen_.front());
          unseen_.pop_front();
        }
        if (written_ && give_up == 0) give_up = now + 60'000'000'000;
        if (written_ && (unseen_.empty() || now > give_up)) return;
      }
      std::this_thread::sleep_for(std::chrono::nanoseconds(kProbePauseNs));
    }
  }

  void Stop() { stop_ = true; }

  void Print() {
    std::printf(
        ", \"lag\": {\"count\": %zu, \"unseen\": %zu, \"p50_ms\": %.4f, \"p99_ms\": %.4f, "
        "\"max_ms\": %.4f}",
        lags_.ns.size(),
        unseen_.size(),
        lags_.Quantile(0.5),
        lags_.Quantile(0.99),
        lags_.Quantile(1));
  }

 private:
  int from_fd_;
  int to_fd_;
  std::atomic<bool> stop_ = false;
  std::atomic<bool> written_ = false;
  std::mutex mutex_;
  std::deque<int64_t> unseen_;
  Latencies lags_;
};

Options Parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    std::string_view name = argv[i];
    if (name == "--sequential") {
      options.sequential = true;
      continue;
    }
    if (i + 1 == argc) Fail("no value for " + std::string(name));
    const char* value = argv[++i];
    const char* colon = std::strchr(value, ':');
    if (name == "--load" && colon) {
      options.loads.push_back({std::atoi(value), std::atof(colon + 1)});
    } else if (name == "--probe" && colon) {
      options.probe_from = std::atoi(value);
      options.probe_to = std::atoi(colon + 1);
    } else if (name == "--connections") {
      options.connections = std::max(1, std::atoi(value));
    } else if (name == "--pipeline") {
      options.pipeline = std::max(1, std::atoi(value));
    } else if (name == "--keys") {
      options.keys = std::max<uint64_t>(1, std::strtoull(value, nullptr, 10));
    } else if (name == "--first-key") {
      options.first_key = std::strtoull(value, nullptr, 10);
    } else if (name == "--value-size") {
      options.value_size = std::max(0, std::atoi(value));
    } else if (name == "--count") {
      options.count = std::strtoull(value, nullptr, 10);
    } else if (name == "--seconds") {
      options.seconds = std::atof(value);
    } else if (name == "--mix") {
      if (std::sscanf(value, "%d,%d", &options.set_percent, &options.get_percent) != 2) {
        Fail("--mix is SET,GET,INCR in percent");
      }
    } else {
      Fail("unknown option " + std::string(name));
    }
  }
  if (options.loads.empty() && options.probe_from == 0)
    Fail("nothing to do; see the head of load.cc");
  return options;
}

}  // namespace

int main(int argc, char** argv) {
  Options options = Parse(argc, argv);
  std::deque<Loader> loaders;
  for (const Options::Load& load : options.loads) {
    loaders.emplace_back(options, load, loaders.size() + 1);
  }
  std::deque<std::thread> threads;
  std::deque<std::thread> probe_threads;
  std::deque<Probe> probe;
  for (Loader& loader : loaders)
    threads.emplace_back([&loader] { loader.Run(); });
  if (options.probe_from != 0) {
    probe.emplace_back(options.probe_from, options.probe_to);
    probe_threads.emplace_back([&probe] { probe.front().Write(); });
    probe_threads.emplace_back([&probe] { probe.front().Read(); });
  }
  for (std::thread& thread : threads)
    thread.join();
  if (!probe.empty()) {
    if (loaders.empty())
      std::this_thread::sleep_for(std::chrono::duration<double>(options.seconds));
    probe.front().Stop();
  }
  for (std::thread& thread : probe_threads)
    thread.join();
  std::printf("{\"loads\": [");
  for (size_t i = 0; i < loaders.size(); ++i) {
    if (i > 0) std::printf(", ");
    loaders[i].Print();
  }
  std::printf("]");
  if (!probe.empty()) probe.front().Print();
  std::printf("}\n");
}
