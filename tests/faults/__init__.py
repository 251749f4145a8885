"""The fault suite: real processes are killed, stopped and starved under load, then every event is counted."""
