-- Turns dead letters back into a batch of as many events, which is queued.
--
-- Arguments: id of the batch; letters: the ids of the dead letters.
-- Bytes: the packed batch.
-- Returns 1. Or 0 where one of the dead letters is gone, or named twice: then nothing has changed.

local id, letters = arguments.id, arguments.letters
local seen = {}
for _, letter in ipairs(letters) do
  if seen[letter] or not find(letter) then return 0 end
  seen[letter] = true
end
take_out_all(letters)
-- The stream gives an id again after it was deleted, while a batch of that name may still wait.
while redis.call('EXISTS', key('batch:' .. id)) == 1 or state_of(id) do id = id .. '-again' end
redis.call('HSET', key('batch:' .. id), 'packed', ARGV[2], 'n', #letters, 'attempts', 0, 'claims', 0, 'put_at', now)
redis.call('ZADD', key('since'), now, id)
-- As if it had been rung for long ago, so that the next bell rings for it.
move(id, nil, 'queued', 0, #letters)
return 1
