"""Emit: from a call of ``tracker.emit`` to the bytes of an event. Touches no file and no network."""
