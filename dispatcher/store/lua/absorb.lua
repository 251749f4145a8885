-- Forgets one of the destination's slots, and counts here what its ledger has counted.
--
-- Arguments: slot; ledger: {counter: events}.
-- Returns 1. Or 0 where the slot was forgotten before: then nothing has changed.

if redis.call('ZREM', key('slots'), arguments.slot) == 0 then return 0 end
for field, n in pairs(arguments.ledger) do count(field, n) end
return 1
