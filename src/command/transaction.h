// MULTI, EXEC and what belongs to them: commands are checked and queued, then run one after another
// as one change. docs/design/0016-transactions.md.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

#include "command/context.h"
#include "command/table.h"

namespace polyarch::command {

// What one client may queue, and all together, counting 4 bytes for each word and 32 for each
// command.
inline constexpr size_t kQueueBytesMax = size_t{128} << 20;
inline constexpr size_t kAllQueuesBytesMax = size_t{1} << 30;

// The client is in a transaction, and a command was refused, with an error from `out_before` on:
// EXEC will be, too. If it is EXEC itself, the transaction ends.
void NoteRefused(Context& c, size_t out_before);
// The same where the command has been checked: puts it into the queue and answers. False if it is
// one that runs at once.
bool Enqueue(Context& c, const Row& row);

void Exec(Context& c);
// Ends the client's transaction, if any, and what it watches.
void EndTransaction(Context& c);

// A queued command.
struct Step {
  const Row* row = nullptr;
  Arguments args;
};

// How much these steps write at most, as far as can be told before they run (transaction_size.cc).
struct TransactionSize {
  bool fits = false;       // surely into one change
  bool revertible = true;  // can be taken back if they turn out not to fit
};
TransactionSize SizeOf(const Context& c, std::span<const Step> steps);

}  // namespace polyarch::command
