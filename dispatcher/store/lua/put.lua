-- Accounts for the journal's range from `start` to `finish`, and stores the n events of it that are for this
-- destination. Putting a range again changes nothing, whatever became of its batch.
--
-- Arguments: journal, start, finish; after: up to where the journal was put for this destination before; id, n and
--   example of the batch, n = 0 for none; filtered: {reason: how many}; dead: [[reason, error], …]; again: this Redis
--   had the range before and has lost it; restored: the events were dead letters in a file and are dead no longer;
--   bytes of the events, unpacked; queue: the list to ring in, where that is in this Redis.
-- Bytes: the packed batch; then, for each of dead, its event and a description of the event; with a queue, the message.
-- Returns 1, or 0 where the range was put before; 2 where the caller has to ring for the batch. Or {position}: nothing was put, and the journal has to be put anew
--   from that position on. Either the range was put in part; or the journal was put up to there only, and not up to
--   `after`, because a put before this one was refused, or this Redis has lost it.

local journal, start, finish, id, n = arguments.journal, arguments.start, arguments.finish, arguments.id, arguments.n
local position = position_of(journal, id)
if finish <= position then return 0 end
if start < position or position < arguments.after then return {position} end
-- Written first: at maxmemory this is what fails, before anything has changed.
remember(journal, finish, n > 0 or has_open(journal))
if n > 0 then
  -- A batch that was lost counts as claimed before: it may have been delivered.
  redis.call('HSET', key('batch:' .. id), 'packed', ARGV[2], 'n', n, 'example', arguments.example, 'attempts', 0,
    'claims', arguments.again and 1 or 0, 'put_at', now, 'finish', finish)
  if arguments.bytes > 0 then redis.call('HSET', key('batch:' .. id), 'bytes', arguments.bytes) end
  redis.call('ZADD', key('since'), now, id)
  redis.call('ZADD', key('open:' .. journal), start, id)
  -- Events from a file are queued as if they had been rung for long ago, so that the next bell rings for them.
  move(id, nil, 'queued', arguments.restored and 0 or now, n)
end
local filtered = count_filtered(arguments.filtered)
local dead = add_dead_letters(arguments.dead, 3, 0)
if dead > 0 then stay_open(journal, start) end
-- A journal that this Redis does not know may be the first one of all.
if position < 0 and not redis.call('HMGET', key('counts'), 'accepted')[1] then
  redis.call('HSET', key('counts'), 'since', now)
end
count('accepted', n + filtered + dead)
if arguments.restored then
  count('accepted', -forget('filed', n))
  return 1
end
-- Workers of an older version claim only the batch that is named: as long as no other has claimed, each put rings.
if n == 0 or (redis.call('HGET', key('ring'), 'chained') and (is_ringing() or is_held_back())) then return 1 end
return send_ring(note_ring(id)) and 2 or 1
