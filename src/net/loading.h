// Who connects while this process still reads its data is told so, instead of being kept waiting: a client gets
// Redis's -LOADING, to which clients try again, and is closed; an HTTP request gets 503, and /healthz 200, since a
// process that is busy reading is well. Peers wait: theirs is the time; so do clients by TLS, whom no word reaches without a handshake.
//
// It begins after a quarter of a second. A thread of its own on listening sockets that it does not own, from its construction to its destruction; whoever
// comes behind that is left for the loop.
#pragma once

#include <thread>
#include <vector>

#include "net/listener.h"

namespace polyarch::net {

class Loading {
 public:
  // `listeners`: none for peers, none for TLS; they outlive this.
  explicit Loading(std::vector<const Listener*> listeners);
  ~Loading();
  Loading(const Loading&) = delete;
  Loading& operator=(const Loading&) = delete;

 private:
  void Run();

  std::vector<const Listener*> listeners_;
  Fd stop_;
  std::thread thread_;
};

}  // namespace polyarch::net
