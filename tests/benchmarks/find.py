"""How long `dispatcher find` takes for each of 200 events out of a million: ``python -m tests.benchmarks.find``.

Makes the receipts of a million events at three destinations, and a tracking log with a line for each, in a directory
of its own; then looks for a sample, one event at a time, as the board and the command do, with a real Redis.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from dispatcher import config
from dispatcher.connections.redis_pool import RedisPool
from dispatcher.edx_log.render import renderer
from dispatcher.event import Event, encode
from dispatcher.find.search import find_events
from dispatcher.receipts.block import Block, keys_of
from dispatcher.receipts.writer import ReceiptWriter
from tests.support.redis_server import RedisServer

_SAMPLE: Final = 200
_BATCH: Final = 250
_DESTINATIONS: Final = ("tracking_log", "segment", "google_analytics")
# Events a second: a million take an hour and a half.
_PER_SECOND: Final = 200
_TEXT: Final = "x" * 400


def main(number: int) -> None:
    """Print the median and the longest of the sample, by the clock and in CPU, and what was looked through."""
    with tempfile.TemporaryDirectory() as directory, RedisServer() as redis:
        state = Path(directory)
        environ = {
            **os.environ,
            "DISPATCHER_STATE_DIRECTORY": directory,
            "DISPATCHER_BROKER_URL": redis.url,
            "DISPATCHER_DESTINATIONS__TRACKING_LOG__PATH": str(state / "tracking.log"),
        }
        settings = config.load(environ)
        sample = dict(_write(settings, number))
        pool = RedisPool(settings.store, timeout_seconds=30)
        seconds: list[float] = []
        cpu: list[float] = []
        for event_id, line in sample.items():
            began, used = time.monotonic(), time.process_time()
            (found,) = find_events(settings, pool, [event_id])
            seconds.append(time.monotonic() - began)
            cpu.append(time.process_time() - used)
            states = sorted((place["destination"], place["state"]) for place in found["places"])
            assert states == sorted([*((name, "delivered") for name in _DESTINATIONS), ("tracking_log", "logged")])
            assert any(place.get("number") == line for place in found["places"]), found
        seconds.sort()
        cpu.sort()
        log, receipts = (state / "tracking.log").stat().st_size, state / "receipts"
        size = sum(file.stat().st_size for file in receipts.iterdir())
        place = len(sample) // 2
        print(f"{len(sample)} of {number:,} events; a log of {log / 1e9:.2f} GB, receipts of {size / 1e6:.1f} MB")
        print(f"each by the clock: median {seconds[place]:.3f} s, longest {seconds[-1]:.3f} s")
        print(f"each of CPU: median {cpu[place]:.3f} s, longest {cpu[-1]:.3f} s")


def _write(settings: config.Settings, number: int) -> Iterator[tuple[str, int]]:
    """Write log and receipts. Yields the id and the line's number of each event of the sample."""
    render = renderer("edx", ids=True)
    kept = ReceiptWriter(settings.receipts_directory, max_bytes=1 << 30, max_age_seconds=1e9)
    chosen = frozenset(random.Random(16).sample(range(number), min(_SAMPLE, number)))
    began = datetime.now(UTC) - timedelta(seconds=number / _PER_SECOND)
    with (settings.state_directory / "tracking.log").open("wb") as log:
        for start in range(0, number, _BATCH):
            payloads = []
            for place in range(start, min(start + _BATCH, number)):
                at = began + timedelta(seconds=place / _PER_SECOND)
                event_id = _id(at)
                if place in chosen:
                    yield event_id, place + 1
                data = {"n": place, "text": _TEXT}
                context = {"user_id": place % 50_000, "course_id": "course-v1:Org+C1+R1", "path": _TEXT}
                payloads.append(encode(Event(id=event_id, name="edx.x", timestamp=at, data=data, context=context)))
            log.write(b"".join(render(payload) + b"\n" for payload in payloads))
            keys, at_ms = keys_of(payloads), int(at.timestamp() * 1000)
            kept.write(
                [
                    Block(destination=name, batch=f"17-a:{start}", fate="delivered", at_ms=at_ms, attempt=1, keys=keys)
                    for name in _DESTINATIONS
                ]
            )


def _id(at: datetime) -> str:
    """An id as emit makes it, of another time than now."""
    digits = f"{int(at.timestamp() * 1000):012x}7{os.urandom(2).hex()[:3]}8{os.urandom(8).hex()[:15]}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
