"""A model of one destination's mailboxes, of which none gets full."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from dispatcher.store.dead_event import pack_event
from dispatcher.store.settlement import PostedEvent
from tests.support.modelled_batch import Letter

#: Milliseconds for which an acknowledgement is kept whose event is not posted yet.
EARLY_MS = 86_400_000
#: Why an event that no page took is dead.
ERRORS = {
    "not_collected": "the visitor opened no page that asks for events within handover_hours",
    "not_present": "the vendor's function was on none of the pages that tried it: is its snippet there, and allowed to "
    "load?",
    "call_failed": "the vendor's function raised an error on the page: see the browser's console",
}


@dataclass
class Waiting:
    """An event that waits for a page."""

    payload: bytes
    until_ms: int
    reason: str = "not_collected"
    tries: int = 0
    #: Whether a page has it again since the last try.
    is_out: bool = False

    def fail(self, status: str) -> bool:
        """A page made no calls. Returns whether that counts: not where it was said of the last try already."""
        if self.tries and not self.is_out:
            return False
        self.reason, self.tries, self.is_out = "call_failed" if status == "error" else status, self.tries + 1, False
        return True


@dataclass
class MailboxesModel:
    """By mailbox and id, what waits; and by status too, when something was acknowledged that did not."""

    waiting: dict[tuple[str, str], Waiting] = field(default_factory=dict)
    early: dict[tuple[str, str, str], int] = field(default_factory=dict)

    def post(self, one: PostedEvent, now_ms: int, keep_seconds: float) -> str:
        """Returns what it counts as now: nothing, handed, again, or why it is filtered."""
        for status, outcome in (("handed", "handed"), ("no_consent", "consent")):
            if self.early.pop((status, one.mailbox, one.id), None) is not None:
                return outcome
        if (one.mailbox, one.id) in self.waiting:
            return "duplicate"
        self.waiting[one.mailbox, one.id] = posted = Waiting(one.payload, now_ms + int(keep_seconds * 1000))
        failed = [
            posted.fail(status)
            for status in ("error", "not_present")
            if self.early.pop((status, one.mailbox, one.id), None) is not None
        ]
        return "again" if any(failed) else ""

    def acknowledge(self, mailbox: str, acks: Sequence[tuple[str, str]], now_ms: int) -> list[str]:
        """Returns for each that counts what it counts as: handed, consent or again."""
        found = []
        for event_id, status in acks:
            known = self.waiting.get((mailbox, event_id))
            if known is None:
                self.early[status, mailbox, event_id] = now_ms
            elif status in ("handed", "no_consent"):
                del self.waiting[mailbox, event_id]
                found.append("handed" if status == "handed" else "consent")
            elif known.fail(status):
                found.append("again")
        self.early = {key: when for key, when in self.early.items() if when > now_ms - EARLY_MS}
        return found

    def fetch(self, mailbox: str) -> list[str]:
        """What waits in a mailbox, which its own browser has from now on."""
        found = [event_id for box, event_id in self.waiting if box == mailbox]
        for event_id in found:
            self.waiting[mailbox, event_id].is_out = True
        return sorted(found)

    def expire(self, now_ms: int) -> list[Waiting]:
        """Take out what has waited for too long."""
        old = [key for key, one in self.waiting.items() if one.until_ms <= now_ms]
        # In the order of the store.
        old.sort(key=lambda key: (self.waiting[key].until_ms, " ".join(key)))
        return [self.waiting.pop(key) for key in old]


class MailboxCommands:
    """The commands of a model that are about mailboxes."""

    now_ms: int
    delivered: int
    retried: int
    last_delivered_ms: int | None
    filtered: Counter[str]
    mailboxes: MailboxesModel

    def _add_letter(self, letter: Letter, in_short: bytes) -> None:
        raise NotImplementedError

    def acknowledge(self, mailbox: str, acks: Sequence[tuple[str, str]]) -> int:
        """A page says what it made of events; returns how many counted now."""
        found = self.mailboxes.acknowledge(mailbox, acks, self.now_ms)
        for outcome in found:
            self._count_posted(outcome)
        return len(found)

    def expire(self) -> int:
        """Bury what has waited for too long; returns how many events that are."""
        buried = self.mailboxes.expire(self.now_ms)
        for one in buried:
            body = pack_event(one.payload)
            self._add_letter(Letter(one.reason, ERRORS[one.reason], body, one.tries, self.now_ms), body)
        return len(buried)

    def _count_posted(self, outcome: str) -> None:
        if outcome == "handed":
            self.delivered += 1
            self.last_delivered_ms = self.now_ms
        elif outcome == "again":
            self.retried += 1
        elif outcome:
            self.filtered[outcome] += 1
