"""segment-analytics-python's client with its consumer thread, which posts to a sink in another process.

It takes the sink that the measurement has started, or starts one.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from segment.analytics.client import Client

from tests.benchmarks.emitters.base import Emitter
from tests.benchmarks.place import UPLOAD_SIZE, Place
from tests.benchmarks.sample import NAME
from tests.benchmarks.servers import SegmentSink

# Seconds between two checks whether its queue is empty.
_LOOK_SECONDS = 0.01
# Events that a caller may emit before it asks for room again.
_ROOM = 1_000


@contextmanager
def opened(place: Place) -> Iterator[Emitter]:
    """With the client's own defaults: its queue holds 10,000 events, and further ones are dropped."""
    with ExitStack() as stack:
        sink = None if place.segment_url else stack.enter_context(SegmentSink())
        size = int(os.environ.get(UPLOAD_SIZE, "100"))
        client = Client("key", host=sink.url if sink is not None else place.segment_url, upload_size=size)
        context: dict[str, Any] = {}
        dropped = 0

        def bind(bound: dict[str, Any]) -> None:
            nonlocal context
            context = bound

        def emit(data: dict[str, Any]) -> None:
            nonlocal dropped
            taken, _ = client.track(context["user_id"], NAME, data, context)
            if not taken:
                dropped += 1

        def settle() -> None:
            while not client.queue.empty():
                time.sleep(_LOOK_SECONDS)

        def make_room() -> None:
            while client.queue.qsize() > client.queue.maxsize - _ROOM:
                time.sleep(_LOOK_SECONDS / 10)

        yield Emitter(
            emit=emit,
            settle=settle,
            dropped=lambda: dropped,
            bind=bind,
            make_room=make_room,
            refuse=sink.kill if sink is not None else int,
        )
