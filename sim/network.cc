#include "sim/network.h"

#include <algorithm>

#include "base/check.h"
#include "net/framing.h"
#include "sim/marks.h"

namespace polyarch::sim {

namespace {

constexpr int64_t kDialTimeoutUs = 1 * kSecond;
constexpr int64_t kHeldMaxUs = 500 * kMs;  // until the rest of a message comes
constexpr unsigned kRefusedPercent = 50;  // nobody there: refused at once; else a time-out

}  // namespace

uint64_t Network::Join(int place, std::string address, Endpoint* endpoint) {
  processes_[next_process_] = {place, std::move(address), endpoint};
  return next_process_++;
}

Network::Process* Network::Find(uint64_t process) {
  auto it = processes_.find(process);
  return it == processes_.end() ? nullptr : &it->second;
}

void Network::Leave(uint64_t process, bool silent) {
  std::vector<LinkId> mine;
  for (const auto& [id, end] : ends_) {
    if (end.process == process) mine.push_back(id);
  }
  for (LinkId id : mine) {
    LinkId other = ends_.at(id).other;
    ends_.erase(id);
    auto it = ends_.find(other);
    if (it == ends_.end() || !it->second.open) continue;
    if (!silent) TellDown(other, draw_.Between(1, 50) * kMs);
  }
  processes_.erase(process);
}

int64_t Network::DelayUs(int from, int to) {
  auto fixed = fixed_delay_.find({from, to});
  if (fixed != fixed_delay_.end() && fixed->second > 0) return fixed->second;
  if (weather_.slow_percent != 0 && draw_.Percent(weather_.slow_percent)) {
    return draw_.Scale(weather_.delay_max_us, weather_.slow_max_us);
  }
  return draw_.Between(weather_.delay_min_us, weather_.delay_max_us);
}

void Network::Dial(uint64_t process, const std::string& address) {
  Process* from = Find(process);
  CHECK(from != nullptr);
  auto fail = [this, process, address](int64_t delay_us) {
    scheduler_.After(delay_us, [this, process, address] {
      SOMETIMES(kDialFailed);
      if (Process* p = Find(process)) p->endpoint->DialFailed(address);
    });
  };
  const Process* to = nullptr;
  for (const auto& [id, p] : processes_) {
    if (p.address == address) to = &p;
  }
  if (to == nullptr) {
    fail(draw_.Percent(kRefusedPercent) ? 1 * kMs : kDialTimeoutUs);
    return;
  }
  if (IsBlocked(from->place, to->place) || IsBlocked(to->place, from->place)) {
    fail(kDialTimeoutUs);
    return;
  }
  const int64_t delay_us = DelayUs(from->place, to->place);
  const std::string from_address = from->address;
  scheduler_.After(delay_us, [this, process, address, from_address] {
    Answer(process, address, from_address);
  });
}

void Network::Answer(uint64_t process, const std::string& address, const std::string& from_address) {
  Process* from = Find(process);
  if (from == nullptr) return;
  uint64_t target = 0;
  for (const auto& [id, p] : processes_) {
    if (p.address == address) target = id;
  }
  if (target == 0) {
    from->endpoint->DialFailed(address);
    return;
  }
  Process* to = Find(target);
  const LinkId near = next_link_++;
  const LinkId far = next_link_++;
  ends_[near].process = process;
  ends_[near].other = far;
  ends_[far].process = target;
  ends_[far].other = near;
  to->endpoint->LinkUp(far, "", from_address + "/" + std::to_string(far));
  const int64_t up_us = scheduler_.now_us() + DelayUs(to->place, from->place);
  ends_[far].last_arrival_us = up_us;  // what the other side says comes behind
  scheduler_.At(up_us, [this, process, near, address] {
    Process* p = Find(process);
    if (p == nullptr) return;
    auto it = ends_.find(near);
    if (it != ends_.end() && it->second.open) {
      p->endpoint->LinkUp(near, address, address);
    } else {
      p->endpoint->DialFailed(address);  // closed before it was up
    }
  });
}

void Network::Send(LinkId link, std::string_view bytes) {
  auto it = ends_.find(link);
  if (it == ends_.end() || !it->second.open) return;
  End& end = it->second;
  auto other = ends_.find(end.other);
  if (other == ends_.end()) return;  // the other side is gone; we have not been told yet
  ++messages_;
  bytes_ += bytes.size();
  bytes_of_[static_cast<uint8_t>(bytes[0])] += bytes.size();
  const int from = Find(end.process)->place;
  const int to = Find(other->second.process)->place;
  if (IsBlocked(from, to)) return;
  if (draw_.Percent(weather_.loss_percent)) return;
  const int copies = draw_.Percent(weather_.duplicate_percent) ? 2 : 1;
  auto payload = std::make_shared<const std::string>(bytes);
  for (int i = 0; i < copies; ++i) {
    int64_t at_us = scheduler_.now_us() + DelayUs(from, to);
    if (!draw_.Percent(weather_.reorder_percent)) {
      at_us = std::max(at_us, end.last_arrival_us);
      end.last_arrival_us = at_us;
    }
    auto clog = clogged_.find({from, to});
    if (clog != clogged_.end()) at_us = std::max(at_us, clog->second);
    const size_t charged = i == 0 ? bytes.size() : 0;
    end.in_flight += charged;
    scheduler_.At(at_us, [this, far = end.other, link, payload, charged] {
      Deliver(far, link, payload, charged);
    });
  }
}

void Network::Deliver(LinkId to,
                      LinkId from,
                      std::shared_ptr<const std::string> bytes,
                      size_t charged) {
  auto sender = ends_.find(from);
  if (sender != ends_.end()) sender->second.in_flight -= charged;
  auto it = ends_.find(to);
  if (it == ends_.end() || !it->second.open) return;
  Process* process = Find(it->second.process);
  if (sender != ends_.end()) {
    const Process* other = Find(sender->second.process);
    if (other != nullptr && IsBlocked(other->place, process->place)) return;
  }
  resp::Buffer& stream = it->second.stream;
  const bool split = weather_.split_percent != 0 && draw_.Percent(weather_.split_percent);
  if (!split && stream.empty()) {
    process->endpoint->Message(to, std::move(bytes));
    return;
  }
  const size_t before = stream.size();
  net::AppendFrame(stream, *bytes);
  const size_t held = split ? 1 + draw_.Below(stream.size() - before) : 0;
  Take(to, stream.size() - held);
  if (held == 0) return;
  SOMETIMES(kInParts);
  scheduler_.After(draw_.Scale(1, kHeldMaxUs), [this, to] {
    auto end = ends_.find(to);
    if (end != ends_.end() && end->second.open) Take(to, end->second.stream.size());
  });
}

void Network::Take(LinkId to, size_t visible) {
  End& end = ends_.find(to)->second;
  Process* process = Find(end.process);
  while (true) {
    const std::string_view input = end.stream.view().substr(0, visible);
    if (input.empty()) return;
    const net::FramedMessage next = net::NextFramed(input, SIZE_MAX);
    CHECK(next.state != net::FramedMessage::State::kBroken);
    if (next.state == net::FramedMessage::State::kPart) {
      process->endpoint->Part(to);
      return;
    }
    process->endpoint->Message(to, std::make_shared<const std::string>(next.message));
    end.stream.Consume(next.used);
    visible -= next.used;
  }
}

void Network::TellDown(LinkId link, int64_t delay_us) {
  scheduler_.After(delay_us, [this, link] {
    auto it = ends_.find(link);
    if (it == ends_.end()) return;
    Process* process = Find(it->second.process);
    ends_.erase(it);
    SOMETIMES(kLinkDown);
    if (process != nullptr) process->endpoint->LinkDown(link);
  });
}

void Network::Close(LinkId link) {
  auto it = ends_.find(link);
  if (it == ends_.end() || !it->second.open) return;
  it->second.open = false;
  TellDown(link, 1);
  auto other = ends_.find(it->second.other);
  if (other == ends_.end() || !other->second.open) return;
  const int from = Find(it->second.process)->place;
  const int to = Find(other->second.process)->place;
  // Across a partition the other side does not hear of it.
  if (!IsBlocked(from, to)) TellDown(it->second.other, DelayUs(from, to));
}

size_t Network::Backlog(LinkId link) const {
  auto it = ends_.find(link);
  return it == ends_.end() ? 0 : it->second.in_flight;
}

void Network::SetBlocked(int from, int to, bool blocked) {
  if (blocked) {
    blocked_[{from, to}] = true;
  } else {
    blocked_.erase({from, to});
  }
}

}  // namespace polyarch::sim
