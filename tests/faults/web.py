"""Web process: emits numbered events from threads at a steady pace, and keeps count where kill -9 does not reach.

Started as ``python -m tests.faults.web NUMBER DIRECTORY``; it ends in order once DIRECTORY has a file ``stop``.
"""

from __future__ import annotations

import mmap
import os
import threading
import time
from pathlib import Path
from typing import Final

import click

from dispatcher import tracker
from dispatcher.errors import OutboxError
from tests.faults.numbering import BOTH, LOG_ONLY, goes_to_segment, is_poison, key
from tests.faults.progress import WORDS, progress_path, refused_path

_BURST: Final = 10


@click.command()
@click.argument("number", type=int)
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--threads", default=2)
@click.option("--rate", default=250.0, help="Events a second of each thread.")
@click.option("--count", default=0, help="Events of each thread; 0 goes on until it is stopped.")
@click.option("--poison", is_flag=True, help="One event in a thousand is one that the sink refuses.")
def main(number: int, directory: Path, threads: int, rate: float, count: int, poison: bool) -> None:
    """Emit."""
    path = progress_path(directory, number)
    path.write_bytes(bytes(WORDS.size * threads))
    with path.open("r+b") as file:
        progress = mmap.mmap(file.fileno(), 0)
    refusals = os.open(refused_path(directory, number), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    stop = directory / "stop"

    def emit_on(thread: int) -> None:
        n = 0
        next_at = time.monotonic()
        while not stop.exists() and (n < count or not count):
            for _ in range(_BURST):
                WORDS.pack_into(progress, thread * WORDS.size, n + 1, n)
                _emit(key(number, thread, n), n, refusals, poison=poison)
                n += 1
                WORDS.pack_into(progress, thread * WORDS.size, n, n)
            next_at = max(next_at + _BURST / rate, time.monotonic() - 1)
            time.sleep(max(0.0, next_at - time.monotonic()))

    print("emitting", flush=True)
    workers = [threading.Thread(target=emit_on, args=(thread,)) for thread in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    print("emitted", flush=True)


def _emit(event_key: str, n: int, refusals: int, *, poison: bool) -> None:
    data = {"k": event_key, "padding": "x" * 200}
    if poison and is_poison(n):
        data["poison"] = "yes"
    try:
        tracker.emit(BOTH if goes_to_segment(n) else LOG_ONLY, data)
    except OutboxError:
        os.write(refusals, f"{event_key}\n".encode())


if __name__ == "__main__":
    main()
