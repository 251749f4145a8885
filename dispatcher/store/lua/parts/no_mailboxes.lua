-- For settlements of batches without an event that waits for a page, which are nearly all: nothing is to be posted.

local function post_events() end
