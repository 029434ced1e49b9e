// Elements that come into a list: each gets the name that is its position.
#include "base/planted.h"
#include "keyspace/change.h"

namespace polyarch::keyspace {

namespace {

std::optional<ElementView> ElementAt(const Collection& list, size_t rank) {
  if (!list.found()) return std::nullopt;
  return list.elements->At(rank, list.viewer());
}

// Valid as long as the element's view.
std::string_view NameOf(const std::optional<ElementView>& element) {
  return element ? element->key() : std::string_view();
}

}  // namespace

crdt::PositionMaker Change::NextPosition(size_t elements) {
  const crdt::At at = NextAt();
  const uint64_t run = keyspace_.origins().Get(stamp_.origin).incarnation;
  if (PLANTED(kPositionReused)) return {run, {1, static_cast<uint32_t>(elements)}};
  return {run, at};
}

// The name is new: nothing that stands is replaced.
void Change::PutAt(const KeyRef& ref, std::string_view name, std::string_view value) {
  crdt::Effect effect{.kind = crdt::EffectKind::kPut,
                      .db = ref.db,
                      .type = crdt::Type::kList,
                      .key = ref.key,
                      .element = name,
                      .key_hash = ref.hash,
                      .value = value};
  Emit(effect);
}

bool Change::Push(const KeyRef& ref, bool front, std::string_view value) {
  Collection list = keyspace_.OpenAgain(ref, crdt::Type::kList);
  if (!list.found()) {
    CreateIfMissing(ref);
    list = keyspace_.OpenAgain(ref, crdt::Type::kList);
  }
  const crdt::PositionMaker maker = NextPosition(list.size());
  std::optional<std::string> name;
  const size_t end = front || list.size() == 0 ? 0 : list.size() - 1;
  const std::optional<ElementView> beside = ElementAt(list, end);
  if (front) {
    name = crdt::PositionBefore(NameOf(beside), maker);
  } else {
    name = crdt::PositionBehind(NameOf(beside), maker);
  }
  if (!name || name->size() > crdt::kElementBytesMax) return GiveUp();
  PutAt(ref, *name, value);
  return true;
}

bool Change::Insert(const KeyRef& ref,
                    std::string_view pivot,
                    bool before,
                    std::string_view value) {
  const Collection list = keyspace_.OpenAgain(ref, crdt::Type::kList);
  const size_t rank = list.elements->Rank(0, pivot, list.viewer());
  if (before ? rank == 0 : rank + 1 == list.size()) return Push(ref, before, value);
  const crdt::PositionMaker maker = NextPosition(list.size());
  const std::optional<ElementView> beside = ElementAt(list, before ? rank - 1 : rank + 1);
  const std::optional<std::string> name =
      before ? crdt::PositionBetweenLeftwards(NameOf(beside), pivot, maker)
             : crdt::PositionBetween(pivot, NameOf(beside), maker);
  if (!name || name->size() > crdt::kElementBytesMax) return GiveUp();
  PutAt(ref, *name, value);
  return true;
}

}  // namespace polyarch::keyspace
