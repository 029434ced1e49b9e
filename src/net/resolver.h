// Looks names up without holding the loop: each lookup has a short-lived thread of its own, since
// the system's resolver blocks and cannot be cancelled. A lookup that outlives the Resolver ends
// unheard.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/status.h"
#include "net/socket.h"

namespace polyarch::net {

class Resolver {
 public:
  struct Answer {
    std::string address;  // as asked
    base::Result<std::vector<SocketAddress>> addresses;
  };

  // `wake` is called on another thread when there is an answer; never after the destructor.
  explicit Resolver(std::function<void()> wake);
  ~Resolver();
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;

  // False if too many lookups are under way.
  bool Start(std::string address, HostPort target);
  std::vector<Answer> Take();

 private:
  static constexpr int kLookupsMax = 16;

  struct Mailbox {
    std::mutex mutex;
    std::function<void()> wake;
    std::vector<Answer> answers;
    int under_way = 0;
  };
  std::shared_ptr<Mailbox> mailbox_;
  bool asked_ = false;  // spares Take the lock where only digits are dialed
};

}  // namespace polyarch::net
