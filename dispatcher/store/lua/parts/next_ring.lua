-- The ring for the next place, where something is left.

-- Rings where something waits, can be tried, is not better held back, and no ring is under way. Returns false, or the
-- ring for the caller to send.
local function ring_for_next()
  local id = oldest_waiting()
  if not id or is_ringing() then return false end
  local is_open, is_probe = ask_breaker()
  if is_open or is_probe or is_held_back() then return false end
  return send_ring(note_ring(id))
end
