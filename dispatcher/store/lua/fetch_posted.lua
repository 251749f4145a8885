-- The events that wait in a visitor's mailboxes. They stay there; but what is not in the first mailbox, which is that of one
-- browser, is kept from other browsers for a while, so that only one of them makes the calls.
--
-- Arguments: mailboxes; limit: how many events; lease_ms: for how long others do not get them.
-- Returns {id, calls, …}, the oldest first.

write_even_when_full()
local found, browser = {}, arguments.mailboxes[1]
for _, mailbox in ipairs(arguments.mailboxes) do
  local box = key('mailbox:' .. mailbox)
  for _, row in ipairs(calls_in(mailbox)) do
    if #found >= 2 * arguments.limit then return found end
    local is_free = mailbox == browser
    if not is_free then
      local lease = redis.call('HGET', box, 'l:' .. row[1]) or ''
      local holder, ends = string.match(lease, '^(%S+) (%d+)$')
      is_free = not holder or holder == browser or tonumber(ends) <= now
      if is_free then
        redis.call('HSET', box, 'l:' .. row[1], browser .. ' ' .. string.format('%d', now + arguments.lease_ms))
      end
    end
    if is_free then
      found[#found + 1] = row[1]
      found[#found + 1] = string.sub(row[2], 19)
    end
  end
end
return found
