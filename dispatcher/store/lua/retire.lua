-- Takes the ledger of an empty slot out of it, so that slot 0 can take it over. Until then it is kept here for a day.
--
-- Returns {counter, value, …}, those of `counts` that are numbers of events. Or false where something is in the slot.

local KEEP_SECONDS = 24 * 3600

if redis.call('EXISTS', key('since'), key('queued'), key('claimed'), key('parked'), key('dead')) > 0 then return false end
local fields = redis.call('HGETALL', key('counts'))
for index = 1, #fields, 2 do
  local field = fields[index]
  local name = string.match(field, '^(%l+):') or field
  if ({accepted = 1, delivered = 1, dead = 1, filtered = 1, retried = 1, dead_cut = 1})[name] then
    redis.call('HINCRBY', key('retired'), field, fields[index + 1])
  end
end
redis.call('EXPIRE', key('retired'), KEEP_SECONDS)
redis.call('DEL', key('counts'), key('breaker'), key('ring'))
return redis.call('HGETALL', key('retired'))
