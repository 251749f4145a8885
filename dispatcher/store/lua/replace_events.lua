-- Gives a batch other events in the places of those that it has: as many, as somebody is to be forgotten.
--
-- Arguments: id. Behind them: the batch as it was read, packed; and what it is to be.
-- Returns 1; 0 where it is another one by now.

local batch = key('batch:' .. arguments.id)
if redis.call('HGET', batch, 'packed') ~= ARGV[2] then return 0 end
write_even_when_full()
redis.call('HSET', batch, 'packed', ARGV[3])
return 1
