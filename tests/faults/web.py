"""Web process: emits numbered events, or posts them to a collector, from threads at a steady rate.

It counts them in a file that outlives kill -9. Started as
``python -m tests.faults.web NUMBER DIRECTORY``; it ends normally once DIRECTORY has a file ``stop``.
"""

from __future__ import annotations

import mmap
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import click

from dispatcher import tracker
from dispatcher.errors import OutboxError
from tests.faults.numbering import BOTH, LOG_ONLY, goes_to_segment, is_poison, key
from tests.faults.page import Page
from tests.faults.posting import Posting
from tests.faults.progress import WORDS, progress_path, refused_path, returned_from
from tests.support.waiting import wait_for

_BURST: Final = 10
#: What each page's thread prints once it emits nothing more. It then goes on until DIRECTORY has a file ``closed``.
ONLY_ASKS: Final = "the page only asks"


@click.command()
@click.argument("number", type=int)
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--threads", default=2)
@click.option("--rate", default=250.0, help="Events a second of each thread.")
@click.option("--count", default=0, help="Events of each thread; 0 emits until it is stopped.")
@click.option("--poison", is_flag=True, help="Make one event in a thousand poison, which the sink refuses.")
@click.option("--deadly", default=-1, help="The event of the first thread that kills each worker that delivers it.")
@click.option("--collector", default=0, help="The port of a collector: post there what would be emitted.")
@click.option("--impatience", default=0.0, help="How often it is gone before the collector has answered.")
@click.option("--pages", is_flag=True, help="Have pages post there, which take what waits for their visitors.")
@click.option("--leaving", is_flag=True, help="Have every other of these pages leave for good.")
@click.option("--forks", default=0, help="Children that emit as much, with the numbers after its own.")
def main(
    number: int,
    directory: Path,
    threads: int,
    rate: float,
    count: int,
    poison: bool,
    deadly: int,
    collector: int,
    impatience: float,
    pages: bool,
    leaving: bool,
    forks: int,
) -> None:
    """Emit."""

    def mark(thread: int, n: int) -> str:
        if thread == 0 and n == deadly:
            return "deadly"
        return "poison" if poison and is_poison(n) else ""

    load = _Load(number, directory, threads, rate, count, mark, collector, impatience, pages, leaving)
    running = load.start()
    print("emitting", flush=True)
    if forks:
        # Python itself warns about a fork while another thread imports what the first emit needs.
        wait_for(lambda: all(returned_from(directory, number)), what="the first events")
    children = [_fork(replace(load, number=number + 1 + child), in_order=child % 2 == 0) for child in range(forks)]
    for thread in running:
        thread.join()
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    assert not any(codes), f"the forked children ended with {codes}"
    print("emitted", flush=True)


@dataclass(frozen=True, slots=True)
class _Load:
    """What one process emits."""

    number: int
    directory: Path
    threads: int
    rate: float
    count: int
    mark: Callable[[int, int], str]
    collector: int
    impatience: float
    pages: bool
    leaving: bool

    def start(self) -> list[threading.Thread]:
        path = progress_path(self.directory, self.number)
        path.write_bytes(bytes(WORDS.size * self.threads))
        with path.open("r+b") as file:
            progress = mmap.mmap(file.fileno(), 0)
        refusals = os.open(refused_path(self.directory, self.number), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        threads = [
            threading.Thread(target=self._emit_on, args=(thread, progress, refusals)) for thread in range(self.threads)
        ]
        for thread in threads:
            thread.start()
        return threads

    def _emit_on(self, thread: int, progress: mmap.mmap, refusals: int) -> None:
        emit: Callable[[str, dict[str, Any]], object] = tracker.emit
        page: Page | None = None
        if self.pages:
            name = f"{self.number}.{thread}"
            leaves = self.leaving and thread % 2 == 1
            page = Page(self.collector, self.impatience, name, self.directory, leaves=leaves)
            emit = page.send
        elif self.collector:
            emit = Posting(self.collector, self.impatience, f"{self.number}.{thread}").send
        n = 0
        stop = self.directory / "stop"
        next_at = time.monotonic()
        while not stop.exists() and (n < self.count or not self.count):
            for _ in range(_BURST):
                WORDS.pack_into(progress, thread * WORDS.size, n + 1, n)
                _emit(emit, key(self.number, thread, n), n, refusals, mark=self.mark(thread, n))
                n += 1
                WORDS.pack_into(progress, thread * WORDS.size, n, n)
            if page is not None:
                page.ask()
            next_at = max(next_at + _BURST / self.rate, time.monotonic() - 1)
            time.sleep(max(0.0, next_at - time.monotonic()))
        if page is not None:
            print(ONLY_ASKS, flush=True)
            while not (self.directory / "closed").exists():
                page.ask()


def _fork(load: _Load, *, in_order: bool) -> int:
    """Fork a child that emits beside its parent. Returns its process id."""
    child = os.fork()
    if child:
        return child
    for thread in load.start():
        thread.join()
    if in_order:
        raise SystemExit
    os._exit(0)  # as multiprocessing ends its children: the tracker does not notice


def _emit(emit: Callable[[str, dict[str, Any]], object], event_key: str, n: int, refusals: int, *, mark: str) -> None:
    data = {"k": event_key, "padding": "x" * 200}
    if mark:
        data[mark] = "yes"
    try:
        emit(BOTH if goes_to_segment(n) else LOG_ONLY, data)
    except OutboxError:
        os.write(refusals, f"{event_key}\n".encode())


if __name__ == "__main__":
    main()
