// Who is a member: admissions, retired ones, and joining again.
//
// A member is named by its leader's name and admitted under a nonce (member/<name>: "nonce floor", every version
// counts). LEADER RETIRE names the nonces that it takes out (retired/<name>). A leader all of whose admissions are
// retired is no member any more once every other member's claim covers that record and, while it is in reach, its own
// last claim has come, too: from then on it holds nothing back, and no link with it is kept. Joining again takes a fresh nonce, so it is a new admission of the old name.
#include <algorithm>

#include "base/planted.h"
#include "engine/engine.h"
#include "engine/rows.h"

namespace polyarch::engine {

namespace {

constexpr int64_t kRefusalAlarmUs = 60'000'000;
// So long it asks in vain before a retired leader that may join again admits itself.
constexpr int64_t kRejoinPatienceUs = 10'000'000;
// A retired leader that was in reach has so long to come back and hand over what it holds.
constexpr int64_t kLastWordGapUs = 10'000'000;
// So long it may take in all: one that cannot write, or tells nothing new, must not hold back the others for ever.
constexpr int64_t kLastWordPatienceUs = 600'000'000;

std::string NonceText(uint64_t nonce) {
  return clock::Origin{"", nonce}.ToString().substr(1);
}

uint64_t NonceOf(const std::string& text) {
  auto origin = clock::Origin::Parse("x." + text);
  return origin ? origin->incarnation : 0;
}

}  // namespace

bool Engine::Admissions::all_retired() const {
  return !nonces.empty() && std::all_of(nonces.begin(), nonces.end(), [&](const std::string& nonce) {
    return retired.count(nonce) != 0;
  });
}

void Engine::ReadMembers(std::map<std::string, Admissions> admissions) {
  std::erase_if(admissions, [](const auto& entry) { return entry.second.nonces.empty(); });
  // Leaders that retire each other at once would leave nobody: then whoever was retired last stays, and says so by an
  // admission of its own, before it admits others.
  const bool nobody = std::all_of(
      admissions.begin(), admissions.end(), [](const auto& entry) { return entry.second.all_retired(); });
  if (nobody && !admissions.empty()) {
    auto last = std::max_element(admissions.begin(), admissions.end(), [](const auto& a, const auto& b) {
      return a.second.retired_at < b.second.retired_at;
    });
    last->second.retired.clear();
    last->second.records.clear();
    // It may be asking to join again already; there is nobody to ask.
    admit_self_wanted_ = !replaying_ && cluster_id_ != 0 && last->first == options_.leader_id;
  }
  for (const auto& [name, a] : admissions) {
    const auto before = admissions_.find(name);
    if (before == admissions_.end() ||
        std::includes(before->second.nonces.begin(), before->second.nonces.end(), a.nonces.begin(), a.nonces.end())) {
      continue;
    }
    std::erase_if(estranged_, [&](const auto& entry) { return entry.first == name; });  // another process than that one
  }
  admissions_ = std::move(admissions);
  SettleRetirements();
  auto self = admissions_.find(options_.leader_id);
  const std::string nonce = NonceText(join_nonce_);
  const bool known = self != admissions_.end() && self->second.nonces.count(nonce) != 0;
  const bool retired = self != admissions_.end() && self->second.retired.count(nonce) != 0;
  if (replaying_) return;
  if (!admitted_) {
    // Each may be a member again by now, whatever the records here say.
    for (const auto& [name, a] : admissions_) {
      if (name != options_.leader_id && !a.member.address.empty()) replica_.AddJoin(a.member.address);
    }
  }
  if (retired && !retired_) {
    owes_claim_ = true;  // the last one
    Report(2,
           "this leader was retired from the cluster (LEADER RETIRE): it refuses writes and keeps its data; start "
           "it with --rejoin to join again as a new member");
  }
  // Its admission may have been retired before it knew of it.
  retired_ = retired;
  if (retired_ && options_.rejoin) rejoin_wanted_ = true;
  if (!admitted_ && options_.rejoin && self != admissions_.end()) {
    if (rejoin_since_us_ < 0) rejoin_since_us_ = now_.mono_us;
  } else {
    rejoin_since_us_ = -1;
  }
  if (!admitted_ && known && !retired) {
    admitted_ = true;
    replica_.SetJoining(false, join_nonce_);
    AppendIdentity();
    owes_claim_ = true;
    Report(0, "admitted: this leader accepts writes");
  }
}

void Engine::SettleRetirements() {
  auto settled = [&](const std::string& name, const Admissions& a) {
    return a.all_retired() && std::all_of(a.nonces.begin(), a.nonces.end(), [&](const std::string& nonce) {
             return settled_.count({name, nonce}) != 0;
           });
  };
  // Looked at each second, with what is over the same base.
  for (auto& [name, a] : admissions_) a.member.floor.Rebase(replica_.folds().base());
  auto set_members = [&] {
    std::map<std::string, replication::Member> members;
    for (const auto& [name, a] : admissions_) {
      if (!settled(name, a)) members[name] = a.member;
    }
    replica_.SetMembers(std::move(members));
  };
  set_members();
  bool more = false;
  for (const auto& [name, a] : admissions_) {
    const bool all = std::all_of(a.retired.begin(), a.retired.end(), [&](const std::string& nonce) {
      return settled_.count({name, nonce}) != 0;
    });
    if (all) continue;
    // "Once that record is covered by all remaining claims": until then it may still be told, and tell.
    const bool covered = std::all_of(admissions_.begin(), admissions_.end(), [&](const auto& other) {
      return other.second.all_retired() || HasClaimed(other.first, a.records);
    });
    if (!covered || (a.all_retired() && AwaitsLastWord(name, a))) continue;
    for (const std::string& nonce : a.retired) settled_.emplace(name, nonce);
    more = true;
  }
  if (more) set_members();
  std::set<std::pair<std::string, uint64_t>> refused;
  for (const auto& [name, a] : admissions_) {
    for (const std::string& nonce : a.retired) {
      if (settled_.count({name, nonce}) != 0) refused.emplace(name, NonceOf(nonce));
    }
  }
  replica_.SetRetired(std::move(refused));
  std::erase_if(retiring_, [&](const auto& entry) {
    auto it = admissions_.find(entry.first);
    return it == admissions_.end() || !it->second.all_retired() || settled(entry.first, it->second);
  });
}

bool Engine::HasClaimed(const std::string& name, const std::vector<clock::Dot>& dots) const {
  const clock::VersionVector claim = replica_.Claim(name);
  return std::all_of(dots.begin(), dots.end(), [&](clock::Dot dot) { return claim.Covers(dot); });
}

// A claim of the retired leader that covers the record is of a later tick than the one in which it learned of it (what a
// claim covers is durable): it refuses writes by then. Whoever has applied that claim has everything that the leader
// ever acknowledged, and all that it had of others.
bool Engine::AwaitsLastWord(const std::string& name, const Admissions& a) {
  if (replaying_ || name == options_.leader_id || PLANTED(kRetireUnheard)) return false;
  if (HasClaimed(name, a.records)) return false;
  // The record names earlier admissions, too: who has joined again since is a stranger to nobody.
  const bool estranged = std::all_of(a.retired.begin(), a.retired.end(), [&](const std::string& nonce) {
    return settled_.count({name, nonce}) != 0 || estranged_.count({name, NonceOf(nonce)}) != 0;
  });
  if (estranged) return false;
  auto [it, first] = retiring_.try_emplace(name, Retiring{.since_us = now_.mono_us, .in_reach_us = -1});
  Retiring& retiring = it->second;
  if (replica_.graph().Reaches(name)) retiring.in_reach_us = now_.mono_us;
  if (now_.mono_us - retiring.since_us > kLastWordPatienceUs) return false;
  return retiring.in_reach_us >= 0 && now_.mono_us - retiring.in_reach_us <= kLastWordGapUs;
}

bool Engine::OwesLastClaim() const {
  if (!retired_ || !admitted_ || refused_ || !status_.ok()) return false;
  auto self = admissions_.find(options_.leader_id);
  return self != admissions_.end() && !HasClaimed(self->first, self->second.records);
}

base::Result<std::string> Engine::RetireRecord(std::string_view leader) {
  auto it = admissions_.find(std::string(leader));
  if (it == admissions_.end()) {
    return base::NotFound("no leader '" + std::string(leader.substr(0, 64)) + "'; see LEADER LIST");
  }
  if (leader == options_.leader_id) {
    return base::Invalid("a leader cannot retire itself; run LEADER RETIRE at another one");
  }
  if (it->second.all_retired()) {
    return base::Invalid("leader '" + std::string(leader) + "' is retired already");
  }
  if (const base::Status may = agreed_.MayRetire(leader); !may.ok()) return may;
  if (const base::Status may = escrow_.MayRetire(std::string(leader)); !may.ok()) return may;
  std::set<std::string> nonces = it->second.retired;
  nonces.insert(it->second.nonces.begin(), it->second.nonces.end());
  std::string record;
  for (const std::string& nonce : nonces) record += (record.empty() ? "" : " ") + nonce;
  return record;
}

void Engine::RefusedAsRetired(const std::string& by, uint64_t join_nonce, bool mutual) {
  if (options_.rejoin) {
    rejoin_wanted_ = true;
    return;
  }
  if (!mutual) {
    // It is out by a record whose last word this leader still awaits: its refusal counts no more than if it were settled,
    // and no such word will come. The next time each refuses the other.
    const auto it = admissions_.find(by);
    const bool retired_here = it != admissions_.end() && it->second.all_retired() &&
                              std::any_of(it->second.retired.begin(), it->second.retired.end(), [&](const std::string& nonce) {
                                return NonceOf(nonce) == join_nonce;
                              });
    if (retired_here) {
      estranged_.emplace(by, join_nonce);
      return;
    }
    refused_ = true;
  }
  if (mutual && replica_.members().size() < 2) return;  // the two compare their records
  if (last_refusal_alarm_us_ >= 0 && now_.mono_us - last_refusal_alarm_us_ < kRefusalAlarmUs) return;
  last_refusal_alarm_us_ = now_.mono_us;
  if (mutual) {
    Report(2,
           "leader " + by +
               " and this one were retired from the cluster at each other's side of a partition (LEADER RETIRE): each "
               "goes on without the other, until one of them is started with --rejoin");
    return;
  }
  Report(2,
         "leader " + by +
             " refuses this one: it was retired from the cluster (LEADER RETIRE). Its data is kept; start it with "
             "--rejoin to join again as a new member");
}

// The new name is on disk before anybody is told of it: a power cut could take it from this process, which would take
// another one, and the first would be a member without a process. Until then it goes on under the old one.
void Engine::BeginRename() {
  rename_wanted_ = false;
  const std::string& old = options_.leader_id;
  const std::string hex = clock::Origin{"", random_.Next()}.ToString().substr(1, 6);
  // Under a nonce of its own: it must notice when it is retired.
  renaming_ = Renaming{.leader = old.substr(0, old.find('~')) + "~" + hex, .nonce = random_.Next(), .at = 0};
  AppendIdentity();
  renaming_->at = log_.end();
}

void Engine::EndRename() {
  Report(2,
         "another process at " + rename_after_ + " is leader " + options_.leader_id +
             " (a copied directory?): this one goes on as " + renaming_->leader +
             "; to be rid of it retire it, and join with an empty directory and an --id of its own");
  options_.leader_id = renaming_->leader;
  join_nonce_ = renaming_->nonce;
  renaming_.reset();
  rename_wanted_ = false;  // it was about the old name
  replica_.Rename(options_.leader_id);
  agreed_.Rename(options_.leader_id);
  escrow_.SetHolder(host_.NewHolder());
  replica_.ForgetOwn();
  records_due_ = true;
  replica_.SetJoining(false, join_nonce_);
  PutReserved("member/" + options_.leader_id, NonceText(join_nonce_) + " " + VersionVectorText());
  PutReserved("address/" + options_.leader_id, options_.advertise);
  FinishFrame();
  ReadConfiguration();
}

void Engine::Rejoin() {
  rejoin_wanted_ = false;
  join_nonce_ = random_.Next();
  admitted_ = false;
  retired_ = refused_ = false;
  configuration_changed_ = true;  // whom to ask
  replica_.SetJoining(true, join_nonce_);
  AppendIdentity();
  Report(0, "this leader was retired; it joins again as a new member");
}

// Whoever may have been asked has admitted it, or will: the record comes with all that was written meanwhile, by the log
// or with a state, and that takes as long as it takes. Who is retired by what is known here can admit nobody.
bool Engine::AwaitsAdmission() const {
  if (staged_ != nullptr) return true;
  const std::vector<std::string> linked = replica_.LinkedLeaders();
  return std::any_of(linked.begin(), linked.end(), [&](const std::string& leader) {
    auto it = admissions_.find(leader);
    return it == admissions_.end() || !it->second.all_retired();
  });
}

bool Engine::MustAdmitSelf() {
  if (rejoin_since_us_ >= 0 && AwaitsAdmission()) rejoin_since_us_ = now_.mono_us;
  return admit_self_wanted_ ||
         (rejoin_since_us_ >= 0 && now_.mono_us - rejoin_since_us_ > kRejoinPatienceUs);
}

void Engine::AdmitSelf() {
  rejoin_since_us_ = -1;
  admit_self_wanted_ = rejoin_wanted_ = false;
  admitted_ = true;
  retired_ = refused_ = false;
  join_nonce_ = random_.Next();
  replica_.SetJoining(false, join_nonce_);
  AppendIdentity();
  PutReserved("member/" + options_.leader_id, NonceText(join_nonce_) + " " + VersionVectorText());
  FinishFrame();
  ReadConfiguration();
  Report(1, "no member is left, or in reach, that could admit this leader: it admits itself");
}

}  // namespace polyarch::engine
