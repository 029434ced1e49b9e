// A change of several commands: all of it, or nothing.
#include "base/check.h"
#include "keyspace/change.h"

namespace polyarch::keyspace {

void Change::BeginTransaction(bool keep) {
  CHECK(!open_ && !whole_);
  whole_ = true;
  if (keep) before_ = std::make_unique<Before>();
}

void Change::EndTransaction() {
  whole_ = false;
  before_.reset();
}

void Change::KeepBefore(const KeyRef& ref) {
  auto [it, fresh] = before_->try_emplace({ref.db, std::string(ref.key)});
  if (!fresh) return;
  keyspace_.Read(ref);  // what is to be merged into it is merged first
  it->second = keyspace_.State(ref);
}

void Change::Revert() {
  CHECK(whole_ && before_ != nullptr);
  for (auto& [place, state] : *before_) {
    const KeyRef ref = keyspace_.Ref(place.first, place.second);
    keyspace_.Restore(ref, std::move(state));
  }
  if (open_) sink_.Abandon();
  open_ = false;
  wrote_ = false;
  EndTransaction();
}

}  // namespace polyarch::keyspace
