-- The oldest dead letters, which are to go to a file: all together have more than `max_bytes`, or these are older than
-- `max_age_ms` (0: they may get as old as they like). Once that is so, they go down to three quarters of the one and 99
-- % of the other, so that files are few. `max_bytes` is also the limit from now on that add_dead_letters goes by.
--
-- Arguments: max_bytes, max_age_ms, every_ms; going_on: whoever asks has just filed some.
-- Returns ids, of a few megabytes at the most. Once in every_ms, whoever asks, and again while going_on; else nothing.

local FILE_BYTES, FILE_COUNT, PAGE = 4 * 1024 * 1024, 5000, 16

local max_bytes, max_age, is_going_on = arguments.max_bytes, arguments.max_age_ms, arguments.going_on
write_even_when_full()
local is_turn = redis.call('SET', key('filing'), '1', 'PX', arguments.every_ms, is_going_on and 'XX' or 'NX')
if not is_turn and not is_going_on then return {} end
redis.call('HSET', key('counts'), 'dead_limit', max_bytes)
local bytes = tonumber(redis.call('HGET', key('counts'), 'dead_bytes') or '0')
local oldest = redis.call('XRANGE', key('dead'), '-', '+', 'COUNT', 1)[1]
if not oldest then return {} end

local function is_old(fields)
  return max_age > 0 and tonumber(fields['at']) <= now - max_age
end

if not is_going_on and bytes <= max_bytes and not is_old(fields_of(oldest)) then return {} end
max_bytes, max_age = max_bytes * 0.75, max_age * 0.99
local ids, size, from = {}, 0, '-'
while size < FILE_BYTES and #ids < FILE_COUNT do
  local entries = redis.call('XRANGE', key('dead'), from, '+', 'COUNT', PAGE)
  for _, entry in ipairs(entries) do
    local fields = fields_of(entry)
    if bytes - size <= max_bytes and not is_old(fields) then return ids end
    ids[#ids + 1] = entry[1]
    size = size + tonumber(fields['bytes'] or '0')
  end
  if #entries < PAGE then return ids end
  from = '(' .. entries[#entries][1]
end
return ids
