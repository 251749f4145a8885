"""Deletion at Google: asks the Admin API of Google Analytics to delete what a property has of one id.

Source: https://developers.google.com/analytics/devguides/config/admin/v1/rest/v1alpha/properties/submitUserDeletion.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import msgspec

from dispatcher.tasks.destinations.http import NoAnswer, Request
from dispatcher.tasks.destinations.http.client import HttpClient
from dispatcher.tasks.destinations.http.deletion import NotAskedError, Subject

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dispatcher.forgetting.person import Person

#: What the API calls the ids of hits.
SUBJECTS: Final = {"user_id": "userId", "client_id": "clientId", "app_instance_id": "appInstanceId"}

# What a context calls the ids of a person: the browser's and the app's stand among those that libraries make.
_KEYS: Final = (
    ("user_ids", ("user_id",)),
    ("usernames", ("user_id",)),
    ("anonymous_ids", ("anonymous_id", "client_id", "app_instance_id")),
    ("sessions", ("session",)),
)

_REMEDIES: Final = {
    400: "it does not take such an id",
    401: "admin_token is not valid any more, which an hour does: make another one",
    403: "admin_token may not do that: it needs the scope analytics.edit, and its account the role of an editor",
    404: "it does not know the property: correct property_id",
    429: "it takes no more deletions for now: run it again tomorrow",
}


def ids_by_key(person: Person) -> Iterator[tuple[str, str]]:
    """Each id of a person, with each key of the context that may have held it. Google gets no e-mail address."""
    for field, keys in _KEYS:
        for id_ in getattr(person, field):
            yield from ((key, id_) for key in keys)


class UserDeletion:
    """Asks the Admin API, one id a request. For one thread.

    Args:
        api: Scheme and host of the API.
        property_id: The property, in digits.
        token: An access token of Google's.
        connect_seconds: How long connecting may take.
        answer_seconds: How long the answer may take.
    """

    def __init__(
        self, *, api: str, property_id: str, token: str, connect_seconds: float, answer_seconds: float
    ) -> None:
        self._url = f"{api}/v1alpha/properties/{property_id}:submitUserDeletion"
        self._token = token
        #: What receipts and errors call it.
        self.label: Final = f"Google Analytics' Admin API at {urlsplit(api).netloc}"
        self._client = HttpClient(
            label=self.label, connect_seconds=connect_seconds, answer_seconds=answer_seconds, connections=1
        )

    def ask(self, subjects: Sequence[Subject]) -> str:
        """Ask for the one subject. Returns up to when events are deleted. Raises NotAskedError."""
        ((kind, id_),) = subjects
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        answer = self._client.send(Request(url=self._url, body=msgspec.json.encode({kind: id_}), headers=headers))
        if isinstance(answer, NoAnswer):
            raise NotAskedError(f"{answer.outcome.error}; run it again")
        given = answer.json()
        time = given.get("deletionRequestTime") if isinstance(given, dict) else None
        if 200 <= answer.status < 300 and isinstance(time, str) and len(time) <= 40 and time.isprintable():
            return time
        remedy = _REMEDIES.get(answer.status, "run it again")
        if 200 <= answer.status < 300:
            remedy = "that has no deletionRequestTime, so it is not Google: correct admin_api"
        raise NotAskedError(f"{self.label} answered {answer.status}: {remedy}")

    def close(self) -> None:
        """Close the connection."""
        self._client.close()
