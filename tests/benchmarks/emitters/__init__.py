"""What is compared: each emitter records one event per call, and has a module of its own."""

from tests.benchmarks.emitters.base import TITLES, Emit, Emitter, open_emitter

__all__ = ["TITLES", "Emit", "Emitter", "open_emitter"]
