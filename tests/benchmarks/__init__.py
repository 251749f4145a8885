"""Benchmarks: ours beside its peers in one run. See ``python -m tests.benchmarks --help``."""
