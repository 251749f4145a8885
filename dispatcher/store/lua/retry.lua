-- Has everything be tried again now: the breaker is closed, and what is parked comes due. What a worker has stays as it
-- is; no attempt is burnt, and nothing is delivered that would not have been delivered later.
--
-- Arguments: limit: how many batches come due in this step; at_once: also where the destination has asked to be left
--   alone for a while, by a breaker that throttling has opened or by a cooldown of its rate.
-- Returns {'paused', until, reason} or {'throttled', until, error}: nothing was changed then. Or {'retried', batches that
--   have come due in this step, whether the breaker was open}.

local fields = redis.call('HMGET', key('breaker'), 'paused', 'paused_until', 'pause_reason', 'until', 'cause', 'error')
if holds(fields[1], fields[2]) then return {'paused', tonumber(fields[2]), fields[3] or ''} end
if not arguments.at_once then
  local cooldown = redis.call('HMGET', key('rate'), 'until', 'error')
  local asked = fields[5] == 'throttled' and tonumber(fields[4]) or 0
  local rate_until = math.floor(tonumber(cooldown[1] or '0'))
  if now < math.max(asked, rate_until) then
    return {'throttled', math.max(asked, rate_until), asked > 0 and fields[6] or cooldown[2] or ''}
  end
end
write_even_when_full()
close_breaker()
-- So that the next bell rings.
redis.call('HDEL', key('ring'), 'at')
if arguments.at_once then redis.call('HDEL', key('rate'), 'until') end
local ids = redis.call('ZRANGEBYSCORE', key('parked'), string.format('(%d', now), '+inf', 'LIMIT', 0, arguments.limit)
for _, id in ipairs(ids) do redis.call('ZADD', key('parked'), now, id) end
return {'retried', #ids, fields[4] and 1 or 0}
