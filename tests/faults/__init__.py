"""The fault suite: real processes are killed, stopped and starved under load, and then every event is counted."""
