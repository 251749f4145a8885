-- A batch and its state: queued, claimed or parked, and the counter of that state's events.

local STATES = {'queued', 'claimed', 'parked'}

-- Moves the n events of a batch from one state and its counter to another. Without `from` the batch is new; without
-- `to` it is to go.
local function move(id, from, to, score, n)
  if from then
    redis.call('ZREM', key(from), id)
    count(from, -n)
  end
  if to then
    redis.call('ZADD', key(to), score, id)
    count(to, n)
  end
end

local function state_of(id)
  for _, state in ipairs(STATES) do
    local score = redis.call('ZSCORE', key(state), id)
    if score then return state, tonumber(score) end
  end
  return nil
end

-- The number of a batch's events as its hash has it; nil where the hash is damaged.
local function recorded_size_of(id)
  return tonumber(string.match(redis.call('HGET', key('batch:' .. id), 'n') or '', '^%d%d?%d?%d?%d?%d?$'))
end

-- How many events a batch has. Where its hash is damaged: what the state's counter has beyond the other batches.
local function size_of(id, state)
  local n = recorded_size_of(id)
  if n then return n end
  n = tonumber(redis.call('HGET', key('counts'), state) or '0')
  for _, other in ipairs(redis.call('ZRANGE', key(state), 0, -1)) do
    n = n - (recorded_size_of(other) or 0)
  end
  n = math.max(n, 0)
  write_even_when_full()
  redis.call('HSET', key('batch:' .. id), 'n', n)
  return n
end
