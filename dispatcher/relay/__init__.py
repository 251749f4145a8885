"""Relay: moves events from the outboxes of this host into the batch store."""
