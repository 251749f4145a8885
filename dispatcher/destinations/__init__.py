"""Destinations: what a destination type is, and how one is made from its settings."""
