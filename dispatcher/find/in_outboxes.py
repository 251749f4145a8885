"""In outboxes: the events of this machine that no relay has put into the store yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dispatcher.errors import OutboxError
from dispatcher.outbox.journal import journal_path, parse, resynchronise
from dispatcher.outbox.listing import find_outboxes, journal_indexes
from dispatcher.outbox.state import State

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dispatcher.find.wanted import Wanted


def find_in_outboxes(root: Path, wanted: Wanted) -> None:
    """Look through the outboxes under a directory, without any lock. Blocks: two gigabytes take a second or two."""
    try:
        outboxes = find_outboxes(root)
    except OSError as error:
        wanted.note(f"the outboxes in {root} cannot be read: {error.strerror}")
        return
    for directory in outboxes:
        try:
            for payload in _waiting(directory, wanted):
                if (finding := wanted.of(payload)) is not None:
                    finding.take(payload)
                    finding.add("", "outbox", outbox=directory.name)
        except FileNotFoundError:
            continue  # all of it was relayed meanwhile
        except (OSError, OutboxError) as error:
            wanted.note(f"the outbox {directory.name} cannot be read: {error}")


def _waiting(directory: Path, wanted: Wanted) -> Iterator[bytes]:
    """The payloads of the journals that hold any of what is wanted, and are not put yet."""
    state = State.open(directory)
    try:
        first, offset = divmod(state.position, state.journal_bytes)
    finally:
        state.close()
    for index in journal_indexes(directory):
        if index < first:
            continue
        try:
            content = journal_path(directory, index).read_bytes()
        except FileNotFoundError:
            continue  # relayed meanwhile
        if not wanted.are_in(content):
            continue
        at: int | None = offset if index == first else 0
        while at is not None:
            frames = parse(content, at)
            yield from frames.payloads
            at = resynchronise(content, frames.offset) if frames.damaged else None
