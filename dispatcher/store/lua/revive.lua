-- Turns dead letters back into a batch of as many events, which is queued.
--
-- Arguments: batch: the id of the new one; ids: those of the dead letters.
-- Bytes: the packed batch.
-- Returns 1. Or 0 where one of the dead letters is gone, or named twice: then nothing has changed.

local batch, ids = arguments.batch, arguments.ids
local seen = {}
for _, id in ipairs(ids) do
  if seen[id] or not find(id) then return 0 end
  seen[id] = true
end
take_out_all(ids)
-- The stream gives an id again after it was deleted, while a batch of that name may still wait.
while redis.call('EXISTS', key('batch:' .. batch)) == 1 or state_of(batch) do batch = batch .. '-again' end
redis.call('HSET', key('batch:' .. batch), 'packed', ARGV[2], 'n', #ids, 'attempts', 0, 'claims', 0, 'put_at', now)
redis.call('ZADD', key('since'), now, batch)
-- As if it had been rung for long ago, so that the next bell rings for it.
move(batch, nil, 'queued', 0, #ids)
return 1
