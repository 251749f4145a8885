"""Checks: a module for each area of a deployment."""
