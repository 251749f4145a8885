"""Output: what a command shows to people."""
