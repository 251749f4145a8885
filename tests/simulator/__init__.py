"""The simulator plays random histories of outboxes, relays, the batch store and workers in one process, each by a seed.

The code under test and its Redis are real. Simulated are the time, the deaths of processes, the network to Redis, the
free disk space, and the destinations.
"""
