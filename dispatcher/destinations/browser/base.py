"""Browser calls: what an event becomes for a vendor that takes it from browsers only. Pure: a call is only described.

A worker posts each event into its visitor's mailbox; the browser client makes the calls on the visitor's page, and
acknowledges them by the event's id: that is the delivery.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from dispatcher.destinations.base import Destination, Options
from dispatcher.destinations.identifiers import to_id
from dispatcher.destinations.traits import BROWSER
from dispatcher.errors import DropEvent, UndeliverableError
from dispatcher.event import as_object, decode
from dispatcher.outcomes import NO_VISITOR, UNDECODABLE, Dead, Filtered, Posted, RetryAfter
from dispatcher.secrecy.visitor import mailbox_of_context

if TYPE_CHECKING:
    from dispatcher.destinations.base import Batch
    from dispatcher.event import Event
    from dispatcher.outcomes import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class BrowserCall:
    """One call of a function that the vendor's script has put on the page.

    Args:
        call: The function's path from ``window``, such as ``dataLayer.push``.
        arguments: JSON values.
    """

    call: str
    arguments: tuple[Any, ...]

    def to_json(self) -> dict[str, Any]:
        """As the browser client gets it."""
        return {"call": self.call, "arguments": list(self.arguments)}


class BrowserDestination(Destination[Options]):
    """Base of the destinations that a browser hands over to. Knows no network; safe in threads.

    It has no options of its own: the vendor's script is on the page already, with the account in it.
    """

    traits = BROWSER
    #: What names the visitors' mailboxes; empty where nothing will be posted, as in a preview.
    secret: bytes = b""

    @abstractmethod
    def calls(self, event: Event) -> tuple[BrowserCall, ...]:
        """What is called for an event to which the rules were applied, in order. The event stays as it is.

        Raises:
            UndeliverableError: The vendor's script cannot take it.
            DropEvent: It is right to leave it out.
        """

    def deliver(self, batch: Batch) -> Sequence[Outcome]:
        """Say of each event into whose mailbox it goes, with which calls. Does not block."""
        if not self.secret:
            missing = "collector.secret is not set: `dispatcher settings check` says what to do"
            return [RetryAfter(missing, None, "setup")] * len(batch.payloads)
        return [self._post(payload) for payload in batch.payloads]

    def deliver_all(self, batches: Sequence[Batch]) -> Sequence[Sequence[Outcome] | Exception]:
        """As ``deliver``, for batches that were claimed together: several are settled in one round trip."""
        return [self.deliver(batch) for batch in batches]

    def _post(self, payload: bytes) -> Outcome:
        try:
            event = decode(payload)
        except (msgspec.DecodeError, RecursionError):
            return Dead(UNDECODABLE, "the batch holds something else than an event here", asked=False)
        try:
            calls = msgspec.json.encode(self.hand_over(event)["calls"])
        except UndeliverableError as error:
            return Dead(error.reason, str(error), asked=False)
        except DropEvent as drop:
            return Filtered(str(drop.reason))
        mailbox = mailbox_of_context(self.secret, event.context)
        return Filtered(NO_VISITOR) if mailbox is None else Posted(mailbox, event.id, calls)

    def hand_over(self, event: Event) -> dict[str, Any]:
        """What the browser client gets: ``{"id": …, "calls": [{"call": …, "arguments": […]}, …]}``.

        The id is the event's, by which the client acknowledges that it made the calls. Raises as ``calls`` does, and
        what the rules raise.
        """
        ruled = event if self.rules is None else self.rules.apply(event)
        return {"id": ruled.id, "calls": [call.to_json() for call in self.calls(ruled)]}

    def preview(self, event: Event) -> dict[str, Any]:
        """What would be handed over for an event, or ``{"outcome": "dead" or "filtered", "reason": …, …}``."""
        try:
            return self.hand_over(event)
        except UndeliverableError as error:
            return {"outcome": "dead", "reason": error.reason, "error": str(error)}
        except DropEvent as drop:
            return {"outcome": "filtered", "reason": str(drop.reason)}


def page_user(event: Event) -> str | None:
    """The id of the user whose browser shows the page; None for an anonymous visitor."""
    # The context's user is the one whose browser it is; a user_id in the data may be somebody else's, as where one
    # person enrols another.
    return to_id(event.context.get("user_id"))


def scalars(data: object) -> dict[str, Any]:
    """The texts, numbers and booleans of an event's data, for vendors whose properties are flat."""
    return {key: value for key, value in as_object(data).items() if isinstance(value, str | int | float)}
