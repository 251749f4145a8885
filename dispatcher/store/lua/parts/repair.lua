-- What is done where keys are gone that must not be: by a policy that evicts, or by somebody's hand.

-- Whether the states and their counters agree: each batch is in one state, and has at least one event.
local function is_sound()
  local events = redis.call('HMGET', key('counts'), unpack(STATES))
  local batches = 0
  for index, state in ipairs(STATES) do
    local held, counted = redis.call('ZCARD', key(state)), tonumber(events[index] or '0')
    if counted < held or (held == 0 and counted ~= 0) then return false end
    batches = batches + held
  end
  return batches == redis.call('ZCARD', key('since'))
end

-- Brings each batch into one state. What can still be delivered is queued; events that are gone become one dead letter
-- that stands for all of them, so that the sum closes. It goes through every batch, so it is for a store that was seen
-- to be wrong.
local function repair()
  local ids, sums = {}, {queued = 0, claimed = 0, parked = 0}
  for _, name in ipairs({'since', 'queued', 'claimed', 'parked'}) do
    for _, id in ipairs(redis.call('ZRANGE', key(name), 0, -1)) do ids[id] = true end
  end
  for id in pairs(ids) do
    local n = tonumber(redis.call('HGET', key('batch:' .. id), 'n'))
    local kept = n and (state_of(id) or 'queued')
    for _, state in ipairs(STATES) do
      if state ~= kept then redis.call('ZREM', key(state), id) end
    end
    if n then
      redis.call('ZADD', key(kept), 'NX', 0, id)
      redis.call('ZADD', key('since'), 'NX', now, id)
      sums[kept] = sums[kept] + n
    else
      close(id)
    end
  end
  local gone = 0
  for _, state in ipairs(STATES) do
    gone = gone + tonumber(redis.call('HGET', key('counts'), state) or '0') - sums[state]
    redis.call('HSET', key('counts'), state, sums[state])
  end
  if gone > 0 then
    local problem = 'Redis no longer had them: is its maxmemory-policy noeviction?'
    redis.call('XADD', key('dead'), '*', 'reason', 'vanished', 'error', problem, 'event', '', 'attempts', 0, 'at', now,
      'n', gone)
    count('dead', gone)
    count('dead:vanished', gone)
  else
    count('accepted', -gone)
  end
end
