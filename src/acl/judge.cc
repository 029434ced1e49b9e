#include "acl/judge.h"

namespace polyarch::acl {
namespace {

Verdict JudgeBy(const Selector& s, const Request& r) {
  if (!r.for_all && !s.MayRun(r.command, r.first_argument, r.has_argument)) return {Denied::kCommand, 0};
  if ((r.reads_any || r.writes_any) && !s.MayUseAnyKey(r.reads_any, r.writes_any)) return {Denied::kKey, 0};
  if (!s.all_keys()) {
    for (const KeyUse& use : r.keys) {
      if (!s.MayUseKey(use.key, use.read, use.write)) return {Denied::kKey, use.argument};
    }
  }
  if (!s.all_channels()) {
    for (const ChannelUse& use : r.channels) {
      if (!s.MayUseChannel(use.channel, use.is_pattern)) return {Denied::kChannel, use.argument};
    }
  }
  return {};
}

}  // namespace

Verdict Judge(const User& user, const Request& request) {
  Verdict nearest{Denied::kCommand, 0};
  for (const Selector& s : user.selectors()) {
    const Verdict verdict = JudgeBy(s, request);
    if (verdict.allowed()) return verdict;
    if (verdict.denied > nearest.denied || (verdict.denied == nearest.denied && verdict.argument > nearest.argument))
      nearest = verdict;
  }
  return nearest;
}

}  // namespace polyarch::acl
