#include "acl/user.h"

#include <algorithm>
#include <utility>

#include "base/sha256.h"

namespace polyarch::acl {
namespace {

constexpr size_t kHashSize = 64;
constexpr std::string_view kFormat = "1";
constexpr int kBornDigits = 16;

bool IsHash(std::string_view text) {
  return text.size() == kHashSize && std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

bool EqualHashes(std::string_view a, std::string_view b) {
  unsigned char difference = 0;
  for (size_t i = 0; i < kHashSize; ++i)
    difference = static_cast<unsigned char>(difference | (static_cast<unsigned char>(a[i]) ^ static_cast<unsigned char>(b[i])));
  return difference == 0;
}

// Words between spaces; what stands in parentheses is one. Selectors come last, and a pattern in one may end with a
// parenthesis: what closes it stands before the next one, or at the end.
std::vector<std::string_view> Words(std::string_view text) {
  std::vector<std::string_view> words;
  size_t at = 0;
  while (at < text.size()) {
    if (text[at] == ' ') {
      ++at;
      continue;
    }
    size_t end = std::min(text.find(' ', at), text.size());
    if (text[at] == '(') end = std::min(text.find(") (", at), text.size() - 1) + 1;
    words.push_back(text.substr(at, end - at));
    at = end;
  }
  return words;
}

std::string Header(uint64_t born) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string out(kFormat);
  out += ' ';
  for (int i = kBornDigits - 1; i >= 0; --i) out += kHex[born >> (4 * i) & 15];
  return out;
}

}  // namespace

User::User(const Catalogue& catalogue, std::string name, uint64_t born)
    : catalogue_(&catalogue), name_(std::move(name)), born_(born), selectors_(1, Selector(catalogue)) {}

User User::Default(const Catalogue& catalogue) {
  User user(catalogue, "default", 0);
  for (std::string_view rule : {"+@all", "~*", "&*", "on", "nopass"}) (void)user.Apply(rule);
  return user;
}

RuleError User::Apply(std::string_view rule, Reading reading, bool hears_all) {
  if (rule.empty()) return RuleError::kNone;
  if (std::string_view(">#<!").find(rule.front()) != std::string_view::npos) return ApplyPassword(rule);
  if (rule.front() == '(' && rule.back() == ')') return ApplySelector(rule.substr(1, rule.size() - 2), reading, hears_all);
  const std::string lower = Lower(rule);
  if (lower == "on" || lower == "off") {
    enabled_ = lower == "on";
  } else if (lower == "skip-sanitize-payload" || lower == "sanitize-payload") {
    skip_sanitize_ = lower == "skip-sanitize-payload";
    sanitize_ = !skip_sanitize_;
  } else if (lower == "nopass" || lower == "resetpass") {
    no_password_ = lower == "nopass";
    passwords_.clear();
  } else if (lower == "clearselectors") {
    selectors_.erase(selectors_.begin() + 1, selectors_.end());
  } else if (lower == "reset") {
    *this = User(*catalogue_, std::move(name_), born_);
    sanitize_ = true;
  } else {
    return selectors_.front().Apply(rule, reading);
  }
  return RuleError::kNone;
}

RuleError User::ApplyPassword(std::string_view rule) {
  const char kind = rule.front();
  const std::string_view given = rule.substr(1);
  const bool hashed = kind == '#' || kind == '!';
  if (hashed && !IsHash(given)) return RuleError::kBadHash;
  std::string hash = hashed ? std::string(given) : base::Sha256Hex(given);
  const auto known = std::find(passwords_.begin(), passwords_.end(), hash);
  if (kind == '<' || kind == '!') {
    if (known == passwords_.end()) return RuleError::kNoSuchPassword;
    passwords_.erase(known);
    return RuleError::kNone;
  }
  if (known == passwords_.end()) passwords_.push_back(std::move(hash));
  no_password_ = false;
  return RuleError::kNone;
}

RuleError User::ApplySelector(std::string_view rules, Reading reading, bool hears_all) {
  Selector selector(*catalogue_);
  if (hears_all) (void)selector.Apply("allchannels", reading);
  for (std::string_view rule : Words(rules)) {
    if (const RuleError error = selector.Apply(rule, reading); error != RuleError::kNone) return error;
  }
  selectors_.push_back(std::move(selector));
  return RuleError::kNone;
}

base::Status User::ApplyAll(std::vector<std::string_view> rules, bool hears_all) {
  const base::Result<std::vector<std::string>> joined = JoinSelectors(rules);
  if (!joined.ok()) return joined.status();
  User changed = *this;
  for (const std::string& rule : *joined) {
    if (const RuleError error = changed.Apply(rule, Reading::kStrict, hears_all); error != RuleError::kNone)
      return base::Invalid("Error in ACL SETUSER modifier '" + rule + "': " + std::string(TextOf(error)));
  }
  *this = std::move(changed);
  return {};
}

base::Result<std::vector<std::string>> JoinSelectors(const std::vector<std::string_view>& rules) {
  std::vector<std::string> joined;
  std::string open;
  std::string_view opened_at;
  for (std::string_view rule : rules) {
    if (!rule.empty() && rule.front() == '(' && rule.back() != ')') {
      open = opened_at = rule;
    } else if (!open.empty()) {
      open.append(" ").append(rule);
      if (!rule.empty() && rule.back() == ')') joined.push_back(std::exchange(open, {}));
    } else {
      joined.emplace_back(rule);
    }
  }
  if (open.empty()) return joined;
  return base::Invalid("Unmatched parenthesis in acl selector starting at '" + std::string(opened_at) + "'.");
}

bool User::unrestricted() const {
  return std::any_of(selectors_.begin(), selectors_.end(), [](const Selector& s) {
    return s.all_commands() && s.all_keys() && s.all_channels();
  });
}

bool User::Knows(std::string_view password) const {
  if (no_password_) return true;
  const std::string hash = base::Sha256Hex(password);
  bool known = false;
  for (const std::string& p : passwords_) known |= EqualHashes(hash, p);
  return known;
}

std::vector<std::string_view> User::Flags() const {
  std::vector<std::string_view> flags = {enabled_ ? "on" : "off"};
  if (no_password_) flags.push_back("nopass");
  if (skip_sanitize_) flags.push_back("skip-sanitize-payload");
  if (sanitize_) flags.push_back("sanitize-payload");
  return flags;
}

std::string User::Describe() const {
  std::string out;
  for (std::string_view flag : Flags()) out.append(flag).append(" ");
  for (const std::string& hash : passwords_) out.append("#").append(hash).append(" ");
  for (size_t i = 0; i < selectors_.size(); ++i)
    out += i == 0 ? selectors_[i].Describe() : " (" + selectors_[i].Describe() + ")";
  return out;
}

std::string User::StateText() const {
  std::string out = Header(born_) + (enabled_ ? " on" : " off");
  if (skip_sanitize_) out += " skip-sanitize-payload";
  if (sanitize_) out += " sanitize-payload";
  return out;
}

std::string User::SecretsText() const {
  std::string out = Header(born_);
  if (no_password_) out += " nopass";
  for (const std::string& hash : passwords_) out += " #" + hash;
  return out;
}

std::string User::RightsText() const {
  std::string out = Header(born_);
  for (size_t i = 0; i < selectors_.size(); ++i)
    out += i == 0 ? " " + selectors_[i].Describe() : " (" + selectors_[i].Describe() + ")";
  return out;
}

uint64_t User::BornOf(std::string_view text, std::vector<std::string_view>* rest) {
  std::vector<std::string_view> words = Words(text);
  if (words.size() < 2 || words[0] != kFormat || words[1].size() != kBornDigits) return 0;
  uint64_t born = 0;
  for (char c : words[1]) {
    const bool digit = c >= '0' && c <= '9';
    if (!digit && (c < 'a' || c > 'f')) return 0;
    born = born << 4 | static_cast<uint64_t>(digit ? c - '0' : c - 'a' + 10);
  }
  if (rest != nullptr) rest->assign(words.begin() + 2, words.end());
  return born;
}

User User::Read(const Catalogue& catalogue,
                std::string name,
                std::string_view state,
                std::string_view secrets,
                std::string_view rights) {
  std::vector<std::string_view> words;
  User user(catalogue, std::move(name), BornOf(state));
  for (std::string_view text : {state, secrets, rights}) {
    words.clear();
    if (BornOf(text, &words) == 0) continue;
    User changed = user;
    bool sound = true;
    for (std::string_view word : words) sound = sound && changed.Apply(word, Reading::kStored) == RuleError::kNone;
    if (sound) user = std::move(changed);
  }
  return user;
}

}  // namespace polyarch::acl
