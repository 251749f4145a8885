"""Status: what a vendor's answer means for the events of the request, and what it means that no answer came.

Statuses are those of RFC 9110 §15, Retry-After that of §10.2.3.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.client import responses
from socket import gaierror
from ssl import SSLCertVerificationError
from typing import Final

from requests import ConnectTimeout, RequestException, Timeout
from requests.exceptions import InvalidURL, ProxyError, SSLError
from urllib3.exceptions import NameResolutionError, NewConnectionError

from dispatcher.event import to_utc
from dispatcher.outcomes import DELIVERED, INVALID, OVERSIZED, Dead, Outcome, RetryAfter

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
    # A redirect, 401, 403, 404 and the rest are about the address or the credentials: no event would be taken.
    return RetryAfter(error, seconds, "setup")


def outcome_of_error(
    error: RequestException, *, label: str, connect_seconds: float, answer_seconds: float
) -> RetryAfter:
    """The outcome of a request that got no answer. Its error holds neither the URL nor the contents.

    Args:
        error: What requests has raised.
        label: What the error calls the destination.
        connect_seconds: How long it waited for a connection.
        answer_seconds: How long it waited for the answer.
    """
    for cause in _causes(error):
        if isinstance(cause, gaierror | NameResolutionError):
            return RetryAfter(f"{label} cannot be found: DNS does not know the host, or does not answer", None, "setup")
        if isinstance(cause, SSLCertVerificationError):
            return RetryAfter(f"{label} has a certificate that is not trusted: {cause.verify_message}", None, "setup")
    if isinstance(error, InvalidURL):
        return RetryAfter(f"{label} is not a usable address", None, "setup")
    if isinstance(error, ConnectTimeout):
        return RetryAfter(f"{label} took no connection within {connect_seconds:g} s")
    if isinstance(error, Timeout):
        return RetryAfter(f"{label} gave no answer within {answer_seconds:g} s")
    inner = error.args[0] if error.args else error
    names = f"{type(error).__name__}, {type(getattr(inner, 'reason', inner)).__name__}"
    return RetryAfter(f"{label} cannot be reached or hung up: {names}")


def may_have_arrived(error: RequestException) -> bool:
    """Whether a request that got no answer may have reached the vendor nevertheless."""
    return not (
        isinstance(error, ConnectTimeout | SSLError | InvalidURL | ProxyError)
        or any(isinstance(cause, NewConnectionError | gaierror) for cause in _causes(error))
    )


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


def _causes(error: BaseException) -> list[BaseException]:
    """The error and its causes, which requests and urllib3 keep in ``args``, ``reason`` and the context."""
    causes: list[BaseException] = []
    unseen: list[object] = [error]
    while unseen:
        cause = unseen.pop()
        if isinstance(cause, BaseException) and cause not in causes:
            causes.append(cause)
            unseen += [*cause.args, getattr(cause, "reason", None), cause.__cause__, cause.__context__]
    return causes
