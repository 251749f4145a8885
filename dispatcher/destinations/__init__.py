"""Destinations: what a destination type is, and how a destination is built from its settings."""
