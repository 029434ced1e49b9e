#include "base/planted.h"

namespace polyarch::base {

#ifdef POLYARCH_PLANTED
Bug g_planted_bug = Bug::kNone;  // NOLINT: a test build's switch

const char* NameOf(Bug bug) {
  static constexpr const char* kNames[] = {
      "kNone",         "kReuseIncarnation", "kNoGate",           "kSkipDedup",      "kLastWriterByMs",
      "kDropConcurrent", "kDeleteAll",      "kClearAll",         "kLifeAfterPurge", "kCountTwice",
      "kPurgeAny",     "kClaimUndurable",   "kClaimGossip",      "kExpiryAtOnce",   "kCreateWithoutWipe",
      "kCheckpointVector", "kReplayAll",    "kAckBeforeDurable", "kSubscribeFromZero", "kNoExpiryFlag",
      "kForgetWait",   "kSkewMoves",        "kResolveAll",       "kTornTail",
      "kForgetLedger", "kStampBack",        "kClaimForever",     "kBackupCutEarly", "kBackupBeforeCutOver", "kRouteOneSided",
      "kForwardTwice", "kNoBypass",         "kStaleLinkState",   "kWindowPerLink",  "kForgetDeadOrigin",
      "kTransferVector", "kCutOverEarly",   "kForwardAcross",    "kAwayForEver",    "kServeUnmerged",
      "kNoAbsentMerge", "kAwayHoldsBack",   "kStableWithoutAway", "kTrimPastCheckpoint",
      "kMergeTwice",   "kUrgentOnly",       "kFoldCap",          "kFoldNotExpanded",  "kMergeUnexpanded",
      "kOmitBeyondFold", "kSlotDigestOfKeys", "kSlotPairing",   "kPiecesOfTwoRows", "kSlotSkipUnstaged", "kWipeSparesElements",
      "kRemoveByName", "kWipeClearsUnseen", "kWipeSparesCounters", "kElementResidue", "kMergeMineOnly",
      "kPositionReused", "kPositionRunLast", "kListByArrival",
      "kStreamIdShared", "kStreamGroupLast", "kStreamOneCursor", "kStreamTrimUnseen",
      "kTornTransaction", "kTornScript", "kWatchLocalOnly", "kMergeByNumbering",
      "kWaiterLocalOnly", "kWaiterNewestFirst", "kSketchRegisterLost",
      "kSyncVolatilePromise",
      "kSyncAnswerEarly",
      "kSyncEpochUnchecked",
      "kSyncSeatReturns",
      "kSyncDropNewer",
      "kSyncNoFloor",
      "kSyncCollectMajority",
      "kSyncNoSweep",
      "kSyncMajorityOfNext",
      "kSyncBackByNext",
      "kSyncNoPromise",
      "kSyncNextReused",
      "kSyncReadAny",
      "kSyncReapply",
      "kSyncRetryAfterTimeout",
      "kSyncNoQuorumLies",
      "kSyncNameByBallot",
      "kSyncBatchName",
      "kSyncLastResult",
      "kSyncShortChain",
      "kSyncIgnoreDeps",
      "kSyncVotesUnchecked",
      "kSyncKeepVotes",
      "kReceiptApplied", "kTokenUndurable", "kSessionOneOrigin",
      "kHandlerByNumbering", "kHandlerStale", "kHandlerViewByWriters",
      "kFeedOnce", "kFeedAckByKey", "kFeedAckStays", "kFeedLocalOnly",
      "kFloorsJoined", "kRetireUnheard", "kClaimBeforeAdmission",
      "kTrackLocalOnly", "kTrackNoExpiry",
      "kOwnerKeepsGranted",
      "kEscrowOversell", "kEscrowToldEarly", "kEscrowOldDisk",
      "kReadBehindEnd", "kExistsUnmerged", "kDeleteShownOnly", "kSaturatedUnlisted",
      "kLowSpaceStays", "kStateForgotten", "kEmptyNameLost", "kRemovalForgotten"};
  static_assert(sizeof(kNames) / sizeof(kNames[0]) == static_cast<int>(Bug::kCount));
  return kNames[static_cast<int>(bug)];
}
#endif

}  // namespace polyarch::base
