-- Deletes dead letters for good. They count as filtered from then on, as somebody decided so.
--
-- Arguments: ids.
-- Returns how many events they stood for.

local dropped = take_out_all(arguments.ids)
count_filtered({dropped = dropped})
return dropped
