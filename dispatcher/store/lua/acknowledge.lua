-- Records what a page made of events that wait for it, each once.
--
-- Arguments: mailboxes: those of the visitor; acks: [[id, status], …], where the status is handed, no_consent,
--   not_present or error.
-- Returns how many of them counted now. What comes before its event is posted counts when that is; and what was not
-- there, or failed, stays for the visitor's next page.

-- Most of it frees memory.
write_even_when_full()
local counted = 0
for _, ack in ipairs(arguments.acks) do
  local id, status, is_known = ack[1], ack[2], false
  for _, mailbox in ipairs(arguments.mailboxes) do
    local name = mailbox .. ' ' .. id
    if redis.call('ZSCORE', key('posted'), name) then
      is_known = true
      if FAILED[status] then
        if count_try(mailbox, id, FAILED[status], arguments.mailboxes[1]) then counted = counted + 1 end
      elseif status == 'handed' then
        counted = counted + 1
        take_posted(mailbox, id)
        count('delivered', 1)
        redis.call('HSET', key('counts'), 'last_delivered_at', now)
      else
        counted = counted + 1
        take_posted(mailbox, id)
        count_filtered({consent = 1})
      end
    end
  end
  if not is_known then
    for _, mailbox in ipairs(arguments.mailboxes) do
      redis.call('ZADD', key('acknowledged'), now, status .. ' ' .. mailbox .. ' ' .. id)
    end
  end
end
redis.call('ZREMRANGEBYSCORE', key('acknowledged'), '-inf', now - EARLY_MS)
redis.call('ZREMRANGEBYRANK', key('acknowledged'), 0, -EARLY_LIMIT - 1)
return counted
