"""What an HTTP destination's answer, or its silence, means for the events of the request. The one place that says so.

Statuses as in RFC 9110 §15, Retry-After as in §10.2.3.
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

# What speaks of the request's contents: a smaller part of it may be taken.
_OVERSIZED: Final = frozenset({413})
_INVALID: Final = frozenset({400, 422})
# Refusals that pass by themselves.
_TRANSIENT: Final = frozenset({408, 425})
_THROTTLED: Final = 429

# A destination that asks for more is asked again after a day all the same.
_LONGEST_SECONDS: Final = 86_400.0


def outcome_of_status(status: int, *, label: str, retry_after: str | None = None) -> Outcome:
    """The outcome of every event of a request that got this answer.

    Args:
        status: Of the HTTP response.
        label: Names the destination in the error, such as ``Segment at api.segment.io``.
        retry_after: The response's header of that name.

    Returns:
        Dead only for what speaks of the contents: with several events in the request, send them in smaller parts.
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
    # A redirect, 401, 403, 404 and the rest speak of the address or the credentials: any event would fare the same.
    return RetryAfter(error, seconds, "setup")


def outcome_of_error(
    error: RequestException, *, label: str, connect_seconds: float, answer_seconds: float
) -> RetryAfter:
    """The outcome of a request that got no answer. Its error names neither URL nor contents.

    Args:
        error: What requests raised.
        label: Names the destination in the error.
        connect_seconds: For how long it waited for a connection.
        answer_seconds: For how long it waited for the answer.
    """
    for cause in _causes(error):
        if isinstance(cause, gaierror | NameResolutionError):
            return RetryAfter(f"{label} cannot be found: DNS does not know the host, or does not answer", None, "setup")
        if isinstance(cause, SSLCertVerificationError):
            return RetryAfter(f"{label} has a certificate that is not trusted: {cause.verify_message}", None, "setup")
    if isinstance(error, InvalidURL):
        return RetryAfter(f"{label} is no address", None, "setup")
    if isinstance(error, ConnectTimeout):
        return RetryAfter(f"{label} took no connection within {connect_seconds:g} s")
    if isinstance(error, Timeout):
        return RetryAfter(f"{label} gave no answer within {answer_seconds:g} s")
    inner = error.args[0] if error.args else error
    names = f"{type(error).__name__}, {type(getattr(inner, 'reason', inner)).__name__}"
    return RetryAfter(f"{label} cannot be reached or hung up: {names}")


def may_have_arrived(error: RequestException) -> bool:
    """Whether a request that got no answer may have reached the destination all the same."""
    return not (
        isinstance(error, ConnectTimeout | SSLError | InvalidURL | ProxyError)
        or any(isinstance(cause, NewConnectionError | gaierror) for cause in _causes(error))
    )


def retry_after_seconds(value: str | None, now: datetime | None = None) -> float | None:
    """The seconds that a Retry-After header asks for, given as a number or a date; None where it says nothing usable.

    At most a day.
    """
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            moment = to_utc(parsedate_to_datetime(value))
        except (TypeError, ValueError, OverflowError):
            return None
        seconds = (moment - (now or datetime.now(UTC))).total_seconds()
    return min(max(seconds, 0.0), _LONGEST_SECONDS) if math.isfinite(seconds) else None


def _causes(error: BaseException) -> list[BaseException]:
    """The error and what lies behind it: requests and urllib3 keep that in arguments, ``reason`` and the context."""
    found: list[BaseException] = []
    waiting: list[object] = [error]
    while waiting:
        one = waiting.pop()
        if isinstance(one, BaseException) and one not in found:
            found.append(one)
            waiting += [*one.args, getattr(one, "reason", None), one.__cause__, one.__context__]
    return found
