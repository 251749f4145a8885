-- Claims a batch.
--
-- Arguments: id, lease_ms, token, spread_ms.
-- Returns {packed, n, attempts, claims before this one, put_at, now, lost, part, first, condemned}. Only the first
--   `part` events are to be delivered; `lost` is how many leases in a row were lost up to now. Or the state that keeps
--   it from being claimed, or 'settled'. Or {'breaker open', until, error}, or {'paused', until, reason}: the batch is
--   parked then, and has burnt no attempt. A pause without an end has until 0.

-- Leases lost in a row from which on a batch is handed out in parts: what a deploy or two, or an outage of Redis at the
-- wrong moment, does not come to. And those from which on an event that had the last one alone is condemned: three
-- more, since by then a batch that only shared a process with the one to blame has been claimed at another time than
-- that one.
local SUSPECT_LEASES, CONDEMNED_LEASES = 3, 6

local id, token = arguments.id, arguments.token
local state, score = state_of(id)
if not state then return 'settled' end
if (state == 'claimed' or state == 'parked') and score > now then return state end
local batch = key('batch:' .. id)
if redis.call('EXISTS', batch) == 0 then
  repair()
  return 'settled'
end
local n = size_of(id, state)
local is_open, is_probe, is_paused = ask_breaker()
if is_open then
  -- Due at once: it is the bell that waits for the breaker, so that closing the breaker early lets them all go.
  move(id, state, 'parked', now, n)
  if is_paused then
    local pause = redis.call('HMGET', key('breaker'), 'paused_until', 'pause_reason')
    return {'paused', tonumber(pause[1]), pause[2] or ''}
  end
  local fields = redis.call('HMGET', key('breaker'), 'until', 'error', 'probe_until')
  return {'breaker open', math.max(tonumber(fields[1]), tonumber(fields[3] or '0')), fields[2]}
end
local fields = redis.call('HMGET', batch, 'packed', 'attempts', 'claims', 'put_at', 'first', 'token', 'lost', 'within',
  'part', 'condemned')
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
if is_probe then redis.call('HSET', key('breaker'), 'probe', token, 'probe_until', now + lease) end
if state == 'queued' and score > tonumber(redis.call('HGET', key('counts'), 'last_claimed_ring_at') or '0') then
  redis.call('HSET', key('counts'), 'last_claimed_ring_at', score)
end
redis.call('HINCRBY', batch, 'claims', 1)
redis.call('HSET', batch, 'token', token)
return {fields[1], n, fields[2] or 0, fields[3] or 0, fields[4] or now, now, is_lease_lost and lost or 0, part,
  fields[5] or 0, condemned}
