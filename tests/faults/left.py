"""Left behind: many outboxes with two events each, as if as many processes had been killed.

Started as ``python -m tests.faults.left FIRST COUNT DIRECTORY``; it kills itself with SIGKILL.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Final

import click

from dispatcher import config
from dispatcher.tracker import Tracker
from tests.faults.numbering import BOTH, key
from tests.faults.progress import WORDS, progress_path

#: Events in each outbox.
EVENTS: Final = 2


@click.command()
@click.argument("first", type=int)
@click.argument("count", type=int)
@click.argument("directory", type=click.Path(path_type=Path))
def main(first: int, count: int, directory: Path) -> None:
    """Emit through one tracker for each number, and die with all of them open."""
    settings = config.load()
    trackers = []
    for number in range(first, first + count):
        trackers.append(Tracker(settings))
        for n in range(EVENTS):
            trackers[-1].emit(BOTH, {"k": key(number, 0, n)})
        progress_path(directory, number).write_bytes(WORDS.pack(EVENTS, EVENTS))
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
