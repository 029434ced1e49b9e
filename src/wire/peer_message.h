// What peers say to each other. Each message is one byte of type and a payload; self-contained
// (origins by full name) and idempotent. Framing and checksum are the transport's. docs/FORMATS.md,
// "peer 1".
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "clock/origin.h"

namespace polyarch::wire {

// 2: vectors leave out what fold records tell of (docs/design/0012-folding.md).
inline constexpr uint32_t kPeerFormat = 2;
inline constexpr size_t kListMax = 1 << 16;    // entries of any list in a message
inline constexpr size_t kProcessesMax = 4096;  // processes and neighbours in the link-state messages

enum class MessageType : uint8_t {
  kHello = 1,
  kHave = 2,
  kSubscribe = 3,
  kUnsubscribe = 4,
  kFrame = 5,  // payload: the frame's bytes
  kCredit = 6,
  kFork = 7,
  kPulse = 8,
  kLinkState = 9,
  kLinkSummary = 10,
  kLinkWant = 11,
  kHaveMore = 12,
  kPublish = 13,
  kRouted = 14,
  kWantReceipt = 15,
  kReceipt = 16,
  kRefused = 30,
};

struct ProcessInfo {
  std::string leader;
  uint64_t nonce = 0;  // of this process
  int64_t started_ms = 0;
  std::string address;
  uint64_t incarnation = 0;  // what its first write uses, or uses already
  uint64_t rival = 0;        // the nonce of another process of its name that it has heard of; 0: none
};

struct Hello {
  uint32_t format = kPeerFormat;
  uint64_t cluster = 0;  // 0: not known yet (joining)
  ProcessInfo process;
  bool joining = false;
  uint64_t join_nonce = 0;
  uint64_t heard = 0;    // the nonce of the receiver, if its Hello has come
  uint64_t version = 0;  // rises whenever the sender has something new to say of itself
};

struct HaveEntry {
  clock::Origin origin;
  uint64_t applied = 0;
  uint64_t durable = 0;
};
struct Have {
  bool full = false;    // all entries; else what changed since the previous one
  uint64_t number = 0;  // of the announcements on this link, from 1: a gap shows that one was lost
  int64_t wall_ms = 0;
  std::vector<HaveEntry> entries;
};

// What is new since the previous announcement, in a few bytes an entry: origins by the sender's own
// number of them. In one process a number never means another origin, so whoever misses the entry that
// names it passes over the others, and asks for a full Have.
struct HaveMoreEntry {
  uint64_t origin = 0;   // the sender's number; rising
  clock::Origin name;    // its name, if it may not be known on this link yet; else without leader
  uint64_t applied = 0;
  uint64_t durable = 0;  // at most `applied`
};
struct HaveMore {
  uint64_t number = 0;  // as in Have
  std::vector<HaveMoreEntry> entries;
};

// The heartbeat: a few bytes that say "I live", and by which the receiver knows whether it lacks
// anything that was said before.
struct Pulse {
  bool wanted = true;     // the sender wants this link
  bool want_full = false; // the sender missed a Have: send a full one
  uint64_t have = 0;      // the number of the sender's last Have on this link
  uint64_t hello = 0;     // the version of the receiver's Hello that has come
  uint64_t graph = 0;     // hash of the link states that the sender can reach
  int64_t wall_ms = 0;
};

// What one process says of itself: who it is and to which processes it has links that greeted it. An
// edge counts when both ends list it. Flooded; of two about one process the higher number is newer.
struct LinkState {
  ProcessInfo process;
  uint64_t number = 0;
  std::vector<uint64_t> neighbours;  // nonces, rising
};
struct LinkStates {
  std::vector<LinkState> entries;
};
struct LinkSummary {
  struct Item {
    uint64_t nonce = 0;
    uint64_t number = 0;
  };
  std::vector<Item> items;
};
struct LinkWant {
  std::vector<uint64_t> nonces;
};

struct Subscribe {
  clock::Origin origin;
  uint64_t from = 1;        // the first sequence wanted
  uint64_t chain = 0;       // the chained hash at from - 1
  uint64_t credit = 0;      // bytes that may be sent, cumulative
  uint64_t generation = 0;  // rises with each subscription; credits name it
};
struct Unsubscribe {
  clock::Origin origin;
  uint64_t generation = 0;  // of the newest subscription that it ends
};
struct Credit {
  clock::Origin origin;
  uint64_t generation = 0;
  uint64_t credit = 0;
};
struct Fork {
  clock::Origin origin;
  uint64_t sequence = 0;
};

// A client waits for it (WAIT): who has the origin's changes up to `sequence` durably, tells so. It goes the
// way of the origin's frames, from neighbour to neighbour; its answers go back along the same way.
struct WantReceipt {
  clock::Origin origin;
  uint64_t sequence = 0;
};
// `leader` holds the origin's changes up to `sequence` durably. No claim: it obliges nobody.
struct Receipt {
  clock::Origin origin;
  std::string leader;
  uint64_t sequence = 0;
};

// A message between clients, on its way to the subscribers of all leaders; not logged, not sent again.
// Each leader forwards it along the tree of shortest paths from its source, in the live graph; by the number
// it knows what has come before. Of a later layout only source and number are known: it is forwarded and
// not shown. The views are of the bytes that were decoded.
struct Publish {
  static constexpr uint8_t kLayout = 1;
  uint8_t layout = kLayout;
  uint64_t source = 0;  // the nonce of the process where it was published
  uint64_t number = 0;  // of its messages, from 1
  bool shard = false;
  std::string_view channel;
  std::string_view message;
};

// A message from one process to another, over as many links as it takes; not logged, not sent again. Who is not
// meant passes it on to the next one on the shortest way, `hops` times at most: while link states
// differ, it could go in circles. The view is of the bytes that were decoded.
struct Routed {
  static constexpr uint8_t kLayout = 1;
  static constexpr uint8_t kHopsMax = 64;
  static constexpr size_t kHopsAt = 9;  // where `hops` is in the whole message
  uint8_t layout = kLayout;  // of what follows `hops`; of a later one nothing else is known
  uint64_t to = 0;           // the nonce of the process that is meant
  uint8_t hops = kHopsMax;   // how often it may be passed on
  std::string_view payload;
};

// Sent instead of a greeting's answer: why there will be no link. The receiver closes.
struct Refused {
  enum class Reason : uint8_t { kRetired = 1 };
  Reason reason = Reason::kRetired;
  uint64_t join_nonce = 0;  // the admission that is refused, as the receiver's Hello named it
};

std::string Encode(const Hello& m);
std::string Encode(const Have& m);
std::string Encode(const HaveMore& m);
std::string Encode(const Subscribe& m);
std::string Encode(const Unsubscribe& m);
std::string Encode(const Credit& m);
std::string Encode(const Fork& m);
std::string Encode(const Pulse& m);
std::string Encode(const LinkStates& m);
std::string Encode(const LinkSummary& m);
std::string Encode(const LinkWant& m);
std::string Encode(const Refused& m);
std::string Encode(const Publish& m);
std::string Encode(const Routed& m);
std::string Encode(const WantReceipt& m);
std::string Encode(const Receipt& m);

// The payload behind the type byte. False on malformed bytes.
bool Decode(std::string_view payload, Hello& m);
bool Decode(std::string_view payload, Have& m);
bool Decode(std::string_view payload, HaveMore& m);
bool Decode(std::string_view payload, Subscribe& m);
bool Decode(std::string_view payload, Unsubscribe& m);
bool Decode(std::string_view payload, Credit& m);
bool Decode(std::string_view payload, Fork& m);
bool Decode(std::string_view payload, Pulse& m);
bool Decode(std::string_view payload, LinkStates& m);
bool Decode(std::string_view payload, LinkSummary& m);
bool Decode(std::string_view payload, LinkWant& m);
// A reason that this version does not know is read as it is.
bool Decode(std::string_view payload, Refused& m);
bool Decode(std::string_view payload, Publish& m);
bool Decode(std::string_view payload, Routed& m);
bool Decode(std::string_view payload, WantReceipt& m);
bool Decode(std::string_view payload, Receipt& m);

}  // namespace polyarch::wire
