"""Subject: the destination that a contract is about, and what is its vendor's own."""

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
from dispatcher.tasks.destinations.http import HttpDestination, Limits
from dispatcher.tasks.testing.vendor import POISON, Call, Vendor

#: The class of a destination.
DestinationClass: TypeAlias = type[Destination[Options]]

#: The name of the destination's table, as the contract makes it.
NAME: Final = "contract"

_new_id = IdSource().new
# Old enough to be no event of the future, young enough for vendors that take no old ones.
_BEGINNING: Final = datetime.now(UTC) - timedelta(minutes=5)

_PROXIES: Final = ("http_proxy", "https_proxy", "all_proxy")


class Subject:
    """What a contract has to know. Say ``type`` and ``options``; change the rest where the vendor differs."""

    #: The type as in settings: the entry point's name, or ``package.module:Class``.
    type: ClassVar[str]
    #: The options without which events wait. None for every option that is a credential.
    credentials: ClassVar[tuple[str, ...] | None] = None
    #: What becomes of events whose request is answered with a status, where that differs from the usual: "delivered",
    #: "transient", "throttled", "setup", or the reason of a dead one.
    answers: ClassVar[Mapping[int, str]] = {}
    #: Headers, in lower case, that differ when the same events are sent again.
    volatile_headers: ClassVar[frozenset[str]] = frozenset()
    #: What nobody may read in an error or a log, since it tells of the person whom an event is about.
    personal: ClassVar[tuple[str, ...]] = ("ada@example.org", "ada-lovelace", "192.0.2.77", "Hidden/1.0", "private")

    def options(self, url: str) -> dict[str, Any]:
        """The options that make the destination send to a server at this URL (scheme, host, port), with credentials."""
        raise NotImplementedError(f"{type(self).__name__} has to say which options point its destination at a server")

    def vendor(self) -> Vendor:
        """What stands in for the vendor. Takes all but what holds ``POISON``, which it answers with 400."""
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
                # One person's, which vendors with requests of one person take together.
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

    def poisoned(self, event: Event) -> Event:
        """The event as the vendor, or the destination itself, refuses it for its contents."""
        return with_data(event, note=POISON)

    def oversized(self, event: Event, limit: int) -> Event | None:
        """The event made larger than a limit in bytes; None where the mapping leaves nothing large in."""
        return with_data(event, note="x" * limit)

    def events_in(self, call: Call, events: Sequence[Event]) -> int:
        """How many of these events are in a request; by default those whose id is in its body, query or headers."""
        text = "\n".join([call.text, *call.query.values(), *call.headers.values()])
        return sum(event.id in text for event in events)

    def steady(self, body: Any) -> Any:
        """A request's body, as its JSON value or its text, without what differs when the same events are sent again."""
        return body

    # ---- what the tests are written with

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
        with self.built(server.url) as destination:
            yield destination

    @contextmanager
    def built(self, url: str, **changes: Any) -> Iterator[Destination[Any]]:
        """The destination, sending to a URL, with some options changed; an option that is None is left out."""
        destination = self.kind()(NAME, self.validated(url, **changes))
        try:
            yield destination
        finally:
            destination.close()

    def validated(self, url: str, **changes: Any) -> Options:
        """The destination's options."""
        said = {name: value for name, value in (self.options(url) | changes).items() if value is not None}
        return self.kind().Options.model_validate(said)

    def kind(self) -> DestinationClass:
        """The destination's class."""
        kind = _loaded(self.type)
        assert issubclass(kind, Destination)
        return kind

    def events(self, count: int) -> list[Event]:
        """So many events that the vendor takes."""
        return [self.event(number) for number in range(count)]

    def needed(self, url: str) -> tuple[str, ...]:
        """The options without which events wait."""
        if self.credentials is not None:
            return self.credentials
        options = self.validated(url)
        return tuple(name for name in type(options).model_fields if isinstance(getattr(options, name), SecretStr))

    def said_again(self, call: Call) -> tuple[object, ...]:
        """What a request has to have in common with the one in which the same events are sent again."""
        headers = {name: value for name, value in call.headers.items() if name not in self.volatile_headers}
        return call.method, call.path, call.query, headers, self.steady(call.value)


# Looking for an entry point reads the metadata of all that is installed.
_loaded = cache(load_type)


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
    """All that the outcomes say, as one text."""
    return "\n".join(outcome.error for outcome in outcomes if isinstance(outcome, RetryAfter | Dead))


def limits_of(destination: Destination[Any]) -> Limits:
    """What the destination puts into one request at most."""
    return destination.limits if isinstance(destination, HttpDestination) else Limits()


def leaks(text: str, options: BaseModel) -> bool:
    """Whether a credential of the options stands in the text, as it is or as a URL or JSON spells it."""
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
