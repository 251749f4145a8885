"""Identity: the browser, app and session of an event, by the ids of Google's cookies and of Firebase. Pure."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Final

from dispatcher.destinations.identifiers import to_id
from dispatcher.errors import UndeliverableError
from dispatcher.event import data_fields
from dispatcher.outcomes import INVALID, MISSING_APP_INSTANCE_ID, MISSING_CLIENT_ID
from dispatcher.tasks.destinations.person import Person

if TYPE_CHECKING:
    from dispatcher.event import Event

# The cookie _ga, such as GA1.1.1033501218.1368477899, or its last two parts: "two positive numbers, joined by a period"
# (https://developers.google.com/analytics/devguides/collection/protocol/ga4/reference#payload_post_body).
_CLIENT_ID: Final = re.compile(r"(?:.*\.)?(0*[1-9][0-9]*\.0*[1-9][0-9]*)", re.ASCII)
# Characters. The cookie has some 30; whatever is longer is not from Google.
_MAX_CLIENT_ID: Final = 100
# A session is a number, or stands in the cookie _ga_<stream>: GS1.1.<session>.…, since 2025 GS2.1.s<session>$o….
_SESSION: Final = re.compile(r"([0-9]{1,19})|GS\d+\.\d+\.s?([0-9]{1,19})[.$].*", re.ASCII)
# What Firebase's getAppInstanceId() returns.
_APP_INSTANCE_ID: Final = re.compile(r"[0-9A-Fa-f]{32}", re.ASCII)
# Both numbers of the cookie are below that.
_MAX_NUMBER: Final = 2**31 - 1


def client_id_of(event: Event) -> str:
    """The browser's id: the context's ``client_id``, else one that is made from the person, always the same for one.

    Raises:
        UndeliverableError: ``missing_client_id``: the event names nobody.
    """
    person = Person.of(event)
    match = _CLIENT_ID.fullmatch(person.client_id or "")
    if match is not None and len(match[0]) <= _MAX_CLIENT_ID:
        return match[1]
    if person.user_id is not None:
        return _make_client_id(f"user {person.user_id}")
    if person.anonymous_id is not None:
        return _make_client_id(f"anonymous {person.anonymous_id}")
    flaw = "has no client_id" if person.client_id is None else "has a client_id that is not two numbers with a dot"
    raise UndeliverableError(
        MISSING_CLIENT_ID,
        f"the context {flaw}, and neither a user nor a session to make one from: bind client_id, the value of the "
        "cookie _ga, or user_id in the tracking context",
    )


def app_instance_id_of(event: Event) -> str:
    """The installed app's id: the context's ``app_instance_id``, else the data's.

    Raises:
        UndeliverableError: ``missing_app_instance_id``: the event has none; ``invalid``: it is not Firebase's.
    """
    given = [to_id(fields.get("app_instance_id")) for fields in (event.context, data_fields(event))]
    for value in given:
        if value is not None and _APP_INSTANCE_ID.fullmatch(value):
            return value
    if given == [None, None]:
        raise UndeliverableError(
            MISSING_APP_INSTANCE_ID,
            "neither context nor data has an app_instance_id: bind what the app gets from Firebase's "
            "getAppInstanceId() as app_instance_id in the tracking context",
        )
    raise UndeliverableError(
        INVALID,
        "app_instance_id is not 32 hexadecimal digits: bind what the app gets from Firebase's getAppInstanceId()",
    )


def to_session_id(value: object) -> str | int | None:
    """The id of the session that a value is: a number, also as text, or the cookie ``_ga_<stream>``; else None.

    Google takes digits only, and counts an event with anything else for no session.
    """
    match = _SESSION.fullmatch(to_id(value) or "")
    if match is None:
        return None
    return value if isinstance(value, int) else match[1] or match[2]


def _make_client_id(whom: str) -> str:
    digest = hashlib.sha256(whom.encode("utf-8", "surrogatepass")).digest()
    first, second = (int.from_bytes(part) % _MAX_NUMBER + 1 for part in (digest[:8], digest[8:16]))
    return f"{first}.{second}"
