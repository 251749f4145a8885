"""Sailthru: sends each event as a custom event of a person through its event API, where it can start flows.

It takes one event a request and 40 requests a second an account. It does not recognise repeats: what it gets twice, it
does twice; see the option ``at_most_once``.
Source: https://getstarted.meetmarigold.com/engagebysailthru/Content/developers/api/event.html.
"""

from __future__ import annotations

import hashlib
import re
import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import urlencode

import msgspec
from pydantic import Field, SecretStr

from dispatcher.destinations.base import reveal
from dispatcher.errors import UndeliverableError
from dispatcher.event import as_object, utc_text
from dispatcher.outcomes import (
    INVALID,
    MISSING_USER,
    RESERVED_NAME,
    SUPPRESSED,
    Dead,
    Filtered,
    Outcome,
    RetryAfter,
    RetryClass,
)
from dispatcher.tasks.destinations.http import Answer, HttpDestination, HttpOptions, Limits, Request
from dispatcher.tasks.destinations.http.status import outcome_of_status
from dispatcher.tasks.destinations.http.urls import Host
from dispatcher.tasks.destinations.person import Person

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dispatcher.event import Event

# Names of Sailthru's own events; it answers 400 to custom events with these names.
RESERVED_NAMES: Final = frozenset({"send", "cancel", "open", "click", "purchase", "daily"})

_Fate = RetryClass | Literal["invalid", "suppressed"]

# What each error code means for the event, and in words
# (https://getstarted.meetmarigold.com/engagebysailthru/Content/developers/api-basics/responses.html).
# The codes of other endpoints and 99, "other error", are absent: there the status decides.
_ERRORS: Final[dict[int, tuple[_Fate, str]]] = {
    1: ("setup", "unsupported method"),
    2: (INVALID, "missing parameter"),
    3: ("setup", "invalid API key"),
    4: ("setup", "this address is not on the account's list of allowed ones"),
    5: ("setup", "authentication failed: is the secret that of the API key?"),
    6: (INVALID, "invalid UTF-8"),
    9: ("transient", "internal error"),
    11: (INVALID, "invalid e-mail address"),
    18: (INVALID, "invalid time"),
    21: ("setup", "the account is not approved"),
    22: ("setup", "the account's plan does not have this"),
    32: (SUPPRESSED, "opted out"),
    33: (SUPPRESSED, "opted out"),
    34: (SUPPRESSED, "may not be e-mailed"),
    35: (SUPPRESSED, "bounces"),
    36: ("setup", "unverified sender"),
    37: (SUPPRESSED, "takes basic templates only"),
    42: (INVALID, "invalid UTF-8"),
    43: ("throttled", "too many requests"),
}

# An address in clear: Sailthru cannot find anybody by a hashed or masked one.
_EMAIL: Final = re.compile(r"[^@\s*]+@[^@\s*]+\.[^@\s.*]+")


class SailthruOptions(HttpOptions):
    """The settings of a Sailthru destination."""

    api_key: SecretStr | None = Field(default=None, description="The account's API key. Without one, events wait.")
    secret: SecretStr | None = Field(default=None, description="Its shared secret. Without one, events wait.")
    host: Host = Field(default="https://api.sailthru.com", description="Where /event is: scheme and host.")
    keys: tuple[Literal["email", "extid"], ...] = Field(
        default=("email", "extid"),
        min_length=1,
        description='What names a person at Sailthru, the first of these that the event has: "email"; "extid", which '
        "is the user id and needs that lookup in the account.",
    )
    event_vars: bool = Field(
        default=True, description="Add event_id and event_time to the vars: Sailthru keeps neither by itself."
    )


def signature(secret: str, parameters: Mapping[str, str]) -> str:
    """The ``sig`` of a request: the MD5 of the secret and the sorted values of the parameters. Pure.

    Source: https://getstarted.meetmarigold.com/engagebysailthru/Content/developers/api-basics/technical.html.

    Args:
        secret: The account's shared secret.
        parameters: The parameters, before they are URL-encoded.
    """
    signed = secret + "".join(sorted(parameters.values()))
    # MD5 is the vendor's choice; a machine may forbid it for purposes of security.
    return hashlib.md5(signed.encode(), usedforsecurity=False).hexdigest()


class Sailthru(HttpDestination[SailthruOptions, dict[str, Any]]):
    """Delivers to Sailthru's event API."""

    Options = SailthruOptions
    deletion = "on_request"
    deletion_steps = "Have Sailthru delete the user's profile, by its interface or its support."
    limits = Limits(events=1)
    requests_per_second = 40
    integration = "Sailthru"

    @property
    def endpoint(self) -> str:
        return f"{self.options.host}/event"

    def missing_settings(self) -> str | None:
        absent = [name for name in ("api_key", "secret") if not reveal(getattr(self.options, name))]
        if not absent:
            return None
        variables = " and ".join(self.variable(name) for name in absent)
        return (
            f"Sailthru has no {' and no '.join(absent)}: set {variables} to what Sailthru shows under Settings, Setup, "
            f"API & Postbacks; the events of {self.name!r} wait until then"
        )

    def item(self, event: Event) -> dict[str, Any]:
        """The API's parameters for an event: id, key, event and vars."""
        name = event.name.strip()
        if not name:
            raise UndeliverableError(INVALID, f"event {event.id} has no name: give it one in the mapping")
        if name in RESERVED_NAMES:
            raise UndeliverableError(
                RESERVED_NAME, f"event {event.id} is called {name!r}, like one of Sailthru's own events: rename it"
            )
        parameters: dict[str, Any] = {**self._person_key(event), "event": name}
        if event_vars := self._vars(event):
            parameters["vars"] = event_vars
        return parameters

    def request(self, items: Sequence[dict[str, Any]]) -> Request:
        (item,) = items
        parameters = {
            "api_key": reveal(self.options.api_key),
            "format": "json",
            "json": msgspec.json.encode(item).decode(),
        }
        parameters["sig"] = signature(reveal(self.options.secret), parameters)
        return Request(
            url=self.endpoint,
            body=urlencode(parameters).encode(),
            headers={"Content-Type": "application/x-www-form-urlencoded"},
        )

    def outcome(self, answer: Answer, items: Sequence[dict[str, Any]]) -> Outcome:
        """What an answer means: by Sailthru's error code, which may come with a 200; without one, by the status.

        Sailthru's errormsg is left out, because it may repeat what was sent.
        """
        body = answer.json()
        code = _error_code(body)
        if code is not None:
            return self._outcome_of_code(code, answer)
        if answer.status < 300 and answer.body and not isinstance(body, dict):
            error = f"{self.label} answered {answer.status} without a JSON object, so it is not Sailthru"
            return RetryAfter(f"{error}: set {self.variable('host')}", None, "setup")
        return self._outcome_of_status(answer)

    def _outcome_of_code(self, code: int, answer: Answer) -> Outcome:
        fate, meaning = _ERRORS.get(code, (None, "which the API documentation lists"))
        error = f"{self.label} answered {answer.status} with error {code}, {meaning}"
        # 409 is for a conflict with its rules, which another event may not have.
        if fate == INVALID or (fate is None and (answer.status < 300 or answer.status == 409)):
            return Dead(INVALID, error)
        if fate is None:
            return self._outcome_of_status(answer)
        if fate == SUPPRESSED:
            return Filtered(SUPPRESSED)
        return RetryAfter(error, _seconds_until_reset(answer.headers) if fate == "throttled" else None, fate)

    def _outcome_of_status(self, answer: Answer) -> Outcome:
        # Each answer says when the rate limit is reset.
        seconds = _seconds_until_reset(answer.headers) if answer.status == 429 else None
        retry_after = answer.headers.get("Retry-After") if seconds is None else str(seconds)
        return outcome_of_status(answer.status, label=self.label, retry_after=retry_after)

    def _person_key(self, event: Event) -> dict[str, str]:
        person = Person.of(event)
        email = (person.email or "").strip()
        known = {"email": email if _EMAIL.fullmatch(email) else None, "extid": person.user_id}
        for key in self.options.keys:
            if (person_id := known[key]) is not None:
                return {"id": person_id, "key": key}
        raise UndeliverableError(
            MISSING_USER,
            f"event {event.id} has no {' or '.join(self.options.keys)} to say whom it is about: add that to its "
            f"data or context, or add to keys of [destinations.{self.name}]",
        )

    def _vars(self, event: Event) -> dict[str, Any]:
        data = as_object(event.data)
        if not self.options.event_vars:
            return data
        return {"event_id": event.id, "event_time": utc_text(event.timestamp), **data}


def _error_code(body: object) -> int | None:
    code = body.get("error") if isinstance(body, dict) else None
    if not code:
        return None
    try:
        return int(code)
    except (TypeError, ValueError, OverflowError):
        # An error with a code that is unknown here.
        return 0


def _seconds_until_reset(headers: Mapping[str, str]) -> float | None:
    """The seconds until the rate limit is reset. Sailthru gives that as a Unix time, and no Retry-After."""
    try:
        reset = float(headers["X-Rate-Limit-Reset"])
    except (KeyError, ValueError):
        return None
    # By Sailthru's own clock if the answer has it, because the clock here may be wrong.
    try:
        now = parsedate_to_datetime(headers["Date"]).timestamp()
    except (KeyError, ValueError):
        now = time.time()
    # Limits are for a second each, so that a reset more than a minute away comes from a wrong clock. Both times are in
    # whole seconds: a difference of 0 may be almost one second.
    return max(reset - now, 1.0) if 0 <= reset - now <= 60 else None
