-- Counts deprecated calls of the week, each once: those of a range of a journal that was counted before are passed over.
--
-- Arguments: journal: its name; finish: where the range ends; weeks: how many are kept; limit: the most fields of a week;
-- fields: what is counted; calls: for each call the number of its field, from 1 on, and the position behind its event.
-- Returns how many were counted.

local DAY, WEEK_DAYS = 86400000, 7
local counted_key = key('counted:' .. arguments.journal)
local counted = tonumber(redis.call('GET', counted_key) or '-1')
if counted >= arguments.finish then return 0 end

-- Weeks begin on Monday; day 0, 1970-01-01, was a Thursday.
local week = math.floor((math.floor(now / DAY) + 3) / WEEK_DAYS)
local hash = key('deprecated_calls:' .. week)
local sums, total = {}, 0
for at = 1, #arguments.calls, 2 do
  if arguments.calls[at + 1] > counted then
    local field = arguments.fields[arguments.calls[at]]
    sums[field] = (sums[field] or 0) + 1
    total = total + 1
  end
end
local room = arguments.limit - redis.call('HLEN', hash)
for field, n in pairs(sums) do
  local known = redis.call('HGET', hash, field)
  if not known then
    -- What is left out is counted all the same, in the one field without a name.
    if room <= 0 then
      field = ''
      known = redis.call('HGET', hash, field)
    else
      room = room - 1
    end
  end
  local before = known and tonumber(string.match(known, '^%d+')) or 0
  redis.call('HSET', hash, field, string.format('%.0f %.0f', before + n, now))
end
if total > 0 then redis.call('EXPIRE', hash, arguments.weeks * WEEK_DAYS * DAY / 1000) end
redis.call('SET', counted_key, string.format('%.0f', arguments.finish), 'EX', WEEK_DAYS * DAY / 1000)
return total
