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
    local is_own = mailbox == browser
    local fields = redis.call('HMGET', box, 'l:' .. row[1], 's:' .. row[1])
    local holder, ends = string.match(fields[1] or '', '^(%S+) (%d+)$')
    local is_free = is_own or not holder or holder == browser or tonumber(ends) <= now
    -- Of what was tried before, it says too that the next page has it; see count_try.
    if is_free and (fields[2] or not is_own) then
      redis.call('HSET', box, 'l:' .. row[1], browser .. ' ' .. string.format('%d', now + arguments.lease_ms))
    end
    if is_free then
      found[#found + 1] = row[1]
      found[#found + 1] = string.sub(row[2], 19)
    end
  end
end
return found
