-- The counters of a destination.
--
-- Returns {field, value, …}: all of `counts`; batches (how many wait); oldest (when the oldest of them was put); due
--   (when the next parked one is); posted_oldest (when that was posted which has waited longest for a page); dead_oldest (when the oldest dead letter died); now; the fields of the breaker and of
--   the rate, with breaker_ and rate_ before their names; and each worker's description, with serving: before it, and
--   when it was last there; and as slots the numbers of the other slots that are in use, as slot 0 knows them.

local fields = redis.call('HGETALL', key('counts'))
local function add(field, value)
  fields[#fields + 1] = field
  fields[#fields + 1] = tostring(value)
end
local function add_all(name)
  local others = redis.call('HGETALL', key(name))
  for index = 1, #others, 2 do add(name .. '_' .. others[index], others[index + 1]) end
end
add('batches', redis.call('ZCARD', key('since')))
local oldest = redis.call('ZRANGE', key('since'), 0, 0, 'WITHSCORES')
if oldest[2] then add('oldest', oldest[2]) end
local parked = redis.call('ZRANGE', key('parked'), 0, 0, 'WITHSCORES')
if parked[2] then add('due', parked[2]) end
local posted = redis.call('ZRANGE', key('posted'), 0, 0)[1]
if posted then
  local mailbox, id = string.match(posted, '^(%S+) (.*)$')
  local calls = redis.call('HGET', key('mailbox:' .. mailbox), 'c:' .. id)
  -- When it was posted stands before the calls.
  if calls then add('posted_oldest', string.sub(calls, 1, 14)) end
end
-- A user who may not read dead letters is not told how old they are.
local dead = redis.pcall('XRANGE', key('dead'), '-', '+', 'COUNT', 1)[1]
if dead then add('dead_oldest', fields_of(dead)['at']) end
add('now', now)
add_all('breaker')
add_all('rate')
add('slots', table.concat(redis.call('ZRANGE', key('slots'), 0, -1), ' '))
local workers = redis.call('ZRANGE', key('workers'), 0, -1, 'WITHSCORES')
for index = 1, #workers, 2 do add('serving:' .. workers[index], workers[index + 1]) end
return fields
