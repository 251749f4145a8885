"""Deletion at Segment: a regulation of its Public API, which deletes a person's events within 30 days.

Source: https://docs.segmentapis.com/tag/Deletion-and-Suppression.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import urlsplit

import msgspec

from dispatcher.destinations.base import reveal
from dispatcher.tasks.destinations.http import NoAnswer, Request
from dispatcher.tasks.destinations.http.client import HttpClient
from dispatcher.tasks.destinations.http.deletion import NotAskedError, Subject

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dispatcher.tasks.destinations.http.answer import Answer
    from dispatcher.tasks.destinations.segment.destination import SegmentOptions

#: What Segment does with a person: delete what it has, suppress what comes, and tell its destinations or not.
RegulationType = Literal[
    "SUPPRESS_WITH_DELETE", "DELETE_ONLY", "SUPPRESS_WITH_DELETE_INTERNAL", "DELETE_INTERNAL", "SUPPRESS_ONLY"
]
#: Users of one regulation.
MAX_SUBJECTS: Final = 5_000
#: The only kind of id that a regulation of a source can name.
USER_ID: Final = "USER_ID"

_REMEDIES: Final = {
    401: "the token is not valid: set public_api_token to one that Segment shows under Settings, Access management",
    403: "the token may not do that: it needs the role Workspace Owner",
    404: "it does not know source_id, or the workspace has no such API",
    422: "it does not take such ids",
    429: "it takes no more deletions for now: run it again",
}


class Regulations:
    """Asks Segment's Public API. For one thread.

    Args:
        options: With the token.
    """

    def __init__(self, options: SegmentOptions) -> None:
        source = "" if options.source_id is None else f"/sources/{options.source_id}"
        self._url = f"{options.public_api}/regulations{source}"
        self._token = reveal(options.public_api_token)
        self._regulation = options.regulation
        #: What receipts and errors call it.
        self.label: Final = f"Segment's Public API at {urlsplit(options.public_api).netloc}"
        self._client = HttpClient(
            label=self.label,
            connect_seconds=options.connect_timeout_seconds,
            answer_seconds=options.timeout_seconds,
            connections=1,
        )

    def ask(self, subjects: Sequence[Subject]) -> str:
        """Create a regulation. Returns its id. Raises NotAskedError."""
        body = {
            "regulationType": self._regulation,
            "subjectType": USER_ID,
            "subjectIds": [id_ for _, id_ in subjects],
        }
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        answer = self._client.send(Request(url=self._url, body=msgspec.json.encode(body), headers=headers))
        if isinstance(answer, NoAnswer):
            raise NotAskedError(f"{answer.outcome.error}; run it again")
        if not 200 <= answer.status < 300:
            raise NotAskedError(f"{self.label} answered {answer.status}: {_remedy(answer)}")
        given = answer.json()
        data = given.get("data") if isinstance(given, dict) else None
        id_ = data.get("regulateId") if isinstance(data, dict) else None
        if not isinstance(id_, str) or not id_.isalnum():
            raise NotAskedError(f"{self.label} answered {answer.status} without a regulateId: correct public_api")
        return id_

    def close(self) -> None:
        """Close the connection."""
        self._client.close()


def _remedy(answer: Answer) -> str:
    remedy = _REMEDIES.get(answer.status, "run it again")
    reset = answer.headers.get("X-Regulation-RateLimit-Quota-Reset", "")
    # When the quota of users, of which a workspace has so many a month, is full again.
    return (
        f"{remedy} after {reset}" if answer.status == 429 and 0 < len(reset) <= 40 and reset.isprintable() else remedy
    )
