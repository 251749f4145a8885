"""Sailthru: each event as a custom event of the person, which can start flows and triggers there.

Sailthru knows no idempotency: what it gets twice, it does twice. See ``at_most_once``.
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

# What Sailthru's own events are called; it answers 400 to custom ones of these names
# (https://getstarted.meetmarigold.com/engagebysailthru/Content/developers/api/event.html).
RESERVED_NAMES: Final = frozenset({"send", "cancel", "open", "click", "purchase", "daily"})

_Fate = RetryClass | Literal["invalid", "suppressed"]

# What its error codes mean, and what they mean for the event
# (https://getstarted.meetmarigold.com/engagebysailthru/Content/developers/api-basics/responses.html).
# Not here are those of other endpoints, and 99, "other error": of these the status says whose fault it is.
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

# Hashed or masked, an address is none that Sailthru could find anybody by.
_EMAIL: Final = re.compile(r"[^@\s*]+@[^@\s*]+\.[^@\s.*]+")


class SailthruOptions(HttpOptions):
    """The settings of a Sailthru destination."""

    api_key: SecretStr | None = Field(default=None, description="The account's API key. Without one, events wait.")
    secret: SecretStr | None = Field(default=None, description="Its shared secret. Without one, events wait.")
    host: Host = Field(default="https://api.sailthru.com", description="Where /event is: scheme and host.")
    keys: tuple[Literal["email", "extid"], ...] = Field(
        default=("email", "extid"),
        min_length=1,
        description='How a person is named, the first that the event has: "email"; "extid", which is the user id and '
        "needs that lookup in the account.",
    )
    event_vars: bool = Field(
        default=True, description="Add event_id and event_time to the vars: Sailthru keeps neither by itself."
    )


def signature(secret: str, parameters: Mapping[str, str]) -> str:
    """The ``sig`` of a request with these parameters, before they are URL-encoded. Pure.

    MD5 of the secret and the parameters' values in order
    (https://getstarted.meetmarigold.com/engagebysailthru/Content/developers/api-basics/technical.html).
    """
    signed = secret + "".join(sorted(parameters.values()))
    # The vendor's choice, also on machines that allow MD5 for nothing of their own.
    return hashlib.md5(signed.encode(), usedforsecurity=False).hexdigest()


class Sailthru(HttpDestination[SailthruOptions, dict[str, Any]]):
    """Delivers to Sailthru's event API, which takes one event a request and 40 requests a second an account."""

    Options = SailthruOptions
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
        """The event as the API's parameters: id, key, event, vars."""
        name = event.name.strip()
        if not name:
            raise UndeliverableError(INVALID, f"event {event.id} has no name: give it one in the mapping")
        if name in RESERVED_NAMES:
            raise UndeliverableError(
                RESERVED_NAME, f"event {event.id} is called {name!r}, as an event of Sailthru's own: rename it"
            )
        who_and_what = {**self._who(event), "event": name}
        found = self._vars(event)
        return {**who_and_what, "vars": found} if found else who_and_what

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
        """By Sailthru's error code where there is one, which it may give with a 200; else by the status.

        Its errormsg is left out: it may repeat what was sent.
        """
        said = answer.json()
        code = _code(said)
        if code is not None:
            return self._outcome_of_code(code, answer)
        if answer.status < 300 and answer.body and not isinstance(said, dict):
            error = f"{self.label} answered {answer.status} with what is no JSON object, so it is not Sailthru"
            return RetryAfter(f"{error}: set {self.variable('host')}", None, "setup")
        return self._outcome_of_status(answer)

    def _outcome_of_code(self, code: int, answer: Answer) -> Outcome:
        fate, meaning = _ERRORS.get(code, (None, "which the API documentation lists"))
        error = f"{self.label} answered {answer.status} with error {code}, {meaning}"
        # 409 is for what conflicts with its rules: another event may not.
        if fate == INVALID or (fate is None and (answer.status < 300 or answer.status == 409)):
            return Dead(INVALID, error)
        if fate is None:
            return self._outcome_of_status(answer)
        if fate == SUPPRESSED:
            return Filtered(SUPPRESSED)
        return RetryAfter(error, _seconds_until_reset(answer.headers) if fate == "throttled" else None, fate)

    def _outcome_of_status(self, answer: Answer) -> Outcome:
        # It says on every answer when the rate limit begins anew.
        seconds = _seconds_until_reset(answer.headers) if answer.status == 429 else None
        retry_after = answer.headers.get("Retry-After") if seconds is None else str(seconds)
        return outcome_of_status(answer.status, label=self.label, retry_after=retry_after)

    def _who(self, event: Event) -> dict[str, str]:
        person = Person.of(event)
        known = {"email": _address(person.email), "extid": person.user_id}
        for key in self.options.keys:
            if (found := known[key]) is not None:
                return {"id": found, "key": key}
        raise UndeliverableError(
            MISSING_USER,
            f"event {event.id} has no {' or '.join(self.options.keys)} to say whom it is about: add that to its "
            f"data or context, or take more into keys of [destinations.{self.name}]",
        )

    def _vars(self, event: Event) -> dict[str, Any]:
        data = as_object(event.data)
        if not self.options.event_vars:
            return data
        return {"event_id": event.id, "event_time": utc_text(event.timestamp), **data}


def _address(email: str | None) -> str | None:
    found = "" if email is None else email.strip()
    return found if _EMAIL.fullmatch(found) else None


def _code(said: object) -> int | None:
    code = said.get("error") if isinstance(said, dict) else None
    if not code:
        return None
    try:
        return int(code)
    except (TypeError, ValueError, OverflowError):
        # An error all the same.
        return 0


def _seconds_until_reset(headers: Mapping[str, str]) -> float | None:
    """Until when the rate limit lasts: Sailthru gives that as a Unix time, and has no Retry-After."""
    try:
        reset = float(headers["X-Rate-Limit-Reset"])
    except (KeyError, ValueError):
        return None
    # By its own clock where it says that, as ours may be off.
    try:
        now = parsedate_to_datetime(headers["Date"]).timestamp()
    except (KeyError, ValueError):
        now = time.time()
    # The limits are of a second; more than a minute off is a clock that is wrong. Both are whole seconds, so that none
    # between them may be almost one.
    return max(reset - now, 1.0) if 0 <= reset - now <= 60 else None
