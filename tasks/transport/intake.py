"""Intake: which messages of the broker are accepted. Anything that we or Celery would write otherwise is unknown.

An accepted doorbell is written anew from the few fields that were checked, so that nothing else of it reaches Celery.
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
_MAX_BYTES: Final = 8_192
# Bytes of a control message: a worker's answer to `inspect report` or `conf` has tens of thousands.
_MAX_CONTROL_BYTES: Final = 4 << 20

_Name: TypeAlias = Annotated[str, Meta(min_length=1, max_length=512)]
_BatchId: TypeAlias = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9._:~+@-]{1,255}\Z")]
_Priority: TypeAlias = Annotated[int, Meta(ge=0, le=255)]
# Values of Celery's Lamport clock.
_Clock: TypeAlias = Annotated[int, Meta(ge=0, le=1 << 62)]

# Delivery tags, by which kombu keeps what is in hand. Our own, so that a sender's tag cannot replace another message.
_tags = count(1)


class _DeliveryInfo(Struct):
    exchange: Annotated[str, Meta(max_length=512)]
    routing_key: Annotated[str, Meta(max_length=512)]


class _Properties(Struct):
    delivery_tag: _Name
    delivery_info: _DeliveryInfo
    body_encoding: Literal["base64"] | None = None
    priority: _Priority | None = None
    reply_to: str | None = None


class DoorbellHeaders(Struct):
    """The headers of a doorbell that are read, and those that it must not have."""

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


class _Empty(Struct, forbid_unknown_fields=True):
    pass


class _Doorbell(Struct, rename="kebab"):
    body: str
    content_type: Literal["application/json"]
    content_encoding: Literal["utf-8"]
    headers: DoorbellHeaders
    properties: _Properties


class _ControlHeaders(Struct):
    clock: _Clock | None = None
    compression: None = None


class _ControlMessage(Struct, rename="kebab"):
    body: str
    content_type: Literal["application/json"]
    content_encoding: Literal["utf-8"]
    headers: _ControlHeaders
    properties: _Properties


class _Reply(Struct):
    exchange: str
    routing_key: str


class _Command(Struct):
    method: _Name
    arguments: dict[str, Any] | None = None
    destination: list[str] | str | None = None
    pattern: Annotated[str, Meta(max_length=512)] | None = None
    # Not kombu's other matcher, which takes a regular expression.
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
_ARGUMENTS: Final = msgspec.json.Decoder(tuple[tuple[_BatchId], _Empty, _Embed])
_CONTROL_MESSAGE: Final = msgspec.json.Decoder(_ControlMessage)
_COMMAND: Final = msgspec.json.Decoder(_Command)
_EVENTS: Final = msgspec.json.Decoder(_Event | list[_Event])
_OBJECT: Final = msgspec.json.Decoder(dict[str, Any])

# Whatever decoding may raise, for any bytes.
_UNREADABLE: Final = (msgspec.MsgspecError, ValueError, RecursionError, binascii.Error)


class UnknownMessageError(ValueError):
    """The message is not one of ours. Holds nothing of its contents."""


def doorbell(queue: str, text: bytes) -> dict[str, Any]:
    """The doorbell in a message of a Redis list, as Celery's consumer takes it.

    Args:
        queue: The destination that the list belongs to.
        text: The message.

    Raises:
        UnknownMessageError: The message is not a doorbell for this destination.
    """
    if len(text) > _MAX_BYTES:
        raise UnknownMessageError
    try:
        message = _DOORBELL.decode(text)
        return _make(queue, message.headers, _decode_body(message.body, message.properties))
    except _UNREADABLE:
        raise UnknownMessageError from None


def amqp_doorbell(queue: str, given_headers: object, content: bytes) -> dict[str, Any]:
    """The same for a message of another broker, which carries headers apart from the body.

    Raises:
        UnknownMessageError: The message is not a doorbell for this destination.
    """
    if len(content) > _MAX_BYTES:
        raise UnknownMessageError
    try:
        return _make(queue, msgspec.convert(given_headers, DoorbellHeaders), content)
    except _UNREADABLE:
        raise UnknownMessageError from None


def check_control_message(exchange: str, text: bytes) -> None:
    """Check that a message of a channel, or of a list of answers, is a command, an answer or an event of Celery's.

    Args:
        exchange: Decides which of these it has to be.
        text: The message.

    Raises:
        UnknownMessageError: It is something else.
    """
    if len(text) > _MAX_CONTROL_BYTES:
        raise UnknownMessageError
    try:
        message = _CONTROL_MESSAGE.decode(text)
        _decoder(exchange).decode(_decode_body(message.body, message.properties))
    except _UNREADABLE:
        raise UnknownMessageError from None


def _decoder(exchange: str) -> msgspec.json.Decoder[Any]:
    if exchange.startswith("reply."):
        return _OBJECT
    return _COMMAND if exchange.endswith("pidbox") else _EVENTS


def _decode_body(text: str, properties: _Properties) -> bytes:
    return text.encode() if properties.body_encoding is None else b64decode(text, validate=True)


def _make(queue: str, given: DoorbellHeaders, content: bytes) -> dict[str, Any]:
    [[batch_id], _, _] = _ARGUMENTS.decode(content)
    if given.task != task_name(queue):
        raise UnknownMessageError
    ring = Ring(destination=queue, batch_id=batch_id, count=0, attempts=given.retries)
    return {
        "body": body(batch_id),
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "headers": headers(ring, summary=given.argsrepr or ""),
        "properties": {
            "correlation_id": ring.task_id,
            "delivery_tag": str(next(_tags)),
            "delivery_info": {"exchange": "", "routing_key": queue},
            "delivery_mode": 2,
            "priority": 0,
        },
    }
