-- Which events of a journal came before, at another place: their ids are remembered with the place where they came first.
-- Asked again for the same place, as when a range is put again, it answers as the first time.
--
-- Ids are kept in three slices at most, each for half of the window or for a third of the limit. A slice has small
-- hashes, which Redis keeps compact (hash-max-listpack-entries), and goes as a whole, some hashes at each call.
--
-- Arguments: window_ms; limit: the most ids to remember; journal; finish: where the events end in it; after: up to where
--   the caller has asked for ids of the journal before.
-- Bytes: 19 for each event: ten of a digest of its id, nine that say its place (store/event_ids.py).
-- Returns a character for each event: 1 where it came before, 0 where not. Or '' where this Redis has lost what it was
--   asked before: nothing is remembered then, since the events that it has forgotten have to come first.

local ID_BYTES, BYTES, IDS_IN_HASH, DROPS = 10, 19, 64, 256
local ASKED_SECONDS = 7 * 24 * 3600
local asked = tonumber(redis.call('GET', key('asked:' .. arguments.journal)) or '-1')
if asked < arguments.after then return '' end
redis.call('SET', key('asked:' .. arguments.journal), string.format('%.0f', math.max(asked, arguments.finish)), 'EX',
  ASKED_SECONDS)
local memory = cjson.decode(redis.call('GET', key('ids')) or '{"next":1,"early":0,"slices":[],"dropped":[]}')
local slices, dropped, window = memory.slices, memory.dropped, arguments.window_ms
local most = math.max(1, math.floor(arguments.limit / 3))
local changed = false

local function drop_oldest()
  local oldest = table.remove(slices, 1)
  -- Its ids came before the next slice began.
  if slices[1].began > now - window then memory.early = memory.early + oldest.n end
  dropped[#dropped + 1] = {id = oldest.id, hashes = oldest.hashes}
  changed = true
end

while slices[2] and slices[2].began <= now - window do drop_oldest() end
local newest = slices[#slices]
if not newest or newest.n >= most or newest.began <= now - window / 2 or newest.began > now + window then
  newest = {id = memory.next, hashes = math.ceil(most / IDS_IN_HASH), began = now, n = 0}
  memory.next = memory.next + 1
  slices[#slices + 1] = newest
  if #slices > 3 then drop_oldest() end
  changed = true
end

local touched, answers, known = {}, {}, newest.n
for at = 1, #ARGV[2], BYTES do
  local id, place = string.sub(ARGV[2], at, at + ID_BYTES - 1), string.sub(ARGV[2], at + ID_BYTES, at + BYTES - 1)
  local b1, b2, b3, b4 = string.byte(id, 1, 4)
  local number = ((b1 * 256 + b2) * 256 + b3) * 256 + b4
  local first
  for i = #slices, 1, -1 do
    first = redis.call('HGET', key('ids:' .. slices[i].id .. ':' .. number % slices[i].hashes), id)
    if first then break end
  end
  if not first then
    local hash = key('ids:' .. newest.id .. ':' .. number % newest.hashes)
    redis.call('HSET', hash, id, place)
    if not touched[hash] then
      touched[hash] = true
      -- For a slice that no call drops any more.
      redis.call('EXPIRE', hash, math.ceil(window / 500))
    end
    newest.n = newest.n + 1
  end
  answers[#answers + 1] = first and first ~= place and '1' or '0'
end

local room = DROPS
while dropped[1] and room > 0 do
  local slice = dropped[1]
  slice.hashes = slice.hashes - 1
  redis.call('EXPIRE', key('ids:' .. slice.id .. ':' .. slice.hashes), 0)
  if slice.hashes <= 0 then table.remove(dropped, 1) end
  room, changed = room - 1, true
end
if changed or newest.n > known then
  redis.call('SET', key('ids'), cjson.encode(memory), 'EX', math.ceil(window / 250))
end
return table.concat(answers)
