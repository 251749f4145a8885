-- How fast a destination is sent to by all workers together: a bucket of turns, which fills at the rate and holds no
-- more than a burst. One script, so that no two workers take the same turn; by Redis' own clock, which all share.
--
-- KEYS[1]  "dispatcher:{<destination>}:rate", a hash: turns (in the bucket at the time `at`; below 0 where later ones
--          are promised already), at, until (no turn before), share (of the rate that is used: 1, or less while it is
--          slowed down), slowdowns (how often that happened), changed (when share was), error (what the destination
--          said then); per_second and burst as last asked with. Forgotten when no turn was taken for two days.
-- ARGV[1]  the command; ARGV[2] the time now in milliseconds, or 0 for Redis' own; the rest is the command's own.

local key = KEYS[1]
local now = tonumber(ARGV[2])
if now == 0 then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000 + tonumber(time[2]) / 1000
end

-- Longer than the longest pause that a destination can ask for, which is a day.
local KEEP_SECONDS = 2 * 24 * 3600
-- It is never slowed down below this share of the rate.
local LEAST = 1 / 64
-- In which a rate that was slowed down to nothing is back, as long as answers come, of which each makes up for so long.
local BACK, STEP = 60000, 5000

local function keep(...)
  redis.call('HSET', key, ...)
  redis.call('EXPIRE', key, KEEP_SECONDS)
end

-- Lua by itself would leave away digits of a time.
local function text(number) return string.format('%.6f', number) end

local commands = {}

-- take per_second burst patience
-- Takes the next turn if it comes within `patience` milliseconds. Returns {milliseconds until then, 1 where it was
-- taken, slowdowns, share}.
function commands.take()
  local per_second, burst, patience = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
  local found = redis.call('HMGET', key, 'turns', 'at', 'until', 'share', 'slowdowns')
  local share = tonumber(found[4] or '1')
  local each = 1000 / (per_second * share)
  local start = math.max(now, tonumber(found[3] or '0'))
  local turns = burst
  if found[1] then
    -- A clock that was set back fills nothing, and takes nothing out.
    turns = math.min(burst, tonumber(found[1]) + math.max(0, start - tonumber(found[2])) / each)
  end
  local wait = start - now + math.max(0, 1 - turns) * each
  local taken = wait <= patience
  if taken then
    keep('turns', text(turns - 1), 'at', text(start), 'per_second', ARGV[3], 'burst', ARGV[4])
  end
  return {text(wait), taken and 1 or 0, tonumber(found[5] or '0'), text(share)}
end

-- slow slowdowns asked error
-- The destination has throttled a request whose turn was taken after so many slowdowns, and asked for so many
-- milliseconds of rest. Halves the rate, once for all requests that were under way: what they say is no news. Turns
-- that are promised fall. Returns 1, or 0 where it was as slow as it gets already.
function commands.slow()
  local then_, asked, problem = tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
  local found = redis.call('HMGET', key, 'until', 'share', 'slowdowns')
  local until_ = math.max(tonumber(found[1] or '0'), now + asked)
  local share, slowdowns = tonumber(found[2] or '1'), tonumber(found[3] or '0')
  if then_ < slowdowns then
    keep('until', text(until_))
    return 1
  end
  keep('until', text(until_), 'share', text(math.max(LEAST, share / 2)), 'slowdowns', slowdowns + 1,
    'changed', text(now), 'turns', 0, 'at', text(until_), 'error', problem)
  return share > LEAST and 1 or 0
end

-- ease
-- The destination has answered something else: the rate comes back, by the time that has passed. Returns the share.
function commands.ease()
  local found = redis.call('HMGET', key, 'share', 'changed')
  local share = tonumber(found[1] or '1')
  if share >= 1 then return '1' end
  local passed = math.min(STEP, math.max(0, now - tonumber(found[2])))
  share = math.min(1, share + passed / BACK)
  keep('share', text(share), 'changed', text(now))
  return text(share)
end

-- At maxmemory Redis refuses a script's first write where that may grow; a deletion goes first, so that what waits goes
-- out all the same, which is what frees memory.
redis.call('DEL', key .. ':none')
return commands[ARGV[1]]()
