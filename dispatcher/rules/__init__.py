"""Rules: what one destination may have of an event, and in which form."""
