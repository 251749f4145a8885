"""Emit: from a call to the bytes of an event."""
