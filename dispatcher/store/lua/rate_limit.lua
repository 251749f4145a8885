-- How fast all workers together send to a destination: a token bucket, which fills with permits at the rate and holds
-- no more than a burst. The rate follows the destination's throttling by AIMD: additive increase, multiplicative
-- decrease. One script, so that no two workers take the same permit.
--
-- KEYS[1]  the prefix of the destination's keys. Behind it, as in dispatcher/store/keys.py:
--   rate                      hash: the rate limit: permits (in the bucket at the time `at`; below 0 where later ones
--                             are promised), at, until (no permit before), factor (of the rate that is used: 1, or
--                             less while it is slowed down), slowdowns (how often that happened), changed (when
--                             factor did), error (what the destination said then); per_second and burst as last asked
--                             with. Goes two days after the last permit
-- ARGV[1]  the arguments by name, as a JSON object: command; now, the time in milliseconds since 1970, or Redis' own
--          clock without it; the rest is the command's own.

local rate = KEYS[1] .. 'rate'
local arguments = cjson.decode(ARGV[1])
local now = arguments.now
if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000 + tonumber(time[2]) / 1000
end

-- Longer than the longest cooldown that a destination can ask for, which is a day.
local KEEP_SECONDS = 2 * 24 * 3600
-- The smallest factor by which the rate is slowed down.
local MIN_FACTOR = 1 / 64
-- Milliseconds in which the factor increases from 0 to 1, as long as answers come; each makes up for so many at the
-- most.
local FULL_INCREASE_MS, MAX_STEP_MS = 60000, 5000

local function store(...)
  redis.call('HSET', rate, ...)
  redis.call('EXPIRE', rate, KEEP_SECONDS)
end

-- Lua by itself would drop digits of a time.
local function text(number) return string.format('%.6f', number) end

local commands = {}

-- take: takes the next permit if it comes within `max_wait_ms`; per_second and burst are what is set.
-- Returns {milliseconds until then, 1 where it was taken, slowdowns, factor}.
function commands.take()
  local fields = redis.call('HMGET', rate, 'permits', 'at', 'until', 'factor', 'slowdowns')
  local factor = tonumber(fields[4] or '1')
  local spacing = 1000 / (arguments.per_second * factor)
  local start = math.max(now, tonumber(fields[3] or '0'))
  local permits = arguments.burst
  if fields[1] then
    -- A clock that was set back fills nothing, and takes nothing out.
    local filled = math.max(0, start - tonumber(fields[2])) / spacing
    permits = math.min(arguments.burst, tonumber(fields[1]) + filled)
  end
  local wait = start - now + math.max(0, 1 - permits) * spacing
  local is_taken = wait <= arguments.max_wait_ms
  if is_taken then
    store('permits', text(permits - 1), 'at', text(start), 'per_second', arguments.per_second, 'burst', arguments.burst)
  end
  return {text(wait), is_taken and 1 or 0, tonumber(fields[5] or '0'), text(factor)}
end

-- decrease: the destination has throttled a request whose permit was taken after so many `slowdowns`, said `error`, and
-- asked for a cooldown of `asked_ms`. Halves the rate, once for all requests that were under way: their throttling says
-- nothing new. Permits that are promised fall. Returns 1, or 0 where the rate was as slow as it gets already.
function commands.decrease()
  local fields = redis.call('HMGET', rate, 'until', 'factor', 'slowdowns')
  local cooldown_end = math.max(tonumber(fields[1] or '0'), now + arguments.asked_ms)
  local factor, slowdowns = tonumber(fields[2] or '1'), tonumber(fields[3] or '0')
  if arguments.slowdowns < slowdowns then
    store('until', text(cooldown_end))
    return 1
  end
  store('until', text(cooldown_end), 'factor', text(math.max(MIN_FACTOR, factor / 2)), 'slowdowns', slowdowns + 1,
    'changed', text(now), 'permits', 0, 'at', text(cooldown_end), 'error', arguments.error)
  return factor > MIN_FACTOR and 1 or 0
end

-- increase: the destination has answered something else, so the rate increases by the time that has passed. Returns the
-- factor.
function commands.increase()
  local fields = redis.call('HMGET', rate, 'factor', 'changed')
  local factor = tonumber(fields[1] or '1')
  if factor >= 1 then return '1' end
  local passed = math.min(MAX_STEP_MS, math.max(0, now - tonumber(fields[2])))
  factor = math.min(1, factor + passed / FULL_INCREASE_MS)
  store('factor', text(factor), 'changed', text(now))
  return text(factor)
end

-- At maxmemory Redis refuses a script whose first write may take memory, and lets all others through. A deletion of a
-- key that does not exist goes first: what waits is sent all the same, which is what frees memory.
redis.call('DEL', KEYS[1] .. 'none')
return commands[arguments.command]()
