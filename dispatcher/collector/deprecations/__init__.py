"""The deprecation of ``Logger.log``: its steps, who still calls it, and what rewrites the calls."""
