"""OtlpClient: sends OTLP as JSON over HTTP, by the rules of https://opentelemetry.io/docs/specs/otlp/#otlphttp."""

from __future__ import annotations

import gzip
import http.client
import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from time import time
from typing import Any, Final

from dispatcher.monitoring.otel.variables import OtlpTarget
from dispatcher.version import __version__

# Only these are worth another try; all others, and 500 too, say that the same request will fail again.
_RETRYABLE: Final = frozenset({429, 502, 503, 504})
# Bytes of an answer that are read: what is looked for stands at its beginning.
_MAX_ANSWER: Final = 65_536
# The longest that a collector is left alone, whatever it asks for.
_MAX_PAUSE_SECONDS: Final = 300.0


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of a request.

    Args:
        problem: Why the collector does not have all of it; empty if it has.
        rejected: How many points or spans it refused of a request that it took.
        may_retry: Whether the same request is worth another try.
        pause_seconds: How long it asked to be left alone.
    """

    problem: str = ""
    rejected: int = 0
    may_retry: bool = False
    pause_seconds: float = 0.0


class OtlpClient:
    """Sends to one target, each request over a connection of its own. Safe in threads and after a fork.

    It follows no redirect, which would take the headers along. Proxies are those that the environment names.

    Args:
        target: Where to.
    """

    def __init__(self, target: OtlpTarget) -> None:
        self._target = target
        self._opener = urllib.request.build_opener(_NoRedirect)
        self._headers = {
            "Content-Type": "application/json",
            "User-Agent": f"event-dispatcher/{__version__}",
            **({"Content-Encoding": "gzip"} if target.is_compressed else {}),
            **target.headers,
        }

    def send(self, body: bytes) -> Sent:
        """Send one request. Blocks up to the target's timeout for each step; raises nothing."""
        data = gzip.compress(body, 1) if self._target.is_compressed else body
        try:
            request = urllib.request.Request(self._target.url, data, self._headers, method="POST")  # noqa: S310 - checked
            with self._opener.open(request, timeout=self._target.timeout_seconds) as answer:
                return _read_success(answer.read(_MAX_ANSWER))
        except urllib.error.HTTPError as error:
            with error:
                return self._read_refusal(error)
        except (OSError, http.client.HTTPException, ValueError) as error:
            # Its text could quote the URL or a header.
            reason = getattr(error, "reason", error)
            why = getattr(reason, "strerror", None) or type(reason).__name__
            return Sent(f"{self._target.label} does not answer: {why}", may_retry=not isinstance(error, ValueError))

    def _read_refusal(self, error: urllib.error.HTTPError) -> Sent:
        problem = f"{self._target.label} answered {error.code}"
        if error.code not in _RETRYABLE:
            return Sent(problem)
        return Sent(problem, may_retry=True, pause_seconds=_read_pause(error.headers.get("Retry-After")))


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        """Follow none: the answer becomes an HTTPError."""


def _read_success(body: bytes) -> Sent:
    """What a 200 says: some of it may be refused, and must not be sent again."""
    try:
        partial = json.loads(body or b"{}").get("partialSuccess") or {}
        # Numbers of 64 bits are text in OTLP's JSON.
        rejected = int(partial.get("rejectedSpans") or partial.get("rejectedDataPoints") or 0)
    except (ValueError, AttributeError, TypeError, RecursionError):
        return Sent()
    return Sent("the collector took a part only", rejected=rejected) if rejected > 0 else Sent()


def _read_pause(header: str | None) -> float:
    if not header:
        return 0.0
    try:
        seconds = float(header) if header.strip().isdecimal() else parsedate_to_datetime(header).timestamp() - time()
    except (ValueError, TypeError, OverflowError):
        return 0.0
    return min(max(0.0, seconds), _MAX_PAUSE_SECONDS)
