-- Mailboxes: what waits for a visitor's page. An event is in one from the settlement that posted it until the page has
-- acknowledged it, or until it has waited for too long.

-- The most that one visitor's mailbox has; the oldest go for more.
local MAILBOX_EVENTS, MAILBOX_BYTES = 100, 262144
-- How many acknowledgements are kept of events that are yet to be posted, and for how long.
local EARLY_LIMIT, EARLY_MS = 100000, 86400000
-- What a page says of a try, and why it made no calls.
local FAILED = {error = 'call_failed', not_present = 'not_present'}
local WHY = {
  not_collected = 'the visitor opened no page that asks for events within handover_hours',
  not_present = "the vendor's function was on none of the pages that tried it: is its snippet there, and allowed to load?",
  call_failed = "the vendor's function raised an error on the page: see the browser's console",
  mailbox_full = 'the visitor had so many events waiting that the oldest made room',
}

-- Why the last page that tried made no calls, and how many tries there were; nil and 0 where none has.
local function read_tries(text)
  local why, tries = string.match(text or '', '^(%S+) (%d+)$')
  return why, tonumber(tries or '0')
end

-- Counts a try of a page that made no calls. A page may say it twice of one try, where it got no answer: of what was
-- tried before, it counts only once the page has got it again. Returns whether it counted.
local function count_try(mailbox, id, why, browser)
  local box = key('mailbox:' .. mailbox)
  local fields = redis.call('HMGET', box, 's:' .. id, 'l:' .. id)
  local _, tries = read_tries(fields[1])
  if tries > 0 and string.match(fields[2] or '', '^%S+') ~= browser then return false end
  redis.call('HSET', box, 's:' .. id, why .. ' ' .. (tries + 1))
  redis.call('HDEL', box, 'l:' .. id)
  count('retried', 1)
  return true
end

-- Takes an event out of its mailbox. Returns its encoded form, what became of the tries, and the bytes that are left;
-- nil where it is not there.
local function take_posted(mailbox, id)
  if redis.call('ZREM', key('posted'), mailbox .. ' ' .. id) == 0 then return nil end
  local box = key('mailbox:' .. mailbox)
  local fields = redis.call('HMGET', box, 'c:' .. id, 'e:' .. id, 's:' .. id)
  local calls, event = fields[1] or '', fields[2] or ''
  redis.call('HDEL', box, 'c:' .. id, 'e:' .. id, 's:' .. id, 'l:' .. id)
  local bytes = redis.call('HINCRBY', box, 'bytes', -#calls - #event)
  if redis.call('HLEN', box) <= 2 then redis.call('DEL', box) end
  count('posted', -1)
  return event, fields[3] or nil, bytes
end

-- Makes a dead letter of an event that waits for a page. Returns the bytes that are left in the mailbox.
local function bury_posted(mailbox, id, reason)
  local event, status, bytes = take_posted(mailbox, id)
  if not event then return 0 end
  local last, tries = read_tries(status)
  local why = reason or last or 'not_collected'
  -- Where add_dead_letters looks for an event and its description; it has none, which would be shorter.
  local place = #ARGV + 1
  ARGV[place], ARGV[place + 1] = event, event .. ' '
  add_dead_letters({{why, WHY[why]}}, place, tries)
  -- The last one may be the message of a ring.
  ARGV[place], ARGV[place + 1] = nil, nil
  return bytes
end

-- The fields of a mailbox that have calls, the oldest first, as {id, when and calls}.
local function calls_in(mailbox)
  local box, names, rows = key('mailbox:' .. mailbox), {}, {}
  for _, name in ipairs(redis.call('HKEYS', box)) do
    if string.sub(name, 1, 2) == 'c:' then names[#names + 1] = name end
  end
  if #names == 0 then return rows end
  for index, value in ipairs(redis.call('HMGET', box, unpack(names))) do
    rows[index] = {string.sub(names[index], 3), value}
  end
  table.sort(rows, function(one, other) return one[2] < other[2] end)
  return rows
end

local function make_room(mailbox, size)
  local box = key('mailbox:' .. mailbox)
  local bytes = tonumber(redis.call('HGET', box, 'bytes') or '0')
  -- Each has two fields at least, and the mailbox two of its own.
  if redis.call('HLEN', box) < 2 + 2 * MAILBOX_EVENTS and bytes + size <= MAILBOX_BYTES then return end
  local rows = calls_in(mailbox)
  for index, row in ipairs(rows) do
    if #rows - index + 1 < MAILBOX_EVENTS and bytes + size <= MAILBOX_BYTES then return end
    bytes = bury_posted(mailbox, row[1], 'mailbox_full')
  end
end

-- Takes out what a page has said of an event before it was posted. Returns whether there was such a status.
local function take_early(status, name)
  return redis.call('ZREM', key('acknowledged'), status .. ' ' .. name) == 1
end

-- Posts events: of each, `posted` has the mailbox and the id, and ARGV from `first` on its calls and the event.
local function post_events(posted, first, keep_ms)
  for index, one in ipairs(posted or {}) do
    local mailbox, id = one[1], one[2]
    local calls, event = ARGV[first + 2 * (index - 1)], ARGV[first + 2 * (index - 1) + 1]
    local name = mailbox .. ' ' .. id
    if take_early('handed', name) then
      count('delivered', 1)
      redis.call('HSET', key('counts'), 'last_delivered_at', now)
    elseif take_early('no_consent', name) then
      count_filtered({consent = 1})
    elseif redis.call('ZSCORE', key('posted'), name) then
      count_filtered({duplicate = 1})
    else
      make_room(mailbox, 18 + #calls + #event)
      -- Its order in the mailbox stands before the calls: several settlements may come in one millisecond.
      local place = redis.call('HINCRBY', key('mailbox:' .. mailbox), 'posted', 1)
      calls = string.format('%014d%04d', now, place % 10000) .. calls
      redis.call('HSET', key('mailbox:' .. mailbox), 'c:' .. id, calls, 'e:' .. id, event)
      redis.call('HINCRBY', key('mailbox:' .. mailbox), 'bytes', #calls + #event)
      redis.call('ZADD', key('posted'), now + keep_ms, name)
      count('posted', 1)
      for _, status in ipairs({'error', 'not_present'}) do
        if take_early(status, name) then count_try(mailbox, id, FAILED[status], '') end
      end
    end
  end
end
