#include "sim/messages.h"

#include "base/number.h"
#include "sim/marks.h"

namespace polyarch::sim {

std::string Messages::Note(const resp::Value& message, uint64_t) {
  if (message.items.size() != 3 || message.items[0].text != "message" ||
      message.items[1].text != kNewsChannel) {
    return "pushes what nobody has subscribed to: " + message.ToString();
  }
  const std::string& text = message.items[2].text;
  const size_t colon = text.rfind(':');
  const auto number = static_cast<uint64_t>(base::ParseInt64(text.substr(colon + 1)).value_or(0));
  uint64_t& last = last_[text.substr(0, colon)];
  if (number <= last) return "is told " + text + " behind " + std::to_string(last);
  last = number;
  SOMETIMES(kMessageCame);
  return "";
}

uint64_t Messages::Last(const std::string& process) const {
  auto it = last_.find(process);
  return it == last_.end() ? 0 : it->second;
}

}  // namespace polyarch::sim
