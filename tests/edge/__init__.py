"""Edge: what becomes of a click in a page when the page ends, crashes, or cannot reach the collector."""
