"""Input: what people give to a command."""
