// How CONFLICT shows versions, for those who show them, too.
#pragma once

#include "command/context.h"
#include "command/polyarch_token.h"
#include "conflict/ledger.h"
#include "crdt/key_state.h"

namespace polyarch::command {

// Is there something that is not past its time? (Under a policy that lets a delete win, a key with
// an open conflict may show nothing; it can be read and resolved all the same.)
bool IsVisible(Context& c, std::string_view key);

// Two replies, each behind its name if `named`: the token of `state`, and its versions in canonical
// order behind which come what each origin's increments add to it ("+3"). A version is [value,
// leader, unix-ms, tag]; in RESP3 a map.
void ReplyTokenAndVersions(
    Context& c, bool named, crdt::Type type, const crdt::Register& state, const TokenPlace& place);

// One version, as above.
void ReplyLedgerVersion(Context& c, bool as_map, crdt::Type type, const conflict::LedgerVersion& version);

}  // namespace polyarch::command
