#include "server/config_file.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <toml++/toml.h>

namespace polyarch::server {

base::Result<std::vector<Setting>> ReadConfigFile(const std::string& path) {
  std::error_code error;
  const auto type = std::filesystem::status(path, error).type();
  if (type == std::filesystem::file_type::not_found)
    return base::NotFound(path + ": there is no such file: give another --config");
  if (type == std::filesystem::file_type::directory)
    return base::Invalid(path + ": this is a directory: --config takes a file, --dir the data");
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  if (!file) {
    return base::IoError(path + ": cannot be read (" + std::strerror(errno) +
                         "): give the server's user the right to");
  }
  toml::table table;
  try {
    table = toml::parse(text.str(), path);
  } catch (const toml::parse_error& wrong) {
    std::string why(wrong.description());
    std::replace(why.begin(), why.end(), '\n', ' ');
    return base::Invalid(path + ":" + std::to_string(wrong.source().begin.line) + ": this is no TOML: " + why);
  }
  std::vector<Setting> settings;
  for (const auto& [key, node] : table) {
    Setting setting;
    setting.key = std::string(key.str());
    setting.line = static_cast<uint32_t>(key.source().begin.line);
    const std::string where = path + ":" + std::to_string(setting.line) + ": ";
    if (const auto* string = node.as_string()) {
      setting.values.push_back(string->get());
    } else if (const auto* integer = node.as_integer()) {
      setting.kind = Setting::Kind::kWhole;
      setting.values.push_back(std::to_string(integer->get()));
    } else if (const auto* boolean = node.as_boolean()) {
      setting.kind = Setting::Kind::kBoolean;
      setting.values.emplace_back(boolean->get() ? "true" : "false");
    } else if (const auto* array = node.as_array()) {
      setting.kind = Setting::Kind::kTexts;
      for (const toml::node& item : *array) {
        if (!item.is_string()) {
          return base::Invalid(where + "'" + setting.key + "' is a list of texts in quotes: " + setting.key +
                               " = [\"...\", \"...\"]");
        }
        setting.values.push_back(item.as_string()->get());
      }
    } else if (node.is_table()) {
      return base::Invalid(where + "'" + setting.key + "' is a table: here every key stands by itself, above any [" +
                           setting.key + "]");
    } else {
      return base::Invalid(where + "'" + setting.key + "' is neither a text, a whole number, true, false nor a list");
    }
    settings.push_back(std::move(setting));
  }
  std::stable_sort(settings.begin(), settings.end(),
                   [](const Setting& a, const Setting& b) { return a.line < b.line; });
  return settings;
}

}  // namespace polyarch::server
