#include "cli/cli.h"

#include <algorithm>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>

#include <gtest/gtest.h>

#include "cli/connection.h"
#include "cli/screen.h"
#include "cli/side_by_side.h"
#include "cli/snapshot.h"
#include "cli/status.h"
#include "cli/text.h"
#include "cli/top.h"
#include "cli/topology.h"

namespace polyarch::cli {
namespace {

bool AnyLine(const std::vector<std::string>& lines, const std::string& part) {
  return std::any_of(lines.begin(), lines.end(), [&](const std::string& line) {
    return line.find(part) != std::string::npos;
  });
}

std::string Joined(const std::vector<std::string>& lines) {
  std::string out;
  for (const std::string& line : lines)
    out += line + "\n";
  return out;
}

// ---- text

TEST(Text, Numbers) {
  EXPECT_EQ(HumanBytes(0), "0 B");
  EXPECT_EQ(HumanBytes(1023), "1023 B");
  EXPECT_EQ(HumanBytes(1536), "1.5 KiB");
  EXPECT_EQ(HumanBytes(64ULL << 20), "64 MiB");
  EXPECT_EQ(HumanBytes((1ULL << 20) - 1), "1.0 MiB");
  EXPECT_EQ(HumanBytes(UINT64_MAX), "16 EiB");
  EXPECT_EQ(HumanCount(999), "999");
  EXPECT_EQ(HumanCount(1234567), "1,234,567");
  EXPECT_EQ(HumanMillis(12), "12 ms");
  EXPECT_EQ(HumanMillis(-2500), "-2.5 s");
  EXPECT_EQ(HumanMillis(3 * 3600'000 + 12 * 60'000), "3 h 12 min");
  EXPECT_EQ(HumanMillis(INT64_MIN).front(), '-');
  EXPECT_EQ(HumanRate(0.01), "0");
  EXPECT_EQ(HumanRate(0.34), "0.3");
  EXPECT_EQ(HumanRate(3400.4), "3,400");
}

TEST(Text, NothingFromAServerControlsTheTerminal) {
  EXPECT_EQ(Printable("a\x1b[2Jb\r\n\x7f"), "a\\x1b[2Jb\\x0d\\x0a\\x7f");
  EXPECT_EQ(Printable("gr\xc3\xbc\xc3\x9f"), "gr\xc3\xbc\xc3\x9f");
  EXPECT_EQ(Printable("\xc2\x9b"), "\\xc2\\x9b") << "C1 control sequence introducer";
  EXPECT_EQ(Printable("\xff\xc3"), "\\xff\\xc3");
  EXPECT_EQ(Printable("\xed\xa0\x80\xc0\x80"), "\\xed\\xa0\\x80\\xc0\\x80")
      << "surrogates, overlong";
}

TEST(Text, Json) {
  resp::Value map = Map();
  Put(map, "a\"", Text("line\nend \\ \x01"));
  Put(map, "n", Number(-5));
  resp::Value list = Array();
  list.items = {Boolean(true), Text("\xff\x00z"), {}};
  list.items[1].text = std::string("\xff\x00z", 3);
  Put(map, "l", list);
  EXPECT_EQ(Json(map),
            R"({"a\"":"line\u000aend \\ \u0001","n":-5,"l":[true,{"base64":"/wB6"},null]})");
  EXPECT_EQ(Json(Text("\xff")), R"({"base64":"/w=="})");
  EXPECT_EQ(Json(Text("\xff\xfe")), R"({"base64":"//4="})");
}

TEST(Text, TablesLineUp) {
  Table table({"NAME", "N"}, {1});
  table.Add({"\xc3\xbc", "5"});
  table.Add({"longer", "1,000"});
  EXPECT_EQ(Joined(table.Lines()), "NAME        N\n\xc3\xbc           5\nlonger  1,000\n");
}

TEST(SideBySide, ColumnsAndMarks) {
  const std::vector<Column> columns = {{{"eu  12:00", "eu.1:7"}, "title: B\nplace: R1\n"},
                                       {{"us  12:01"}, "title: C\nplace: R1\nnote: \x1b[2J"}};
  EXPECT_EQ(Joined(SideBySide(columns, 61)),
            "  eu  12:00                    | us  12:01\n"
            "  eu.1:7                       |\n"
            "  ---------------------------- | ----------------------------\n"
            "* title: B                     | title: C\n"
            "  place: R1                    | place: R1\n"
            "*                              | note: \\x1b[2J\n");
  EXPECT_TRUE(SideBySide({}, 80).empty());
}

TEST(SideBySide, LongLinesAreBrokenAndNarrowTerminalsStack) {
  const std::string umlauts = "\xc3\xa4\xc3\xb6\xc3\xbc";
  std::string text;
  for (int i = 0; i < 12; ++i)
    text += umlauts;
  std::vector<Column> columns = {{{"eu"}, text}, {{"us"}, "x"}};
  for (size_t width : {20U, 61U, 100U}) {
    std::string all;
    for (const std::string& line : SideBySide(columns, width)) {
      EXPECT_LE(WidthOf(line), std::max<size_t>(width, 26)) << line;
      all += line;
    }
    EXPECT_EQ(static_cast<size_t>(std::count(all.begin(), all.end(), '\xa4')), 12U)
        << "no character is cut";
  }
  EXPECT_EQ(Joined(SideBySide({{{"eu"}, "1"}, {{"us"}, "2"}, {{"asia"}, "3"}}, 40)),
            "  eu\n    1\n  us\n    2\n  asia\n    3\n");
  const std::string many(100, '\n');
  EXPECT_TRUE(AnyLine(SideBySide({{{"eu"}, many}, {{"us"}, "x"}}, 80, 5), "... (100 B)"));
}

TEST(Text, CutOffAtCharacters) {
  EXPECT_EQ(CutOff("abc", 2), "ab");
  EXPECT_EQ(CutOff("\xc3\xbc\xc3\xbc\xc3\xbc", 2), "\xc3\xbc\xc3\xbc");
  EXPECT_EQ(CutOff("\x1b[1mabc\x1b[0m", 1), "\x1b[1ma\x1b[0m\x1b[0m");
}

// ---- which leader

TEST(ParseUri, Parts) {
  Target t;
  ASSERT_TRUE(ParseUri("redis://host.example", t).ok());
  EXPECT_EQ(t.Name(), "host.example:7400");
  ASSERT_TRUE(ParseUri("redis://:p%40ss%3a@10.0.0.1:7001/3", t).ok());
  EXPECT_EQ(t.Name(), "10.0.0.1:7001");
  EXPECT_EQ(t.password, "p@ss:");
  EXPECT_EQ(t.user, "");
  EXPECT_EQ(t.database, 3);
  ASSERT_TRUE(ParseUri("redis://me:secret@[::1]:7002", t).ok());
  EXPECT_EQ(t.Name(), "[::1]:7002");
  EXPECT_EQ(t.user, "me");
  EXPECT_EQ(t.password, "secret");
  ASSERT_TRUE(ParseUri("redis://:7005", t).ok());
  EXPECT_EQ(t.port, 7005);
  EXPECT_FALSE(t.tls);
  ASSERT_TRUE(ParseUri("rediss://safe.example:7006/1", t).ok());
  EXPECT_EQ(t.Name(), "safe.example:7006");
  EXPECT_EQ(t.database, 1);
  EXPECT_TRUE(t.tls);
}

TEST(ParseUri, Refusals) {
  for (std::string_view bad : {"http://x",
                               "rediss://x:0",
                               "redis://x:0",
                               "redis://x:70000",
                               "redis://x:",
                               "redis://x/16",
                               "redis://x/a",
                               "redis://[::1",
                               "redis://[::1]x",
                               "redis://nopass@x",
                               "redis://:%zz@x",
                               "redis://:%4@x",
                               ""}) {
    Target t;
    const base::Status status = ParseUri(bad, t);
    EXPECT_EQ(status.code(), base::Code::kInvalid) << bad;
    EXPECT_EQ(status.message().find('\n'), std::string::npos);
    EXPECT_EQ(t.port, 7400) << "nothing was taken over from " << bad;
  }
}

// ---- a connection to a server that says what the test wants

class FakeServer {
 public:
  // Accepts one connection, reads what comes first, sends `reply` and what follows it, holds.
  explicit FakeServer(std::vector<std::string> replies) : replies_(std::move(replies)) {
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    EXPECT_EQ(::bind(listener_, reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(::listen(listener_, 1), 0);
    ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
    target.port = ntohs(address.sin_port);
    target.timeout_ms = 300;
    thread_ = std::thread([this] {
      const int fd = ::accept(listener_, nullptr, nullptr);
      char bytes[4096];
      for (const std::string& reply : replies_) {
        if (::read(fd, bytes, sizeof bytes) <= 0) break;
        for (char c : reply) {  // byte by byte
          if (::send(fd, &c, 1, MSG_NOSIGNAL) != 1) break;
        }
      }
      while (::read(fd, bytes, sizeof bytes) > 0) {
      }
      ::close(fd);
    });
  }
  ~FakeServer() {
    ::shutdown(listener_, SHUT_RDWR);
    thread_.join();
    ::close(listener_);
  }
  Target target;

 private:
  std::vector<std::string> replies_;
  int listener_;
  std::thread thread_;
};

constexpr char kHello[] = "%1\r\n$5\r\nproto\r\n:3\r\n";

TEST(Connection, Talks) {
  FakeServer server({kHello,
                     "|1\r\n+ttl\r\n:1\r\n$5\r\nhello\r\n",
                     "-ERR no\r\n",
                     "-ERR unknown command 'X'\r\n"});
  auto connection = Connection::Open(server.target);
  ASSERT_TRUE(connection.ok()) << connection.status().ToString();
  EXPECT_EQ((*connection)->Call({"GET", "k"})->text, "hello");
  EXPECT_EQ((*connection)->Call({"GET", "k"}).status().message(), "no");
  EXPECT_NE(
      (*connection)->Call({"LEADER", "LIST"}).status().message().find("does not know LEADER LIST"),
      std::string::npos);
}

TEST(Connection, SaysWhatIsWrong) {
  const auto message = [](std::vector<std::string> replies) {
    FakeServer server(std::move(replies));
    auto connection = Connection::Open(server.target);
    base::Status status = connection.status();
    if (connection.ok()) status = (*connection)->Call({"PING"}).status();
    EXPECT_FALSE(status.ok());
    EXPECT_EQ(status.message().find('\n'), std::string::npos);
    return status.message();
  };
  EXPECT_NE(message({"-NOAUTH HELLO must be called...\r\n"}).find("POLYARCH_PASSWORD"),
            std::string::npos);
  EXPECT_NE(message({"-WRONGPASS no\r\n"}).find("refuses the password"), std::string::npos);
  EXPECT_NE(message({"HTTP/1.1 400 Bad Request\r\n\r\n"}).find("does not speak"),
            std::string::npos);
  EXPECT_NE(message({}).find("within 300 ms"), std::string::npos) << "silence";
  EXPECT_NE(message({kHello, "$100\r\npart"}).find("within 300 ms"), std::string::npos)
      << "half a reply";
  Target nobody;
  nobody.port = 1;
  EXPECT_NE(Connection::Open(nobody).status().message().find("is it running?"), std::string::npos);
  nobody.host = "no such host";
  EXPECT_NE(Connection::Open(nobody).status().message().find("cannot find the host"),
            std::string::npos);
}

// ---- status, top, topology

resp::Value LeaderMap(const std::string& id,
                      const std::string& state,
                      bool self,
                      int64_t lag,
                      const char* link = "up") {
  resp::Value map = Map();
  Put(map, "id", Text(id));
  Put(map, "incarnation", Text("00000000000000aa"));
  Put(map, "address", Text("127.0.0.1:8001"));
  Put(map, "state", Text(state));
  Put(map, "lag_changes", Number(lag));
  Put(map, "lag_ms", Number(lag * 10));
  Put(map, "clock_difference_ms", Number(self ? 0 : 3));
  Put(map, "self", Boolean(self));
  Put(map, "link", Text(link));
  return map;
}

constexpr char kInfo[] =
    "# "
    "Server\r\npolyarch_version:0.1.0\r\nuptime_in_seconds:7200\r\ndurability:always\r\nrun_id:"
    "abc\r\n"
    "total_commands_processed:1000\r\n"
    "# Replication\r\nleader_id:eu\r\nadmitted:1\r\nchanges_local:100\r\nchanges_remote:50\r\n"
    "conflicts_open:2\r\nconflicts_logged:15\r\nconflicts_detected:17\r\nforks_detected:0\r\n"
    "link_us:state=up,lag_changes=0,lag_ms=0,bytes_in=1000,bytes_out=2048\r\n"
    "link_asia:state=down,lag_changes=123,lag_ms=1230,bytes_in=10,bytes_out=20,unreachable_ms=105000\r\n"
    "claim_eu:behind=0\r\nclaim_us:behind=1\r\nclaim_asia:behind=1234\r\n"
    "log_begin:0\r\nlog_end:10485760\r\nlog_durable:10485760\r\ncheckpoint_position:1048576\r\n"
    "checkpoint_age_ms:12000\r\ncheckpoints_done:3\r\ndirty_keys:1\r\nresidue_keys:11\r\n";
constexpr char kVv[] =
    "asia.00000000000000cc:5 eu.00000000000000aa:100 eu.00000000000000ab:20 us.00000000000000bb:7";

Snapshot Example() {
  resp::Value leaders = Array();
  leaders.items = {LeaderMap("asia", "unreachable", false, 123),
                   LeaderMap("eu", "alive", true, 0),
                   LeaderMap("us", "alive", false, 0)};
  Snapshot s = Read(leaders, kInfo, kVv);
  s.mono_ms = 1000;
  return s;
}

TEST(Status, SaysAll) {
  const std::vector<std::string> lines = StatusLines(Example());
  const std::string all = Joined(lines);
  EXPECT_TRUE(AnyLine(
      lines, "leader eu at 127.0.0.1:8001, Polyarch 0.1.0, up 2 h 0 min, durability always"))
      << all;
  EXPECT_TRUE(AnyLine(lines, "123 / 1.2 s")) << all;
  EXPECT_TRUE(AnyLine(lines, "2 open, 15 decided ones in the log, 17 detected")) << all;
  EXPECT_TRUE(AnyLine(lines, "10 MiB kept, all on disk")) << all;
  EXPECT_TRUE(AnyLine(lines, "12 s ago, 9.0 MiB of log to replay, 1 key changed since")) << all;
  EXPECT_TRUE(
      AnyLine(lines, "11 keys wait; not confirmed yet: 1,234 by asia (unreachable), 1 by us"))
      << all;
  EXPECT_TRUE(AnyLine(lines, "ATTENTION   asia is unreachable for 1 min: is it running")) << all;
  EXPECT_FALSE(AnyLine(lines, "fork")) << all;
}

TEST(Status, AsJson) {
  const std::string json = Json(StatusValue(Example()));
  for (const char* part : {"\"leader\":\"eu\"",
                           "\"admitted\":true",
                           "\"link_state\":\"down\"",
                           "\"bytes_out\":2048",
                           "\"conflicts\":{\"open\":2,\"logged\":15,\"detected\":17}",
                           "\"kept_bytes\":10485760",
                           "\"held_back_by\":[{\"leader\":\"asia\",\"unclaimed_changes\":1234},",
                           "\"attention\":[\"asia is unreachable"})
    EXPECT_NE(json.find(part), std::string::npos) << part << " in " << json;
}

TEST(Status, LogKeptAndStateTransfers) {
  resp::Value leaders = Array();
  leaders.items = {LeaderMap("eu", "alive", true, 0), LeaderMap("us", "away", false, 5)};
  Put(leaders.items[1], "retained_log_bytes", Number(3 << 20));
  const Snapshot s =
      Read(leaders,
           "log_begin:0\r\nlog_end:1024\r\nlog_durable:1024\r\nlog_quota_bytes:1073741824\r\n"
           "state_transfer_in_progress:1\r\nstate_transfer_from:us\r\nstate_transfer_percent:45\r\n"
           "state_transfers_serving:2\r\n",
           "");
  const std::vector<std::string> lines = StatusLines(s);
  const std::string all = Joined(lines);
  EXPECT_TRUE(AnyLine(lines, "LOG KEPT")) << all;
  EXPECT_TRUE(AnyLine(lines, "3.0 MiB")) << all;
  EXPECT_TRUE(AnyLine(lines, "1.0 KiB kept of a quota of 1.0 GiB, all on disk")) << all;
  EXPECT_TRUE(AnyLine(lines, "state comes from us, 45 %")) << all;
  EXPECT_TRUE(AnyLine(lines, "state goes to 2 leaders")) << all;
  EXPECT_FALSE(AnyLine(StatusLines(Example()), "LOG KEPT")) << "where no leader says it";
}

TEST(Status, OfALeaderWithOtherLines) {
  // Older or newer: what is missing is left out, what is new does no harm.
  resp::Value leaders = Array();
  leaders.items = {Map(), Text("strange")};
  const Snapshot s = Read(leaders, "# X\r\nnew_line:state=x\r\nno colon\r\n", "odd words x:1 .:2");
  EXPECT_FALSE(StatusLines(s).empty());
  EXPECT_FALSE(Json(StatusValue(s)).empty());
  EXPECT_FALSE(Frame(s, s, {}).empty());
  EXPECT_FALSE(TopologyLines(Map(), s).empty());
}

TEST(Alarms, EachSaysWhatToDo) {
  resp::Value leaders = Array();
  leaders.items = {LeaderMap("eu", "alive", true, 0), LeaderMap("us", "alive", false, 0, "cut")};
  leaders.items[1].items[13] = Number(-4000);  // the clock
  const Snapshot s =
      Read(leaders,
           "admitted:0\r\nforks_detected:1\r\nstamps_from_the_future:5\r\nbackups_failed:1\r\n"
           "link_us:state=cut\r\n",
           "");
  const std::vector<std::string> alarms = Alarms(s);
  for (const char* part : {"not admitted",
                           "LINK HEAL us",
                           "differs by -4.0 s",
                           "1 forks",
                           "clock far ahead",
                           "backups failed"})
    EXPECT_TRUE(AnyLine(alarms, part)) << part << " in\n" << Joined(alarms);
  EXPECT_EQ(alarms.size(), 6u);
}

TEST(Alarms, ADiskThatIsFull) {
  resp::Value leaders = Array();
  leaders.items = {LeaderMap("eu", "alive", true, 0)};
  const std::vector<std::string> alarms = Alarms(Read(leaders, "admitted:1\r\nwrites_refused:diskfull\r\n", ""));
  ASSERT_EQ(alarms.size(), 1u) << Joined(alarms);
  EXPECT_TRUE(AnyLine(alarms, "answer DISKFULL until there is room; make some")) << Joined(alarms);
  EXPECT_TRUE(AnyLine(StatusLines(Read(leaders, "writes_refused:diskfull\r\n", "")), "ATTENTION   the disk"));
  EXPECT_TRUE(Alarms(Read(leaders, "admitted:1\r\nwrites_refused:no\r\n", "")).empty());
  // These have a line of their own.
  EXPECT_EQ(Alarms(Read(leaders, "admitted:0\r\nwrites_refused:history\r\n", "")).size(), 1u);
  EXPECT_TRUE(AnyLine(Alarms(Read(leaders, "writes_refused:oom\r\n", "")), "refuses clients' writes (oom)"));
}

TEST(Alarms, ElectorsThatCannotAgree) {
  resp::Value leaders = Array();
  leaders.items = {LeaderMap("eu", "alive", true, 0)};
  auto alarms = [&](const std::string& info) { return Joined(Alarms(Read(leaders, info, ""))); };
  const std::string away = alarms("electors:asia,eu,us\r\nsync_quorum:0\r\nsync_quorum_lost:0\r\nelectors_lost:\r\n");
  EXPECT_NE(away.find("is in reach"), std::string::npos) << away;
  EXPECT_NE(away.find("bring them back, or, if they are gone for good, LEADER ELECTORS FORCE"), std::string::npos) << away;
  const std::string lost =
      alarms("electors:asia,eu,us\r\nsync_quorum:0\r\nsync_quorum_lost:1\r\nelectors_lost:asia,us\r\n");
  EXPECT_NE(lost.find("the directory of asia,us was replaced"), std::string::npos) << lost;
  EXPECT_NE(lost.find("until LEADER ELECTORS FORCE"), std::string::npos) << lost;
  EXPECT_NE(alarms("electors:asia,eu,us\r\nsync_quorum:1\r\nelectors_lost:us\r\n").find("elector us has lost its votes"),
            std::string::npos);
  EXPECT_EQ(alarms("electors:asia,eu,us\r\nsync_quorum:1\r\nelectors_lost:\r\n"), "");
}

TEST(Status, AClockThatNobodyTellsIsNotZero) {
  resp::Value leaders = Array();
  leaders.items = {LeaderMap("eu", "alive", true, 0), LeaderMap("us", "alive", false, 0, "none")};
  leaders.items[1].items[13] = resp::Value();
  const Snapshot s = Read(leaders, "link_us:state=routed\r\n", "");
  EXPECT_FALSE(s.leaders[1].clock_difference_ms.has_value());
  EXPECT_EQ(ClockWord(s.leaders[1]), "-");
  leaders.items[1].items[13] = Number(0);
  EXPECT_EQ(ClockWord(Read(leaders, "", "").leaders[1]), "0 ms");
}

TEST(Alarms, WhoseConfirmationARetirementWaitsFor) {
  resp::Value leaders = Array();
  leaders.items = {LeaderMap("asia", "retired", false, 9), LeaderMap("eu", "alive", true, 0),
                   LeaderMap("oz", "unreachable", false, 9), LeaderMap("us", "alive", false, 0)};
  std::string info = "claim_asia:behind=9\r\nclaim_eu:behind=0\r\nclaim_oz:behind=9\r\nclaim_us:behind=1\r\n";
  const char* line = "asia is retired, and waits for the confirmation of oz (unreachable): start what is to come back, "
                     "retire the rest as well (LEADER RETIRE oz)";
  EXPECT_TRUE(AnyLine(Alarms(Read(leaders, info, "")), line)) << Joined(Alarms(Read(leaders, info, "")));
  // In force: it counts no more.
  info.erase(0, info.find("claim_eu"));
  EXPECT_FALSE(AnyLine(Alarms(Read(leaders, info, "")), "asia"));
}

TEST(Alarms, OfALeaderThatWasRetired) {
  resp::Value leaders = Array();
  leaders.items = {LeaderMap("asia", "unreachable", false, 9), LeaderMap("eu", "retired", true, 0)};
  const std::vector<std::string> alarms = Alarms(Read(leaders, "link_asia:state=down\r\n", ""));
  ASSERT_EQ(alarms.size(), 1u) << Joined(alarms);
  EXPECT_EQ(alarms[0], "this leader was retired: stop it, or start it with --rejoin");
}

TEST(Status, NoLagBeyondWhatIsKnown) {
  LeaderRow row;
  row.state = "unreachable";
  row.lag_changes = 5;
  row.lag_ms = 30'400;
  EXPECT_EQ(LagWord(row), "5 / > 30 s");
  row.lag_ms = 66;
  EXPECT_EQ(LagWord(row), "5 / 66 ms");
}

TEST(Top, Rates) {
  const Snapshot before = Example();
  std::string info = kInfo;
  info.replace(info.find("changes_local:100"), 17, "changes_local:600");
  info.replace(info.find("bytes_in=1000"), 13, "bytes_in=6120");
  resp::Value leaders = before.raw_leaders;
  Snapshot now = Read(leaders, info, "us.00000000000000bb:1007");
  now.mono_ms = 6000;
  const std::vector<std::string> lines = Frame(now, before, {});
  const std::string all = Joined(lines);
  EXPECT_TRUE(AnyLine(lines, "local 100, remote 0")) << all;
  EXPECT_TRUE(AnyLine(lines, "1.0 KiB")) << all;
  const auto us =
      std::find_if(lines.begin(), lines.end(), [](const auto& l) { return l.starts_with("us "); });
  ASSERT_NE(us, lines.end());
  EXPECT_NE(us->find(" 200 "), std::string::npos) << *us;
  // Another process: its counters began anew.
  info.replace(info.find("run_id:abc"), 10, "run_id:abd");
  Snapshot restarted = Read(leaders, info, kVv);
  restarted.mono_ms = 6000;
  EXPECT_TRUE(AnyLine(Frame(restarted, before, {}), "local -, remote -"));
}

TEST(Top, FitsTheWindow) {
  Snapshot s = Example();
  for (int i = 0; i < 50; ++i) {
    s.leaders.push_back(s.leaders[2]);
    s.leaders.back().id = "leader" + std::to_string(i);
  }
  for (size_t height : {16u, 24u, 40u}) {
    const std::vector<std::string> lines = Frame(s, std::nullopt, {.height = height});
    EXPECT_LE(lines.size(), height);
    EXPECT_TRUE(AnyLine(lines, "more leaders"));
    EXPECT_TRUE(AnyLine(lines, "purging"));
  }
  EXPECT_TRUE(AnyLine(Frame(s, std::nullopt, {.height = 24, .notice = "cannot reach x"}),
                      "cannot reach x"));
}

resp::Value Topology(const std::string& shape) {
  resp::Value map = Map();
  Put(map, "topology", Text(shape));
  resp::Value links = Map();
  Put(links, "us", Text("up"));
  Put(map, "links", links);
  Put(map, "bypasses", Array());
  resp::Value routes = Map();
  Put(routes, "us", Text("us"));
  Put(routes, "asia", Text("us"));
  Put(map, "routes", routes);
  Put(map, "something_new", Number(5));
  return map;
}

TEST(TopologyLines, Drawn) {
  const Snapshot s = Example();
  const std::vector<std::string> ring = TopologyLines(Topology("ring eu us asia"), s);
  EXPECT_TRUE(AnyLine(ring, "eu --- us --- asia --- (eu)")) << Joined(ring);
  EXPECT_TRUE(AnyLine(ring, "us <- itself")) << Joined(ring);
  EXPECT_TRUE(AnyLine(ring, "asia <- us")) << Joined(ring);
  EXPECT_TRUE(AnyLine(ring, "bypasses    none")) << Joined(ring);
  EXPECT_TRUE(AnyLine(ring, "something_new  5")) << Joined(ring);
  const std::vector<std::string> star = TopologyLines(Topology("star us"), s);
  EXPECT_TRUE(AnyLine(star, "us -+- asia")) << Joined(star);
  EXPECT_TRUE(AnyLine(star, "    +- eu")) << Joined(star);
  const std::vector<std::string> links = TopologyLines(Topology("links eu-us us-asia"), s);
  EXPECT_TRUE(AnyLine(links, "us --- eu, asia")) << Joined(links);
  EXPECT_TRUE(AnyLine(TopologyLines(Topology("mesh"), s), "each with each: asia eu us"));
}

TEST(TopologyLines, GraphAndHops) {
  resp::Value map = Map();
  const auto list = [](std::initializer_list<const char*> texts) {
    resp::Value out = Array();
    for (const char* text : texts)
      out.items.push_back(Text(text));
    return out;
  };
  Put(map, "topology", Text("links eu-us us-asia"));
  Put(map, "configured", list({"asia-us", "eu-us"}));
  Put(map, "live", list({"eu-us", "asia-eu"}));
  Put(map, "bypasses", list({"asia-eu"}));
  resp::Value route = Map();
  Put(route, "next", Text("us"));
  Put(route, "hops", Number(2));
  resp::Value routes = Map();
  Put(routes, "asia", route);
  Put(map, "routes", routes);
  resp::Value origins = Map();
  Put(origins, "asia.00000000000000cc", Text("us"));
  Put(map, "origins", origins);
  const std::vector<std::string> lines = TopologyLines(map, Example(), /*all=*/true);
  const std::vector<std::string> living = TopologyLines(map, Example());
  EXPECT_FALSE(AnyLine(living, "00000000000000cc <-")) << Joined(living);
  EXPECT_TRUE(AnyLine(living, "and 1 of processes that are not there (--all shows them)")) << Joined(living);
  for (const char* part : {"configured  asia-us eu-us",
                           "live        eu-us asia-eu",
                           "down        asia-us",
                           "bypasses    asia-eu",
                           "asia <- us, 2 hops",
                           "asia.00000000000000cc <- us"})
    EXPECT_TRUE(AnyLine(lines, part)) << part << " in\n" << Joined(lines);
}

TEST(TopologyLines, FromInfoWhereThereIsNoCommand) {
  const std::vector<std::string> lines = TopologyLines(Map(), Example());
  EXPECT_TRUE(AnyLine(lines, "links of eu")) << Joined(lines);
  EXPECT_TRUE(AnyLine(lines, "asia  down")) << Joined(lines);
}

TEST(Cli, KnowsItsSubcommands) {
  EXPECT_TRUE(IsSubcommand("status"));
  EXPECT_FALSE(IsSubcommand("server"));
  for (const char* name :
       {"status", "top", "topology", "policy", "conflicts", "backup", "restore"}) {
    EXPECT_TRUE(IsSubcommand(name));
    EXPECT_NE(std::string(Summary()).find(std::string("polyarch ") + name), std::string::npos)
        << name;
  }
}

}  // namespace
}  // namespace polyarch::cli
