// Rare paths carry a mark: SOMETIMES(kTornTail). How often each was passed is printed after a run; a
// mark that a long run never passed means that the simulator no longer tests what it claims to test.
// Counts are process-wide (one simulated world at a time, on one thread).
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace polyarch::sim {

enum class Mark : int {
  kConflict,           // two versions of one key, concurrent
  kThreeSiblings,      // three or more of them
  kConflictRefused,    // a plain read answered -CONFLICT
  kResolved,           // CONFLICT RESOLVE was accepted
  kResolvedField,      // ... of one field of a hash
  kNotYet,             // ... was refused at a leader that had not seen all of the token
  kRestoredValue,      // CONFLICT RESTORE wrote a lost value back
  kLedgerPair,         // a leader's log listed a pair that met there
  kCounterCleared,     // a counter was cleared while a concurrent increment survived
  kHiddenKey,          // a key was hidden by its expiry
  kExpired,            // a leader issued the removal of an expired key
  kCleaned,            // residue was removed by a `clean`
  kCounterPurged,      // a cleared counter entry was purged
  kHeldWrite,          // a reply waited for the disk
  kHeldRead,           // a read waited for the disk
  kLostUnacknowledged, // a crash took writes that nobody had been told of
  kLostAcknowledged,   // ... or had, under everysec or none
  kTornTail,           // a crash took a part of the log's tail
  kStoreSuffix,        // a crash took rows that were not flushed
  kCrashInPass,        // a crash in the middle of a checkpoint
  kCheckpoint,         // a checkpoint ended
  kSyncFailed,         // the log's sync failed
  kFlushFailed,        // the store's flush failed
  kWriteFailed,        // a write to the log failed
  kPowerCut,
  kKilled,
  kStopped,
  kPaused,
  kWiped,              // a node came back with an empty disk
  kRestored,           // ... with an old one
  kBackedUp,           // a backup was made beside writes: the store first, the log later
  kCloned,             // a copy ran beside the original
  kRenamed,            // and took another name
  kJoined,             // a node joined in mid-run
  kRefusedWrite,       // a write answered -HISTORY
  kGateWaited,         // a frame waited for its causes
  kDuplicate,          // a frame came twice
  kResubscribed,       // a gap or a stall was healed
  kServedByOther,      // a frame came from a node that is not its author
  kLinkDown,
  kDialFailed,
  kPartition,
  kBridge,
  kAsymmetric,
  kFlapping,
  kClogged,
  kClockJump,
  kFarClock,           // a clock was years off
  kLeap,
  kLinkCut,            // by command
  kRetired,            // LEADER RETIRE
  kRefusedRetired,     // a write answered -RETIRED
  kRejoined,           // a retired leader came back as a new member
  kAdmittedTwice,      // two members admitted one process at once
  kEndedOrigin,        // an origin of a dead process was ended
  kManyFramesInTick,   // one tick of one node made several frames
  kSameInstant,        // several leaders wrote one key in one millisecond
  kTopologySet,        // by command, under load
  kRing,               // the topology at the end
  kStar,
  kTree,
  kRouted,             // two leaders without a link of their own reached each other
  kBypass,             // a link that is not configured came up
  kDrained,            // ... and went when nobody needed it
  kRoutedAround,       // the living converged around the dead and the cut
  kFlapDamped,         // a link came up again soon after it had failed
  kStateTransfer,  // a state taken over
  kStateResumed,  // state transfer resumed
  kStateRestarted,  // state transfer begun anew
  kJoinedByState,  // joined by a state
  kMergedOwn,  // own changes merged with a state
  kMetInMerge,  // versions met in a merge
  kCutOverReplayed,  // cut-over replayed
  kCrashInMerge,  // crash within a merge
  kWaitedForMerge,  // command waited for a merge
  kMergedOnAccess,  // key merged on access
  kAway,  // member recorded as away
  kPresent,  // present again
  kTrimmed,  // log trimmed
  kInParts,  // a message came in parts
  kFolded,        // an ended origin was folded
  kFoldedAgain,   // and again, since it had gone on
  kLeftOut,       // a frame's deps left out what is folded
  kBeyondFold,    // a frame beyond the fold of its origin was applied
  kNamedFolded,   // an effect named a folded origin that its author had not listed
  kDiskReturned,  // a disk came back with changes that nobody had seen before their origin was folded
  kFoldedWithout, // an origin was folded without a member that is away or silent
  kBaseInPieces, // the checkpoint row of an offer came in pieces
  kSlotsEqual,   // slots found equal: not sent in a state transfer
  kRowInPieces,  // a row of a state came in pieces
  kRowGoesOn,    // ... and was gone on with over another link
  kStateInstead, // told to take the state, though the log reaches back
  kElementConflict,    // two versions of one field, concurrent
  kElementCleared,     // an element with counters was wiped
  kElementCleaned,     // an element's residue was removed by a `clean`
  kElementPurged,      // an element's cleared counter entry was purged
  kTypeClash,          // one key held live elements of two types
  kWrongType,          // a command answered -WRONGTYPE
  kManyElements,       // a collection in its big form
  kFewAgain,           // ... and small again
  kAddBesideRemove,    // an add survived a remove that had not seen it
  kPoppedTwice,        // two leaders popped one element
  kBetweenARun,        // something stands between two values of a run, by who had seen the first
  kServedWaiter,       // a client that had waited got an element
  kUnited,             // versions of a HyperLogLog were shown as their union
  kMerged,             // a policy `merge` showed what it made of several values
  kFieldMerged,        // ... of a field
  kHandled,            // a handler showed what it made of several versions
  kFieldHandled,       // ... of a field
  kHandlerFailed,      // ... or failed, and lww showed
  kFeedGiven,          // an item of a conflict feed was given
  kFeedAcknowledged,   // an open conflict is not given, being acknowledged
  kHandlerGone,        // a policy named a handler that was not there
  kResidueGivenUp,     // residue went that away members might have needed
  kCopiedAgain,  // a state was taken over while a backup was made
  kLateEntry,          // a group was given an entry behind one that it had been given
  kDeliveredTwice,     // two leaders gave one entry to a group
  kSameStreamId,       // two leaders added an entry with one id
  kRangeBesideAdd,     // a trim spared an entry that it had not seen
  kTransaction,   // EXEC ran its commands
  kScript,        // a script ran
  kScriptEnded,   // a script was ended by a limit, and taken back
  kWatchChanged,  // EXEC ran nothing, since what was watched had changed
  kWatchHeld,     // EXEC ran, and what was watched was as it had been read
  kWaitTogether,  // several clients were told to wait for one key
  kMessageCame,   // a subscriber was told a message
  kCacheInvalidated,  // a client was told that a key which it kept has changed
  kCacheFlushed,      // ... that any may have
  kAgreed,               // a command on a key under policy `sync` was answered
  kAgreedNoQuorum,       // ... without a majority
  kAgreedInDoubt,        // ... in doubt
  kAgreedSettled,        // SYNC OUTCOME told how one ended
  kAgreedComparedInVain, // EXEC behind a WATCH of such a key ran nothing
  kJobHanded,            // a job of a queue under policy `pop-owner` was handed to a client
  kJobTwice,             // ... to two, where that may be
  kStockSold,            // a unit of a bounded counter was sold
  kStockRefused,         // ... was refused for lack of rights
  kStockSoldOut,         // a stock was sold to the last unit in the healed cluster
  kStockReclaimed,       // rights of a leader that was said to be gone were reclaimed
  kStockDeleted,         // a stock was deleted
  kStockSetBack,         // a leader that was set back refused to sell
  kSessionCarried,  // SESSION WAIT let a client of another leader in
  kSessionWaited,   // after it had waited
  kSessionLost,     // what it had seen is nowhere any more
  kHeldElsewhere,   // WAIT counted somebody
  kSaturated,       // several leaders' increments together left 64 bits
  kLittleRoom,      // a disk had little room left
  kRefusedRoom,     // a write answered -DISKFULL
  kStateForRoom,    // a state that was being taken over was given up for lack of room
  kCount,
};

void Pass(Mark mark, uint64_t times = 1);
uint64_t Passed(Mark mark);
std::string_view NameOf(Mark mark);
// The counts themselves, for a parent process that adds up its children's.
std::array<uint64_t, static_cast<size_t>(Mark::kCount)>& MarkCounts();

}  // namespace polyarch::sim

#define SOMETIMES(mark) ::polyarch::sim::Pass(::polyarch::sim::Mark::mark)
