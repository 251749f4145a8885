"""Damage: the parts of a journal that are not whole events. They are set aside for a person, and counted."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from dispatcher.outbox.listing import DAMAGED, names, size_bytes

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Damage:
    """How many pieces were set aside under one root, and their bytes. A piece that was lost counts, with 0 bytes."""

    pieces: int
    bytes: int


def damage(root: Path) -> Damage:
    """The pieces set aside under ``root`` that nobody has deleted. Reads a directory; raises PermissionError."""
    place = root / DAMAGED
    pieces = [name for name in names(place) if name.endswith(".bin")]
    return Damage(len(pieces), sum(size_bytes(place / name) for name in pieces))


def set_aside(journal: Path, *, position: int, offset: int, piece: bytes, missing: int = 0) -> None:
    """Keep a damaged piece of a journal, and log it as an error. Never raises, so that reading can go on and free disk.

    Args:
        journal: The file that the piece is from.
        position: Where the piece begins, as a position of the outbox.
        offset: Where the piece begins in the file, in bytes.
        piece: The bytes that stand there, without the zeros at their end.
        missing: The largest number of bytes that may have held events and are now zeros, or cut off.
    """
    outbox = journal.parent
    place = outbox.parent / DAMAGED
    target = place / f"{outbox.name}-{position}.bin"
    try:
        place.mkdir(mode=0o700, exist_ok=True)
        target.write_bytes(piece)
    except OSError as error:
        logger.error("damaged bytes could not be set aside in %s: %s", target, error)
    if piece or not missing:
        what = f"{len(piece)} bytes are not whole events and were set aside in {target}"
        remedy = "Check the disk, and look for readable events in that file"
    else:
        what = f"up to {missing} bytes of events are gone, as after a power cut; {target} stands for them"
        remedy = "Check the disk, and lower outbox.sync_seconds to lose less"
    logger.error(
        "the journal %s is damaged at byte %d: %s; reading went on behind them. %s", journal, offset, what, remedy
    )
