"""Destinations: a module or a package for each vendor."""
