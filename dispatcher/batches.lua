-- The batch store. One script, so that every change of a batch and of the counters that account for it is atomic.
--
-- KEYS[1]  the prefix of one destination's keys, such as "dispatcher:{tracking_log}:". All keys start with it, and so
--          share a hash slot.
-- ARGV[1]  the command; ARGV[2] the time now, in milliseconds; the rest is the command's own.
--
-- Keys behind the prefix:
--   batch:<id>     hash: payload (zstd of JSON lines), n (events left), attempts, claims, put_at, token, error
--   queued         zset: id -> when it was last rung for
--   claimed        zset: id -> when the lease runs out
--   parked         zset: id -> when it is due
--   since          zset: id -> when it was put; all that is not settled
--   counts         hash: accepted, delivered, dead, filtered, retried; queued, claimed, parked (events, not batches);
--                  dead:<reason>, filtered:<reason>; last_error, last_error_at, last_delivered_at; heard: the latest
--                  time at which a batch was rung for that has been claimed
--   journal:<name> string: the position up to which a journal was put; forgotten a week after its last put
--   dead           stream: event, reason, error, attempts, at
--   bell           string with expiry: one bell rings for a destination at a time

local prefix = KEYS[1]
local command = ARGV[1]
local now = tonumber(ARGV[2])

local JOURNAL_SECONDS = 7 * 24 * 3600

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

local function state_of(id)
  for _, state in ipairs({'queued', 'claimed', 'parked'}) do
    local score = redis.call('ZSCORE', key(state), id)
    if score then return state, tonumber(score) end
  end
  return nil
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

-- Dead events from ARGV[at] on: how many, then reason, error and event of each. Returns what follows, and how many.
local function bury(at, attempts)
  local n = tonumber(ARGV[at])
  local last = at + 3 * n
  for index = at + 1, last, 3 do
    redis.call('XADD', key('dead'), '*', 'reason', ARGV[index], 'error', ARGV[index + 1], 'event', ARGV[index + 2],
      'attempts', attempts, 'at', now)
    count('dead:' .. ARGV[index], 1)
  end
  count('dead', n)
  return last + 1, n
end

local commands = {}

-- put journal start end id n payload <filtered> <dead>
-- Accounts for the journal's range from start to end, and stores the n events of it that are for this destination.
-- Putting a range again changes nothing, whatever became of its batch. Returns 1, or 0 when it was there already,
-- or {position} when it was there in part: the range has to be cut anew from that position on.
function commands.put()
  local journal, start, finish = key('journal:' .. ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
  local id, n, payload = ARGV[6], tonumber(ARGV[7]), ARGV[8]
  local position = tonumber(redis.call('GET', journal) or '-1')
  if finish <= position then return 0 end
  if start < position then return {position} end
  -- Written first: at maxmemory this is what fails, before anything has changed.
  redis.call('SET', journal, ARGV[5], 'EX', JOURNAL_SECONDS)
  if n > 0 then
    redis.call('HSET', key('batch:' .. id), 'payload', payload, 'n', n, 'attempts', 0, 'claims', 0, 'put_at', now)
    redis.call('ZADD', key('since'), now, id)
    move(id, nil, 'queued', now, n)
  end
  local at, filtered = count_reasons('filtered', 9)
  local _, dead = bury(at, 0)
  count('accepted', n + filtered + dead)
  return 1
end

-- positions journal...
-- Up to where each journal was put, -1 for one that is not known.
function commands.positions()
  local found = {}
  for index = 3, #ARGV do
    found[#found + 1] = tonumber(redis.call('GET', key('journal:' .. ARGV[index])) or '-1')
  end
  return found
end

-- claim id lease token
-- Returns {payload, n, attempts, claims before this one}, or the state that keeps it from being claimed, or "settled".
function commands.claim()
  local id, lease, token = ARGV[3], tonumber(ARGV[4]), ARGV[5]
  local state, score = state_of(id)
  if not state then return 'settled' end
  if (state == 'claimed' or state == 'parked') and score > now then return state end
  local batch = redis.call('HMGET', key('batch:' .. id), 'payload', 'n', 'attempts', 'claims')
  move(id, state, 'claimed', now + lease, tonumber(batch[2]))
  if state == 'queued' and score > tonumber(redis.call('HGET', key('counts'), 'heard') or '0') then
    redis.call('HSET', key('counts'), 'heard', score)
  end
  redis.call('HINCRBY', key('batch:' .. id), 'claims', 1)
  redis.call('HSET', key('batch:' .. id), 'token', token)
  return batch
end

-- settle id token delivered <filtered> <dead> left payload due error
-- Records what became of a claimed batch. With left > 0 these events are parked until due. Returns 1, or 0 when the
-- lease was lost, in which case nothing has changed.
function commands.settle()
  local id, token, delivered = ARGV[3], ARGV[4], tonumber(ARGV[5])
  local batch = key('batch:' .. id)
  if redis.call('HGET', batch, 'token') ~= token or not redis.call('ZSCORE', key('claimed'), id) then return 0 end
  local n = tonumber(redis.call('HGET', batch, 'n'))
  local attempts = tonumber(redis.call('HGET', batch, 'attempts'))
  move(id, 'claimed', nil, nil, n)
  count('delivered', delivered)
  if delivered > 0 then redis.call('HSET', key('counts'), 'last_delivered_at', now) end
  local at = bury(count_reasons('filtered', 6), attempts + 1)
  local left, payload, due, problem = tonumber(ARGV[at]), ARGV[at + 1], tonumber(ARGV[at + 2]), ARGV[at + 3]
  if problem ~= '' then redis.call('HSET', key('counts'), 'last_error', problem, 'last_error_at', now) end
  if left == 0 then
    redis.call('DEL', batch)
    redis.call('ZREM', key('since'), id)
    return 1
  end
  count('retried', left)
  redis.call('HSET', batch, 'n', left, 'attempts', attempts + 1, 'error', problem)
  -- What is left counts the claims of which nobody knows how they ended; this one has ended.
  redis.call('HINCRBY', batch, 'claims', -1)
  if payload ~= '' then redis.call('HSET', batch, 'payload', payload) end
  redis.call('HDEL', batch, 'token')
  move(id, nil, 'parked', due, left)
  return 1
end

-- release id token
-- Gives a claimed batch back untried. Returns 1, or 0 when the lease was lost.
function commands.release()
  local id, token = ARGV[3], ARGV[4]
  local batch = key('batch:' .. id)
  if redis.call('HGET', batch, 'token') ~= token or not redis.call('ZSCORE', key('claimed'), id) then return 0 end
  move(id, 'claimed', 'queued', 0, tonumber(redis.call('HGET', batch, 'n')))
  redis.call('HINCRBY', batch, 'claims', -1)
  redis.call('HDEL', batch, 'token')
  return 1
end

-- revive id n payload letter...
-- Turns dead letters back into a batch of n events, which is queued. Returns 1, or 0 when one of the letters is gone,
-- in which case nothing has changed.
function commands.revive()
  local id, n, payload = ARGV[3], tonumber(ARGV[4]), ARGV[5]
  local reasons = {}
  for index = 6, #ARGV do
    local entry = redis.call('XRANGE', key('dead'), ARGV[index], ARGV[index])[1]
    if not entry then return 0 end
    reasons[#reasons + 1] = entry[2][2]
  end
  for index = 6, #ARGV do redis.call('XDEL', key('dead'), ARGV[index]) end
  for _, reason in ipairs(reasons) do count('dead:' .. reason, -1) end
  count('dead', -#reasons)
  redis.call('HSET', key('batch:' .. id), 'payload', payload, 'n', n, 'attempts', 0, 'claims', 0, 'put_at', now)
  redis.call('ZADD', key('since'), now, id)
  -- As if it had been rung for long ago, so that the next bell rings for it.
  move(id, nil, 'queued', 0, n)
  return 1
end

-- drop letter...
-- Deletes dead letters for good. They count as filtered from then on, as somebody decided. Returns how many there were.
function commands.drop()
  local dropped = 0
  for index = 3, #ARGV do
    local entry = redis.call('XRANGE', key('dead'), ARGV[index], ARGV[index])[1]
    if entry then
      redis.call('XDEL', key('dead'), ARGV[index])
      count('dead:' .. entry[2][2], -1)
      dropped = dropped + 1
    end
  end
  count('dead', -dropped)
  count('filtered', dropped)
  count('filtered:dropped', dropped)
  return dropped
end

-- due limit idle overtaken every
-- What to ring for now: parked batches that are due, claimed ones whose lease has run out, and queued ones whose ring
-- was lost: rung for more than `overtaken` milliseconds before another that was claimed since; or, with idle = 1 (the
-- queue is empty), rung for a few seconds ago; or, wherever they may be, ten minutes ago.
-- Answers once in `every` milliseconds, whoever asks. Returns {id, n, attempts, ...}.
local IDLE, LOST = 5000, 600000
function commands.due()
  local limit, idle, overtaken, every = tonumber(ARGV[3]), ARGV[4] == '1', tonumber(ARGV[5]), tonumber(ARGV[6])
  -- At maxmemory Redis refuses a script's first write where that may grow; a deletion goes first, so that bells ring on.
  redis.call('DEL', key('none'))
  if not redis.call('SET', key('bell'), '1', 'NX', 'PX', every) then return {} end
  local found = {}
  local function take(state, before)
    local room = limit - #found / 3
    if room <= 0 then return end
    for _, id in ipairs(redis.call('ZRANGEBYSCORE', key(state), '-inf', before, 'LIMIT', 0, room)) do
      local batch = redis.call('HMGET', key('batch:' .. id), 'n', 'attempts')
      if state == 'queued' then
        redis.call('ZADD', key('queued'), now, id)
      else
        move(id, state, 'queued', now, tonumber(batch[1]))
      end
      found[#found + 1] = id
      found[#found + 1] = tonumber(batch[1])
      found[#found + 1] = tonumber(batch[2])
    end
  end
  take('parked', now)
  take('claimed', now)
  local heard = tonumber(redis.call('HGET', key('counts'), 'heard') or '0')
  take('queued', math.max(heard - overtaken, now - (idle and IDLE or LOST)))
  return found
end

-- counts
-- Returns {field, value, ...} of the counters, with batches (how many wait), oldest (when the oldest was put) and
-- due (when the next parked one is due) added.
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
  return found
end

return commands[command]()
