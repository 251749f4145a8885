-- Dead letters: a stream, and counters of what is in it and of what has left it.

-- Bytes that a destination's dead letters may have as long as no worker has told the limit.
local DEFAULT_LIMIT_BYTES = 64 * 1024 * 1024
-- Bytes of a dead letter beside its texts, about.
local ENVELOPE_BYTES = 150

-- Counts events that are filtered, by reason. Returns their sum.
local function count_filtered(by_reason)
  local sum = 0
  for reason, n in pairs(by_reason) do
    count('filtered:' .. reason, n)
    sum = sum + n
  end
  count('filtered', sum)
  return sum
end

-- Makes dead letters: `dead` has the reason, the error and perhaps the answer of each, and ARGV from `first` on its event and a short
-- description of the event. Returns how many there are. Should no worker take dead letters to a file in time, they must
-- not fill Redis: beyond twice the limit only the description is kept, and beyond three times they are only counted.
local function add_dead_letters(dead, first, attempts)
  if #dead == 0 then return 0 end
  local counted = redis.call('HMGET', key('counts'), 'dead_bytes', 'dead_limit')
  local bytes, limit = tonumber(counted[1] or '0'), tonumber(counted[2] or DEFAULT_LIMIT_BYTES)
  local added, cut = 0, 0
  for index, why in ipairs(dead) do
    local reason, problem, answer = why[1], why[2], why[3]
    local event, description = ARGV[first + 2 * (index - 1)], ARGV[first + 2 * (index - 1) + 1]
    local envelope = ENVELOPE_BYTES + #reason + #problem + #(answer or '')
    if bytes + added + envelope + #event > 2 * limit and #description < #event then
      event = description
    end
    local size = envelope + #event
    if bytes + added + size > 3 * limit then
      reason = 'unkept'
    else
      local fields = {'reason', reason, 'error', problem, 'event', event, 'attempts', attempts, 'at', now, 'bytes', size}
      if answer then
        fields[#fields + 1] = 'answer'
        fields[#fields + 1] = answer
      end
      redis.call('XADD', key('dead'), '*', unpack(fields))
      added = added + size
      if event == description then cut = cut + 1 end
    end
    count('dead:' .. reason, 1)
  end
  count('dead', #dead)
  count('dead_bytes', added)
  count('dead_cut', cut)
  return #dead
end

-- The fields of an entry of the stream, by name.
local function fields_of(entry)
  local fields = {}
  for index = 1, #entry[2], 2 do fields[entry[2][index]] = entry[2][index + 1] end
  return fields
end

-- A dead letter's fields; nil where it is gone.
local function find(id)
  local entry = redis.call('XRANGE', key('dead'), id, id)[1]
  return entry and fields_of(entry)
end

-- Takes a dead letter out of the stream and its counters. Returns how many events it stood for; 0 where it is gone.
local function take_out(id)
  local fields = find(id)
  if not fields then return 0 end
  local n = tonumber(fields['n'] or '1')
  redis.call('XDEL', key('dead'), id)
  count('dead:' .. fields['reason'], -n)
  count('dead', -n)
  count('dead_bytes', -tonumber(fields['bytes'] or '0'))
  return n
end

-- Takes out several. Returns how many events they stood for.
local function take_out_all(ids)
  local n = 0
  for _, id in ipairs(ids) do n = n + take_out(id) end
  return n
end

-- Has up to n events no longer count as dead that went to a file ('filed') or were only counted ('unkept'). Returns how
-- many these were.
local function forget(reason, n)
  n = math.min(n, tonumber(redis.call('HGET', key('counts'), 'dead:' .. reason) or '0'))
  count('dead:' .. reason, -n)
  count('dead', -n)
  return n
end
