"""Damage: what of a journal was no whole event. It is set aside for a person to look into, and counted."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from dispatcher.outbox.listing import DAMAGED, names, size_bytes

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Damage:
    """How many pieces were set aside under one root, and their bytes. What is gone is a piece without any."""

    pieces: int
    bytes: int


def damage(root: Path) -> Damage:
    """What was set aside under ``root`` and not deleted since."""
    place = root / DAMAGED
    pieces = [name for name in names(place) if name.endswith(".bin")]
    return Damage(len(pieces), sum(size_bytes(place / name) for name in pieces))


def set_aside(journal: Path, *, position: int, offset: int, piece: bytes, missing: int = 0) -> None:
    """Keep a piece of a journal, and say so in the log. Raises nothing: reading goes on, since that makes room.

    Args:
        journal: The file that it is from.
        position: Where it begins, as the outbox counts.
        offset: Where it begins in the file.
        piece: What stands there, without the zeros at its end.
        missing: How many bytes at the most were events and are zeros now, or cut off.
    """
    outbox = journal.parent
    place = outbox.parent / DAMAGED
    target = place / f"{outbox.name}-{position}.bin"
    try:
        place.mkdir(mode=0o700, exist_ok=True)
        target.write_bytes(piece)
    except OSError as error:
        logger.error("what is damaged could not be set aside in %s: %s", target, error)
    if piece or not missing:
        what = f"{len(piece)} bytes are no event and were set aside in {target}"
        way_out = "Check the disk, and look for readable events in that file"
    else:
        what = f"up to {missing} bytes of events are gone, as after a power cut; {target} stands for them"
        way_out = "Check the disk, and lower outbox.sync_seconds to lose less"
    logger.error(
        "the journal %s is damaged at byte %d: %s; reading went on behind them. %s", journal, offset, what, way_out
    )
