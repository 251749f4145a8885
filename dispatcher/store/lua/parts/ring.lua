-- The ring under way: a doorbell that was sent for the destination, and that no claim has answered yet. A ring names a
-- batch, and means that the destination has work. Whoever claims takes what waits, and rings for the next place where
-- something is left; so one ring at a time has as many places work as there is work for.

-- When a ring is lost: in an empty queue after a few seconds, and wherever it may be after ten minutes.
local IDLE_MS, LOST_MS = 5000, 600000
-- For how long less than a full delivery waits for more while others are under way. What one of these leaves when it is
-- settled goes with the next; without this, a slow destination would get many small requests at a time.
local HOLD_MS = 100

-- The batch that has waited longest, of those that can be claimed, with its state and its time there; nil for none.
local function oldest_waiting()
  local id, state, score
  for _, name in ipairs(STATES) do
    local first = redis.call('ZRANGE', key(name), 0, 0, 'WITHSCORES')
    local at = tonumber(first[2])
    if at and (name == 'queued' or at <= now) and (not score or at < score) then id, state, score = first[1], name, at end
  end
  return id, state, score
end

-- Whether a ring is under way. `is_idle` says whether the queue is empty; nil where nobody knows.
local function is_ringing(is_idle)
  local age = now - tonumber(redis.call('HGET', key('ring'), 'at') or '-inf')
  if age < 0 or age >= LOST_MS then return false end
  if age < IDLE_MS then return true end
  if is_idle == nil and arguments.queue then
    local length = redis.pcall('LLEN', arguments.queue)
    is_idle = length == 0
  end
  return not is_idle
end

-- Whether what is queued had better wait for more, as HOLD_MS says. Only where workers join batches.
local function is_held_back()
  local most = tonumber(redis.call('HGET', key('ring'), 'events') or '0')
  if most == 0 or tonumber(redis.call('HGET', key('counts'), 'queued') or '0') >= most then return false end
  if redis.call('ZCOUNT', key('claimed'), string.format('(%d', now), '+inf') == 0 then return false end
  local _, _, since = oldest_waiting()
  return since ~= nil and since <= now and now - since < HOLD_MS
end

-- Notes a ring for a batch. Returns {id, n, attempts, example}, which whoever called has to ring with.
local function note_ring(id)
  redis.call('HSET', key('ring'), 'at', string.format('%d', now))
  local batch = redis.call('HMGET', key('batch:' .. id), 'n', 'attempts', 'example')
  return {id, tonumber(batch[1] or '0') or 0, tonumber(batch[2] or '0') or 0, batch[3] or ''}
end

-- Sends a ring, as note_ring has it, where the broker is this Redis: to the list `queue`, with the last of ARGV as the
-- message, in which the ring's own words are put. Elsewhere returns the ring, for the caller to send.
local function send_ring(ring)
  if not arguments.queue then return ring end
  local id, n, attempts, example = ring[1], ring[2], ring[3], ring[4]
  -- Other names are refused where doorbells are taken in. Any name says that there is work.
  if not string.match(id, '^[%w._:~+@-]+$') then id = 'any' end
  local summary = '(' .. n .. (n == 1 and ' event' or ' events')
  if example ~= '' then
    summary = summary .. ', ' .. string.sub(cjson.encode(example), 2, -2) .. (n == 1 and '' or ', …')
  end
  if attempts > 0 then summary = summary .. ', attempt ' .. (attempts + 1) end
  local message = string.gsub(ARGV[#ARGV], '<(%l+)>', {id = id, summary = summary .. ')', tag = id .. '.' .. string.format('%d', now)})
  message = string.gsub(message, '"retries":0', '"retries":' .. attempts, 1)
  -- A queue of another type is no reason to undo what was done here: the bell tries again, and says so.
  redis.pcall('LPUSH', arguments.queue, message)
  return false
end
