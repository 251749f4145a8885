"""Reader: the receipts of some events, from the files of a directory."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dispatcher.receipts.block import KEY_BYTES, Block, Place, decode, key_of, places
from dispatcher.receipts.files import receipt_files


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of one event in one delivery.

    Args:
        block: All that is known of the delivery; also of other events that had the same fate in it.
        host: The host of the worker.
    """

    block: Block
    host: str

    @property
    def together(self) -> int:
        """How many events had this fate in the same delivery of the batch."""
        return len(self.block.keys) // KEY_BYTES


@dataclass(slots=True)
class Receipts:
    """What was found.

    Args:
        by_event: The receipts of each event that has any, in order of their times.
        hosts: Whose receipts the directory has.
        since_ms: When its oldest receipt was written; None where it has none.
        problems: What could not be read, and why.
    """

    by_event: dict[str, list[Receipt]] = field(default_factory=dict)
    hosts: set[str] = field(default_factory=set)
    since_ms: int | None = None
    problems: list[str] = field(default_factory=list)


def find_receipts(directory: Path, event_ids: Sequence[str], *, since: float = 0.0) -> Receipts:
    """Look for the receipts of events. Blocks: a gigabyte of receipts takes half a second for each event.

    Args:
        directory: Of the receipts.
        event_ids: The events' ids.
        since: Seconds since 1970 before which none of them was there: what was written before is not read.
    """
    found = Receipts()
    keys = {event_id: key_of(event_id) for event_id in event_ids}
    try:
        files = receipt_files(directory)
    except OSError as error:
        found.problems.append(f"the receipts in {directory} cannot be read: {error.strerror}")
        return found
    for file in files:
        found.hosts.add(file.host)
        found.since_ms = min(file.since_ms, found.since_ms or file.since_ms)
        if file.changed < since:
            continue
        try:
            content = file.path.read_bytes()
        except FileNotFoundError:
            continue  # deleted meanwhile, as the oldest one
        except OSError as error:
            found.problems.append(f"{file.path} cannot be read: {error.strerror}")
            continue
        known: list[Place] | None = None
        for event_id, key in keys.items():
            if key in content:
                known = list(places(content)) if known is None else known
                receipts = [Receipt(block, file.host) for block in _blocks_with(content, key, known)]
                found.by_event.setdefault(event_id, []).extend(receipts)
    for receipts in found.by_event.values():
        receipts.sort(key=lambda receipt: receipt.block.at_ms)
    return found


def _blocks_with(content: bytes, key: bytes, known: Sequence[Place]) -> Iterator[Block]:
    starts = [place.start for place in known]
    at = content.find(key)
    while at >= 0:
        index = bisect_right(starts, at) - 1
        step = 1
        if index >= 0 and at < known[index].end:
            place = known[index]
            # The same bytes may stand across two keys, or in a head.
            if at >= place.keys and (at - place.keys) % KEY_BYTES == 0 and (block := decode(content, place)):
                yield block
                step = place.end - at
        at = content.find(key, at + step)


def read_blocks(directory: Path, *, since: float = 0.0) -> tuple[list[Block], list[str]]:
    """All receipts of a directory, in order of their times, and what could not be read. A million take 20 MB.

    Args:
        directory: Of the receipts.
        since: Seconds since 1970; files that were written to before then alone are left out.
    """
    blocks: list[Block] = []
    problems: list[str] = []
    try:
        files = receipt_files(directory)
    except OSError as error:
        return [], [f"the receipts in {directory} cannot be read: {error.strerror}"]
    for file in files:
        if file.changed < since:
            continue
        try:
            content = file.path.read_bytes()
        except FileNotFoundError:
            continue  # deleted meanwhile, as the oldest one
        except OSError as error:
            problems.append(f"{file.path} cannot be read: {error.strerror}")
            continue
        blocks += [block for place in places(content) if (block := decode(content, place)) is not None]
    blocks.sort(key=lambda block: block.at_ms)
    return blocks, problems
