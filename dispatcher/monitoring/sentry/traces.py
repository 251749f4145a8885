"""Traces: how the trace of a web request travels with its events, and is removed before any destination sees them.

It is a key of the tracking context: encoded once for a request, and spliced into each event like the rest of the
context, so that it costs emit nothing. Outbox, batch store and dead letters keep it, so that a retry has it too.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from dispatcher.wire import RARE_BYTE, replace_context

#: The key of the trace in the context. To look for its last byte in an event takes 30 ns; to look for the whole key
#: would take ten times as long, also for apps that trace nothing.
KEY: Final = f"dispatcher.trace{chr(RARE_BYTE)}"
_QUOTED_KEY: Final = f'"{KEY}"'.encode()

# Sentry's own two headers, of a request that is sampled (https://develop.sentry.dev/sdk/telemetry/traces/).
_PARENT: Final = "[0-9a-f]{32}-[0-9a-f]{16}-1"
_BAGGAGE: Final = r"[ !#-\[\]-~]*"
_VALUE: Final = re.compile(f"(?P<parent>{_PARENT}) (?P<baggage>{_BAGGAGE})")


class _Ending(msgspec.Struct, gc=False):
    context: msgspec.Raw


_decode_ending: Final = msgspec.json.Decoder(_Ending).decode
# The values stay as they are, to the byte.
_decode_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode: Final = msgspec.json.encode


@dataclass(frozen=True, slots=True)
class Trace:
    """The trace of one request, as Sentry's headers ``sentry-trace`` and ``baggage`` say it."""

    parent: str
    baggage: str

    @property
    def headers(self) -> dict[str, str]:
        """What Sentry continues a trace from."""
        return {"sentry-trace": self.parent, "baggage": self.baggage}


def trace_context() -> dict[str, str]:
    """What to bind for the length of a request, so that its deliveries show in its trace in Sentry.

    Call it once for each request, where the rest of the tracking context is bound::

        with tracker.context("request", {"user_id": 7, **trace_context()}):

    Neither blocks nor raises.

    Returns:
        A part of the context; empty if the app has not started Sentry, or has not sampled this request.
    """
    sdk: Any = sys.modules.get("sentry_sdk")
    # Version 1 of the SDK does not have it.
    get_parent = getattr(sdk, "get_traceparent", None)
    if get_parent is None:
        return {}
    value = f"{get_parent()} {sdk.get_baggage() or ''}"
    # The value of a request that is not sampled ends in 0, and the request has no trace to join.
    return {KEY: value} if _VALUE.fullmatch(value) else {}


def remove_traces(payloads: Sequence[bytes]) -> tuple[tuple[bytes, ...], tuple[Trace, ...]]:
    """Remove the traces from the payloads of a batch.

    Returns:
        The payloads as destinations get them, and the traces that were in them, each once, in order.
    """
    if not any(RARE_BYTE in payload for payload in payloads):
        return tuple(payloads), ()
    clean = []
    traces: dict[Trace, None] = {}
    for payload in payloads:
        without, trace = _remove_trace(payload)
        clean.append(without)
        if trace is not None:
            traces[trace] = None
    return tuple(clean), tuple(traces)


def _remove_trace(payload: bytes) -> tuple[bytes, Trace | None]:
    if _QUOTED_KEY not in payload:
        return payload, None
    # Only a key of the context is ours: the data may hold the same key, from anywhere.
    try:
        context = bytes(_decode_ending(payload).context)
        members = _decode_members(context)
        found = _VALUE.fullmatch(msgspec.json.decode(members.pop(KEY, b'""'), type=str))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return payload, None  # for the destination to judge
    clean = None if found is None else replace_context(payload, context, _encode(members))
    if found is None or clean is None:
        return payload, None
    return clean, Trace(found["parent"], found["baggage"])
