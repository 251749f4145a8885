-- Has dead events that went to a file, or were only counted, count as filtered, as somebody decided so.
--
-- Returns how many these were.

write_even_when_full()
local forgotten = forget('filed', math.huge) + forget('unkept', math.huge)
count_filtered({dropped = forgotten})
return forgotten
