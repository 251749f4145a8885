"""Intake: what of the texts in a broker is for us. Strict: what is not quite as we or Celery would write it is nothing.

What passes is made anew from the few facts that were looked at, so that nothing else of it reaches Celery.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from itertools import count
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from dispatcher.store.doorbell import Ring, body, headers, task_name

# Bytes of a doorbell: ours have 900, those of Celery's own producer 1,300.
_MOST_BYTES: Final = 8_192
# Bytes of a command, an answer or an event: a worker's answer to `inspect report` or `conf` has tens of thousands.
_MOST_TOLD_BYTES: Final = 4 << 20

_Name: TypeAlias = Annotated[str, Meta(min_length=1, max_length=512)]
_BatchId: TypeAlias = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9._:~+@-]{1,255}\Z")]
_Priority: TypeAlias = Annotated[int, Meta(ge=0, le=255)]
# Numbers that Lamport's clock may have.
_Clock: TypeAlias = Annotated[int, Meta(ge=0, le=1 << 62)]

# kombu keeps what is in hand by it; ours cannot meet one that somebody chose.
_tags = count(1)


class _Way(Struct):
    exchange: Annotated[str, Meta(max_length=512)]
    routing_key: Annotated[str, Meta(max_length=512)]


class _Properties(Struct):
    delivery_tag: _Name
    delivery_info: _Way
    body_encoding: Literal["base64"] | None = None
    priority: _Priority | None = None
    reply_to: str | None = None


class DoorbellHeaders(Struct):
    """What is read of a doorbell's headers, and what must not be in them."""

    task: _Name
    id: _Name
    retries: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    argsrepr: Annotated[str, Meta(max_length=2_048)] | None = None
    eta: None = None
    expires: None = None
    group: None = None
    timelimit: tuple[None, None] | None = None
    compression: None = None


class _Embed(Struct, forbid_unknown_fields=True):
    callbacks: None = None
    errbacks: None = None
    chain: None = None
    chord: None = None


class _Nothing(Struct, forbid_unknown_fields=True):
    pass


class _Doorbell(Struct, rename="kebab"):
    body: str
    content_type: Literal["application/json"]
    content_encoding: Literal["utf-8"]
    headers: DoorbellHeaders
    properties: _Properties


class _ToldHeaders(Struct):
    clock: _Clock | None = None
    compression: None = None


class _Told(Struct, rename="kebab"):
    body: str
    content_type: Literal["application/json"]
    content_encoding: Literal["utf-8"]
    headers: _ToldHeaders
    properties: _Properties


class _Reply(Struct):
    exchange: str
    routing_key: str


class _Command(Struct):
    method: _Name
    arguments: dict[str, Any] | None = None
    destination: list[str] | str | None = None
    pattern: Annotated[str, Meta(max_length=512)] | None = None
    # Not kombu's other one, which is a regular expression.
    matcher: Literal["glob"] | None = None
    reply_to: _Reply | None = None
    ticket: str | None = None


class _Event(Struct):
    type: _Name
    hostname: str | UnsetType = UNSET
    timestamp: float | UnsetType = UNSET
    clock: _Clock | UnsetType = UNSET
    utcoffset: float | UnsetType = UNSET
    uuid: str | UnsetType = UNSET


_DOORBELL: Final = msgspec.json.Decoder(_Doorbell)
_ARGUMENTS: Final = msgspec.json.Decoder(tuple[tuple[_BatchId], _Nothing, _Embed])
_TOLD: Final = msgspec.json.Decoder(_Told)
_COMMAND: Final = msgspec.json.Decoder(_Command)
_EVENTS: Final = msgspec.json.Decoder(_Event | list[_Event])
_OBJECT: Final = msgspec.json.Decoder(dict[str, Any])

# What reading a text may raise, whatever is in it.
_UNREADABLE: Final = (msgspec.MsgspecError, ValueError, RecursionError, binascii.Error)


class NotOursError(ValueError):
    """It is nothing for us. Says nothing of what it is."""


def doorbell(queue: str, text: bytes) -> dict[str, Any]:
    """The doorbell in a text of this queue, as Celery's consumer takes it.

    Raises:
        NotOursError: There is none in it.
    """
    if len(text) > _MOST_BYTES:
        raise NotOursError
    try:
        found = _DOORBELL.decode(text)
        return _made(queue, found.headers, _plain(found.body, found.properties))
    except _UNREADABLE:
        raise NotOursError from None


def amqp_doorbell(queue: str, told: object, content: bytes) -> dict[str, Any]:
    """The same for a message whose headers the broker itself has a form for.

    Raises:
        NotOursError: There is none in it.
    """
    if len(content) > _MOST_BYTES:
        raise NotOursError
    try:
        return _made(queue, msgspec.convert(told, DoorbellHeaders), content)
    except _UNREADABLE:
        raise NotOursError from None


def check_told(exchange: str, text: bytes) -> None:
    """See that a text of a channel, or of a list of answers, is a command, an answer or an event of Celery's.

    Raises:
        NotOursError: It is not.
    """
    if len(text) > _MOST_TOLD_BYTES:
        raise NotOursError
    try:
        found = _TOLD.decode(text)
        content = _plain(found.body, found.properties)
        _decoder(exchange).decode(content)
    except _UNREADABLE:
        raise NotOursError from None


def _decoder(exchange: str) -> msgspec.json.Decoder[Any]:
    if exchange.startswith("reply."):
        return _OBJECT
    return _COMMAND if exchange.endswith("pidbox") else _EVENTS


def _plain(text: str, properties: _Properties) -> bytes:
    return text.encode() if properties.body_encoding is None else b64decode(text, validate=True)


def _made(queue: str, told: DoorbellHeaders, content: bytes) -> dict[str, Any]:
    [[batch_id], _, _] = _ARGUMENTS.decode(content)
    if told.task != task_name(queue):
        raise NotOursError
    ring = Ring(destination=queue, batch_id=batch_id, count=0, attempts=told.retries)
    return {
        "body": body(batch_id),
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "headers": headers(ring, summary=told.argsrepr or ""),
        "properties": {
            "correlation_id": ring.task_id,
            "delivery_tag": str(next(_tags)),
            "delivery_info": {"exchange": "", "routing_key": queue},
            "delivery_mode": 2,
            "priority": 0,
        },
    }
