-- Records what became of a claimed batch.
--
-- Arguments: id, token; delivered: how many events; filtered: {reason: how many}; dead: [[reason, error], …]; left: how
--   many events are to be parked until due_ms, which burns an attempt or not (burns_attempt); rest: how many were not
--   handed out; error; and what record_result in breaker.lua takes; rings: whether to ring for what waits; queue: the
--   list to ring in, where that is in this Redis. Where events wait for a page from now on, posted: [[mailbox, id], …],
--   and keep_ms: for how long at the most.
-- Bytes: what is left of the batch, packed, or '' where it is as it was; then, for each of dead, its event and a
--   description of the event; for each of posted, its calls and its event; with a queue, the message.
-- Returns {what it did to the breaker, the ring that the caller has to send or false}. Or false where the lease was lost: then nothing is recorded.
--
-- The rest is parked with the events that are left; without any left, it is queued at once.

-- As in claim.lua.
local SUSPECT_LEASES = 3

-- The lease was lost, but its holder is back: it was slow, and neither killed nor hung. Smaller parts may help; but
-- nothing is condemned for that.
local function note_slow_holder(batch)
  if tonumber(redis.call('HGET', batch, 'lost') or '0') > SUSPECT_LEASES then
    write_even_when_full()
    redis.call('HSET', batch, 'lost', SUSPECT_LEASES)
  end
end

-- A claim has ended in good order, with the first `settled` events settled. If any event of the batch is to blame for
-- lost leases, it is among those behind them. Once it is found, the rest is tried whole, but once only.
local function clear_suspicion(batch, settled)
  if settled > 0 then redis.call('HINCRBY', batch, 'first', settled) end
  local fields = redis.call('HMGET', batch, 'within', 'condemned')
  local within = tonumber(fields[1] or '0') - settled
  redis.call('HDEL', batch, 'part')
  if within > 0 then
    redis.call('HSET', batch, 'within', within)
  else
    redis.call('HDEL', batch, 'lost', 'within', 'condemned')
    if fields[2] then redis.call('HSET', batch, 'lost', SUSPECT_LEASES - 1) end
  end
end

local id, delivered = arguments.id, arguments.delivered
local batch = key('batch:' .. id)
if redis.call('HGET', batch, 'token') ~= arguments.token or not redis.call('ZSCORE', key('claimed'), id) then
  note_slow_holder(batch)
  return false
end
local n = tonumber(redis.call('HGET', batch, 'n'))
local attempts = tonumber(redis.call('HGET', batch, 'attempts') or '0')
move(id, 'claimed', nil, nil, n)
count('delivered', delivered)
if delivered > 0 then redis.call('HSET', key('counts'), 'last_delivered_at', now) end
count_filtered(arguments.filtered)
local dead = add_dead_letters(arguments.dead, 3, attempts + 1)
post_events(arguments.posted, 3 + 2 * #arguments.dead, arguments.keep_ms)
local start = (dead > 0 or arguments.posted) and redis.call('ZSCORE', key('open:' .. journal_of(id)), id)
if start then stay_open(journal_of(id), start) end
local problem = arguments.error
if problem ~= '' then redis.call('HSET', key('counts'), 'last_error', problem, 'last_error_at', now) end
local change = record_result()
local left, remaining = arguments.left, arguments.left + arguments.rest
if remaining == 0 then
  close(id)
  return {change, arguments.rings and ring_for_next()}
end
count('retried', left)
redis.call('HSET', batch, 'n', remaining, 'attempts', attempts + (arguments.burns_attempt and 1 or 0), 'error', problem)
-- `claims` counts those of which nobody knows how they ended; this one has ended.
redis.call('HINCRBY', batch, 'claims', -1)
if ARGV[2] ~= '' then redis.call('HSET', batch, 'packed', ARGV[2]) end
redis.call('HDEL', batch, 'token')
clear_suspicion(batch, n - remaining)
if left > 0 then
  move(id, nil, 'parked', arguments.due_ms, remaining)
else
  -- As if it had waited for long, so that it is the next one that is rung for.
  move(id, nil, 'queued', 0, remaining)
end
return {change, arguments.rings and ring_for_next()}
