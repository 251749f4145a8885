"""event-tracking's own unit tests, run against the drop-in from a checkout of it. They are AGPL, and stay there."""
