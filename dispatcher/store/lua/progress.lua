-- How far a journal has come.
--
-- Arguments: journal; slot: the other slot of the destination to which the journal goes, where it does.
-- Returns {position, first, slot, …}: up to where it was put, and where its first range starts that is open, or has only
--   just left dead letters; -1 for what is not known. Then the other slots that are in use, as slot 0 knows them.

local journal = arguments.journal
local first = tonumber(redis.call('ZRANGE', key('open:' .. journal), 0, 0, 'WITHSCORES')[2])
if not first then redis.call('EXPIRE', key('journal:' .. journal), JOURNAL_SECONDS) end
drop_expired(journal)
if arguments.slot then redis.call('ZADD', key('slots'), 'XX', now, arguments.slot) end
for _, start in ipairs(redis.call('ZRANGE', key('dead_letters:' .. journal), 0, -1)) do
  first = math.min(first or math.huge, tonumber(start))
end
return {position_of(journal), first or -1, unpack(redis.call('ZRANGE', key('slots'), 0, -1))}
