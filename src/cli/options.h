// Options that the subcommands share, and how they end.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "cli/connection.h"

#include <CLI/CLI.hpp>

namespace polyarch::cli {

inline constexpr char kPasswordVariable[] = "POLYARCH_PASSWORD";
inline constexpr char kUserVariable[] = "POLYARCH_USER";

// How a connection is made safe. As redis-cli calls them.
class TlsOptions {
 public:
  // `with_switch`: there is --tls, and --sni; else only URIs say so.
  void AddTo(CLI::App& app, bool with_switch);
  void Apply(Target& target) const;

 private:
  bool tls_ = false;
  std::string ca_cert_;
  std::string cert_;
  std::string key_;
  std::string server_name_;
  bool insecure_ = false;
};

// Which leader. User and password come from --user and -a, else from the URI, else from the environment.
class TargetOptions {
 public:
  // `keys`: the subcommand is about keys, so it has -n.
  void AddTo(CLI::App& app, bool keys = false);
  base::Result<Target> Resolve() const;
  // Resolves and connects.
  base::Result<std::unique_ptr<Connection>> Connect() const;

 private:
  std::string host_;
  int port_ = 0;
  std::string uri_;
  std::string user_;
  std::string password_;
  int database_ = -1;
  double timeout_s_ = 5;
  TlsOptions tls_;
};

// A check of an option: a number within; `text` says for people what is allowed.
CLI::Validator Number(double min, double max, const char* text);

// Parses; the exit code if the program ends here (help, wrong usage).
std::optional<int> Parse(CLI::App& app, int argc, char** argv);

// One line on standard error; the exit code 1.
int Fail(const base::Status& status);

// To standard output, each with a line end. 1 if that cannot be written.
int Print(const std::vector<std::string>& lines);
int Print(const std::string& line);

}  // namespace polyarch::cli
