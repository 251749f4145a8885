-- The batch store. One script, so that every change of a batch and of the counters that account for it is atomic.
--
-- KEYS[1]  the prefix of one destination's keys, such as "dispatcher:{tracking_log}:". All keys start with it, and so
--          share a hash slot.
-- ARGV[1]  the command; ARGV[2] the time now in milliseconds, or 0 for Redis' own: the hosts' clocks may differ, and
--          leases must not; the rest is the command's own.
--
-- Keys behind the prefix:
--   batch:<id>     hash: payload (see pack in batches.py), n (events left), example (one's name), attempts, claims, put_at,
--                  token, error; finish (where it ends in its journal); first (events that are settled). Where leases
--                  were lost over it: lost (how many in a row), within (one of its first so many events may be to
--                  blame), part (how many of these were handed out), condemned (that one is to be buried)
--   queued         zset: id -> when it was last rung for
--   claimed        zset: id -> when the lease runs out
--   parked         zset: id -> when it is due
--   since          zset: id -> when it was put; all that is not settled
--   counts         hash: accepted, delivered, dead, filtered, retried; queued, claimed, parked (events, not batches);
--                  dead:<reason>, filtered:<reason>; dead_bytes: of the stream, dead_limit: how many it may have, dead_cut:
--                  letters that lost their events to that; last_error, last_error_at, last_delivered_at; heard: the latest
--                  time at which a batch was rung for that has been claimed
--   journal:<name> string: the position up to which a journal was put; forgotten a week after it was last put or asked
--                  for, and not while a batch of it is open
--   open:<name>    zset: id -> where it starts in the journal; its batches that are not settled
--   letters:<name> zset: start -> when; the journal's ranges that have just left dead letters
--   breaker        hash: failures (in a row), trips (openings in a row), opened (openings in all), and while it is not
--                  closed: until, since, cause, error, probe (the token of the one that may try), probe_until
--   dead           stream: event, reason, error, attempts, at, bytes; n where it stands for several events, which are
--                  gone. Letters that went to a file are counted as dead:filed, and dead:unkept are beyond all bounds
--   filing         string with expiry: one worker at a time takes letters to a file
--   bell           string with expiry: one bell rings for a destination at a time
--   rate           hash: how fast it may be sent to; dispatcher/store/rate_limit.lua keeps it

local prefix = KEYS[1]
local command = ARGV[1]
local now = tonumber(ARGV[2])
if now == 0 then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

local JOURNAL_SECONDS = 7 * 24 * 3600
-- Longer than what Redis can lose when it fails: two seconds with appendfsync everysec, and ten where a replica takes
-- over that lags as far as min-replicas-max-lag lets it by default.
local UNSURE_SECONDS = 10
-- Bytes that a destination's dead letters may have as long as no worker has said how many.
local LETTERS_BYTES = 64 * 1024 * 1024
-- Bytes of a letter beside its texts, about.
local ENVELOPE_BYTES = 150
local STATES = {'queued', 'claimed', 'parked'}

-- Leases lost in a row from which on a batch is handed out in parts: what a deploy or two, or an outage of Redis at the
-- wrong moment, does not come to. And those from which on an event that had the last one alone is condemned: three more,
-- since a batch that shared a process with the one to blame has come at another moment than that one since.
local SUSPECT_LEASES, CONDEMNED_LEASES = 3, 6

local function key(name) return prefix .. name end
local function count(field, by)
  if by ~= 0 then redis.call('HINCRBY', key('counts'), field, by) end
end

-- The events of a batch go over from one counter of waiting events to another.
local function move(id, from, to, score, n)
  if from then
    redis.call('ZREM', key(from), id)
    count(from, -n)
  end
  if to then
    redis.call('ZADD', key(to), score, id)
    count(to, n)
  end
end

local function journal_of(id)
  return string.match(id, '^(.*)%-%x+$') or ''
end

local function state_of(id)
  for _, state in ipairs(STATES) do
    local score = redis.call('ZSCORE', key(state), id)
    if score then return state, tonumber(score) end
  end
  return nil
end

-- How many events a batch has. Where its hash does not say, since it is damaged: what the counter has beyond the others.
local function size_of(id, state)
  local function said(batch)
    return tonumber(string.match(redis.call('HGET', key('batch:' .. batch), 'n') or '', '^%d%d?%d?%d?%d?%d?$'))
  end
  local n = said(id)
  if n then return n end
  n = tonumber(redis.call('HGET', key('counts'), state) or '0')
  for _, other in ipairs(redis.call('ZRANGE', key(state), 0, -1)) do
    n = n - (said(other) or 0)
  end
  n = math.max(n, 0)
  redis.call('DEL', key('none'))  -- at maxmemory Redis refuses a script's first write where that may grow
  redis.call('HSET', key('batch:' .. id), 'n', n)
  return n
end

-- Up to where a journal was put; -1 where nothing is known of it. Where its key is gone, its last open batch still says
-- so, or the one of this id.
local function position_of(journal, id)
  local position = redis.call('GET', key('journal:' .. journal))
  if position then return tonumber(position) end
  local last = redis.call('ZRANGE', key('open:' .. journal), -1, -1)[1] or id
  return tonumber(last and redis.call('HMGET', key('batch:' .. last), 'finish')[1] or '-1')
end

local function has_open(journal)
  return redis.call('ZRANGE', key('open:' .. journal), 0, 0)[1] ~= nil
end

-- Writes down up to where a journal was put. To forget that while a batch of it is open would be to take it twice.
local function remember(journal, position, lasts)
  if lasts then
    redis.call('SET', key('journal:' .. journal), position)
  else
    redis.call('SET', key('journal:' .. journal), position, 'EX', JOURNAL_SECONDS)
  end
end

-- Forgets a batch of which nothing is left.
local function close(id)
  local journal = journal_of(id)
  if redis.call('ZSCORE', key('open:' .. journal), id) then
    local position = position_of(journal)
    redis.call('ZREM', key('open:' .. journal), id)
    remember(journal, position, has_open(journal))
  end
  redis.call('ZREM', key('since'), id)
  redis.call('DEL', key('batch:' .. id))
end

-- Has the journal's range from `start` on count as open for a while: a Redis that loses these moments loses the letters
-- too, and whoever has the journal then still has their events.
local function stay_open(journal, start)
  local letters = key('letters:' .. journal)
  redis.call('ZREMRANGEBYSCORE', letters, '-inf', now - UNSURE_SECONDS * 1000)
  redis.call('ZADD', letters, now, start)
  redis.call('EXPIRE', letters, UNSURE_SECONDS)
end

-- Reasons and how many events each stands for, from ARGV[at] on: how many pairs, then the pairs.
-- Returns what follows, and the sum.
local function count_reasons(kind, at)
  local sum = 0
  local last = at + 2 * tonumber(ARGV[at])
  for index = at + 1, last, 2 do
    local n = tonumber(ARGV[index + 1])
    count(kind, n)
    count(kind .. ':' .. ARGV[index], n)
    sum = sum + n
  end
  return last + 1, sum
end

-- Dead events from ARGV[at] on: how many, then reason, error, event and the event in short of each. Returns what follows,
-- and how many. Should no worker take letters to a file in time, they must not fill Redis: beyond twice the limit they
-- have their events in short, and beyond three times they are only counted.
local function bury(at, attempts)
  local n = tonumber(ARGV[at])
  local last = at + 4 * n
  local found = redis.call('HMGET', key('counts'), 'dead_bytes', 'dead_limit')
  local bytes, limit = tonumber(found[1] or '0'), tonumber(found[2] or LETTERS_BYTES)
  local added, cut = 0, 0
  for index = at + 1, last, 4 do
    local reason, problem, event, short = ARGV[index], ARGV[index + 1], ARGV[index + 2], ARGV[index + 3]
    local envelope = ENVELOPE_BYTES + #reason + #problem
    if bytes + added + envelope + #event > 2 * limit and #short < #event then
      event = short
    end
    local size = envelope + #event
    if bytes + added + size > 3 * limit then
      reason = 'unkept'
    else
      redis.call('XADD', key('dead'), '*', 'reason', reason, 'error', problem, 'event', event, 'attempts', attempts,
        'at', now, 'bytes', size)
      added = added + size
      if event == short then cut = cut + 1 end
    end
    count('dead:' .. reason, 1)
  end
  count('dead', n)
  count('dead_bytes', added)
  count('dead_cut', cut)
  return last + 1, n
end

-- Whether the states and their counters look as they must: a batch is in one state, and has an event at least.
local function is_sound()
  local events = redis.call('HMGET', key('counts'), unpack(STATES))
  local batches = 0
  for index, state in ipairs(STATES) do
    local held, counted = redis.call('ZCARD', key(state)), tonumber(events[index] or '0')
    if counted < held or (held == 0 and counted ~= 0) then return false end
    batches = batches + held
  end
  return batches == redis.call('ZCARD', key('since'))
end

-- Brings ids into one state each, where keys are gone that must not be: by a policy that evicts, or somebody's hand.
-- What can still be delivered is queued; events that are gone become one dead letter that stands for all of them, so
-- that the sum closes. Looks at every batch, so it is for when something was seen to be wrong.
local function repair()
  local ids, sums = {}, {queued = 0, claimed = 0, parked = 0}
  for _, name in ipairs({'since', 'queued', 'claimed', 'parked'}) do
    for _, id in ipairs(redis.call('ZRANGE', key(name), 0, -1)) do ids[id] = true end
  end
  for id in pairs(ids) do
    local n = tonumber(redis.call('HGET', key('batch:' .. id), 'n'))
    local kept = n and (state_of(id) or 'queued')
    for _, state in ipairs(STATES) do
      if state ~= kept then redis.call('ZREM', key(state), id) end
    end
    if n then
      redis.call('ZADD', key(kept), 'NX', 0, id)
      redis.call('ZADD', key('since'), 'NX', now, id)
      sums[kept] = sums[kept] + n
    else
      close(id)
    end
  end
  local gone = 0
  for _, state in ipairs(STATES) do
    gone = gone + tonumber(redis.call('HGET', key('counts'), state) or '0') - sums[state]
    redis.call('HSET', key('counts'), state, sums[state])
  end
  if gone > 0 then
    redis.call('XADD', key('dead'), '*', 'reason', 'vanished', 'error', 'Redis no longer had them: is its maxmemory-policy noeviction?',
      'event', '', 'attempts', 0, 'at', now, 'n', gone)
    count('dead', gone)
    count('dead:vanished', gone)
  else
    count('accepted', -gone)
  end
end

local commands = {}

-- put journal after start end id n payload example <filtered> <dead> again
-- Accounts for the journal's range from start to end, and stores the n events of it that are for this destination.
-- Putting a range again changes nothing, whatever became of its batch. Returns 1, or 0 when it was there already,
-- or {position} when it has to be cut anew from that position on: it was there in part; or the journal was put up to
-- there only and not up to `after`, because a put sent before this one was refused or this Redis has lost it.
function commands.put()
  local journal, after = ARGV[3], tonumber(ARGV[4])
  local start, finish = tonumber(ARGV[5]), tonumber(ARGV[6])
  local id, n, payload = ARGV[7], tonumber(ARGV[8]), ARGV[9]
  local position = position_of(journal, id)
  if finish <= position then return 0 end
  if start < position or position < after then return {position} end
  -- Written first: at maxmemory this is what fails, before anything has changed.
  remember(journal, ARGV[6], n > 0 or has_open(journal))
  if n > 0 then
    redis.call('HSET', key('batch:' .. id), 'payload', payload, 'n', n, 'example', ARGV[10], 'attempts', 0, 'claims',
      tonumber(ARGV[#ARGV]), 'put_at', now, 'finish', ARGV[6])  -- again: as if it had been claimed
    redis.call('ZADD', key('since'), now, id)
    redis.call('ZADD', key('open:' .. journal), start, id)
    move(id, nil, 'queued', now, n)
  end
  local at, filtered = count_reasons('filtered', 11)
  local _, dead = bury(at, 0)
  if dead > 0 then stay_open(journal, ARGV[5]) end
  count('accepted', n + filtered + dead)
  return 1
end

-- position journal
-- Up to where a journal was put, and where its first range starts that is not settled, or has only just left dead
-- letters; -1 for what is not there.
function commands.position()
  local journal = ARGV[3]
  local first = tonumber(redis.call('ZRANGE', key('open:' .. journal), 0, 0, 'WITHSCORES')[2])
  if not first then redis.call('EXPIRE', key('journal:' .. journal), JOURNAL_SECONDS) end
  redis.call('ZREMRANGEBYSCORE', key('letters:' .. journal), '-inf', now - UNSURE_SECONDS * 1000)
  for _, start in ipairs(redis.call('ZRANGE', key('letters:' .. journal), 0, -1)) do
    first = math.min(first or math.huge, tonumber(start))
  end
  return {position_of(journal), first or -1}
end

-- The breaker. Closed: no `until`. Open: nothing is tried before `until`. After that it is half open: one at a time.

-- Whether a batch may not be tried now, and whether it would be the probe.
local function ask_breaker()
  local found = redis.call('HMGET', key('breaker'), 'until', 'probe_until')
  if not found[1] then return false, false end
  local held_back = now < tonumber(found[1]) or now < tonumber(found[2] or '0')
  return held_back, not held_back
end

-- What a try says of the destination: result is ok, transient, throttled, setup, or '' for nothing.
-- Returns 'opened' or 'closed' where it changed that, else ''.
local function judge(token, result, threshold, first, most, asked, problem)
  local breaker = key('breaker')
  local found = redis.call('HMGET', breaker, 'until', 'probe', 'trips')
  local is_open, is_probe = found[1], found[2] == token
  if is_probe then redis.call('HDEL', breaker, 'probe', 'probe_until') end
  if result == 'ok' then
    if is_open and not is_probe and now < tonumber(is_open) then return '' end  -- it was under way when it opened
    redis.call('HDEL', breaker, 'failures', 'trips', 'until', 'since', 'cause', 'error', 'probe', 'probe_until')
    return is_open and 'closed' or ''
  end
  if result == '' or (is_open and not is_probe) then return '' end
  local failures = redis.call('HINCRBY', breaker, 'failures', 1)
  if result == 'transient' and not is_probe and failures < threshold then return '' end
  local trips = tonumber(found[3] or '0')
  local pause = math.max(asked, math.min(most, first * 2 ^ math.min(trips, 30)))
  if result == 'throttled' and asked > 0 then pause = asked end
  redis.call('HSET', breaker, 'trips', trips + 1, 'until', math.floor(now + pause), 'cause', result, 'error', problem)
  if is_open then return '' end
  redis.call('HSET', breaker, 'since', now)
  redis.call('HINCRBY', breaker, 'opened', 1)
  return 'opened'
end

-- claim id lease token spread
-- Returns {payload, n, attempts, claims before this one, put_at, now, lost, part, first, condemned}; or the state that
-- keeps it from being claimed, or "settled"; or {"held back", until, error} where the breaker does: it is parked then,
-- and has burnt no attempt. Only the first `part` events are to be delivered; `lost` is how many leases in a row were
-- lost up to now.
function commands.claim()
  local id, lease, token, spread = ARGV[3], tonumber(ARGV[4]), ARGV[5], tonumber(ARGV[6])
  local state, score = state_of(id)
  if not state then return 'settled' end
  if (state == 'claimed' or state == 'parked') and score > now then return state end
  local batch = key('batch:' .. id)
  if redis.call('EXISTS', batch) == 0 then
    repair()
    return 'settled'
  end
  local n = size_of(id, state)
  local is_held_back, is_probe = ask_breaker()
  if is_held_back then
    -- Due at once: it is the bell that waits for the breaker, so that closing it early lets them all go.
    move(id, state, 'parked', now, n)
    local found = redis.call('HMGET', key('breaker'), 'until', 'error', 'probe_until')
    return {'held back', math.max(tonumber(found[1]), tonumber(found[3] or '0')), found[2]}
  end
  local found = redis.call('HMGET', batch, 'payload', 'attempts', 'claims', 'put_at', 'first', 'token', 'lost', 'within',
    'part', 'condemned')
  local lost, within, part = tonumber(found[7] or '0'), tonumber(found[8] or '0'), tonumber(found[9] or n)
  local condemned = found[10] and 1 or 0
  if found[6] then  -- nobody said how the claim before this one ended
    lost = lost + 1
    if lost >= SUSPECT_LEASES then within = part end
    if within == 1 and part == 1 and lost >= CONDEMNED_LEASES then condemned = 1 end
  end
  part = within > 0 and math.ceil(math.min(within, n) / 2) or n
  if lost + 1 >= SUSPECT_LEASES then lease = lease + spread end
  -- This goes first: at maxmemory Redis refuses a script's first write where that may grow.
  move(id, state, 'claimed', now + lease, n)
  if lost > 0 then redis.call('HSET', batch, 'lost', lost, 'within', within, 'part', part) end
  if condemned == 1 then redis.call('HSET', batch, 'condemned', 1) end
  if is_probe then redis.call('HSET', key('breaker'), 'probe', token, 'probe_until', now + lease) end
  if state == 'queued' and score > tonumber(redis.call('HGET', key('counts'), 'heard') or '0') then
    redis.call('HSET', key('counts'), 'heard', score)
  end
  redis.call('HINCRBY', batch, 'claims', 1)
  redis.call('HSET', batch, 'token', token)
  return {found[1], n, found[2] or 0, found[3] or 0, found[4] or now, now, found[6] and lost or 0, part,
    found[5] or 0, condemned}
end

-- A claim has ended in good order, with so many events settled, which were the first. Who is to blame for lost leases
-- is among those behind them, if anyone is. Once it is found, the rest is tried whole, but once only.
local function clear_suspicion(batch, settled)
  if settled > 0 then redis.call('HINCRBY', batch, 'first', settled) end
  local found = redis.call('HMGET', batch, 'within', 'condemned')
  local within = tonumber(found[1] or '0') - settled
  redis.call('HDEL', batch, 'part')
  if within > 0 then
    redis.call('HSET', batch, 'within', within)
  else
    redis.call('HDEL', batch, 'lost', 'within', 'condemned')
    if found[2] then redis.call('HSET', batch, 'lost', SUSPECT_LEASES - 1) end
  end
end

-- A holder has come back that lost its lease: it was slow, and neither killed nor hung. Smaller parts may help; but
-- nothing is condemned for that.
local function note_late(batch)
  if tonumber(redis.call('HGET', batch, 'lost') or '0') > SUSPECT_LEASES then
    redis.call('DEL', key('none'))  -- at maxmemory Redis refuses a script's first write where that may grow
    redis.call('HSET', batch, 'lost', SUSPECT_LEASES)
  end
end

-- settle id token delivered <filtered> <dead> left rest payload due burns error result threshold first most asked
-- Records what became of a claimed batch. With left > 0 these events are parked until due, which burns an attempt or
-- not, and with them the rest, which was not handed out; otherwise the rest goes on at once. Returns what it did to the
-- breaker, or false when the lease was lost, in which case nothing of it is recorded.
function commands.settle()
  local id, token, delivered = ARGV[3], ARGV[4], tonumber(ARGV[5])
  local batch = key('batch:' .. id)
  if redis.call('HGET', batch, 'token') ~= token or not redis.call('ZSCORE', key('claimed'), id) then
    note_late(batch)
    return false
  end
  local n = tonumber(redis.call('HGET', batch, 'n'))
  local attempts = tonumber(redis.call('HGET', batch, 'attempts') or '0')
  move(id, 'claimed', nil, nil, n)
  count('delivered', delivered)
  if delivered > 0 then redis.call('HSET', key('counts'), 'last_delivered_at', now) end
  local at, dead = bury(count_reasons('filtered', 6), attempts + 1)
  local start = dead > 0 and redis.call('ZSCORE', key('open:' .. journal_of(id)), id)
  if start then stay_open(journal_of(id), start) end
  local left, rest, payload = tonumber(ARGV[at]), tonumber(ARGV[at + 1]), ARGV[at + 2]
  local due, burns, problem = tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4]), ARGV[at + 5]
  if problem ~= '' then redis.call('HSET', key('counts'), 'last_error', problem, 'last_error_at', now) end
  local change = judge(token, ARGV[at + 6], tonumber(ARGV[at + 7]), tonumber(ARGV[at + 8]), tonumber(ARGV[at + 9]),
    tonumber(ARGV[at + 10]), problem)
  if left + rest == 0 then
    close(id)
    return change
  end
  count('retried', left)
  redis.call('HSET', batch, 'n', left + rest, 'attempts', attempts + burns, 'error', problem)
  -- What is left counts the claims of which nobody knows how they ended; this one has ended.
  redis.call('HINCRBY', batch, 'claims', -1)
  if payload ~= '' then redis.call('HSET', batch, 'payload', payload) end
  redis.call('HDEL', batch, 'token')
  clear_suspicion(batch, n - left - rest)
  if left > 0 then
    move(id, nil, 'parked', due, left + rest)
  else
    -- As if it had been rung for long ago, so that the next bell rings for it.
    move(id, nil, 'queued', 0, rest)
  end
  return change
end

local function fields_of(entry)
  local fields = {}
  for index = 1, #entry[2], 2 do fields[entry[2][index]] = entry[2][index + 1] end
  return fields
end

-- A dead letter's fields; nothing where it is gone.
local function look_up(letter)
  local entry = redis.call('XRANGE', key('dead'), letter, letter)[1]
  return entry and fields_of(entry)
end

-- Takes a dead letter out of the stream and its counters. Returns how many events it stood for; 0 where it is gone.
local function take_out(letter)
  local fields = look_up(letter)
  if not fields then return 0 end
  local n = tonumber(fields['n'] or '1')
  redis.call('XDEL', key('dead'), letter)
  count('dead:' .. fields['reason'], -n)
  count('dead', -n)
  count('dead_bytes', -tonumber(fields['bytes'] or '0'))
  return n
end

-- revive id n payload letter...
-- Turns n dead letters back into a batch of n events, which is queued. Returns 1, or 0 when one of the letters is gone,
-- or named twice, in which case nothing has changed.
function commands.revive()
  local id, n, payload = ARGV[3], tonumber(ARGV[4]), ARGV[5]
  local seen = {}
  for index = 6, #ARGV do
    if seen[ARGV[index]] or not look_up(ARGV[index]) then return 0 end
    seen[ARGV[index]] = true
  end
  for index = 6, #ARGV do take_out(ARGV[index]) end
  -- Letters' ids come again where their stream was deleted, while a batch of that name may still wait.
  while redis.call('EXISTS', key('batch:' .. id)) == 1 or state_of(id) do id = id .. '-again' end
  redis.call('HSET', key('batch:' .. id), 'payload', payload, 'n', n, 'attempts', 0, 'claims', 0, 'put_at', now)
  redis.call('ZADD', key('since'), now, id)
  -- As if it had been rung for long ago, so that the next bell rings for it.
  move(id, nil, 'queued', 0, n)
  return 1
end

-- drop letter...
-- Deletes dead letters for good. They count as filtered from then on, as somebody decided. Returns how many events
-- there were.
function commands.drop()
  local dropped = 0
  for index = 3, #ARGV do dropped = dropped + take_out(ARGV[index]) end
  count('filtered', dropped)
  count('filtered:dropped', dropped)
  return dropped
end

-- overdue most age every going_on
-- The oldest dead letters, which are to go to a file: there are more than `most` bytes of them, or they are older than
-- `age` milliseconds (0: any age is well). Once they are, they go down to three quarters of the one and 99 % of the
-- other, so that files are few. `most` is what bury goes by from now on. Answers once in `every` milliseconds, whoever
-- asks, and again to the one that is going on. Returns ids, a few megabytes of letters at the most.
local FILE_BYTES, FILE_LETTERS, PAGE = 4 * 1024 * 1024, 5000, 16
function commands.overdue()
  local most, age, every, is_going_on = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6] == '1'
  -- As with the bell: a deletion goes first, so that at maxmemory letters can still go.
  redis.call('DEL', key('none'))
  if not redis.call('SET', key('filing'), '1', 'PX', every, is_going_on and 'XX' or 'NX') and not is_going_on then
    return {}
  end
  redis.call('HSET', key('counts'), 'dead_limit', most)
  local bytes = tonumber(redis.call('HGET', key('counts'), 'dead_bytes') or '0')
  local oldest = redis.call('XRANGE', key('dead'), '-', '+', 'COUNT', 1)[1]
  if not oldest then return {} end
  local is_old = age > 0 and tonumber(fields_of(oldest)['at']) <= now - age
  if not is_going_on and bytes <= most and not is_old then return {} end
  most, age = most * 0.75, age * 0.99
  local found, size, from = {}, 0, '-'
  while size < FILE_BYTES and #found < FILE_LETTERS do
    local entries = redis.call('XRANGE', key('dead'), from, '+', 'COUNT', PAGE)
    for _, entry in ipairs(entries) do
      local fields = fields_of(entry)
      is_old = age > 0 and tonumber(fields['at']) <= now - age
      if bytes - size <= most and not is_old then return found end
      found[#found + 1] = entry[1]
      size = size + tonumber(fields['bytes'] or '0')
    end
    if #entries < PAGE then return found end
    from = '(' .. entries[#entries][1]
  end
  return found
end

-- filed letter...
-- Takes letters out that are in a file now. They stay dead. Returns how many events there were.
function commands.filed()
  local n = 0
  for index = 3, #ARGV do n = n + take_out(ARGV[index]) end
  count('dead', n)
  count('dead:filed', n)
  return n
end

-- Has up to n events that were filed or not kept no longer count as dead. Returns how many.
local function forget(kind, n)
  n = math.min(n, tonumber(redis.call('HGET', key('counts'), 'dead:' .. kind) or '0'))
  count('dead:' .. kind, -n)
  count('dead', -n)
  return n
end

-- restore, with all that put takes
-- Puts events of a file of dead letters, which are dead no longer. Returns what put does.
function commands.restore()
  local answer = commands.put()
  if answer == 1 then
    count('accepted', -forget('filed', tonumber(ARGV[8])))
    -- As if it had been rung for long ago, so that the next bell rings for it.
    redis.call('ZADD', key('queued'), 0, ARGV[7])
  end
  return answer
end

-- forget
-- Has what was filed or not kept count as filtered, as somebody decided. Returns how many events there were.
function commands.forget()
  redis.call('DEL', key('none'))  -- as in overdue
  local n = forget('filed', math.huge) + forget('unkept', math.huge)
  count('filtered', n)
  count('filtered:dropped', n)
  return n
end

-- due limit idle overtaken every
-- What to ring for at this moment: parked batches that are due, claimed ones whose lease has run out, and queued ones whose ring
-- was lost: rung for more than `overtaken` milliseconds before another that was claimed since; or, with idle = 1 (the
-- queue is empty), rung for a few seconds ago; or, wherever they may be, ten minutes ago. While the breaker is open it
-- rings for nothing, and then for one batch, the probe, until the breaker is closed.
-- Answers once in `every` milliseconds, whoever asks. Returns {id, n, attempts, example, ...}.
local IDLE, LOST = 5000, 600000
function commands.due()
  local limit, idle, overtaken, every = tonumber(ARGV[3]), ARGV[4] == '1', tonumber(ARGV[5]), tonumber(ARGV[6])
  -- At maxmemory Redis refuses a script's first write where that may grow; a deletion goes first, so that bells ring on.
  redis.call('DEL', key('none'))
  if not redis.call('SET', key('bell'), '1', 'NX', 'PX', every) then return {} end
  local breaker = redis.call('HMGET', key('breaker'), 'until', 'probe_until')
  if breaker[1] then
    if now < tonumber(breaker[1]) or now < tonumber(breaker[2] or '0') then return {} end
    limit = 1
  end
  local is_repaired = not is_sound()
  if is_repaired then repair() end
  local found = {}
  local function take(state, before)
    local room = limit - #found / 4
    if room <= 0 then return end
    for _, id in ipairs(redis.call('ZRANGEBYSCORE', key(state), '-inf', before, 'LIMIT', 0, room)) do
      local batch = redis.call('HMGET', key('batch:' .. id), 'n', 'attempts', 'example')
      if redis.call('EXISTS', key('batch:' .. id)) == 1 then
        local n = size_of(id, state)
        if state == 'queued' then
          redis.call('ZADD', key('queued'), now, id)
        else
          move(id, state, 'queued', now, n)
        end
        found[#found + 1] = id
        found[#found + 1] = n
        found[#found + 1] = tonumber(batch[2] or '0') or 0
        found[#found + 1] = batch[3] or ''
      elseif not is_repaired then
        repair()
        is_repaired = true
      end
    end
  end
  take('parked', now)
  take('claimed', now)
  -- Not later than now, where the clock was set back: else all that is queued would be rung for each time.
  local heard = math.min(now, tonumber(redis.call('HGET', key('counts'), 'heard') or '0'))
  take('queued', math.max(heard - overtaken, now - (idle and IDLE or LOST)))
  return found
end

-- counts
-- Returns {field, value, ...} of the counters, with batches (how many wait), oldest (when the oldest was put), due
-- (when the next parked one is due), dead_oldest (when the oldest letter died) and the fields of the breaker and of the rate added.
function commands.counts()
  local found = redis.call('HGETALL', key('counts'))
  local function add(field, value)
    found[#found + 1] = field
    found[#found + 1] = tostring(value)
  end
  add('batches', redis.call('ZCARD', key('since')))
  local oldest = redis.call('ZRANGE', key('since'), 0, 0, 'WITHSCORES')
  if oldest[2] then add('oldest', oldest[2]) end
  local parked = redis.call('ZRANGE', key('parked'), 0, 0, 'WITHSCORES')
  if parked[2] then add('due', parked[2]) end
  local letter = redis.call('XRANGE', key('dead'), '-', '+', 'COUNT', 1)[1]
  if letter then add('dead_oldest', fields_of(letter)['at']) end
  add('now', now)
  local breaker = redis.call('HGETALL', key('breaker'))
  for index = 1, #breaker, 2 do add('breaker_' .. breaker[index], breaker[index + 1]) end
  local rate = redis.call('HGETALL', key('rate'))
  for index = 1, #rate, 2 do add('rate_' .. rate[index], rate[index + 1]) end
  return found
end

return commands[command]()
