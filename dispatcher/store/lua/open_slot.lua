-- Says whether the destination is paused, and notes that one of its slots is in use.
--
-- Arguments: slot; without it nothing is noted.
-- Returns {since, until, reason} of the pause, where until is 0 without an end; or nothing where it is not paused.

if arguments.slot then redis.call('ZADD', key('slots'), now, arguments.slot) end
local fields = redis.call('HMGET', key('breaker'), 'paused', 'paused_until', 'pause_reason')
if not holds(fields[1], fields[2]) then return {} end
return {fields[1], fields[2], fields[3] or ''}
