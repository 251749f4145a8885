-- How far a journal has come.
--
-- Arguments: journal.
-- Returns {position, first}: up to where it was put, and where its first range starts that is open, or has only just
--   left dead letters; -1 for what is not known.

local journal = arguments.journal
local first = tonumber(redis.call('ZRANGE', key('open:' .. journal), 0, 0, 'WITHSCORES')[2])
if not first then redis.call('EXPIRE', key('journal:' .. journal), JOURNAL_SECONDS) end
drop_expired(journal)
for _, start in ipairs(redis.call('ZRANGE', key('dead_letters:' .. journal), 0, -1)) do
  first = math.min(first or math.huge, tonumber(start))
end
return {position_of(journal), first or -1}
