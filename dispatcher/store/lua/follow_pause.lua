-- Has a slot that comes into use be paused as slot 0 is; or not any more, if a pause has ended since it was last in use.
--
-- Arguments: pause: {since, until, reason}, or {} where slot 0 is not paused. Returns nothing.

local pause = arguments.pause
if pause[1] then
  redis.call('HSET', key('breaker'), 'paused', pause[1], 'paused_until', pause[2], 'pause_reason', pause[3])
elseif redis.call('HMGET', key('breaker'), 'paused')[1] then
  -- A relay's user need not have the right to delete. This pause ended long ago.
  redis.call('HSET', key('breaker'), 'paused_until', '1')
end
