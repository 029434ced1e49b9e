#include "net/resolver.h"

#include <system_error>
#include <thread>
#include <utility>

namespace polyarch::net {

Resolver::Resolver(std::function<void()> wake) : mailbox_(std::make_shared<Mailbox>()) {
  mailbox_->wake = std::move(wake);
}

Resolver::~Resolver() {
  std::lock_guard lock(mailbox_->mutex);
  mailbox_->wake = nullptr;
}

bool Resolver::Start(std::string address, HostPort target) {
  {
    std::lock_guard lock(mailbox_->mutex);
    if (mailbox_->under_way == kLookupsMax) return false;
    ++mailbox_->under_way;
  }
  asked_ = true;
  auto lookup = [mailbox = mailbox_, address = std::move(address), target = std::move(target)] {
    Answer answer{address, Resolve(target, /*numeric=*/false)};
    std::lock_guard lock(mailbox->mutex);
    --mailbox->under_way;
    mailbox->answers.push_back(std::move(answer));
    if (mailbox->wake) mailbox->wake();
  };
  try {
    std::thread(std::move(lookup)).detach();
  } catch (const std::system_error&) {  // the system has no more threads
    std::lock_guard lock(mailbox_->mutex);
    --mailbox_->under_way;
    return false;
  }
  return true;
}

std::vector<Resolver::Answer> Resolver::Take() {
  if (!asked_) return {};
  std::lock_guard lock(mailbox_->mutex);
  return std::exchange(mailbox_->answers, {});
}

}  // namespace polyarch::net
