"""Delivery: one batch to one destination, and what becomes of each event."""
