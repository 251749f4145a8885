"""Processors: what may change an event, or drop it, on its way to backends."""
