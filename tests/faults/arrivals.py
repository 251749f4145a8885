"""Arrivals: what has arrived in the log, at the sinks, among the dead letters and in the ledger."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dispatcher.errors import StoreUnavailableError
from tests.faults.count import SEGMENT, Count
from tests.faults.numbering import for_segment
from tests.faults.page import TAGS, read_handed
from tests.faults.places import log_files, read_dead, read_filed, read_ledger, read_log
from tests.faults.progress import Emitted
from tests.faults.sink import ScriptedSink
from tests.support.site import Site


class Arrivals:
    """Looks at both ends of a site.

    Args:
        site: Its log, store and ledger.
        sinks: By destination; may grow later.
    """

    def __init__(self, site: Site, sinks: Mapping[str, ScriptedSink]) -> None:
        self._site = site
        self._sinks = sinks

    def are_complete(self, emitted: Emitted) -> bool:
        """Whether everything that was emitted has arrived at all ends."""
        # The cheap questions first: there may be half a million lines.
        if self._waiting() != 0 or self._waiting() != 0 or self._line_count() < len(emitted.sure):
            return False
        lines, _ = read_log(self._site.log)
        due = for_segment(lines)
        if self._has_pages and (due - self._on_pages() or self._site.counts(TAGS).posted):
            return False
        return not emitted.sure - lines.keys() and all(not due - self._at(name) for name in self._sinks)

    def count(self, emitted: Emitted, *, poison: bool) -> Count:
        """Count everything.

        Args:
            poison: Whether the sink refused the poison events for good.
        """
        lines, broken = read_log(self._site.log)
        sink = self._sinks[SEGMENT]
        seen, taken = sink.counts()
        return Count(
            emitted=emitted,
            lines=lines,
            broken=broken,
            seen=seen,
            taken=taken,
            keys=sink.keys,
            dead=self._dead(SEGMENT),
            others={name: self._at(name) for name in self._sinks if name != SEGMENT},
            handed=read_handed(self._site.directory) if self._has_pages else None,
            dead_of_pages=self._dead(TAGS),
            ledger=read_ledger(self._site.ledger()),
            poison=poison,
        )

    @property
    def _has_pages(self) -> bool:
        return TAGS in self._site.settings().destinations

    def _at(self, name: str) -> frozenset[str]:
        sink = self._sinks[name]
        return frozenset(sink.keys[message_id] for message_id in sink.counts()[1]) | self._dead(name)

    def _on_pages(self) -> frozenset[str]:
        return frozenset(key for _, key in read_handed(self._site.directory)) | self._dead(TAGS)

    def _dead(self, name: str) -> frozenset[str]:
        return read_dead(self._site.redis, name) | read_filed(self._site.settings().state_directory, name)

    def _waiting(self) -> int:
        try:
            return self._site.ledger().waiting
        except StoreUnavailableError:
            return -1

    def _line_count(self) -> int:
        return sum(map(_count_lines, log_files(self._site.log)))


def _count_lines(path: Path) -> int:
    """The lines of a file of the log; more than there can be for a compressed one, which is not read for this."""
    try:
        return path.read_bytes().count(b"\n") if path.suffix != ".gz" else 1 << 40
    except FileNotFoundError:
        return 1 << 40  # it was compressed since it was listed
