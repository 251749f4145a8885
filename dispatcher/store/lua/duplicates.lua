-- Counts duplicates by source, each once: those of a range of a journal that was counted before are passed over.
--
-- Arguments: journal: its name; finish: where the range ends; sources: names; repeats: for each duplicate the number of
-- its source, from 1 on, and the position behind it.
-- Returns how many were counted.

local DAY = 86400
local counted_key = key('duplicates:' .. arguments.journal)
local counted = tonumber(redis.call('GET', counted_key) or '-1')
if counted >= arguments.finish then return 0 end

local total = 0
for at = 1, #arguments.repeats, 2 do
  if arguments.repeats[at + 1] > counted then
    redis.call('HINCRBY', key('duplicates'), arguments.sources[arguments.repeats[at]], 1)
    total = total + 1
  end
end
redis.call('SET', counted_key, string.format('%.0f', arguments.finish), 'EX', 7 * DAY)
return total
