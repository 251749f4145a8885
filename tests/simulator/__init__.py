"""The simulator: random histories of outboxes, relays, the batch store and workers, in one process, told by a seed.

The code that it plays with is the real one, and so is the Redis; simulated are the time, the deaths of processes, the
network to Redis, the room on the disk, and the destinations.
"""
