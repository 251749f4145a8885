"""Live: events as they come and what becomes of them, for people who watch, while they watch and with debug only."""
