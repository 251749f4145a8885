-- What to ring for at this moment: parked batches that are due; claimed ones whose lease has run out; and queued ones
-- whose ring was lost. A ring is lost if another that came more than `overtaken_ms` later was answered by a claim; or,
-- in an empty queue (idle), after a few seconds; or, wherever it may be, after ten minutes. While the breaker is open
-- the bell rings for nothing, and then for one batch, the probe, until the breaker is closed. While the destination is
-- paused it rings for nothing at all.
--
-- Arguments: limit, idle, overtaken_ms, every_ms.
-- Returns {id, n, attempts, example, …}. Once in every_ms, whoever asks; else nothing.

local IDLE_MS, LOST_MS = 5000, 600000

local limit = arguments.limit
write_even_when_full()
if not redis.call('SET', key('bell'), '1', 'NX', 'PX', arguments.every_ms) then return {} end
local breaker = redis.call('HMGET', key('breaker'), 'until', 'probe_until', 'paused', 'paused_until')
if holds(breaker[3], breaker[4]) then return {} end
if breaker[1] then
  if now < tonumber(breaker[1]) or now < tonumber(breaker[2] or '0') then return {} end
  limit = 1
end
local is_repaired = not is_sound()
if is_repaired then repair() end
local rings = {}

local function ring(state, before)
  local room = limit - #rings / 4
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
      rings[#rings + 1] = id
      rings[#rings + 1] = n
      rings[#rings + 1] = tonumber(batch[2] or '0') or 0
      rings[#rings + 1] = batch[3] or ''
    elseif not is_repaired then
      repair()
      is_repaired = true
    end
  end
end

ring('parked', now)
ring('claimed', now)
-- Not later than now, where the clock was set back: else all that is queued would be rung for each time.
local last_claimed_ring_at = math.min(now, tonumber(redis.call('HGET', key('counts'), 'last_claimed_ring_at') or '0'))
ring('queued', math.max(last_claimed_ring_at - arguments.overtaken_ms, now - (arguments.idle and IDLE_MS or LOST_MS)))
return rings
