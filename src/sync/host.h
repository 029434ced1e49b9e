// What agreement asks of the world: a log, a way to other leaders, the function of a round, and a
// place for what was decided. All calls are made from within calls to Agreement, on its one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "wire/sync_message.h"

namespace polyarch::sync {

using OpId = uint64_t;

// What the commands of a batch make of a base.
struct RunResult {
  std::vector<OpId> changed_by;  // the commands that changed the value, in order
  bool absent = true;
  int64_t expires_ms = wire::kSyncNever;
  std::string value;
  clock::Hlc hlc;
};

enum class Verdict : uint8_t {
  kDone,
  kNoQuorum,  // surely without effect
  kInDoubt,   // an accept was sent: it may have an effect, or get one later; never proposed again
  kOutcome,   // of an outcome: see Result::outcome
};
enum class WriteOutcome : uint8_t { kApplied, kNever, kTooOld };

struct Result {
  Verdict verdict = Verdict::kNoQuorum;
  // kDone of a command: the try (see Host::Run) whose replies count.
  clock::Ballot attempt;
  clock::Ballot name;  // kInDoubt
  WriteOutcome outcome = WriteOutcome::kTooOld;
  const wire::Tuple* tuple =
      nullptr;  // kDone, kOutcome: what was read or committed; for the call only
};

class Host {
 public:
  virtual ~Host() = default;

  // Appends a local record to the log; returns the position behind it. Durable when Agreement is
  // told of that position.
  virtual uint64_t Append(std::string_view record) = 0;
  // To whichever process is that leader now. It may be lost, come twice, late or out of order.
  virtual void Send(const std::string& leader, std::string message) = 0;
  // Could a message reach that leader now, as far as is known?
  virtual bool InReach(const std::string& leader) const = 0;
  // Which process that leader is now: a number that changes with each start. Each new one is asked for its seat, since
  // its directory may have been replaced. 0: not known, or nothing is to be asked.
  virtual uint64_t ProcessOf(const std::string& /*leader*/) const { return 0; }
  // Is anything agreed on? Where nothing is, each process is asked for its seat once, whatever it says.
  virtual bool Agrees() const { return true; }
  // The leader of this seat answers, and sits in another one: these votes are not to be had.
  virtual bool SeatIsGone(const wire::Seat& /*seat*/) const { return false; }

  // What this leader has applied.
  virtual wire::Dependencies Applied() = 0;
  virtual bool Covers(const wire::Dependencies& deps) const = 0;

  // The value of a key on which nothing has been decided yet: what this leader shows of it.
  virtual RunResult FirstBase(const wire::SyncKey& key) = 0;
  // Runs commands, in order, on `base`, as if it were `now_ms`, and keeps their replies under
  // `attempt`. Without any other effect: it may be called again with another base and attempt.
  virtual RunResult Run(const wire::SyncKey& key,
                        std::span<const OpId> ops,
                        const wire::Tuple& base,
                        int64_t now_ms,
                        const clock::Ballot& attempt) = 0;
  // This tuple is the value; what this leader has applied covers its deps. Shown(key) is at least
  // its version afterwards.
  // `votes`: the numbers of the votes by which it was chosen, to be kept with it and told to every
  // elector that learns of it (Elector::Heard): so a disk that has lost one of them is found out.
  virtual void Chosen(const wire::SyncKey& key,
                      const wire::Tuple& tuple,
                      const wire::VoteNumbers& votes) = 0;
  // The newest decided version that this leader has applied; none: there is none.
  virtual clock::Ballot Shown(const wire::SyncKey& key) const = 0;
  // An ordinary write has taken the place of this decided version, while leaders did not agree on
  // the key: the value is FirstBase again.
  virtual bool Released(const wire::SyncKey& /*key*/, const clock::Ballot& /*version*/) const {
    return false;
  }
  // Is the key one on which leaders agree, by the rules of this electorate? Operations on another
  // one are given up.
  virtual bool InForce(const wire::SyncKey& /*key*/, const wire::Electorate& /*electorate*/) const {
    return true;
  }
  // Is here what was written before these rules came into force? Operations wait until it is.
  virtual bool HasRulesOf(const wire::Electorate& /*electorate*/) const { return true; }
  virtual void Done(OpId op, const Result& result) = 0;

  // Is there another live process of this leader's name, as far as is known? It may hold the same
  // seat (a copy of a whole machine).
  virtual bool HasRival() const { return false; }
  // A number from outside of the process, for what must differ from a copy of it; 0: there is none.
  virtual uint64_t Entropy() { return 0; }
  // The seat was given up: others have had `known` votes of it, of which `number` are here.
  virtual void VotesLost(uint64_t /*known*/, uint64_t /*number*/) {}
  // What to tell with each request; answered by Agreement.
  virtual wire::VoteNumbers KnownVotes(const wire::Electorate& /*electorate*/) const { return {}; }

  // A newer electorate is known; to be told to all members.
  virtual void ElectorateKnown(const wire::Electorate& electorate) = 0;
};

}  // namespace polyarch::sync
