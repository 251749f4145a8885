"""Input: what a command is given."""
