#include "server/join_watch.h"

#include <cctype>

namespace polyarch::server {

namespace {

constexpr int64_t kFirstUs = 2'000'000;
constexpr int64_t kAgainUs = 60'000'000;
constexpr char kSilent[] =
    "speaks no peer protocol (a client or HTTP port? The peer port is the client port + 1000 unless --peer-port says "
    "otherwise), or has not joined itself: one leader must found the cluster, without --join";

}  // namespace

JoinWatch::JoinWatch(const std::vector<std::string>& addresses, const std::string& own) {
  for (const std::string& address : addresses)
    reasons_[address] = address == own ? "this is this leader's own address: name another member's" : "";
}

void JoinWatch::DialFailed(const std::string& address, std::string reason) {
  auto known = reasons_.find(address);
  if (known == reasons_.end()) return;
  if (!reason.empty()) reason[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(reason[0])));
  known->second = std::move(reason);
}

void JoinWatch::LinkUp(net::LinkId link, const std::string& dialed) {
  if (reasons_.count(dialed) != 0) links_[link] = {dialed};
}

void JoinWatch::Refused(const std::string& address, const std::string& reason) {
  for (auto& [id, link] : links_) {
    if (link.address == address) link.refused = reason;
  }
}

void JoinWatch::Heard(net::LinkId link) {
  auto known = links_.find(link);
  if (known == links_.end() || known->second.heard) return;
  known->second.heard = true;
  reasons_[known->second.address].clear();
}

void JoinWatch::LinkDown(net::LinkId link) {
  auto known = links_.find(link);
  if (known == links_.end()) return;
  const Link& gone = known->second;
  reasons_[gone.address] =
      !gone.refused.empty() ? gone.refused
      : gone.heard ? "the link is ended at once (this leader's own port? another cluster, or another version?)"
                          : kSilent;
  links_.erase(known);
}

std::vector<std::string> JoinWatch::Due(int64_t now_us) {
  if (due_us_ < 0) due_us_ = now_us + kFirstUs;
  if (now_us < due_us_) return {};
  due_us_ = now_us + kAgainUs;
  for (const auto& [id, link] : links_) {
    if (!link.heard) reasons_[link.address] = kSilent;
  }
  std::vector<std::string> lines;
  for (const auto& [address, reason] : reasons_) {
    if (!reason.empty()) lines.push_back("cannot join: " + address + ": " + reason);
  }
  return lines;
}

}  // namespace polyarch::server
