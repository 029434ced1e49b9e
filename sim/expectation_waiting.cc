// What commands that may wait must answer when they did not have to, given what their keys showed.
#include <algorithm>

#include "base/number.h"
#include "sim/expectation.h"
#include "sim/node.h"

namespace polyarch::sim {

namespace {

using crdt::Type;

// The member with the least or the greatest score; of equal ones by name.
template <typename Elements>
auto AtEnd(const Elements& members, bool least) {
  auto key = [](const auto& e) { return std::pair(*base::ParseInt64(e.second.text), e.first); };
  auto less = [&](const auto& a, const auto& b) { return key(a) < key(b); };
  return least ? std::min_element(members.begin(), members.end(), less)
               : std::max_element(members.begin(), members.end(), less);
}

}  // namespace

// The first key that is there decides: those from args_[from] on, before args_[to].
Expectation::Verdict Expectation::JudgeWaiting(const resp::Value& reply) {
  const std::string_view name = args_[0];
  const bool several = name == "BLMPOP" || name == "BZMPOP";  // timeout, 1, key, which end
  const size_t from = several ? 3 : 1;
  const size_t to = several ? 4 : args_.size() - 1;
  const Type type = name == "BLMPOP" ? Type::kList : Type::kSortedSet;
  for (size_t i = from; i < to; ++i) {
    if (!Before(i).exists) continue;
    if (Before(i).type != type) return "although it has another type";
    if (reply.items.size() < 2 || reply.items[0].text != args_[i]) return "which is not of that key";
    const resp::Value* popped = &reply.items[1];
    if (several) popped = popped->items.empty() ? nullptr : popped->items.data();
    if (type == Type::kSortedSet) {
      if (several && popped != nullptr) popped = popped->items.empty() ? nullptr : popped->items.data();
      Elements members = Before(i).elements;
      auto end = AtEnd(members, several ? args_[4] == "MIN" : name == "BZPOPMIN");
      if (popped == nullptr || popped->text != end->first) return "instead of " + end->first;
      members.erase(end->first);
      return AfterElements(i, type, std::move(members));
    }
    std::vector<std::string> values;
    for (const auto& [position, shown] : Before(i).elements)
      values.push_back(shown.text);
    const bool front = args_[4] == "LEFT";
    const std::string expected = front ? values.front() : values.back();
    if (popped == nullptr || popped->text != expected) return "instead of " + expected;
    values.erase(front ? values.begin() : values.end() - 1);
    return AfterList(i, values);
  }
  return reply.is_null() ? "" : "although there is nothing";
}

}  // namespace polyarch::sim
