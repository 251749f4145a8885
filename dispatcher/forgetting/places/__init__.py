"""The places of a deployment that are not a destination's own, a module for each."""
