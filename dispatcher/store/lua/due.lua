-- What to ring for at this moment: something is queued, or parked and due, or claimed with a lease that has run out, and
-- no ring is under way, or one that is lost. While the breaker is open the bell rings for nothing, and then for one
-- batch, the probe, until the breaker is closed. While the destination is paused it rings for nothing at all.
--
-- Arguments: every_ms; queue: the list to ring in, where that is in this Redis; else idle: whether the queue is empty.
-- Bytes: with a queue, the message.
-- Returns {id, n, attempts, example}, the ring that the caller has to send, where that is not this Redis' matter. Once in
--   every_ms, whoever asks; else nothing.

write_even_when_full()
if not redis.call('SET', key('bell'), '1', 'NX', 'PX', arguments.every_ms) then return {} end
local is_open = ask_breaker()
if is_open then return {} end
if not is_sound() then repair() end
local id, state = oldest_waiting()
if id and redis.call('EXISTS', key('batch:' .. id)) == 0 then
  repair()
  id, state = oldest_waiting()
end
if not id then return {} end
local is_idle = arguments.idle
-- Where the queue is a key of another type, this fails before anything has changed, and the bell says so.
if arguments.queue then is_idle = redis.call('LLEN', arguments.queue) == 0 end
if is_ringing(is_idle) then return {} end
size_of(id, state)
return send_ring(note_ring(id)) or {}
