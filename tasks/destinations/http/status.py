"""Status: what a vendor's answer means for the events of the request, and what it means that no answer came.

Statuses are those of RFC 9110 §15, Retry-After that of §10.2.3.
"""

from __future__ import annotations

import math
import os
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.client import responses
from socket import gaierror
from ssl import SSLCertVerificationError, SSLError
from typing import Final

from dispatcher.connections.channel import ProtocolError
from dispatcher.connections.proxy import TunnelError
from dispatcher.errors import SetupError
from dispatcher.event import to_utc
from dispatcher.outcomes import DELIVERED, INVALID, OVERSIZED, Dead, Outcome, RetryAfter, RetryClass

# The request's contents are refused; the vendor may take a smaller part of them.
_OVERSIZED: Final = frozenset({413})
_INVALID: Final = frozenset({400, 422})
# Refusals that end without anybody's doing.
_TRANSIENT: Final = frozenset({408, 425})
_THROTTLED: Final = 429

# A vendor that asks for a longer pause is asked again after a day nevertheless.
_MAX_RETRY_AFTER_SECONDS: Final = 86_400.0


def outcome_of_status(status: int, *, label: str, retry_after: str | None = None) -> Outcome:
    """The outcome of every event of a request, by the answer's status.

    Args:
        status: The HTTP status.
        label: What the error calls the destination, such as ``Segment at api.segment.io``.
        retry_after: The value of the answer's Retry-After header, if it has one.

    Returns:
        Dead only if the contents are refused: then the parts of a request with several events may be taken.
    """
    if 200 <= status < 300:
        return DELIVERED
    error = f"{label} answered {status} {responses.get(status, '')}".rstrip()
    seconds = retry_after_seconds(retry_after)
    if status in _OVERSIZED:
        return Dead(OVERSIZED, error)
    if status in _INVALID:
        return Dead(INVALID, error)
    if status == _THROTTLED:
        return RetryAfter(error, seconds, "throttled")
    if status >= 500 or status in _TRANSIENT:
        return RetryAfter(error, seconds)
    if 300 <= status < 400:
        error += ", and redirects are not followed: set the address of the destination to the final one"
    # A redirect, 401, 403, 404 and the rest are about the address or the credentials: no event would be taken.
    return RetryAfter(error, seconds, "setup")


def outcome_of_no_connection(error: Exception, *, label: str, seconds: float) -> RetryAfter:
    """The outcome of a request that was not sent, since no connection, or no request, could be made.

    Args:
        error: What was raised. None of its text is repeated unless it is one of dispatcher's own.
        label: What the error calls the destination.
        seconds: How long it was tried.
    """
    retry_class: RetryClass = "setup"
    match error:
        case SetupError():
            problem = f"cannot be sent to: {error}"
        case gaierror():
            problem = "cannot be found: DNS does not know the host, or does not answer"
        case SSLCertVerificationError():
            problem = f"has a certificate that is not trusted: {error.verify_message}"
        case TunnelError() if error.status < 500 and error.status not in {*_TRANSIENT, _THROTTLED}:
            remedy = "mend its URL in the environment, or have it let this host through"
            problem = f"cannot be reached: the proxy answered {error.status}; {remedy}"
        case TimeoutError():
            problem, retry_class = f"took no connection within {seconds:g} s", "transient"
        case OSError():
            problem, retry_class = f"cannot be reached: {_describe(error)}", "transient"
        case _:
            problem = "cannot be sent to: the URL is not usable; mend it in the settings"
    return RetryAfter(f"{label} {problem}", None, retry_class)


def outcome_of_no_answer(error: OSError, *, label: str, seconds: float) -> RetryAfter:
    """The outcome of a request that was sent, or begun, and got no final status.

    Args:
        error: What was raised.
        label: What the error calls the destination.
        seconds: How long the answer was waited for.
    """
    if isinstance(error, TimeoutError):
        return RetryAfter(f"{label} gave no answer within {seconds:g} s")
    if isinstance(error, ProtocolError):
        return RetryAfter(f"{label} {error}")
    return RetryAfter(f"{label} hung up without an answer: {_describe(error)}")


def _describe(error: OSError) -> str:
    """What kind of error of the system, or of TLS, it is. Without texts of others, which may hold a URL."""
    if isinstance(error, SSLError):
        return f"no TLS, {(getattr(error, 'reason', None) or type(error).__name__).lower().replace('_', ' ')}"
    if isinstance(error, ProtocolError | TunnelError):
        return str(error)
    return os.strerror(error.errno).lower() if error.errno is not None else type(error).__name__


def retry_after_seconds(value: str | None, now: datetime | None = None) -> float | None:
    """The seconds that a Retry-After header asks for, as a number or as a date.

    Args:
        value: The header's value; None if the answer has none.
        now: The time that a date is compared with. None for the clock's.

    Returns:
        From 0 to a day; None if the header is absent or cannot be read.
    """
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            retry_at = to_utc(parsedate_to_datetime(value))
        except (TypeError, ValueError, OverflowError):
            return None
        seconds = (retry_at - (now or datetime.now(UTC))).total_seconds()
    return min(max(seconds, 0.0), _MAX_RETRY_AFTER_SECONDS) if math.isfinite(seconds) else None
