// Why the addresses of --join lead to no member: what the log says while a leader waits for its
// admission. Hears what the event loop tells of links; knows nothing of the protocol.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "net/service.h"

namespace polyarch::server {

class JoinWatch {
 public:
  // `own`: the address under which others reach this leader.
  JoinWatch(const std::vector<std::string>& addresses, const std::string& own);

  void DialFailed(const std::string& address, std::string reason);
  // The link that was dialed so is about to go, for this.
  void Refused(const std::string& address, const std::string& reason);
  void LinkUp(net::LinkId link, const std::string& dialed);
  void Heard(net::LinkId link);
  void LinkDown(net::LinkId link);

  // The lines that are due, while this leader is not admitted: some seconds after the first call, then
  // every minute. Of addresses that lead to somebody there is none.
  std::vector<std::string> Due(int64_t now_us);

 private:
  struct Link {
    std::string address;
    bool heard = false;
    std::string refused;  // why, if it is known
  };
  std::map<std::string, std::string, std::less<>> reasons_;  // by address; empty: none known
  std::map<net::LinkId, Link> links_;                        // to these addresses
  int64_t due_us_ = -1;
};

}  // namespace polyarch::server
