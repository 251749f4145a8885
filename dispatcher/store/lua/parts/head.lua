-- The head of every script of the batch store. Each command is one script, so that every change of a batch and of the
-- counters that account for it is atomic. A script is this head, the parts that the command needs, and the command's
-- own file: dispatcher/store/script.py lists them.
--
-- KEYS[1]  the prefix of the keys of one destination, or of one of its slots (store/slots.py), such as
--          "dispatcher:{tracking_log}:" and "dispatcher:{tracking_log#3}:". All keys start with it, and so are on one
--          server of a cluster.
-- ARGV[1]  the arguments by name, as a JSON object. `now` is the time in milliseconds since 1970; without it, it is
--          Redis' own clock that counts, since the hosts' clocks may differ and leases must not.
-- ARGV[2…] bytes: events, as the command's file says.
--
-- Keys behind the prefix, as in dispatcher/store/keys.py:
--   batch:<id>                hash: a batch: packed (packing.py), n (how many events are left), example (one's name),
--                             attempts, claims (that ended with their lease, or go on), put_at, token (of the last
--                             claim, while nobody has said how it ended), error; bytes (of its events, unpacked, or
--                             more), without which it comes alone; finish (where it ends in its journal); first (how
--                             many events are settled). Where leases were lost over it: lost (how many in a row),
--                             within (one of its first so many events may be to blame), part (how many of these were
--                             handed out), condemned (that one is to become a dead letter)
--   queued                    zset: batch id: when it was put; 0 for what goes first
--   claimed                   zset: batch id: when the lease runs out
--   parked                    zset: batch id: when it is due
--   since                     zset: batch id: when it was put; every batch that is not settled
--   counts                    hash: the ledger, in events: accepted, delivered, dead, filtered, retried; queued,
--                             claimed, parked, posted; dead:<reason>, filtered:<reason>, of which dead:filed went to a file,
--                             and dead:unkept are only counted; dead_bytes of the dead letters, dead_limit (how many
--                             these may have), dead_cut (dead letters that lost their events to that). Then
--                             last_error, last_error_at, last_delivered_at; since: when it began to count; and
--                             commands: what people did to it, as JSON
--   journal:<name>            string: the position up to which a journal was put; goes a week after it was last put or
--                             asked for, but not while a batch of it is open
--   open:<journal>            zset: batch id: where it starts in the journal; its batches that are not settled
--   dead_letters:<journal>    zset: start of a range of the journal: when it left dead letters; each goes after ten
--                             seconds
--   breaker                   hash: failures (in a row), openings (in a row), opened (openings in all), and while it
--                             is not closed: until, since, cause, error, probe (the token of the batch that may be
--                             tried), probe_until; and while it is paused: paused (since when), paused_until (0
--                             without an end), pause_reason
--   dead                      stream: a dead letter each: reason, error, event (dead_event.py), attempts, at, bytes;
--                             answer where the destination said something; n where it stands for several events, which
--                             are gone
--   filing                    string: there while a worker has the turn to take dead letters to a file; expires
--   ring                      hash: at: when a doorbell was sent that no claim has answered yet, the ring under way.
--                             Of the last claim: chained (its worker rings for what it leaves), events (how many it
--                             takes together; 0 where it joins no batches). Goes an hour after the last claim
--   bell                      string: there while a bell has had its turn to ring; expires
--   turn:<destinations>       string: of "emit" alone: there while the bell of one worker looks at all destinations;
--                             expires
--   rate                      hash: the rate limit: permits (in the bucket at the time `at`; below 0 where later ones
--                             are promised), at, until (no permit before), factor (of the rate that is used: 1, or
--                             less while it is slowed down), slowdowns (how often that happened), changed (when factor
--                             did), error (what the destination said then); per_second and burst as last asked with.
--                             Goes two days after the last permit
--   workers                   zset: description of a worker that serves it (store/workers.py), as JSON: when it was
--                             last there; goes after a minute
--   slots                     zset: of slot 0 alone: number of another slot that is in use: when a relay last had a
--                             journal there
--   retired                   hash: the ledger of a slot that is being forgotten, until slot 0 has it; goes after a day
--   reporter                  string: there while a worker has had its turn to report to Sentry; expires
--   reported                  hash: what was reported to Sentry: dead:<reason> (how many dead letters), breaker (the
--                             cause of its opening)
--   replay:<log>              string: how far a log was replayed (replay/checkpoint.py), as JSON; goes after 30 days
--   ids                       string: of "emit" alone: which ids are remembered, as JSON: slices (each with its id,
--                             hashes, when it began, n ids), the oldest first; dropped (slices of which hashes are left),
--                             next (id of a slice), early (how many ids were forgotten before their time); goes four
--                             windows after the last id
--   ids:<slice>               hash: of "emit" alone: part of a slice: digest of an event's id: where the event came first
--                             (store/event_ids.py); goes with its slice, at the latest after two windows
--   asked:<journal>           string: of "emit" alone: the position up to which the ids of a journal were asked for;
--                             goes after a week
--   duplicates                hash: of "emit" alone: name of a source of the collector: how many of its events had come
--                             before (store/duplicates.py)
--   duplicates:<journal>      string: of "emit" alone: the position up to which the duplicates of a journal were counted;
--                             goes after a week
--   deprecated_calls:<week>   hash: of "emit" alone: call, event, script and course, as a JSON list, or nothing for what
--                             had no room: how often in the week, and when last (store/deprecated_calls.py); goes
--                             after 26 weeks
--   counted:<journal>         string: of "emit" alone: the position up to which the deprecated calls of a journal were
--                             counted; goes after a week
--   posted                    zset: mailbox and id of an event that waits for its visitor's page: until when
--   mailbox:<name>            hash: a visitor's events that wait for a page: c:<id> (the calls, behind when it was
--                             posted), e:<id> (the event), s:<id> (why the last page made no calls, and how many have
--                             tried), l:<id> (the mailbox of the browser that has it for now, and until when); bytes
--                             (of all of them); goes with its last event
--   acknowledged              zset: status, mailbox and id of an event that a page acknowledged before it was posted:
--                             when; each goes when it is posted, or after a day
--   viewers                   zset: of "emit" alone: what somebody who looks at live events wants (live/lease.py), as
--                             JSON: until when; goes with the last of them
--   viewed:<viewer>           stream: of "emit" alone: live events for one viewer: matched (how many it wanted), shown
--                             (how many of them it is shown), items (these, and deliveries, as JSON); goes with its
--                             viewer
--   none                      string: never there: deleted first where a command has to come through at maxmemory

local prefix = KEYS[1]
local arguments = cjson.decode(ARGV[1])
local now = arguments.now
if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

local function key(name) return prefix .. name end

local function count(field, by)
  if by ~= 0 then redis.call('HINCRBY', key('counts'), field, by) end
end

-- At maxmemory Redis refuses a script whose first write may take memory, and lets all others through. A command that
-- has to come through all the same, as what it does may free memory, first deletes a key that does not exist.
local function write_even_when_full()
  redis.call('DEL', key('none'))
end
