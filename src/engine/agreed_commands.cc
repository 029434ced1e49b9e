// Clients' commands on keys under the policy `sync`: which of them can be agreed on, and what is
// answered.
#include <algorithm>
#include <utility>

#include "base/number.h"
#include "command/script_run.h"
#include "command/transaction.h"
#include "engine/agreed.h"
#include "engine/agreed_run.h"
#include "engine/engine.h"

namespace polyarch::engine {

namespace {

std::string Upper(std::string_view name) {
  std::string out;
  for (char c : name)
    out += c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c == '|' ? ' ' : c;
  return out;
}

}  // namespace

std::string AgreedKeys::Unsuitable(uint8_t db, const std::string& key) {
  if (key.size() > wire::kSyncKeyBytesMax) {
    return "LIMIT key longer than " + std::to_string(wire::kSyncKeyBytesMax) +
           " bytes, which is the most under policy 'sync'";
  }
  if (view_.Holds(db, key)) return "";
  const keyspace::KeyRef ref = engine_.keyspace_.Ref(db, key);
  const keyspace::PlainShown shown = keyspace::ReadPlain(engine_.keyspace_, ref);
  if (shown.kind == keyspace::PlainShown::Kind::kOther) {
    return "WRONGTYPE keys under policy 'sync' hold strings, counters and hashes only";
  }
  if (keyspace::Encode(shown.value).size() > kSyncValueBytesMax) {
    return "LIMIT the value is larger than " + std::to_string(kSyncValueBytesMax) +
           " bytes, which is the most under policy 'sync'";
  }
  return "";
}

// A flush deletes what others have not agreed to delete: it is refused if it would meet such a key.
bool AgreedKeys::FlushMeets(std::optional<uint8_t> db) {
  bool met = false;
  view_.ForEach([&](uint8_t of, std::string_view key, bool present) {
    if (present && (!db || of == *db)) met = met || StandingOf(key) != Standing::kOrdinary;
  });
  if (met || (!policies_sync_ && rules_text_.empty())) return met;
  for (uint8_t of = db.value_or(0); of < (db ? *db + 1 : crdt::kDatabases) && !met; ++of) {
    uint64_t cursor = 0;
    do {
      cursor = engine_.keyspace_.Scan(of, cursor, 1000, [&](std::string_view key) {
        met = met || StandingOf(key) != Standing::kOrdinary;
      });
    } while (cursor != 0 && !met);
  }
  return met;
}

void AgreedKeys::ReleaseAll(std::optional<uint8_t> db) {
  std::vector<Key> keys;
  for (const auto& [key, known] : known_) {
    if (known.live && (!db || key.first == *db)) keys.push_back(key);
  }
  for (const Key& key : keys)
    Release(key);
}

// What a command, or what is queued between MULTI and EXEC, does to which keys.
struct AgreedKeys::Plan {
  std::vector<std::string> written;
  std::set<std::string> named;  // these, and those that are read
  bool others = false;          // there is a command that names no key
  bool unfit = false;           // there is a write that cannot be agreed on
  bool flushes_one = false;     // this database
  bool flushes_all = false;
  std::string name;  // of the write
};

AgreedKeys::Plan AgreedKeys::PlanOf(const command::Context& c,
                                    const command::Row& row,
                                    std::vector<std::vector<std::string>>& steps) const {
  Plan plan;
  std::vector<size_t> indices;
  auto note = [&](const command::Row& of, command::Arguments args) {
    if (of.name.starts_with("escrow|")) {  // it writes nothing of the key itself
      plan.others = true;
      return;
    }
    command::KeyIndices(of, args, indices);
    for (size_t i : indices)
      plan.named.emplace(args[i]);
    // A script may name any key while it runs.
    plan.others = plan.others || indices.empty() || (of.flags & command::kRunsScript) != 0;
    if ((of.flags & command::kWrite) == 0) return;
    for (size_t i : indices)
      plan.written.emplace_back(args[i]);
    plan.unfit = plan.unfit || !MayBeAgreed(of);
    plan.name = Upper(of.name);
    plan.flushes_one = plan.flushes_one || of.name == "flushdb";
    plan.flushes_all = plan.flushes_all || of.name == "flushall";
    if (of.name == "conflict|restore" && args.size() > 2) {
      // Its key is in the log of conflicts.
      const std::optional<int64_t> id = base::ParseInt64(args[2]);
      const conflict::LedgerEntry* entry =
          id && *id > 0 ? engine_.ledger_.Find(static_cast<uint64_t>(*id)) : nullptr;
      if (entry != nullptr && entry->db == c.client.db) plan.written.push_back(entry->key);
    }
  };
  if (row.handler != command::Exec) {
    note(row, c.args);
  } else {
    const command::Transaction& transaction = *c.client.transaction;
    const char* word = transaction.words.data();
    size_t next = 0;
    std::vector<std::string_view> args;
    for (const auto& queued : transaction.commands) {
      args.clear();
      for (uint32_t i = 0; i < queued.words; ++i) {
        args.emplace_back(word, transaction.sizes[next]);
        word += transaction.sizes[next++];
      }
      note(*queued.row, args);
      steps.emplace_back(args.begin(), args.end());
    }
  }
  std::sort(plan.written.begin(), plan.written.end());
  plan.written.erase(std::unique(plan.written.begin(), plan.written.end()), plan.written.end());
  return plan;
}

bool AgreedKeys::Takes(command::Context& c, const command::Row& row) {
  const bool exec = row.handler == command::Exec;
  if (exec && (c.client.transaction == nullptr || c.client.transaction->aborted ||
               !c.client.transaction->writes))
    return false;
  if (exec && !engine_.WriteAllowed().ok()) return false;  // then EXEC says so
  std::vector<std::vector<std::string>> steps;
  const Plan plan = PlanOf(c, row, steps);
  auto refuse = [&](const std::string& text) {
    if (exec) command::EndTransaction(c);
    c.reply.Error(text);
    return true;
  };
  if (plan.flushes_one || plan.flushes_all) {
    const auto db = plan.flushes_all ? std::nullopt : std::optional(c.client.db);
    if (FlushMeets(db)) {
      return refuse("CROSSSYNC keys under policy 'sync' are deleted one by one, not by " +
                    plan.name + "; nothing was deleted");
    }
    ReleaseAll(db);
  }
  bool agreed = false;
  for (const std::string& key : plan.written) {
    const Standing standing = StandingOf(key);
    if (standing == Standing::kChanging) {
      return refuse("TRYAGAIN policy 'sync' of '" + key +
                    "' is about to begin or to end; nothing was written, try again soon");
    }
    agreed = agreed || standing == Standing::kAgreed;
  }
  // A change of what was watched ends a transaction before it begins.
  if (exec && engine_.watches_.Changed(c.client.id, engine_.keyspace_)) return false;
  if (!agreed) {
    for (const std::string& key : plan.written) {
      // COPY, MOVE and SELECT in a transaction write in other databases.
      for (uint8_t db = 0; db < crdt::kDatabases; ++db) {
        auto known = known_.find({db, key});
        if (known == known_.end() || !known->second.live) continue;
        if (engine_.change_open_) {  // who has waited is served in the change that brought the elements
          to_release_.insert(known->first);
          return refuse("TRYAGAIN policy 'sync' of '" + key +
                        "' has just ended; nothing was written, try again");
        }
        Release({db, key});
      }
    }
    return false;
  }
  if (exec && (plan.named.size() != 1 || plan.others)) {
    return refuse(
        "CROSSSYNC a transaction that writes a key under policy 'sync' holds commands of that one "
        "key and no others; nothing was written");
  }
  if (plan.unfit) {
    return refuse("CROSSSYNC " + plan.name +
                  " does not work on keys under policy 'sync'; nothing was written");
  }
  if (plan.named.size() != 1) {
    return refuse(
        "CROSSSYNC a key under policy 'sync' is written alone, not with others; nothing was "
        "written");
  }
  const std::string key = plan.written[0];
  if (const std::string why = Unsuitable(c.client.db, key); !why.empty()) return refuse(why);
  if (!exec) {
    Begin(c, Call{}, key);
    return true;
  }
  const bool watched = engine_.watches_.IsWatching(c.client.id, {c.client.db, key});
  const clock::Ballot version = Shown({c.client.db, key});
  command::EndTransaction(c);
  Call call;
  call.steps = std::move(steps);
  if (watched) call.watched = version;
  Begin(c, std::move(call), key);
  return true;
}

// Who names one key that is agreed on wants that key's newest value, not the one that is shown here: the script is the
// function of a round from the beginning.
bool AgreedKeys::TakesScript(command::Context& c,
                             std::string_view source,
                             command::Arguments keys,
                             command::Arguments rest) {
  if (keys.size() != 1 || StandingOf(keys[0]) != Standing::kAgreed) return false;
  const std::string key(keys[0]);
  const base::Status allowed = engine_.WriteAllowed();
  std::string why = allowed.ok() ? Unsuitable(c.client.db, key) : allowed.message();
  if (!why.empty()) {
    c.reply.Error(why);
    return true;
  }
  Call call;
  call.arguments = {"eval", std::string(source), "1", key};
  call.arguments.insert(call.arguments.end(), rest.begin(), rest.end());
  call.script = true;
  Begin(c, std::move(call), key);
  return true;
}

// What is to be an ordinary value before the script may write it becomes one at the end of the tick: in the middle of a
// change it cannot.
base::Status AgreedKeys::MayRun(command::Context& c, const command::Row& row) {
  if ((row.flags & command::kWrite) == 0) return {};
  std::vector<std::vector<std::string>> steps;
  const Plan plan = PlanOf(c, row, steps);
  const size_t released = to_release_.size();
  if (plan.flushes_one || plan.flushes_all) {
    const auto db = plan.flushes_all ? std::nullopt : std::optional(c.client.db);
    if (FlushMeets(db)) {
      return base::Invalid("CROSSSYNC keys under policy 'sync' are deleted one by one, not by " +
                           plan.name + "; nothing was done");
    }
    for (const auto& [key, known] : known_) {
      if (known.live && (!db || key.first == *db)) to_release_.insert(key);
    }
  }
  for (const std::string& key : plan.written) {
    const Standing standing = StandingOf(key);
    if (standing == Standing::kChanging) {
      return base::Invalid("TRYAGAIN policy 'sync' of '" + key +
                           "' is about to begin or to end; nothing was done, try again soon");
    }
    if (standing == Standing::kAgreed) {
      return base::Invalid(
          "CROSSSYNC a script writes a key under policy 'sync' only as the one key that EVAL or "
          "EVALSHA names, outside of MULTI; nothing was done");
    }
    for (uint8_t db = 0; db < crdt::kDatabases; ++db) {
      auto known = known_.find({db, key});
      if (known != known_.end() && known->second.live) to_release_.insert(known->first);
    }
  }
  if (to_release_.size() == released) return {};
  return base::Invalid(
      "TRYAGAIN policy 'sync' has ended, and what was agreed on becomes an ordinary value now; "
      "nothing was done, try again");
}

// A round may run the call before this returns: it is whole when it is given.
void AgreedKeys::Begin(command::Context& c,
                       Call given,
                       const std::string& key,
                       clock::Ballot name) {
  const sync::OpId id = next_op_++;
  Call& call = calls_[id] = std::move(given);
  const Call::Kind kind = call.kind;
  call.client = c.client.id;
  call.protocol = c.client.protocol;
  call.as = {c.client.user, c.client.user_born, c.client.authenticated};
  call.key = {c.client.db, key};
  if (kind == Call::Kind::kCommand && call.arguments.empty())
    call.arguments.assign(c.args.begin(), c.args.end());
  call.server = &c.server;
  by_client_[c.client.id] = id;
  Waiters::Waiter waiter;
  waiter.client = &c.client;
  waiter.server = &c.server;
  waiter.for_others = true;
  engine_.waiters_.Add(std::move(waiter));
  c.suspended = true;
  c.waits_for_others = true;
  sync::Op op;
  op.id = id;
  op.kind = kind == Call::Kind::kCommand ? sync::OpKind::kWrite
            : kind == Call::Kind::kRead  ? sync::OpKind::kRead
                                         : sync::OpKind::kOutcome;
  op.deadline_us = engine_.now_.mono_us + kAgreedTimeoutUs;
  op.alone = call.script;
  op.name = std::move(name);
  agreement_.Submit({c.client.db, key}, std::move(op));
}

void AgreedKeys::AskRead(command::Context& c, std::string_view key) {
  if (StandingOf(key) != Standing::kAgreed) {
    return c.reply.Error("ERR '" + std::string(key) +
                         "' is not under policy 'sync'; read it as any other key");
  }
  if (const std::string why = Unsuitable(c.client.db, std::string(key)); !why.empty())
    return c.reply.Error(why);
  Begin(c, Call{.kind = Call::Kind::kRead}, std::string(key));
}

void AgreedKeys::AskChange(command::Context& c,
                           const std::string& key,
                           std::vector<Unless> unless,
                           std::vector<std::string> arguments,
                           std::string reply) {
  const Standing standing = StandingOf(key);
  if (standing == Standing::kChanging) {
    const int64_t now = engine_.now_.mono_us;
    auto waits = beginning_.find(c.client.id);
    // Its time goes on only if it is the same command, run again.
    if (waits == beginning_.end() || waits->second.key != key || !waits->second.resumed) {
      waits = beginning_.insert_or_assign(c.client.id, Beginning{.key = key, .deadline_us = now + kBeginTimeoutUs}).first;
    }
    if (c.may_wait && now < waits->second.deadline_us) {
      waits->second.resumed = false;
      c.suspended = true;
      c.waits_for_others = true;
      return;
    }
    beginning_.erase(waits);
    return c.reply.Error("TRYAGAIN policy 'sync' of '" + key +
                         "' is about to begin or to end; nothing was written, try again soon");
  }
  beginning_.erase(c.client.id);
  if (standing != Standing::kAgreed) {
    return c.reply.Error("ERR '" + key +
                         "' is not under policy 'sync': that there is one stock, and not two, is agreed on; POLICY SET "
                         "<pattern> sync first");
  }
  if (const base::Status allowed = engine_.WriteAllowed(); !allowed.ok()) return c.reply.Error(allowed.message());
  if (const std::string why = Unsuitable(c.client.db, key); !why.empty()) return c.reply.Error(why);
  Call call;
  call.unless = std::move(unless);
  call.arguments = std::move(arguments);
  call.reply = std::move(reply);
  Begin(c, std::move(call), key);
}

void AgreedKeys::AskOutcome(command::Context& c, std::string_view key, const clock::Ballot& name) {
  if (StandingOf(key) != Standing::kAgreed) {
    return c.reply.Error("ERR '" + std::string(key) + "' is not under policy 'sync'");
  }
  if (const std::string why = Unsuitable(c.client.db, std::string(key)); !why.empty())
    return c.reply.Error(why);
  Begin(c, Call{.kind = Call::Kind::kOutcome}, std::string(key), name);
}

void AgreedKeys::Forget(uint64_t client) {
  beginning_.erase(client);
  auto it = by_client_.find(client);
  if (it == by_client_.end()) return;
  const sync::OpId id = it->second;
  by_client_.erase(it);
  auto call = calls_.find(id);
  if (call == calls_.end()) return;
  call->second.client = 0;
  // What is in a round goes on: others may be in it, too.
  if (agreement_.Forget(SyncKeyOf(call->second.key), id)) calls_.erase(call);
}

std::string AgreedKeys::Error(const Call& call, const std::string& text) const {
  resp::Buffer out;
  resp::Writer(out, call.protocol).Error(text);
  return std::string(out.view());
}

std::string AgreedKeys::ElectorNames() const {
  std::string names;
  for (const wire::Seat& seat : agreement_.electorate().now)
    names += (names.empty() ? "" : ", ") + seat.leader;
  return names;
}

std::string AgreedKeys::ReadReply(const Call& call, const wire::Tuple* tuple) {
  resp::Buffer out;
  resp::Writer writer(out, call.protocol);
  std::optional<keyspace::PlainValue> value;
  if (tuple == nullptr) {
    // Nothing has been decided: what stood there before.
    const keyspace::PlainShown shown = keyspace::ReadPlain(
        engine_.keyspace_, engine_.keyspace_.Ref(call.key.first, call.key.second));
    if (shown.kind == keyspace::PlainShown::Kind::kValue) value = shown.value;
  } else if (!tuple->absent && tuple->expires_ms >= engine_.keyspace_.time_ms()) {
    keyspace::PlainValue decoded;
    if (keyspace::Decode(tuple->value, decoded)) value = std::move(decoded);
  }
  writer.Array(2);
  if (!value) {
    writer.Null();
  } else if (value->type == crdt::Type::kString) {
    writer.Bulk(value->text);
  } else {
    writer.Map(value->fields.size());
    for (const auto& [name, text] : value->fields) {
      writer.Bulk(name);
      writer.Bulk(text);
    }
  }
  if (tuple == nullptr) {
    writer.Null();
  } else {
    writer.Bulk(tuple->version.ToString());
  }
  return std::string(out.view());
}

void AgreedKeys::Done(sync::OpId op, const sync::Result& result) {
  auto it = calls_.find(op);
  if (it == calls_.end()) return;
  Call call = std::move(it->second);
  calls_.erase(it);
  if (call.kind == Call::Kind::kExpire) expiring_.erase(call.key);
  if (result.verdict == sync::Verdict::kDone) {
    // Told once, of the try that counts.
    if (auto found = call.told.find(result.attempt); found != call.told.end()) {
      for (const command::Publication& event : found->second.events)
        engine_.Notify(event.notice, event.channel, event.db, event.message);
    }
  }
  if (call.client == 0) return;
  by_client_.erase(call.client);
  std::string reply;
  switch (result.verdict) {
    case sync::Verdict::kDone:
      if (call.kind == Call::Kind::kCommand && !result.name.none() && !engine_.may_write()) {
        // Decided, but this leader was taken out meanwhile, and could not write it down: what others tell counts.
        reply = Error(call,
                      "TIMEOUT in doubt " + result.name.ToString() +
                          " this leader was taken out while the write was agreed on; ask SYNC OUTCOME with this name "
                          "at another one");
      } else if (call.kind == Call::Kind::kRead) {
        reply = ReadReply(call, result.tuple);
      } else if (auto found = call.told.find(result.attempt); found != call.told.end()) {
        reply = std::move(found->second.reply);
      } else {
        reply = Error(call, "ERR the reply of an agreed command is lost; ask SYNC READ");
      }
      break;
    case sync::Verdict::kOutcome: {
      resp::Buffer out;
      resp::Writer writer(out, call.protocol);
      if (result.outcome == sync::WriteOutcome::kTooOld) {
        writer.Null();
      } else {
        writer.Integer(result.outcome == sync::WriteOutcome::kApplied ? 1 : 0);
      }
      reply = out.view();
      break;
    }
    case sync::Verdict::kNoQuorum:
      reply = Error(call,
                    "NOQUORUM nothing was written: " +
                        (agreement_.QuorumInReach()
                             ? "no majority of the electors (" + ElectorNames() + ") answered in time; try again"
                             : NoQuorumText()));
      break;
    case sync::Verdict::kInDoubt:
      reply = Error(
          call,
          "TIMEOUT in doubt " + result.name.ToString() +
              " the write may have taken effect, or may yet; ask SYNC OUTCOME with this name");
      break;
  }
  const bool wrote = call.kind == Call::Kind::kCommand && result.verdict == sync::Verdict::kDone;
  answers_.push_back({call.client, std::move(reply), wrote ? DotOf(call.key) : 0});
}

}  // namespace polyarch::engine
