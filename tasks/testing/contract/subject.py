"""Subject: the destination that a contract tests, and how its vendor differs from others."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, ClassVar, Final, TypeAlias
from urllib.parse import quote, quote_plus

import msgspec
import pytest
from pydantic import BaseModel, SecretStr

from dispatcher.destinations.base import Batch, Destination, Options
from dispatcher.destinations.types import load_type
from dispatcher.emit.ids import IdSource
from dispatcher.event import Event, encode
from dispatcher.outcomes import Dead, Delivered, Filtered, Outcome, RetryAfter
from dispatcher.process.clock import time_ns
from dispatcher.tasks.destinations.http import Limits
from dispatcher.tasks.testing.vendor import POISON, Call, Vendor

#: The class of a destination.
DestinationClass: TypeAlias = type[Destination[Options]]

#: The name of the destination's table, as the contract makes it.
NAME: Final = "contract"

_new_id = IdSource().new
# Old enough to be no event of the future, young enough for vendors that take no old ones.
_BEGINNING: Final = datetime.fromtimestamp(time_ns() / 1e9, UTC) - timedelta(minutes=5)

# Events that one request may have of a destination that says nothing about that: more than any test sends.
_UNLIMITED: Final = 10_000

_PROXIES: Final = ("http_proxy", "https_proxy", "all_proxy")


class Subject:
    """What a contract needs to know. Define ``type`` and ``options``; override the rest where the vendor differs."""

    #: The type as in settings: the entry point's name, or ``package.module:Class``.
    type: ClassVar[str]
    #: The options without which events wait. None for every option that is a credential.
    credentials: ClassVar[tuple[str, ...] | None] = None
    #: What becomes of events whose request is answered with a status, if that is not the usual: "delivered",
    #: "transient", "throttled", "setup", or the reason of a dead one.
    answers: ClassVar[Mapping[int, str]] = {}
    #: Headers, in lower case, that differ when the same events are sent again.
    volatile_headers: ClassVar[frozenset[str]] = frozenset()
    #: Texts that no error and no log may contain, because they are about the person of an event.
    personal: ClassVar[tuple[str, ...]] = ("ada@example.org", "ada-lovelace", "192.0.2.77", "Hidden/1.0", "private")

    def options(self, url: str) -> dict[str, Any]:
        """The options that make the destination send to a server at this URL (scheme, host, port), with credentials."""
        raise NotImplementedError(f"{type(self).__name__} must define the options that send events to a server")

    def vendor(self) -> Vendor:
        """A stand-in for the vendor. It takes everything except requests with ``POISON``, which it answers with 400."""
        return Vendor()

    def event(self, number: int) -> Event:
        """An event that the vendor takes. Each has an id and a time of its own."""
        return Event(
            id=_new_id(),
            name="shop.order.paid",
            timestamp=_BEGINNING + timedelta(milliseconds=number % 1000),
            data={
                "order": number,
                "total": 12.5,
                "note": "private: Grüße 🎉",
                "course_id": "course-v1:Org+C1+R1",
            },
            context={
                # All events are one person's, so that vendors whose requests are about one person take them together.
                "user_id": 7001,
                "username": "ada-lovelace",
                "email": "ada@example.org",
                "ip": "192.0.2.77",
                "agent": "Hidden/1.0",
                "client_id": "1234567.7654321",
                "session": "993110e9c27848a545da74a74114158d",
                "host": "shop.example.org",
                "path": "/orders",
                "page": "https://shop.example.org/orders",
                "referer": "https://shop.example.org/",
                "course_id": "course-v1:Org+C1+R1",
                "org_id": "Org",
            },
        )

    def poisoned(self, event: Event) -> Event | None:
        """The event changed so that the vendor, or the destination itself, refuses it for its contents.

        None if it takes whatever is an event.
        """
        return with_data(event, note=POISON)

    def oversized(self, event: Event, limit: int) -> Event | None:
        """The event made larger than a limit in bytes; None if the mapping removes everything large."""
        return with_data(event, note="x" * limit)

    def events_in(self, call: Call, events: Sequence[Event]) -> int:
        """How many of these events are in a request; by default those whose id is in its body, query or headers."""
        text = "\n".join([call.text, *call.query.values(), *call.headers.values()])
        return sum(event.id in text for event in events)

    def steady(self, body: Any) -> Any:
        """A request's body, its JSON value or text, without what differs when the same events are sent again."""
        return body

    @pytest.fixture(autouse=True)
    def _no_proxy(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in _PROXIES:
            monkeypatch.delenv(name, raising=False)
            monkeypatch.delenv(name.upper(), raising=False)

    @pytest.fixture
    def server(self) -> Iterator[Vendor]:
        """The vendor's stand-in, started."""
        with self.vendor() as vendor:
            yield vendor

    @pytest.fixture
    def destination(self, server: Vendor) -> Iterator[Destination[Any]]:
        """The destination, sending to ``server``."""
        with self.open_destination(server.url) as destination:
            yield destination

    @contextmanager
    def open_destination(self, url: str, **changes: Any) -> Iterator[Destination[Any]]:
        """The destination, sending to a URL, with some options changed; an option of None is left out. Closed after."""
        destination = self.destination_class()(NAME, self.make_options(url, **changes))
        try:
            yield destination
        finally:
            destination.close()

    def make_options(self, url: str, **changes: Any) -> Options:
        """The destination's options."""
        given = {name: value for name, value in (self.options(url) | changes).items() if value is not None}
        return self.destination_class().Options.model_validate(given)

    def destination_class(self) -> DestinationClass:
        """The destination's class."""
        kind = _load_type(self.type)
        assert issubclass(kind, Destination)
        return kind

    def events(self, count: int) -> list[Event]:
        """As many events as ``count`` says, all of which the vendor takes."""
        return [self.event(number) for number in range(count)]

    def required_options(self, url: str) -> tuple[str, ...]:
        """The options without which events wait."""
        if self.credentials is not None:
            return self.credentials
        options = self.make_options(url)
        return tuple(name for name in type(options).model_fields if isinstance(getattr(options, name), SecretStr))

    def repeatable_parts(self, call: Call) -> tuple[object, ...]:
        """The parts of a request that must be equal when the same events are sent again."""
        headers = {name: value for name, value in call.headers.items() if name not in self.volatile_headers}
        return call.method, call.path, call.query, headers, self.steady(call.value)


# Finding an entry point reads the metadata of every installed package.
_load_type = cache(load_type)


def with_data(event: Event, **data: object) -> Event:
    """The event with some keys of its data changed; the event itself stays as it is."""
    return msgspec.structs.replace(event, data={**event.data, **data})


def batch_of(events: Sequence[Event | bytes], *, attempt: int = 0, maybe_delivered: bool = False) -> Batch:
    """A batch of events, or of payloads as they are."""
    payloads = tuple(event if isinstance(event, bytes) else encode(event) for event in events)
    return Batch(destination=NAME, id="contract-1", payloads=payloads, attempt=attempt, maybe_delivered=maybe_delivered)


def fates(outcomes: Sequence[Outcome]) -> list[str]:
    """Each outcome in one word: "delivered", the class of a retry, or the reason of a dead or filtered one."""
    words = []
    for outcome in outcomes:
        match outcome:
            case Delivered():
                words.append("delivered")
            case RetryAfter(retry_class=retry_class):
                words.append(retry_class)
            case Dead(reason=reason) | Filtered(reason=reason):
                words.append(reason)
    return words


def errors_of(outcomes: Sequence[Outcome]) -> str:
    """The errors of all outcomes, as one text."""
    return "\n".join(outcome.error for outcome in outcomes if isinstance(outcome, RetryAfter | Dead))


def limits_of(destination: Destination[Any]) -> Limits:
    """The most that the destination puts into one request."""
    limits = getattr(destination, "limits", None)
    return limits if isinstance(limits, Limits) else Limits(events=_UNLIMITED)


def leaks(text: str, options: BaseModel) -> bool:
    """Whether the text contains a credential of the options, as it is or as a URL or JSON spells it."""
    return any(
        spelling in text
        for secret in _credentials(options.model_dump())
        for spelling in (secret, quote(secret, safe=""), quote_plus(secret), json.dumps(secret)[1:-1])
    )


def _credentials(value: object) -> Iterator[str]:
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _credentials(inner)
    elif isinstance(value, list | tuple | set | frozenset):
        for inner in value:
            yield from _credentials(inner)
