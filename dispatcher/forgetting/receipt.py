"""Receipt: what was done for one person, without an identifier in clear: it may be kept, and shown to the person."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex
from typing import Final

import msgspec

from dispatcher.forgetting.change import How
from dispatcher.forgetting.place import Found
from dispatcher.process.system_calls import sync

#: What no command reaches, said in every receipt; behind it, what each destination offers.
BEYOND: Final = (
    "backups and snapshots of disks: let them run out, and forget again after one is restored",
    "what was handed on: research packages, files that were sent, tools that have read the log or an export",
    "other hosts: run the command on each that has outboxes, logs or exports",
    "warehouses that were loaded, such as Vertica and BigQuery: export these days again, and load them anew",
    "names in sentences, and other people's copies of them",
)


class Receipt(msgspec.Struct, kw_only=True):
    """What one run has found, or taken out.

    Args:
        id: Names it.
        at: When it began, as ISO 8601.
        version: The release that did it.
        did: Whether anything was taken out; False for a look.
        how: What became of events where they are kept.
        identifiers: How many identifiers of each kind were given.
        hashes: Of the identifiers, by the key of this host.
        found: What each place had, or has lost.
        left: What a second look has found behind it; empty where nothing is left.
        beyond: What no command reaches, and what is left to do at each destination.
    """

    id: str
    at: str
    version: str
    did: bool
    identifiers: dict[str, int]
    hashes: list[str]
    how: How = "deleted"
    found: list[Found] = msgspec.field(default_factory=list)
    left: list[Found] = msgspec.field(default_factory=list)
    beyond: tuple[str, ...] = BEYOND

    @property
    def events(self) -> int:
        """How many events named the person."""
        return sum(one.events for one in self.found)

    @property
    def of(self) -> int:
        """How many events there are in the places that have some of the person or of others."""
        return sum(one.of for one in self.found)

    @property
    def share(self) -> float:
        """The fraction of all events that name the person."""
        # A request to a vendor does not count among events.
        named = sum(one.events for one in self.found if one.of)
        return named / max(self.of, named, 1)

    @property
    def problems(self) -> list[Found]:
        """What could not be looked into, or is left."""
        after = {(one.place, one.where): one for one in (*self.found, *self.left) if one.left}
        return [*after.values(), *(one for one in self.left if one.events and not one.left)]

    def to_json(self) -> bytes:
        """As it is kept."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"


def new_id() -> str:
    """A name for a receipt, in the order of time."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{token_hex(4)}"


def keep(receipt: Receipt, directory: Path) -> Path:
    """Write the receipt into a directory, which only its owner can read. Raises OSError."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = directory / f"{receipt.id}.json"
    unfinished = path.with_suffix(".tmp")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, receipt.to_json())
        sync(descriptor)
    finally:
        os.close(descriptor)
    unfinished.rename(path)
    return path
