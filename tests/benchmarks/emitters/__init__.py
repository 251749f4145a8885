"""The emitters that are compared: each records one event per call, and has its own module."""

from tests.benchmarks.emitters.base import CALLS, TITLES, Emit, Emitter, load, open_emitter

__all__ = ["CALLS", "TITLES", "Emit", "Emitter", "load", "open_emitter"]
