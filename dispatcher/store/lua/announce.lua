-- Notes that a worker serves the destination, or that it has stopped. Whoever was not there for a minute is forgotten,
-- once another one comes.
--
-- Arguments: worker: its description, always the same text while it runs; leaves.

local KEEP_SECONDS = 60

write_even_when_full()
if arguments.leaves then return redis.call('ZREM', key('workers'), arguments.worker) end
if redis.call('ZADD', key('workers'), now, arguments.worker) == 1 then
  redis.call('ZREMRANGEBYSCORE', key('workers'), '-inf', now - KEEP_SECONDS * 1000)
end
return redis.call('EXPIRE', key('workers'), KEEP_SECONDS)
