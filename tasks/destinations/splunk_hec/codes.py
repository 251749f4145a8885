"""Codes: what each code in an answer of the HTTP Event Collector means for the events of the request.

Source: https://help.splunk.com/en/splunk-enterprise/get-data-in/collect-http-event-data/troubleshoot-http-event-collector.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

from dispatcher.outcomes import DELIVERED, INVALID, Dead, Outcome, RetryAfter, RetryClass
from dispatcher.tasks.destinations.http.status import outcome_of_status, retry_after_seconds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dispatcher.tasks.destinations.http import Answer

SUCCESS: Final = 0
#: The token does not acknowledge.
ACK_DISABLED: Final = 14

_Fate = RetryClass | Literal["invalid"]

_FATES: Final[Mapping[int, tuple[_Fate, str]]] = {
    1: ("setup", "the token is disabled"),
    2: ("setup", "a token is required"),
    3: ("setup", "the authorization is invalid"),
    4: ("setup", "the token is invalid"),
    5: (INVALID, "no data"),
    6: (INVALID, "the data has no valid form"),
    7: ("setup", "the index does not exist, or the token may not write to it: correct index"),
    8: ("transient", "an internal error"),
    9: ("transient", "the server is busy"),
    10: ("setup", "the token wants acknowledgements, and so a channel: set acknowledge = true"),
    11: ("setup", "the channel is invalid"),
    12: (INVALID, "an event lacks its field event"),
    13: (INVALID, "an event is blank"),
    ACK_DISABLED: ("setup", "the token does not acknowledge: switch that on for it, or set acknowledge = false"),
    15: (INVALID, "indexed fields cannot be handled"),
    16: ("setup", "tokens in the query are not taken"),
    18: ("transient", "the server is unhealthy: its queues are full"),
    19: ("transient", "the server is unhealthy: its acknowledgements cannot be asked for"),
    20: ("transient", "the server is unhealthy: queues and acknowledgements"),
    23: ("transient", "the server shuts down"),
}


def outcome_of_answer(answer: Answer, *, label: str) -> Outcome:
    """What an answer means for each event of its request: by its code, which may come with a 200; else by the status.

    Args:
        answer: The answer.
        label: What the error calls the destination.
    """
    body = answer.json()
    code = _code(body)
    if code == SUCCESS and answer.status < 300:
        return DELIVERED
    if code is None or (code not in _FATES and answer.status >= 300):
        return _outcome_of_status(answer, body, label=label)
    fate, meaning = _FATES.get(code, ("transient", "which is unknown here"))
    error = f"{label} answered {answer.status} with code {code}: {meaning}"
    if fate == INVALID:
        return Dead(INVALID, error, taken=_taken(body))
    return RetryAfter(error, retry_after_seconds(answer.headers.get("Retry-After")), fate)


def _outcome_of_status(answer: Answer, body: object, *, label: str) -> Outcome:
    if answer.status < 300 and answer.body and not isinstance(body, dict):
        error = f"{label} answered {answer.status} without a JSON object, so it is not Splunk's collector: correct url"
        return RetryAfter(error, None, "setup")
    return outcome_of_status(answer.status, label=label, retry_after=answer.headers.get("Retry-After"))


def _code(body: Any) -> int | None:
    code = body.get("code") if isinstance(body, dict) else None
    return code if isinstance(code, int) and not isinstance(code, bool) else None


def _taken(body: Any) -> int:
    """How many events came before the one that is refused, all of which are indexed."""
    number = body.get("invalid-event-number")
    return number if isinstance(number, int) and number > 0 else 0
