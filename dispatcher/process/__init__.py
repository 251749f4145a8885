"""Process: what a process is to the others, and what a fork does to it."""
