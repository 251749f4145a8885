"""Local: everything on one machine, for development and small sites."""
