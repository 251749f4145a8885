"""Store: everything that is kept in Redis, and every key and script that keeps it there."""
