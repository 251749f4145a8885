-- Pauses the destination, or ends its pause. Puts go on; deliveries that are under way end as they would.
--
-- Arguments: resume: whether to end it; for_ms: for how long it is to be paused, 0 until somebody resumes it; reason.
-- Returns {was, until}: whether it was paused before, and until when it is now: 0 without an end, -1 where it is not.

local fields = redis.call('HMGET', key('breaker'), 'paused', 'paused_until')
local was = holds(fields[1], fields[2])
write_even_when_full()
if arguments.resume then
  redis.call('HDEL', key('breaker'), 'paused', 'paused_until', 'pause_reason')
  -- So that the next bell rings.
  redis.call('HDEL', key('ring'), 'at')
  return {was and 1 or 0, -1}
end
local ends = arguments.for_ms > 0 and now + arguments.for_ms or 0
-- As text: Lua by itself would drop digits of a time.
redis.call('HSET', key('breaker'), 'paused', was and fields[1] or string.format('%d', now), 'paused_until',
  string.format('%d', ends), 'pause_reason', arguments.reason)
return {was and 1 or 0, ends}
