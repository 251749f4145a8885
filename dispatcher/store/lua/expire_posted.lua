-- Makes dead letters of what has waited too long for its visitor's page.
--
-- Arguments: limit: how many in this step.
-- Returns how many there were.

local names = redis.call('ZRANGEBYSCORE', key('posted'), '-inf', now, 'LIMIT', 0, arguments.limit)
for _, name in ipairs(names) do
  local mailbox, id = string.match(name, '^(%S+) (.*)$')
  bury_posted(mailbox, id)
end
return #names
