"""The floor: the least work of any emit that survives its process: encode the event, copy it into a mapped file."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import msgspec

from tests.benchmarks.emitters.base import Emitter
from tests.benchmarks.place import Place
from tests.benchmarks.sample import NAME

_FILE_BYTES = 4 << 20


class _Envelope(msgspec.Struct):
    id: str
    type: str
    name: str
    timestamp: datetime
    data: dict[str, Any]
    context: msgspec.Raw


@contextmanager
def opened(place: Place) -> Iterator[Emitter]:
    """The context is encoded once per request; all events have the same id."""
    encode = msgspec.json.Encoder().encode
    memory = _map(place)
    raw = msgspec.Raw(b"{}")
    at = 0

    def bind(context: dict[str, Any]) -> None:
        nonlocal raw
        raw = msgspec.Raw(encode(context))

    def emit(data: dict[str, Any]) -> None:
        nonlocal at
        envelope = _Envelope("0198a7d4-0000-7000-8000-000000000000", "event", NAME, datetime.now(UTC), data, raw)
        payload = encode(envelope)
        end = at + len(payload)
        if end > _FILE_BYTES:
            at, end = 0, len(payload)
        memory[at:end] = payload
        at = end

    yield Emitter(emit=emit, bind=bind)


def _map(place: Place) -> mmap.mmap:
    fd = os.open(place.directory / "floor", os.O_RDWR | os.O_CREAT, 0o600)
    os.posix_fallocate(fd, 0, _FILE_BYTES)
    memory = mmap.mmap(fd, _FILE_BYTES)
    memory[:] = bytes(_FILE_BYTES)
    return memory
