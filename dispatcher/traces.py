"""Traces: how the trace of a web request travels with its events, and is taken off before any destination sees them.

It is a key of the tracking context, and so encoded once a request and spliced into each event like the rest of it: emit
does nothing for it. It stays with an event in outbox, batch store and dead letters, so that a retry knows it too.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

# A byte that JSON leaves as it is and that no text has. Whether an event brings a trace is then asked in 30 ns; to look
# for the key itself would take ten times as long, also where nobody traces anything.
_RARE: Final = 0x7F

#: Where the trace stands in the context.
KEY: Final = f"dispatcher.trace{chr(_RARE)}"

# Sentry's own two headers, of a request that is sampled (https://develop.sentry.dev/sdk/telemetry/traces/).
_PARENT: Final = "[0-9a-f]{32}-[0-9a-f]{16}-1"
_BAGGAGE: Final = r"[ !#-\[\]-~]*"
_VALUE: Final = re.compile(f"{_PARENT} {_BAGGAGE}")
_MEMBER: Final = f'"{re.escape(KEY)}":"(?P<parent>{_PARENT}) (?P<baggage>{_BAGGAGE})"'.encode()
# One comma goes with it: the one behind it, or, where it is the last key, the one before it.
_LAST: Final = re.compile(b"," + _MEMBER + b"(?=})")
_OTHER: Final = re.compile(_MEMBER + b",?")


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

    Call it once a request, where the rest of the tracking context is bound::

        with tracker.context("request", {"user_id": 7, **trace_context()}):

    Returns:
        Nothing where the app has not started Sentry, or has not sampled this request. Neither blocks nor raises.
    """
    sdk: Any = sys.modules.get("sentry_sdk")
    # Not there in version 1 of the SDK.
    get_parent = getattr(sdk, "get_traceparent", None)
    if get_parent is None:
        return {}
    value = f"{get_parent()} {sdk.get_baggage() or ''}"
    # A request that is not sampled has another ending, and there would be nothing to join.
    return {KEY: value} if _VALUE.fullmatch(value) else {}


def take_off(payloads: Sequence[bytes]) -> tuple[tuple[bytes, ...], tuple[Trace, ...]]:
    """The payloads as destinations get them, and the traces that were in them, each once, in order."""
    if not any(_RARE in payload for payload in payloads):
        return tuple(payloads), ()
    clean = []
    traces: dict[Trace, None] = {}
    for payload in payloads:
        found = _find(payload)
        if found is None:
            clean.append(payload)
        else:
            traces[Trace(found["parent"].decode(), found["baggage"].decode())] = None
            clean.append(payload[: found.start()] + payload[found.end() :])
    return tuple(clean), tuple(traces)


def _find(payload: bytes) -> re.Match[bytes] | None:
    # The context is what an event ends with, so the last one is in it, whatever the data holds.
    at = payload.rfind(f'"{KEY}"'.encode())
    return None if at < 0 else _LAST.match(payload, at - 1) or _OTHER.match(payload, at)
