// Planted bugs: each is a mistake that a multi-leader database could really hold. They exist only
// in the build with POLYARCH_PLANTED (preset "planted"), where the simulator switches one on and
// must find it; in every other build PLANTED(x) is the constant false and leaves no code behind.
// docs/TESTING.md lists what each does.
#pragma once

namespace polyarch::base {

enum class Bug : int {
  kNone,
  kReuseIncarnation,   // a restarted process goes on with its last origin
  kNoGate,             // frames are applied without waiting for their deps
  kSkipDedup,          // a frame that was applied already is applied again
  kLastWriterByMs,     // ties within a millisecond go to whoever came last
  kDropConcurrent,     // last-write-wins forgets the loser at once
  kDeleteAll,          // a remote DEL removes versions that it had not seen
  kClearAll,           // a clear of a counter clears what it had not seen
  kLifeAfterPurge,     // a wholly cleared counter goes on with its old life
  kCountTwice,         // a counter adds increments up, over the end of a life, instead of taking totals
  kPurgeAny,           // a cleared counter entry is purged before its origin knows, and forgotten
  kClaimUndurable,     // a claim counts before it is durable
  kClaimGossip,        // stability from gossiped vectors instead of claims
  kExpiryAtOnce,       // expiry versions go with the value instead of after stability
  kCreateWithoutWipe,  // a creating INCR does not remove the expiry versions it saw
  kCheckpointVector,   // the checkpoint's vector is taken at its end instead of its start
  kReplayAll,          // recovery applies effects that a row already reflects
  kAckBeforeDurable,   // replies leave before the frame is on disk
  kSubscribeFromZero,  // a moved subscription skips one frame
  kNoExpiryFlag,       // EXPIRE leaves the flag "never" of what it saw
  kForgetWait,         // a reply to a read leaves although it saw an undurable write
  kSkewMoves,          // a far-future stamp advances the local clock
  kResolveAll,         // CONFLICT RESOLVE replaces versions that are not in its token
  kTornTail,           // recovery keeps a torn record's bytes
  kForgetLedger,       // a value that loses on arrival is not listed
  kStampBack,          // a restarted process takes stamps from its wall clock alone
  kClaimForever,       // empty frames oblige to a claim
  kBackupCutEarly,     // a backup's log ends where it was durable before the store was copied
  kBackupBeforeCutOver,  // a backup pairs a store from before a cut-over with the log behind it
  kRouteOneSided,      // an edge counts although only one end lists it
  kForwardTwice,       // a frame also goes to a neighbour that has not subscribed to it
  kNoBypass,           // nobody opens a bypass
  kStaleLinkState,     // an older link state replaces a newer one
  kWindowPerLink,      // one window for all origins of a link
  kForgetDeadOrigin,   // an origin whose process is dead is pulled from nobody
  kTransferVector,     // a state is paired with a later vector than its rows and log have
  kCutOverEarly,       // the cut-over does not wait for the log to pass the newest row
  kForwardAcross,      // after a cut-over the log is served as if nothing were missing in it
  kAwayForEver,        // an away member never writes that it is present again
  kServeUnmerged,      // a state is sent while its merge is not done and durable
  kNoAbsentMerge,      // an own key that the other state lacks is not merged with "absent"
  kAwayHoldsBack,      // away members still hold back the trimming of the log
  kStableWithoutAway,  // stability is computed without waiting for away members
  kTrimPastCheckpoint, // the log is trimmed past the durable checkpoint
  kMergeTwice,         // a key that was merged on access is merged again
  kUrgentOnly,         // what is not urgent is never announced
  kFoldCap,            // changes beyond the fold of their origin are dropped
  kFoldNotExpanded,    // deps are taken as listed: what is folded counts as not seen
  kMergeUnexpanded,    // a state's vector is taken as its sender would list it
  kOmitBeyondFold,     // a folded origin is not listed again when it goes on
  kSlotDigestOfKeys,   // a slot's digest tells which keys have versions of whom, not which versions
  kSlotPairing,        // a row of an equal slot counts as newer than the sender's checkpoint
  kPiecesOfTwoRows,    // a row that comes in pieces goes on with another one's
  kSlotSkipUnstaged,   // a slot found equal is not sent, and not staged out of the own store either
  kWipeSparesElements, // the wipe of a key leaves its elements
  kRemoveByName,       // the removal of an element takes versions that it had not seen
  kWipeClearsUnseen,   // the wipe of a key clears its elements' counters, seen or not
  kWipeSparesCounters, // the wipe of a key clears no counters of its elements
  kElementResidue,     // residue of elements is never cleaned
  kMergeMineOnly,      // a merge passes over elements that only the other side has
  kPositionReused,     // a list's name is made from how many there are: a pop's name comes again
  kPositionRunLast,    // a list's names have the place before the run: concurrent runs interleave
  kListByArrival,      // a small list is in the order of arrival
  kStreamIdShared,     // ids that are made up do not tell which process made them
  kStreamGroupLast,    // of a group's concurrent versions one counts instead of all
  kStreamOneCursor,    // a group knows one last id instead of one for each lane
  kStreamTrimUnseen,   // a trim removes entries that it had not seen
  kTornTransaction,    // what EXEC runs are changes of their own
  kTornScript,         // what a script's calls write are changes of their own
  kWatchLocalOnly,     // WATCH sees changes by this leader's clients only
  kMergeByNumbering,   // what is merged has the order of this node's numbering of origins
  kWaiterLocalOnly,    // elements that other leaders bring wake nobody
  kWaiterNewestFirst,  // of those who wait for a key the last one is served first
  kSketchRegisterLost, // a union of HyperLogLogs takes each eighth register from the first one alone
  kSyncVolatilePromise, // an elector forgets its promises when it restarts
  kSyncAnswerEarly, // an elector's answer leaves before its vote is on disk
  kSyncEpochUnchecked, // an elector answers who knows an older electorate
  kSyncSeatReturns, // a seat that left the electorate comes back with its rows
  kSyncDropNewer, // a row is dropped although it has a newer promise
  kSyncNoFloor, // a dropped row leaves no floor
  kSyncCollectMajority, // a row is collected by a quorum instead of all electors
  kSyncNoSweep, // a change of electors does not carry the registers over
  kSyncMajorityOfNext, // while electors change a majority of the new ones is a quorum
  kSyncBackByNext, // a majority of the new electors ends a change alone
  kSyncNoPromise, // a write in one round trip was not promised
  kSyncNextReused, // the ballot that was promised is drawn again
  kSyncReadAny, // a read takes the newest of a quorum's tuples for decided
  kSyncReapply, // a write that took effect is applied again by its next try
  kSyncRetryAfterTimeout, // a write is proposed again after it was said to be in doubt
  kSyncNoQuorumLies, // a write whose accept was sent is said to be without effect
  kSyncNameByBallot, // a write has the name of its latest try
  kSyncBatchName,    // all writes of a batch have one name, whether they changed anything or not
  kSyncLastResult, // the reply is that of the last try, not of the one that took effect
  kSyncShortChain, // names are cut off the chain without a trace
  kSyncIgnoreDeps, // a value is accepted and shown before what it depends on
  kSyncVotesUnchecked, // an elector does not ask whether others know of votes that its disk has lost
  kSyncKeepVotes, // a restored disk keeps its seat
  kReceiptApplied,     // a receipt tells of what is applied and not durable yet
  kTokenUndurable,     // SESSION TOKEN does not wait for the disk
  kSessionOneOrigin,   // SESSION WAIT looks at the first origin of a token only
  kHandlerByNumbering, // a handler is given versions in the order of this node's numbering of origins
  kHandlerStale,       // another source of a handler does not replace the one that is loaded
  kHandlerViewByWriters,  // a handler's view is remembered by who wrote, not by what
  kFeedOnce,           // what was given to a consumer of a feed is never given again
  kFeedAckByKey,       // an acknowledgement counts for what its key holds later, too
  kFeedAckStays,       // acknowledgements outlive their items
  kFeedLocalOnly,      // a feed sees what this leader's clients write only
  kFloorsJoined,       // of several admissions the most that any covers counts as the first claim
  kRetireUnheard,  // a retired leader is out at once, though it is in reach and holds what nobody else has
  kClaimBeforeAdmission,  // what an earlier process of the name claimed counts for the one admitted after it
  kTrackLocalOnly,     // client-side caches are told of changes by this leader's clients only
  kTrackNoExpiry,      // ... and not of keys that become hidden
  kOwnerKeepsGranted,  // an element that was granted is popped by who pushed it, too
  kEscrowOversell,     // ESCROW SPEND does not look whether there are rights
  kEscrowToldEarly,    // what was spent is told to others before it is on disk
  kEscrowOldDisk,      // a disk that was put back goes on with the rights that it had
  kReadBehindEnd,      // one more than there are is read of a vector
  kExistsUnmerged,     // whether a key is there is asked of what is merged already
  kDeleteShownOnly,    // a delete does nothing where a version "absent" hides what is there
  kSaturatedUnlisted,  // a sum beyond 64 bits is no open conflict
  kLowSpaceStays,      // who has once refused writes for lack of room refuses them until it is started again
  kStateForgotten,     // a state that was given up for lack of room is never asked for again
  kEmptyNameLost,      // the key without a name is not loaded at a start
  kRemovalForgotten,   // expired keys that one slice leaves over are never looked at again
  kCount,
};

#ifdef POLYARCH_PLANTED
// Process-wide, set once by the simulator before it builds a cluster.
extern Bug g_planted_bug;  // NOLINT: a test build's switch
const char* NameOf(Bug bug);
#define PLANTED(bug) (::polyarch::base::g_planted_bug == ::polyarch::base::Bug::bug)
#else
#define PLANTED(bug) false
#endif

}  // namespace polyarch::base
