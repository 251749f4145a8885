"""Webhook: sends events as they are to any HTTP endpoint, signed by the Standard Webhooks convention.

The signature is over the payload before compression, because servers decompress a body before the receiver's code can
verify it. The options say how many events and bytes a request may have. Source:
https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from dataclasses import dataclass, replace
from time import time
from typing import TYPE_CHECKING, Final, Literal

import msgspec
from pydantic import Field, SecretStr, field_validator

from dispatcher.destinations.base import reveal
from dispatcher.event import encode
from dispatcher.tasks.destinations.http import HttpDestination, HttpOptions, Limits, Request
from dispatcher.tasks.destinations.http.json_array import json_array
from dispatcher.tasks.destinations.http.more_headers import check_headers
from dispatcher.tasks.destinations.http.urls import parse_url

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dispatcher.event import Event
    from dispatcher.rules.rules import Rules
    from dispatcher.store.rate_limit import Rate

_PREFIX: Final = "whsec_"
# Bytes of a key, by the convention.
_MIN_KEY: Final = 24
_MAX_KEY: Final = 64

# Headers that belong to the signature.
_SIGNATURE_HEADERS: Final = frozenset({"webhook-id", "webhook-signature", "webhook-timestamp"})
# A full stop ends the id in the signed text, so no id may contain one.
_SIGNABLE_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,100}")

_CONTENT_TYPES: Final = {"json": "application/json", "ndjson": "application/x-ndjson"}


class WebhookOptions(HttpOptions):
    """The settings of a webhook."""

    url: str = Field(description="Where to: scheme, host and path.")
    query: dict[str, SecretStr] = Field(
        default_factory=dict, description="Put behind the URL's ?, and masked where shown."
    )
    method: Literal["POST", "PUT"] = Field(default="POST", description="The HTTP method.")
    format: Literal["json", "ndjson"] = Field(
        default="json", description='"json": an event a request, or an array with batch; "ndjson": an event a line.'
    )
    batch: bool = Field(default=False, description='With format = "json": several events a request, as an array.')
    max_events: int = Field(default=100, ge=1, le=10_000, description="Most events in a request with several.")
    max_bytes: int = Field(
        default=1_000_000, ge=1000, le=100_000_000, description="Most bytes in a request's body, before gzip."
    )
    secret: SecretStr | None = Field(
        default=None,
        description="Signs requests: whsec_ and base64. Several, with blanks between, while one replaces another.",
    )
    headers: dict[str, SecretStr] = Field(
        default_factory=dict,
        description="More headers, such as Authorization; values are masked where shown.",
    )

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: str) -> str:
        parts = parse_url(url, "must be scheme, host and path, such as https://example.org/events")
        if "@" in parts.netloc:
            raise ValueError("must not hold a user and password: give an Authorization header in headers")
        if parts.query:
            raise ValueError("must not have a query: give what is behind the ? in query, where it is kept secret")
        return url

    @field_validator("headers")
    @classmethod
    def _check_headers(cls, headers: dict[str, SecretStr]) -> dict[str, SecretStr]:
        return check_headers(headers, own=_SIGNATURE_HEADERS, owner="the webhook")

    @field_validator("secret")
    @classmethod
    def _check_secret(cls, secret: SecretStr | None) -> SecretStr | None:
        _keys_of(secret)
        return secret


@dataclass(frozen=True, slots=True)
class WebhookItem:
    """An event's id and its JSON."""

    id: str
    json: bytes


class Webhook(HttpDestination[WebhookOptions, WebhookItem]):
    """Delivers to one URL.

    ``webhook-id`` is the event's id, or a digest of the ids of several events, which is the same whenever these are
    sent again together. ``webhook-timestamp`` and ``webhook-signature`` differ from attempt to attempt.
    """

    Options = WebhookOptions
    deletion = "by_hand"
    deletion_steps = "Tell who runs the address; they have what they got."
    shares_contexts = True

    def __init__(
        self, name: str, options: WebhookOptions, *, rules: Rules | None = None, rate: Rate | None = None
    ) -> None:
        self._is_array = options.format == "json" and options.batch
        several = self._is_array or options.format == "ndjson"
        self.limits = Limits(events=options.max_events if several else 1, request_bytes=options.max_bytes)
        self._keys = _keys_of(options.secret)
        super().__init__(name, options, rules=rules, rate=rate)

    @property
    def endpoint(self) -> str:
        return self.options.url

    def item(self, event: Event) -> WebhookItem:
        return WebhookItem(event.id, encode(event))

    def item_bytes(self, item: WebhookItem) -> int:
        return len(item.json)

    def request(self, items: Sequence[WebhookItem]) -> Request:
        """The request before it is signed and compressed."""
        headers = {name: reveal(value) for name, value in self.options.headers.items()}
        return Request(
            url=self.endpoint,
            query={name: reveal(value) for name, value in self.options.query.items()},
            body=self._body([item.json for item in items]),
            headers={
                **headers,
                "Content-Type": _CONTENT_TYPES[self.options.format],
                "webhook-id": webhook_id([item.id for item in items]),
            },
            method=self.options.method,
        )

    def sign(self, request: Request) -> Request:
        """Add the time and the signatures, which are those of the body before it is compressed."""
        timestamp = str(int(time()))
        headers = {**request.headers, "webhook-timestamp": timestamp}
        if self._keys:
            content = f"{request.headers['webhook-id']}.{timestamp}.".encode() + request.body
            headers["webhook-signature"] = " ".join(_signature(key, content) for key in self._keys)
        return replace(request, headers=headers)

    def _body(self, events: Sequence[bytes]) -> bytes:
        if self.options.format == "ndjson":
            return b"".join(event + b"\n" for event in events)
        return json_array(events) if self._is_array else events[0]


def webhook_id(event_ids: Sequence[str]) -> str:
    """The id of a request with these events: the same for the same events in the same order."""
    if len(event_ids) == 1 and _SIGNABLE_ID.fullmatch(event_ids[0]) is not None:
        return event_ids[0]
    return hashlib.sha256(msgspec.json.encode(event_ids)).hexdigest()


def _signature(key: bytes, content: bytes) -> str:
    return f"v1,{base64.b64encode(hmac.digest(key, content, 'sha256')).decode()}"


def _keys_of(secret: SecretStr | None) -> tuple[bytes, ...]:
    return tuple(_key(one) for one in reveal(secret).split())


def _key(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(_PREFIX) or not _MIN_KEY <= len(key) <= _MAX_KEY:
        raise ValueError(f"must be {_PREFIX} and the base64 of {_MIN_KEY} to {_MAX_KEY} random bytes")
    return key
