"""In the store: the events that wait in Redis, for a worker or a page, and the dead letters there and in files."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Final

from dispatcher.errors import BatchDamagedError
from dispatcher.secrecy.safe_text import one_line
from dispatcher.store.dead_letter import DeadLetter, DeadLetterFilter
from dispatcher.store.dead_letter_files import DeadLetterFileError, directory_of, read
from dispatcher.store.dead_letters import DeadLetters
from dispatcher.store.posted_events import PostedEvents
from dispatcher.store.waiting_batches import WaitingBatches

if TYPE_CHECKING:
    from pathlib import Path

    from dispatcher.connections.redis_pool import RedisPool
    from dispatcher.find.wanted import Finding, Wanted

# Batches of one destination that are looked through, the oldest first; and characters of an error that are shown.
_MAX_BATCHES: Final = 200
_ERROR: Final = 1_000


def find_waiting(pool: RedisPool, destination: str, wanted: Wanted) -> None:
    """Look through what waits for a destination. Blocks for some round trips. Raises StoreUnavailableError."""
    batches = WaitingBatches(pool)
    since_ms = wanted.since_seconds * 1000
    looked = found = 0
    later = (batch for batch in batches.select(destination) if batch.put_ms >= since_ms)
    for batch in islice(later, _MAX_BATCHES):
        looked += 1
        try:
            payloads = batches.events(destination, batch.id) or ()
        except BatchDamagedError:
            wanted.note(f"batch {batch.id} of {destination} is damaged")
            continue
        for payload in payloads:
            if (finding := wanted.of(payload)) is not None:
                found += 1
                finding.take(payload)
                finding.add(
                    destination,
                    "waiting",
                    batch=batch.id,
                    batch_state=batch.state,
                    attempts=batch.attempts,
                    due_ms=batch.due_ms,
                    error=one_line(batch.error, _ERROR),
                )
        if found >= len(wanted.findings):
            return
    if looked == _MAX_BATCHES:
        wanted.note(f"only the {_MAX_BATCHES} oldest batches that wait for {destination} were looked through")


def find_posted(pool: RedisPool, destination: str, wanted: Wanted) -> None:
    """Look through what waits for visitors' pages. Blocks as ``find_waiting``."""
    for one in PostedEvents(pool).select(destination):
        if (finding := wanted.findings.get(one.id)) is not None:
            finding.take(one.payload)
            finding.add(
                destination,
                "posted",
                attempts=one.tries,
                due_ms=one.until_ms,
                error=one_line(one.reason, _ERROR),
                waits=True,
            )


def find_dead(pool: RedisPool, destination: str, wanted: Wanted) -> None:
    """Look through the dead letters in Redis. Blocks for a round trip for each page of them."""
    for letter in DeadLetters(pool).select(destination, DeadLetterFilter(since=wanted.since)):
        if (finding := wanted.of(letter.payload)) is not None:
            _add_dead(finding, letter)


def find_filed(state_directory: Path, destination: str, wanted: Wanted) -> None:
    """Look through this machine's files of dead letters. Blocks for the disk."""
    directory = directory_of(state_directory)
    of_destination = re.compile(re.escape(destination) + r"-\d{8}-\d{6}-[0-9a-f]+\.jsonl\.gz")
    try:
        files = sorted(path for path in directory.iterdir() if of_destination.fullmatch(path.name))
        files = [path for path in files if path.stat().st_mtime >= wanted.since_seconds]
    except FileNotFoundError:
        return
    except OSError as error:
        wanted.note(f"the files of dead letters in {directory} cannot be read: {error.strerror}")
        return
    for path in files:
        try:
            for letter in read(path, destination):
                if (finding := wanted.of(letter.payload)) is not None:
                    _add_dead(finding, letter, file=str(path))
        except DeadLetterFileError as error:
            wanted.note(str(error))


def _add_dead(finding: Finding, letter: DeadLetter, **where: str) -> None:
    finding.take(letter.payload)
    finding.add(
        letter.destination,
        "dead",
        reason=letter.reason,
        error=one_line(letter.error, _ERROR),
        answer=one_line(letter.answer, _ERROR),
        letter=letter.id,
        at=datetime.fromtimestamp(letter.died_ms / 1000, UTC).isoformat(),
        **where,
    )
