"""Output: what a command shows."""
