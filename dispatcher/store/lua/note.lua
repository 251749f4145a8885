-- Notes which command somebody gave about the destination, before those that are kept: ten in all.
--
-- Arguments: who; command. Returns nothing.

local kept = redis.call('HGET', key('counts'), 'commands')
local is_json, notes = pcall(cjson.decode, kept or '[]')
if not is_json or type(notes) ~= 'table' then notes = {} end
table.insert(notes, 1, {at = now, who = arguments.who, command = arguments.command})
while #notes > 10 do table.remove(notes) end
write_even_when_full()
redis.call('HSET', key('counts'), 'commands', cjson.encode(notes))
