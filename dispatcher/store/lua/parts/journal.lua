-- How far each journal was put, and which of its batches are open, which means not settled.

local JOURNAL_SECONDS = 7 * 24 * 3600
-- Longer than what Redis can lose when it fails: two seconds with appendfsync everysec, and ten where a replica takes
-- over that lags as far as min-replicas-max-lag lets it by default.
local UNSURE_SECONDS = 10

local function journal_of(id)
  return string.match(id, '^(.*)%-%x+$') or ''
end

-- Up to where a journal was put; -1 where nothing is known of it. Where its key is gone, its last open batch still says
-- so, or the one of this id.
local function position_of(journal, id)
  local position = redis.call('GET', key('journal:' .. journal))
  if position then return tonumber(position) end
  local last = redis.call('ZRANGE', key('open:' .. journal), -1, -1)[1] or id
  return tonumber(last and redis.call('HMGET', key('batch:' .. last), 'finish')[1] or '-1')
end

local function has_open(journal)
  return redis.call('ZRANGE', key('open:' .. journal), 0, 0)[1] ~= nil
end

-- Writes down up to where a journal was put. If that were forgotten while a batch of the journal is open, the batch
-- would be taken twice: so it expires only while none is.
local function remember(journal, position, has_open_batches)
  if has_open_batches then
    redis.call('SET', key('journal:' .. journal), position)
  else
    redis.call('SET', key('journal:' .. journal), position, 'EX', JOURNAL_SECONDS)
  end
end

-- Forgets a batch of which nothing is left.
local function close(id)
  local journal = journal_of(id)
  if redis.call('ZSCORE', key('open:' .. journal), id) then
    local position = position_of(journal)
    redis.call('ZREM', key('open:' .. journal), id)
    remember(journal, position, has_open(journal))
  end
  redis.call('ZREM', key('since'), id)
  redis.call('DEL', key('batch:' .. id))
end

local function drop_expired(journal)
  redis.call('ZREMRANGEBYSCORE', key('dead_letters:' .. journal), '-inf', now - UNSURE_SECONDS * 1000)
end

-- Has the journal's range from `start` on count as open for a while after it left dead letters, or events that wait for
-- a page: a Redis that loses these moments loses them too, and the process that has the journal still has their events then.
local function stay_open(journal, start)
  drop_expired(journal)
  redis.call('ZADD', key('dead_letters:' .. journal), now, start)
  redis.call('EXPIRE', key('dead_letters:' .. journal), UNSURE_SECONDS)
end
