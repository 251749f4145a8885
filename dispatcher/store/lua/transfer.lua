-- Moves batches that wait here to another destination, where they are queued. A batch that a worker has stays.
--
-- Arguments: ids; to: the prefix of the other destination's keys; suffix: what makes the batches' names unlike those
--   that relays put there.
-- Returns {batches, events}: how many were moved.
--
-- The only script that changes two destinations: a batch is always at one of them, and both ledgers close. Here its
-- events count as filtered, since somebody decided so; there they are accepted. It keeps its attempts and its time.

-- In a cluster, whose server here may not have that destination, this fails before anything has changed.
redis.call('EXISTS', arguments.to .. 'counts')
local here = prefix
local batches, events = 0, 0
-- Memory is given back for what is taken, so this may go on in a full Redis.
write_even_when_full()
for _, id in ipairs(arguments.ids) do
  prefix = here
  local state, score = state_of(id)
  local fields = redis.call('HGETALL', key('batch:' .. id))
  if state and #fields > 0 and not (state == 'claimed' and score > now) then
    local n = size_of(id, state)
    local put_at = redis.call('ZSCORE', key('since'), id) or now
    move(id, state, nil, nil, n)
    close(id)
    count_filtered({transferred = n})
    prefix = arguments.to
    -- Without what an earlier move has put behind it: a doorbell's names have an end.
    local name = string.gsub(id, '~.*$', '') .. arguments.suffix
    while state_of(name) do name = name .. arguments.suffix end
    redis.call('HSET', key('batch:' .. name), unpack(fields))
    redis.call('ZADD', key('since'), put_at, name)
    -- As if it had been rung for long ago, so that the next bell rings for it.
    move(name, nil, 'queued', 0, n)
    count('accepted', n)
    batches, events = batches + 1, events + n
  end
end
return {batches, events}
