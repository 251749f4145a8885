-- Claims a batch, and others of the destination together with it.
--
-- Arguments: id, lease_ms, token, spread_ms. Without `alone`: where the batch cannot be had, the one that has waited
--   longest is claimed instead, and with it as many others as hold `events` events and `bytes` bytes, unpacked (without
--   `events`: none); queue: the list to ring in for the next place, where that is in this Redis.
-- Bytes: with a queue, the message.
-- Returns {'claimed', the ring that the caller has to send or false, batch, …}, each of which is {id, packed, n, attempts,
--   claims before this one, put_at, now, lost, part, first, condemned}. Only the first `part` events of a batch are to be
--   delivered; `lost` is how many leases in a row were lost up to now. Or {the state that keeps the batch from being
--   claimed, or 'settled'}. Or {'breaker open', until, error}, or {'paused', until, reason}: what waits is parked then, and
--   has burnt no attempt. A pause without an end has until 0.

-- Leases lost in a row from which on a batch is handed out in parts: what a deploy or two, or an outage of Redis at the
-- wrong moment, does not come to. And those from which on an event that had the last one alone is condemned: three
-- more, since by then a batch that only shared a process with the one to blame has been claimed at another time than
-- that one.
local SUSPECT_LEASES, CONDEMNED_LEASES = 3, 6
-- Batches that are claimed together, or parked together, at the most, so that one step takes a few milliseconds. And
-- how many of a state are looked at first: where batches are full, no more of them go together.
local MOST_BATCHES, FIRST_BATCHES = 250, 4
-- Seconds for which puts take it that workers ring for what is left.
local CHAINED_SECONDS = 3600

local token, is_alone, room = arguments.token, arguments.alone, {n = 0}

-- Adds the rows of up to `most` batches that wait in a state, up to a time: {id, state, score}, the oldest first.
-- Returns the score up to which these are all.
local function add_waiting(rows, state, before, most)
  local found = redis.call('ZRANGEBYSCORE', key(state), '-inf', before, 'WITHSCORES', 'LIMIT', 0, most)
  for index = 1, #found, 2 do rows[#rows + 1] = {found[index], state, tonumber(found[index + 1])} end
  return #found == 2 * most and tonumber(found[#found]) or math.huge
end

-- What waits of all states: up to `most` batches of each, the oldest first, in the order that ZRANGE has them in; as far
-- as nothing is missing in between. And whether there may be more.
local function find_waiting(most)
  local rows, oldest = {}, {}
  local last = math.min(add_waiting(rows, 'queued', '+inf', most), add_waiting(rows, 'parked', now, most))
  table.sort(rows, function(one, other) return one[3] < other[3] or (one[3] == other[3] and one[1] < other[1]) end)
  for _, row in ipairs(rows) do
    if row[3] > last then break end
    oldest[#oldest + 1] = row
  end
  return oldest, last < math.huge
end

-- The named batch as {id, state, score}, else the one that has waited longest. Or nil, and why the named one cannot be had.
local function choose()
  local id = arguments.id
  local state, score = state_of(id)
  local is_held = (state == 'claimed' or state == 'parked') and score > now
  if state and not is_held then return {id, state, score} end
  local why = state or 'settled'
  if is_alone then return nil, why end
  id, state, score = oldest_waiting()
  return id and {id, state, score}, why
end

local function park(row)
  -- Due at once: it is the bell that waits for the breaker, so that closing the breaker early lets them all go.
  move(row[1], row[2], 'parked', now, size_of(row[1], row[2]))
end

-- Claims a batch. Returns its row of the answer, and whether others may be claimed together with it.
local function claim(id, state)
  local batch, n = key('batch:' .. id), size_of(id, state)
  local fields = redis.call('HMGET', batch, 'packed', 'attempts', 'claims', 'put_at', 'first', 'token', 'lost', 'within',
    'part', 'condemned', 'bytes')
  local lost, within, part = tonumber(fields[7] or '0'), tonumber(fields[8] or '0'), tonumber(fields[9] or n)
  local condemned = fields[10] and 1 or 0
  local is_lease_lost = fields[6]  -- the claim before this one has left its token: it ended with the lease
  if is_lease_lost then
    lost = lost + 1
    if lost >= SUSPECT_LEASES then within = part end
    if within == 1 and part == 1 and lost >= CONDEMNED_LEASES then condemned = 1 end
  end
  part = within > 0 and math.ceil(math.min(within, n) / 2) or n
  local lease = arguments.lease_ms
  if lost + 1 >= SUSPECT_LEASES then lease = lease + arguments.spread_ms end
  -- This goes first: at maxmemory Redis refuses a script whose first write may take memory.
  move(id, state, 'claimed', now + lease, n)
  if lost > 0 then redis.call('HSET', batch, 'lost', lost, 'within', within, 'part', part) end
  if condemned == 1 then redis.call('HSET', batch, 'condemned', 1) end
  redis.call('HINCRBY', batch, 'claims', 1)
  redis.call('HSET', batch, 'token', token)
  room = {n = n, bytes = tonumber(fields[11] or '0'), lease = lease}
  local row = {id, fields[1], n, fields[2] or 0, fields[3] or 0, fields[4] or now, now, is_lease_lost and lost or 0, part,
    fields[5] or 0, condemned}
  return row, lost == 0 and room.bytes > 0
end

local chosen, why = choose()
if chosen and redis.call('EXISTS', key('batch:' .. chosen[1])) == 0 then
  repair()
  chosen, why = choose()
end
redis.call('HDEL', key('ring'), 'at')
if not chosen then return {why} end
local is_open, is_probe, is_paused = ask_breaker()
if is_open then
  park(chosen)
  local rows = {}
  if not is_alone then add_waiting(rows, 'queued', '+inf', MOST_BATCHES) end
  for _, row in ipairs(rows) do park(row) end
  if is_paused then
    local pause = redis.call('HMGET', key('breaker'), 'paused_until', 'pause_reason')
    return {'paused', tonumber(pause[1]), pause[2] or ''}
  end
  local fields = redis.call('HMGET', key('breaker'), 'until', 'error', 'probe_until')
  return {'breaker open', math.max(tonumber(fields[1]), tonumber(fields[3] or '0')), fields[2]}
end
local row, may_join = claim(chosen[1], chosen[2])
local answer = {'claimed', false, row}
if is_probe then redis.call('HSET', key('breaker'), 'probe', token, 'probe_until', now + room.lease) end
if is_alone then return answer end
if may_join and not is_probe and arguments.events then
  local events, bytes = arguments.events - room.n, arguments.bytes - room.bytes
  local function is_full() return events <= 0 or bytes <= 0 or #answer > MOST_BATCHES end
  for _, most in ipairs({FIRST_BATCHES, MOST_BATCHES}) do
    local rows, has_more = find_waiting(most)
    for _, waiting in ipairs(rows) do
      if is_full() then break end
      -- Over what a lease was lost comes alone: it may be what ends its workers.
      local fields = redis.call('HMGET', key('batch:' .. waiting[1]), 'n', 'bytes', 'token', 'lost')
      local n, size = tonumber(fields[1] or ''), tonumber(fields[2] or '')
      if n and size and not fields[3] and not fields[4] and n <= events and size <= bytes then
        answer[#answer + 1] = claim(waiting[1], waiting[2])
        events, bytes = events - n, bytes - size
      end
    end
    if is_full() or not has_more then break end
  end
end
redis.call('HSET', key('ring'), 'chained', 1, 'events', arguments.events or 0)
redis.call('EXPIRE', key('ring'), CHAINED_SECONDS)
answer[2] = ring_for_next()
return answer
