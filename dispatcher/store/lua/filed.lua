-- Takes dead letters out that are in a file now. Their events stay dead.
--
-- Arguments: ids.
-- Returns how many events they stood for.

local filed = take_out_all(arguments.ids)
count('dead', filed)
count('dead:filed', filed)
return filed
