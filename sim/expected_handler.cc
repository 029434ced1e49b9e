#include "sim/expected_handler.h"

#include <algorithm>
#include <array>
#include <stdexcept>
#include <utility>

namespace polyarch::sim {

namespace {

// By kind: the body behind the line "-- kind number". N stands for the number.
constexpr std::array<std::pair<const char*, const char*>, 6> kKinds = {{
    {"join", R"(
       local out = 'N|' .. key .. '|' .. (field or '-')
       for _, v in ipairs(versions) do out = out .. '|' .. v.leader .. '=' .. (v.value or 'gone') end
       return out)"},
    {"latest", R"(
       local last
       for _, v in ipairs(versions) do
         if v.value and (not last or v.time > last.time) then last = v end
       end
       return 'N:' .. last.value)"},
    {"count", R"(
       seen = (seen or 0) + #versions
       return seen + N)"},
    {"least", R"(
       local t = {}
       for _, v in ipairs(versions) do if not v.absent then t[v.value] = true end end
       return next(t))"},
    {"nothing", R"(
       return nil)"},
    {"fails", R"(
       if #versions > 2 then error('N') end
       local t = versions
       while true do t = {t, versions} end)"},
}};

}  // namespace

std::string DrawHandlerSource(Draw& draw, uint64_t number) {
  const unsigned weights[] = {30, 15, 15, 15, 5, 3};
  const auto& [kind, body] = kKinds[draw.Weighted(weights)];
  std::string source = "-- " + std::string(kind) + " " + std::to_string(number) +
                       "\nfunction merge(key, versions, field)";
  for (const char c : std::string(body))
    c == 'N' ? source += std::to_string(number) : source += c;
  return source + "\nend";
}

bool IsDrawnHandler(const std::string& source) {
  return source.starts_with("-- ");
}

std::optional<std::string> ExpectedHandler(const std::string& source,
                                           const std::string& key,
                                           const std::optional<std::string>& field,
                                           const std::vector<HandledVersion>& versions) {
  const size_t line = source.find('\n');
  const size_t space = source.rfind(' ', line);
  const std::string kind = source.substr(3, space - 3);
  const std::string number = source.substr(space + 1, line - space - 1);
  std::vector<HandledVersion> there;
  for (const HandledVersion& v : versions) {
    if (v.value) there.push_back(v);
  }
  if (kind == "join") {
    std::string out = number + "|" + key + "|" + field.value_or("-");
    for (const HandledVersion& v : versions)
      out += "|" + v.leader + "=" + v.value.value_or("gone");
    return out;
  }
  if (kind == "latest") {
    const auto by_time = [](const auto& a, const auto& b) {
      return a.time_ms < b.time_ms;
    };
    return number + ":" + *std::max_element(there.begin(), there.end(), by_time)->value;
  }
  if (kind == "count") return std::to_string(versions.size() + std::stoull(number));
  if (kind == "least") {
    return std::min_element(there.begin(),
                            there.end(),
                            [](const auto& a, const auto& b) { return *a.value < *b.value; })
        ->value;
  }
  if (kind == "nothing" || kind == "fails") return std::nullopt;
  throw std::logic_error("no handler of the workload: " + source);
}

}  // namespace polyarch::sim
