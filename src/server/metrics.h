// /metrics in Prometheus's text format 0.0.4, made from the lines of INFO: what INFO shows has a
// metric, also what this file has never heard of. Names and units follow Prometheus's conventions:
// counters end in _total, times are seconds, sizes are bytes.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace polyarch::server {

class Metrics {
 public:
  using Labels = std::vector<std::pair<std::string, std::string>>;

  // A sample of a family; the first one of a family brings type and help along.
  void Add(std::string_view family,
           std::string_view type,
           std::string_view help,
           const Labels& labels,
           std::string value);
  // INFO's lines ("name:value"): plain numbers by their names; a line "<what>_<leader>:a=1,b=2" as
  // one metric for each number in it, with the leader as a label. Texts are passed over.
  void AddInfo(std::string_view lines);
  std::string Text() const;

 private:
  struct Family {
    std::string type;
    std::string help;
    std::vector<std::string> samples;
  };
  void AddNumber(std::string_view name, std::string_view value);
  void AddFields(std::string_view what, std::string_view leader, std::string_view fields);

  std::vector<std::string> order_;
  std::map<std::string, Family, std::less<>> families_;
};

// Milliseconds as seconds: "1.500".
std::string Seconds(int64_t ms);

}  // namespace polyarch::server
