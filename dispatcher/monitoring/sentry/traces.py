"""Traces: the trace of a web request as Sentry has it, to be bound for the request's events."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from typing import Any, Final

from dispatcher.wire import RARE_BYTE

#: The key of the trace in the context. To look for its last byte in an event takes 30 ns; to look for the whole key
#: would take ten times as long, also for apps that trace nothing.
KEY: Final = f"dispatcher.trace{chr(RARE_BYTE)}"

# Sentry's own two headers, of a request that is sampled (https://develop.sentry.dev/sdk/telemetry/traces/).
_PARENT: Final = "[0-9a-f]{32}-[0-9a-f]{16}-1"
_BAGGAGE: Final = r"[ !#-\[\]-~]*"
_VALUE: Final = re.compile(f"(?P<parent>{_PARENT}) (?P<baggage>{_BAGGAGE})")


@dataclass(frozen=True, slots=True)
class Trace:
    """The trace of one request, as Sentry's headers ``sentry-trace`` and ``baggage`` say it."""

    parent: str
    baggage: str

    @property
    def headers(self) -> dict[str, str]:
        """What Sentry continues a trace from."""
        return {"sentry-trace": self.parent, "baggage": self.baggage}


def parse_trace(text: str) -> Trace | None:
    """The trace that a bound text names; None if it is not one. Pure."""
    found = _VALUE.fullmatch(text)
    return None if found is None else Trace(found["parent"], found["baggage"])


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
