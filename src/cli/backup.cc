#include <utility>

#include "backup/restore.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/text.h"

namespace polyarch::cli {

namespace {

resp::Value ToValue(const backup::Manifest& manifest) {
  resp::Value map = Map();
  Put(map, "leader", Text(manifest.leader));
  Put(map, "cluster", Text(manifest.cluster));
  Put(map, "polyarch", Text(manifest.polyarch_version));
  Put(map, "taken_ms", Number(manifest.taken_ms));
  Put(map, "vv", Text(manifest.vv));
  Put(map, "files", Number(static_cast<int64_t>(manifest.files.size())));
  Put(map, "bytes", Number(static_cast<int64_t>(manifest.bytes())));
  return map;
}

std::string Amount(uint64_t files, uint64_t bytes) {
  return HumanCount(files) + " files, " + HumanBytes(bytes);
}

}  // namespace

int RunBackup(int argc, char** argv) {
  CLI::App app{
      "Makes a backup of a running leader into a new directory on the leader's machine, and waits "
      "for it. "
      "The leader goes on serving. Check it with: polyarch restore PATH --verify",
      "polyarch backup"};
  TargetOptions target;
  target.AddTo(app);
  bool json = false;
  std::string path;
  app.add_flag("--json", json, "what was made as a JSON object");
  app.add_option(
         "PATH", path, "an absolute path on the leader's machine; absent or an empty directory")
      ->required();
  if (auto code = Parse(app, argc, argv)) return *code;
  auto connection = target.Connect();
  if (!connection.ok()) return Fail(connection.status());
  const std::string_view command[] = {"POLYARCH", "BACKUP", path};
  auto reply = (*connection)->Call(command, Connection::kForever);
  if (!reply.ok()) return Fail(reply.status());
  if (json) return Print(Json(*reply));
  return Print({"backup in " + Printable(TextOf(Find(*reply, "path"))) + ": " +
                    Amount(static_cast<uint64_t>(NumberOf(Find(*reply, "files"))),
                           static_cast<uint64_t>(NumberOf(Find(*reply, "bytes")))),
                "it holds " + Printable(TextOf(Find(*reply, "vv")))});
}

int RunRestore(int argc, char** argv) {
  CLI::App app{
      "Makes a leader's directory from a backup, after every checksum in it was verified. Runs on "
      "files; no "
      "leader is asked.",
      "polyarch restore"};
  app.set_help_flag("--help", "print this and end");
  std::string path;
  std::string dir;
  bool verify = false;
  bool json = false;
  app.add_option("PATH", path, "the backup")->required();
  CLI::Option* dir_option = app.add_option("--dir", dir, "the directory to make; absent or empty");
  app.add_flag("--verify", verify, "only check the backup")->excludes(dir_option);
  app.add_flag("--json", json, "what the backup holds as a JSON object");
  if (auto code = Parse(app, argc, argv)) return *code;
  if (!verify && dir.empty()) {
    std::fprintf(stderr,
                 "polyarch restore: give --dir DIR to restore into, or --verify to check only\n");
    return 2;
  }
  auto manifest = verify ? backup::Verify(path) : backup::Restore(path, dir);
  if (!manifest.ok()) return Fail(manifest.status());
  if (json) return Print(Json(ToValue(*manifest)));
  std::vector<std::string> lines = {std::string(verify ? "whole: " : "restored: ") + "leader " +
                                        Printable(manifest->leader) + " of cluster " +
                                        Printable(manifest->cluster) + ", " +
                                        Amount(manifest->files.size(), manifest->bytes()),
                                    "it holds " + Printable(manifest->vv)};
  if (!verify) {
    lines.push_back("start it as always, with --id " +
                    Printable(manifest->leader.substr(0, manifest->leader.find('~'))) + " --dir " +
                    Printable(dir));
  }
  return Print(lines);
}

}  // namespace polyarch::cli
