"""Browser calls: what an event becomes for a vendor that takes it from browsers only. Pure: a call is only described.

A worker posts each event into its visitor's mailbox; the browser client makes the calls on the visitor's page, and
acknowledges them by the event's id: that is the delivery.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
from msgspec.structs import replace
from pydantic import Field

from dispatcher.destinations.base import Destination, Options
from dispatcher.destinations.browser.page_data import NOT_FOR_PAGES, for_page, withheld
from dispatcher.destinations.identifiers import to_id
from dispatcher.destinations.traits import BROWSER
from dispatcher.errors import DropEvent, UndeliverableError
from dispatcher.event import as_object, decode
from dispatcher.outcomes import NO_VISITOR, UNDECODABLE, Dead, Filtered, Posted, RetryAfter
from dispatcher.routing import Allowlist
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


class BrowserOptions(Options):
    """The vendor's script is on the page already, with the account in it: this says what it may have."""

    fields: tuple[str, ...] | None = Field(
        None, description="Fields of the data that pages get: names and globs. Absent: those that the vendor documents."
    )


class BrowserDestination(Destination[BrowserOptions]):
    """Base of the destinations that a browser hands over to. Knows no network; safe in threads.

    Of an event's data nothing goes to a page that is not on a list. Whatever is on it, e-mail addresses do not go, and
    addresses of pages go without what is behind their path.
    """

    traits = BROWSER
    Options = BrowserOptions
    #: The fields that the vendor documents, which go where the options list none.
    documented: ClassVar[tuple[str, ...]] = ()
    #: What names the visitors' mailboxes; empty where nothing will be posted, as in a preview.
    secret: bytes = b""
    _allowed: Allowlist | None = None

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
        kept = replace(ruled, data=self._select(ruled)[0])
        return {"id": ruled.id, "calls": [call.to_json() for call in self.calls(kept)]}

    def _select(self, event: Event) -> tuple[dict[str, Any], list[str]]:
        """The event's data as far as a page may have it, and the names of the fields that are kept back."""
        if self._allowed is None:
            self._allowed = Allowlist(self.documented if self.options.fields is None else self.options.fields)
        data = as_object(event.data)
        selected = {
            key: cleaned
            for key, value in data.items()
            if key in self._allowed and (cleaned := for_page(value)) is not NOT_FOR_PAGES
        }
        return selected, [key for key in data if key not in selected]

    def preview(self, event: Event) -> dict[str, Any]:
        """What would be handed over for an event, or ``{"outcome": "dead" or "filtered", "reason": …, …}``.

        With ``kept_back`` where fields of the data do not go to the page: they are not listed, have an e-mail address
        in them, or are of a form that the vendor does not take.
        """
        try:
            handed = self.hand_over(event)
            kept_back = self._kept_back(event if self.rules is None else self.rules.apply(event), handed["calls"])
            return handed | ({"kept_back": kept_back} if kept_back else {})
        except UndeliverableError as error:
            return {"outcome": "dead", "reason": error.reason, "error": str(error)}
        except DropEvent as drop:
            return {"outcome": "filtered", "reason": str(drop.reason)}

    def _kept_back(self, event: Event, calls: list[dict[str, Any]]) -> list[str]:
        selected, kept_back = self._select(event)
        handed = set(_keys(calls))
        of_other_form = [key for key in selected if key not in handed]
        data = as_object(event.data)
        within = [path for key in selected if key in handed for path in withheld(key, data[key])]
        return [*kept_back, *of_other_form, *within]


def _keys(value: object) -> Iterator[str]:
    """The keys of all objects within a value."""
    if isinstance(value, dict):
        yield from value
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from _keys(inner)


def page_user(event: Event) -> str | None:
    """The id of the user whose browser shows the page; None for an anonymous visitor."""
    # The context's user is the one whose browser it is; a user_id in the data may be somebody else's, as where one
    # person enrols another.
    return to_id(event.context.get("user_id"))


def scalars(data: object) -> dict[str, Any]:
    """The texts, numbers and booleans of an event's data, for vendors whose properties are flat."""
    return {key: value for key, value in as_object(data).items() if isinstance(value, str | int | float)}
