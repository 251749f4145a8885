"""Count: what is found at the end of a case. ``check`` compares it with the expectation. No I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from tests.faults.account import Account, Numbers
from tests.faults.expectation import Expectation
from tests.faults.numbering import for_segment, poison_among
from tests.faults.page import TAGS
from tests.faults.progress import Emitted

LOG, SEGMENT = "tracking_log", "segment"


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """What is there at the end, counted separately at each place.

    Args:
        lines: How often each event has a line in the log.
        broken: How many lines are not JSON of an event.
        seen: How often each message id came to the sink in a whole request.
        taken: How often the sink took it.
        keys: The event of each message id.
        dead: The events among the dead letters of the sink's destination.
        handed: How often each event was handed over, by the page and the event; None where there are no pages.
        dead_of_pages: The events among the dead letters of the pages' destination.
        others: The events at each further destination, dead letters included.
        poison: Whether the sink refused the poison events for good.
    """

    emitted: Emitted
    lines: Counter[str]
    broken: int = 0
    seen: Counter[str]
    taken: Counter[str]
    keys: Mapping[str, str]
    dead: frozenset[str] = frozenset()
    handed: Counter[tuple[str, str]] | None = None
    dead_of_pages: frozenset[str] = frozenset()
    others: Mapping[str, frozenset[str]] = field(default_factory=dict)
    ledger: Mapping[str, Numbers] = field(default_factory=dict)
    poison: bool = False

    @property
    def due(self) -> frozenset[str]:
        """The events that the sink must have, or that must be dead letters."""
        return for_segment(self.emitted.sure)

    @property
    def at_sink(self) -> frozenset[str]:
        """The events that the sink took."""
        return frozenset(self.keys[message_id] for message_id in self.taken)


def check(count: Count, expected: Expectation) -> Account:
    """The account of a case, with every difference from the expectation as a problem."""
    return Account(
        emitted=len(count.emitted.sure),
        refused=count.emitted.refused,
        lines=sum(count.lines.values()),
        log_lost=len(count.emitted.sure - count.lines.keys()),
        log_doubled=_beyond_the_first(count.lines),
        due=len(count.due),
        seen=sum(count.seen.values()),
        taken=len(count.taken),
        dead=len(count.dead),
        sink_lost=len(count.due - count.at_sink - count.dead),
        again=_beyond_the_first(count.taken),
        ledger=dict(count.ledger),
        problems=(
            *_wrong_in_log(count, expected),
            *_wrong_at_sink(count, expected),
            *_wrong_on_pages(count, expected),
            *_wrong_in_ledger(count, expected),
            *_wrong_with_emit(count, expected),
        ),
    )


def _wrong_in_log(count: Count, expected: Expectation) -> Iterator[str]:
    emitted = count.emitted
    yield from _some(emitted.sure - count.lines.keys(), "events have no line")
    yield from _some([key for key, times in count.lines.items() if times > 1], "events have more than one line")
    yield from _some(count.lines.keys() - emitted.sure - emitted.unsure, "lines of events that emit did not take")
    if count.broken:
        yield f"{count.broken} lines are not whole JSON"


def _wrong_with_emit(count: Count, expected: Expectation) -> Iterator[str]:
    if count.emitted.refused and not expected.refusals:
        yield f"emit refused {count.emitted.refused} events"


def _wrong_at_sink(count: Count, expected: Expectation) -> Iterator[str]:
    yield from _some(count.due - count.at_sink - count.dead, "events never reached the sink")
    if len(count.taken) != len(count.at_sink):
        yield f"{len(count.taken)} ids came to the sink for {len(count.at_sink)} events"
    if not expected.repeats:
        again = [count.keys[message_id] for message_id, times in count.taken.items() if times > 1]
        yield from _some(again, "events were taken by the sink more than once")
    poison = poison_among(count.due) if count.poison else frozenset()
    if not expected.dead_letters:
        yield from _some(count.dead - poison - count.emitted.unsure, "good events became dead letters")
    yield from _some(poison - count.dead, "poison events are not dead letters")
    for name, found in count.others.items():
        yield from _some(count.due - found, f"events never reached {name}")


def _wrong_on_pages(count: Count, expected: Expectation) -> Iterator[str]:
    if count.handed is None:
        return
    handed = frozenset(key for _, key in count.handed)
    yield from _some(count.due - handed - count.dead_of_pages, "events were neither handed over nor dead")
    yield from _some([key for (_, key), times in count.handed.items() if times > 1], "events were handed over twice")
    yield from _some(
        [key for page, key in count.handed if key.rpartition(".")[0] != page], "events were handed to another visitor"
    )
    yield from _some(handed - for_segment(count.lines), "events were handed over that are not for pages")
    if not expected.dead_letters:
        yield from _some(count.dead_of_pages, "events for pages became dead letters")
    if expected.exact:
        numbers = count.ledger[TAGS]
        delivered = len(handed - count.dead_of_pages)
        if (numbers["delivered"], numbers["dead"]) != (delivered, len(count.dead_of_pages)):
            yield f"the ledger of {TAGS} says {numbers}, and {delivered} were handed over"


def _wrong_in_ledger(count: Count, expected: Expectation) -> Iterator[str]:
    for name, numbers in count.ledger.items():
        if not numbers["closes"]:
            yield f"the ledger of {name} does not close: {numbers}"
        if numbers["waiting"]:
            yield f"{numbers['waiting']} events still wait for {name}"
    if not expected.exact:
        return
    copies = count.ledger[LOG]["duplicates"]
    wanted = {
        (LOG, "accepted"): len(count.lines) + copies,
        (LOG, "delivered"): len(count.lines),
        # Including events for the log alone, which Segment's ledger counts as filtered.
        (SEGMENT, "accepted"): len(count.lines) + copies,
        (SEGMENT, "delivered"): len(count.taken),
        (SEGMENT, "dead"): len(count.dead),
    }
    for (name, what), number in wanted.items():
        in_ledger = count.ledger[name][what]
        if in_ledger != number:
            yield f"the ledger of {name} says {in_ledger} {what}, and {number} were counted"


def _some(found: Collection[str], story: str) -> Iterator[str]:
    if found:
        yield f"{len(found)} {story}, such as {', '.join(sorted(found)[:3])}"


def _beyond_the_first(counts: Counter[str]) -> int:
    return sum(counts.values()) - len(counts)
