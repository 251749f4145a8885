-- Takes dead letters out that are in a file now. Their events stay dead.
--
-- Arguments: letters: their ids.
-- Returns how many events they stood for.

local filed = take_out_all(arguments.letters)
count('dead', filed)
count('dead:filed', filed)
return filed
