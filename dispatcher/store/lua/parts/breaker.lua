-- The breaker of a destination. Closed: it has no `until`. Open: nothing is tried before `until`. After that it is half
-- open: one batch at a time is, the probe. Beside that, a person may pause the destination: then nothing is tried either.

-- Whether somebody has paused the destination, and that still holds: `ends` is when the pause ends, or '0'.
local function holds(paused, ends)
  return paused and (ends == '0' or now < tonumber(ends))
end

-- Whether a batch may not be tried now, whether it would be the probe, and whether that is because of a pause.
local function ask_breaker()
  local fields = redis.call('HMGET', key('breaker'), 'until', 'probe_until', 'paused', 'paused_until')
  if holds(fields[3], fields[4]) then return true, false, true end
  if not fields[1] then return false, false, false end
  local is_open = now < tonumber(fields[1]) or now < tonumber(fields[2] or '0')
  return is_open, not is_open, false
end

-- Has everything be tried again. How often it has opened in all stays, and so does a pause.
local function close_breaker()
  redis.call('HDEL', key('breaker'), 'failures', 'openings', 'until', 'since', 'cause', 'error', 'probe', 'probe_until')
end

-- Records what a try says of the destination, from the arguments `token`, `result`, `breaker_error`, `failures`,
-- `first_ms`, `max_ms` and `asked_ms` (BreakerSignal in settlement.py). Returns 'opened' or 'closed' where that changed
-- the breaker, else ''.
local function record_result()
  local breaker, result = key('breaker'), arguments.result
  local fields = redis.call('HMGET', breaker, 'until', 'probe', 'openings')
  local open_until, is_probe = fields[1], fields[2] == arguments.token
  if is_probe then redis.call('HDEL', breaker, 'probe', 'probe_until') end
  if result == 'ok' then
    -- It was under way when the breaker opened.
    if open_until and not is_probe and now < tonumber(open_until) then return '' end
    close_breaker()
    return open_until and 'closed' or ''
  end
  if result == '' or (open_until and not is_probe) then return '' end
  local failures = redis.call('HINCRBY', breaker, 'failures', 1)
  if result == 'transient' and not is_probe and failures < arguments.failures then return '' end
  local openings = tonumber(fields[3] or '0')
  local pause = math.min(arguments.max_ms, arguments.first_ms * 2 ^ math.min(openings, 30))
  pause = math.max(arguments.asked_ms, pause)
  if result == 'throttled' and arguments.asked_ms > 0 then pause = arguments.asked_ms end
  redis.call('HSET', breaker, 'openings', openings + 1, 'until', math.floor(now + pause), 'cause', result,
    'error', arguments.breaker_error)
  if open_until then return '' end
  redis.call('HSET', breaker, 'since', now)
  redis.call('HINCRBY', breaker, 'opened', 1)
  return 'opened'
end
