#include "cli/options.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "cli/text.h"

namespace polyarch::cli {

namespace {

// What CLI11 found wrong, in our words.
std::string Explain(const CLI::App& app, const CLI::ParseError& error) {
  std::string text = error.what();
  if (error.get_exit_code() == static_cast<int>(CLI::ExitCodes::ExtrasError)) {
    // The message lists all that is left, from the last to the first.
    const std::vector<std::string> left = app.remaining(true);
    const std::string first = left.empty() ? text : left.front();
    const bool flag = first.size() > 1 && first.starts_with('-');
    return flag ? "unknown flag '" + first + "'" : "'" + first + "' is not expected here";
  }
  const size_t colon = text.find(':');
  if (error.get_name() == "ArgumentMismatch" && text.ends_with("missing") && colon != std::string::npos)
    return text.substr(0, colon) + " needs a value";
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text;
}

}  // namespace

CLI::Validator Number(double min, double max, const char* text) {
  return CLI::Validator(
      [=](std::string& value) -> std::string {
        char* end = nullptr;
        const double number = std::strtod(value.c_str(), &end);
        if (!value.empty() && *end == '\0' && number >= min && number <= max) return {};
        return std::string(text) + ", not '" + value + "'";
      },
      "");
}

void TlsOptions::AddTo(CLI::App& app, bool with_switch) {
  constexpr char kGroup[] = "TLS";
  if (with_switch) app.add_flag("--tls", tls_, "connect by TLS, as a URI rediss://... does")->group(kGroup);
  app.add_option("--cacert", ca_cert_, "a file with the certificate of the CA (default: those that this machine trusts)")
      ->group(kGroup);
  app.add_option("--cert", cert_, "a file with a certificate to show, where the server asks for one")->group(kGroup);
  app.add_option("--key", key_, "a file with its key")->group(kGroup);
  if (with_switch)
    app.add_option("--sni", server_name_, "the name that the server's certificate is for (default: the host)")->group(kGroup);
  app.add_flag("--insecure", insecure_, "take any certificate of the server: whoever is in between can read all")
      ->group(kGroup);
}

void TlsOptions::Apply(Target& target) const {
  if (tls_) target.tls = true;
  target.ca_cert = ca_cert_;
  target.cert = cert_;
  target.key = key_;
  target.server_name = server_name_;
  target.insecure = insecure_;
}

void TargetOptions::AddTo(CLI::App& app, bool keys) {
  // -h is the host, as in redis-cli.
  app.set_help_flag("--help", "print this and end");
  app.add_option("-p,--port", port_, "the leader's client port (default: 7400)")
      ->check(Number(1, 65535, "a port is 1 to 65535"))
      ->group("Which leader");
  app.add_option("-h,--host", host_, "the leader's host (default: 127.0.0.1)")
      ->group("Which leader");
  app.add_option("-u,--uri",
                 uri_,
                 "redis://[[USER]:PASSWORD@]HOST[:PORT][/DB], or rediss://..., instead; -h, -p, --user and -a win over it")
      ->check(CLI::Validator(
          [](std::string& uri) -> std::string {
            Target unused;
            return ParseUri(uri, unused).message();
          },
          ""))
      ->group("Which leader");
  app.add_option("--user", user_, "the user (default: 'default'); also in the environment as POLYARCH_USER")
      ->group("Which leader");
  app.add_option(
         "-a,--password",
         password_,
         "the password; better in the environment as POLYARCH_PASSWORD, since other users of "
         "this machine can see command lines")
      ->group("Which leader");
  if (keys) {
    app.add_option("-n,--db", database_, "the database of keys (default: 0)")
        ->check(Number(0, 15, "a database is 0 to 15"))
        ->group("Which leader");
  }
  app.add_option("--timeout", timeout_s_, "seconds to wait for an answer (default: 5)")
      ->check(Number(0.001, 86400.0, "0.001 to 86400 seconds"))
      ->group("Which leader");
  tls_.AddTo(app, /*with_switch=*/true);
}

base::Result<Target> TargetOptions::Resolve() const {
  Target target;
  if (const char* password = std::getenv(kPasswordVariable)) target.password = password;
  if (const char* user = std::getenv(kUserVariable)) target.user = user;
  if (!uri_.empty()) {
    if (base::Status s = ParseUri(uri_, target); !s.ok()) return s;
  }
  if (!host_.empty()) target.host = host_;
  if (port_ != 0) target.port = port_;
  if (database_ >= 0) target.database = database_;
  if (!user_.empty()) target.user = user_;
  if (!password_.empty()) target.password = password_;
  target.timeout_ms = static_cast<int64_t>(std::llround(timeout_s_ * 1000));
  tls_.Apply(target);
  return target;
}

base::Result<std::unique_ptr<Connection>> TargetOptions::Connect() const {
  auto target = Resolve();
  if (!target.ok()) return target.status();
  return Connection::Open(*target);
}

std::optional<int> Parse(CLI::App& app, int argc, char** argv) {
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    // Of the subcommand that was asked about, if there is one.
    const CLI::App* asked = &app;
    std::string before;
    while (!asked->get_subcommands().empty()) {
      before += (before.empty() ? "" : " ") + asked->get_name();
      asked = asked->get_subcommands().front();
    }
    std::fputs(asked->help(before).c_str(), stdout);
    return 0;
  } catch (const CLI::ParseError& error) {
    const std::string text = Explain(app, error);
    std::fprintf(stderr,
                 "%s: %s; see %s --help\n",
                 app.get_name().c_str(),
                 Printable(text).c_str(),
                 app.get_name().c_str());
    return 2;
  }
  return std::nullopt;
}

int Fail(const base::Status& status) {
  std::fprintf(stderr, "polyarch: %s\n", status.message().c_str());
  return 1;
}

int Print(const std::vector<std::string>& lines) {
  for (const std::string& line : lines) {
    std::fwrite(line.data(), 1, line.size(), stdout);
    std::fputc('\n', stdout);
  }
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return 0;
  return Fail(base::IoError("cannot write to standard output"));
}

int Print(const std::string& line) {
  return Print(std::vector<std::string>{line});
}

}  // namespace polyarch::cli
