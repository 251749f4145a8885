"""Answers: what Meta's answers mean for the events of a request.

Sources: https://developers.facebook.com/docs/graph-api/guides/error-handling and, for the codes of too many calls,
https://developers.facebook.com/docs/graph-api/overview/rate-limiting.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from dispatcher.outcomes import (
    DELIVERED,
    FROM_THE_FUTURE,
    INVALID,
    MISSING_USER_DATA,
    TOO_OLD,
    Dead,
    Outcome,
    RetryAfter,
)
from dispatcher.tasks.destinations.http.status import outcome_of_status, retry_after_seconds

if TYPE_CHECKING:
    from dispatcher.tasks.destinations.http import Answer

_THROTTLED: Final = frozenset({4, 17, 32, 613, *range(80_000, 80_015)})
# Downtime, in Meta's table; 341 is downtime or throttling.
_TRANSIENT: Final = frozenset({1, 2, 341})
# No permission, no valid token, no such object or version, blocked for a time: the account or the settings.
_SETUP: Final = frozenset({3, 10, 12, 102, 104, 190, *range(200, 300), 368, 803, 2500, 2635})
# Subcode of code 100: the data set does not exist, or the token may not use it.
_NO_OBJECT: Final = 33
_INVALID: Final = frozenset({100, 105})

# Subcodes of code 100: what is wrong with an event, and in words.
_SUBCODES: Final[Mapping[int, tuple[str, str]]] = MappingProxyType(
    {
        2804001: (
            INVALID,
            "a value has a form that Meta does not take: look at user_data and custom_data in the mapping",
        ),
        2804003: (TOO_OLD, "the event is older than Meta takes"),
        2804004: (
            FROM_THE_FUTURE,
            "the event's time is in the future: check the clock of the machine it came from",
        ),
        2804009: (INVALID, "a Purchase needs a value"),
        2804010: (INVALID, "a Purchase needs a currency"),
        2804023: (INVALID, "a value needs a currency"),
        2804050: (MISSING_USER_DATA, "the event does not say well enough whom it is about"),
    }
)

# An answer may hold anything, so an error repeats only what looks like an id.
_TRACE: Final = re.compile(r"[\w-]{1,64}")


def outcome_of_answer(answer: Answer, *, label: str, sent: int) -> Outcome:
    """The outcome of every event of a request. Pure.

    Errors name Meta's codes and its trace id, never its message, which may repeat what was sent.

    Args:
        answer: What Meta answered.
        label: What errors call the destination.
        sent: How many events the request had.
    """
    value = answer.json()
    body = value if isinstance(value, dict) else {}
    if isinstance(error := body.get("error"), dict):
        return _of_error(error, answer, label)
    if not 200 <= answer.status < 300:
        return _of_status(answer, label)
    received = _whole(body.get("events_received"))
    if received is None:
        return RetryAfter(f"{label} answered {answer.status} without saying how many events it received: is it Meta?")
    if received < sent:
        # Meta takes all or none. Bisection shows which one it does not take; the event ids prevent repeats.
        return Dead(INVALID, f"{label} received {received} of {sent} events{_trace(body)}")
    return DELIVERED


def _of_error(error: Mapping[str, Any], answer: Answer, label: str) -> Outcome:
    code, subcode = _whole(error.get("code")), _whole(error.get("error_subcode"))
    codes = f"error {code}" if subcode is None else f"error {code}, subcode {subcode}"
    text = f"{label} answered {answer.status} with {codes}{_trace(error)}"
    if code in _THROTTLED or answer.status == 429:
        return RetryAfter(text, _pause(answer), "throttled")
    if error.get("is_transient") is True or code in _TRANSIENT or answer.status >= 500:
        return RetryAfter(text, retry_after_seconds(answer.headers.get("Retry-After")))
    if code in _SETUP or (code == 100 and subcode == _NO_OBJECT):
        return RetryAfter(
            f"{text}: check access_token, dataset_id and api_version, and the token's rights", None, "setup"
        )
    if code in _INVALID:
        reason, meaning = _SUBCODES.get(subcode or 0, (INVALID, ""))
        return Dead(reason, f"{text}: {meaning}" if meaning else text)
    # The code is unknown here: the status says whether it is about the contents. Meta documents no 2xx with an error.
    outcome = _of_status(answer, label)
    return replace(outcome, error=text) if isinstance(outcome, Dead | RetryAfter) else RetryAfter(text)


def _of_status(answer: Answer, label: str) -> Outcome:
    return outcome_of_status(answer.status, label=label, retry_after=answer.headers.get("Retry-After"))


def _pause(answer: Answer) -> float | None:
    """The seconds until Meta takes calls again: Retry-After, else the estimate of Meta's own header, in minutes."""
    if (seconds := retry_after_seconds(answer.headers.get("Retry-After"))) is not None:
        return seconds
    try:
        usage = json.loads(answer.headers.get("X-Business-Use-Case-Usage", ""))
        minutes = max(
            int(use.get("estimated_time_to_regain_access", 0)) for uses in dict(usage).values() for use in uses
        )
    except (ValueError, TypeError, AttributeError):
        return None
    # Read like Retry-After, so that the same bound holds.
    return retry_after_seconds(str(minutes * 60)) if minutes > 0 else None


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _trace(body: Mapping[str, Any]) -> str:
    trace = body.get("fbtrace_id")
    return f", fbtrace_id {trace}" if isinstance(trace, str) and _TRACE.fullmatch(trace) else ""
