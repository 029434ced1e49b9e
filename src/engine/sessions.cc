// What is carried from leader to leader by clients (SESSION), and who holds what they wrote (WAIT).
#include <algorithm>

#include "base/planted.h"
#include "clock/session_token.h"
#include "engine/engine.h"

namespace polyarch::engine {

namespace {
constexpr size_t kNamedMax = 5;  // origins in an error
}  // namespace

size_t Engine::Holders(uint64_t dot) {
  if (dot == 0) return replica_.members().size() - replica_.members().count(options_.leader_id);
  const clock::Dot wanted = clock::Dot::FromBits(dot);
  if (replica_.own() && wanted.origin() == *replica_.own()) replica_.WantReceipts(wanted.sequence());
  return replica_.Holders(wanted);
}

command::SessionMark Engine::MarkSession() {
  clock::SessionToken token{.cluster = cluster_id_, .entries = {}};
  for (const auto& [origin, sequence] : replica_.Listed(replica_.applied()))
    token.entries.emplace_back(origins_.Get(origin), sequence);
  return {clock::EncodeSessionToken(token), log_.end() + (frame_open_ ? 1 : 0)};
}

bool Engine::IsDurable(uint64_t position) {
  if (log_.durable() >= position || PLANTED(kTokenUndurable)) return true;
  sync_wanted_ = true;
  return false;
}

// It is lost if its origin has ended, and every member that counts has claimed the record of that without having it: what a
// claim covers it has on disk, with all that it rests on. (A fold alone is no proof: it does not wait for a silent member.)
bool Engine::IsLost(clock::OriginIndex origin, uint64_t sequence) const {
  if (replica_.IsLive(origin)) return false;
  auto ended = ended_.find(origin);
  if (ended == ended_.end() || ended->second.empty()) {
    const uint64_t folded = replica_.FoldedAt(origin);
    return folded != 0 && folded < sequence;
  }
  const auto& members = replica_.members();
  return std::all_of(members.begin(), members.end(), [&](const auto& entry) {
    if (entry.second.away) return true;
    const clock::VersionVector claim = replica_.Claim(entry.first);
    const auto& records = ended->second;
    return claim.Get(origin) < sequence &&
           std::all_of(records.begin(), records.end(), [&](clock::Dot dot) { return claim.Covers(dot); });
  });
}

command::SessionLack Engine::LackOf(const clock::SessionToken& token, bool all) {
  command::SessionLack lack;
  // Whoever belonged to no cluster yet had seen nothing.
  lack.foreign = cluster_id_ != 0 && token.cluster != 0 && token.cluster != cluster_id_;
  size_t missing = 0;
  size_t lost = 0;
  auto name = [](std::string& out, size_t& count, const clock::Origin& origin, uint64_t from, uint64_t to) {
    if (++count > kNamedMax + 1) return;
    if (!out.empty()) out += ' ';
    out += count > kNamedMax ? "..." : origin.ToString() + ":" + std::to_string(from) + ".." + std::to_string(to);
  };
  for (const auto& [origin, sequence] : token.entries) {
    const auto index = origins_.Find(origin);
    const uint64_t applied = index ? replica_.applied().Get(*index) : 0;
    if (applied >= sequence) continue;
    if (PLANTED(kSessionOneOrigin) && &origin != &token.entries.front().first) continue;
    if (index && IsLost(*index, sequence)) {
      name(lack.lost, lost, origin, applied + 1, sequence);
    } else {
      name(lack.missing, missing, origin, applied + 1, sequence);
      if (!all) break;
    }
  }
  return lack;
}

}  // namespace polyarch::engine
