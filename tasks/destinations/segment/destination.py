"""Segment: the destination. It takes 32 KB a message and 500 KB a request.

Source: https://segment.com/docs/connections/sources/catalog/libraries/server/http-api/.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import urlsplit

import msgspec
from pydantic import Field, SecretStr

from dispatcher.destinations.base import ONLY_WITH, reveal
from dispatcher.destinations.traits import SEGMENT
from dispatcher.errors import DropEvent
from dispatcher.event import DIRECT_TYPES, utc_text
from dispatcher.outcomes import UNIDENTIFIED
from dispatcher.tasks.destinations.http import Answer, HttpDestination, HttpOptions, Limits, NoAnswer, Request
from dispatcher.tasks.destinations.http.deletion import RECORD, DeletionPlace, Subject, identified
from dispatcher.tasks.destinations.http.per_context import PerContext
from dispatcher.tasks.destinations.http.urls import BaseUrl
from dispatcher.tasks.destinations.person import segment_ids
from dispatcher.tasks.destinations.segment.deletion import MAX_SUBJECTS, USER_ID, Regulations, RegulationType
from dispatcher.tasks.destinations.segment.message import direct_message, encoded_shared_fields, track_message
from dispatcher.tasks.destinations.segment.package import RequestTemplate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dispatcher.event import Event
    from dispatcher.forgetting.person import Person
    from dispatcher.forgetting.place import Place
    from dispatcher.rules.rules import Rules
    from dispatcher.store.rate_limit import Rate

# Segment refuses a larger message.
MAX_MESSAGE_BYTES: Final = 32_768
# Segment takes 500 KB a request; the difference is for what it may count in another way.
MAX_REQUEST_BYTES: Final = 475_000
# Segment takes 2 500; of a request with more it answers 200 and drops the messages. Its libraries send 100 by default,
# or 250. More than 400 of 1 KB would seldom fit, and what a refusal or a killed worker repeats stays small.
MAX_REQUEST_MESSAGES: Final = 400
# Hosts that are Segment's own, which takes gzip: its libraries have that as an option
# (https://segment.com/docs/connections/sources/catalog/libraries/server/python/#options).
_HOSTS: Final = (".segment.io", ".segmentapis.com", ".segment.com")
# Numbers of attempts whose requests are remembered.
_MAX_TEMPLATES: Final = 64


class SegmentOptions(HttpOptions):
    """The settings of a Segment destination."""

    write_key: SecretStr | None = Field(default=None, description="The source's write key. Without one, events wait.")
    host: BaseUrl = Field(default="https://api.segment.io", description="Where /v1/batch is: scheme and host.")
    properties: Literal["data", "edx"] = Field(
        default="data",
        description='What a track call has as properties: "data" is the event\'s data, "edx" the whole event with '
        "label, courserun_key and nonInteraction, as edX sends it.",
    )
    unidentified: Literal["send", "skip"] = Field(
        default="send",
        description="What becomes of an event that says nothing of whom it is about: it is sent, and is a user of its "
        "own in Segment, or it is left out.",
    )
    public_api_token: SecretStr | None = Field(
        default=None,
        description="A token of the workspace's Public API, with which `dispatcher forget` has a person deleted there.",
    )
    public_api: BaseUrl = Field(
        default="https://api.segmentapis.com",
        json_schema_extra={ONLY_WITH: "public_api_token"},
        description="Where /regulations is; https://eu1.api.segmentapis.com for a workspace in the EU.",
    )
    source_id: str | None = Field(
        default=None, min_length=1, description="The only source to delete a person in; absent: the whole workspace."
    )
    regulation: RegulationType = Field(
        default="SUPPRESS_WITH_DELETE",
        description="What Segment is asked for: to delete, whether to take nothing more of the person (SUPPRESS), and "
        "whether to tell its destinations (not with INTERNAL).",
    )


class Segment(HttpDestination[SegmentOptions, bytes]):
    """Delivers to Segment with the requests of its own package, over the connections of all HTTP destinations.

    The package's client follows redirects with everything that it sends, replaces the write key by what ~/.netrc has,
    and reads answers of any size for as long as they last. Its JSON has blanks and \\u escapes; ours means the same in
    fewer bytes.
    """

    Options = SegmentOptions
    deletion = "on_request"
    deletion_steps = (
        "`dispatcher forget` asks Segment where public_api_token is set; else delete the user in the "
        "workspace, under Privacy. What Segment has passed on stays there."
    )
    traits = SEGMENT
    limits = Limits(events=MAX_REQUEST_MESSAGES, request_bytes=MAX_REQUEST_BYTES, event_bytes=MAX_MESSAGE_BYTES)
    shares_contexts = True

    def __init__(
        self, name: str, options: SegmentOptions, *, rules: Rules | None = None, rate: Rate | None = None
    ) -> None:
        self.takes_gzip = (urlsplit(options.host).hostname or "").endswith(_HOSTS)
        super().__init__(name, options, rules=rules, rate=rate)
        self._shared = PerContext(encoded_shared_fields)
        self._templates: dict[int, RequestTemplate] = {}

    @property
    def endpoint(self) -> str:
        return f"{self.options.host}/v1/batch"

    def missing_settings(self) -> str | None:
        if reveal(self.options.write_key):
            return None
        return (
            f"Segment has no write key: set {self.variable('write_key')} to the key of a source in Segment; "
            f"the events of {self.name!r} wait until then"
        )

    def item(self, event: Event) -> bytes:
        """The message of an event, as JSON."""
        if event.type in DIRECT_TYPES:
            message = direct_message(event)
        else:
            message = track_message(event, self._shared.of(event), properties=self.options.properties)
        if self.options.unidentified == "skip" and message.get("anonymousId") == event.id:
            raise DropEvent(UNIDENTIFIED)
        return msgspec.json.encode(message)

    def places(self) -> Sequence[Place]:
        """Segment's Public API, where there is a token for it."""
        if not reveal(self.options.public_api_token) or self.state_directory is None:
            return ()
        regulations = Regulations(self.options)
        return (
            DeletionPlace(
                self.name,
                label=regulations.label,
                path=self.state_directory / RECORD,
                subjects=self._subjects,
                ask=regulations.ask,
                at_once=MAX_SUBJECTS,
            ),
        )

    def _subjects(self, person: Person) -> Sequence[Subject]:
        """Whom Segment knows a person as: a regulation names users only; some calls have the name as their id."""
        events = [identified(self.rules, "user_id", id_) for id_ in (*person.user_ids, *person.usernames)]
        ids = dict.fromkeys(segment_ids(event).get("userId") for event in events)
        return [(USER_ID, id_) for id_ in ids if id_ is not None]

    def body_bytes(self, items: Sequence[bytes], items_bytes: int) -> int:
        return self._empty_body_bytes + items_bytes + len(items) - 1

    @cached_property
    def _empty_body_bytes(self) -> int:
        # With a time of sending, which is as long at any time.
        return len(self._request([], sent_at=_now()).body)

    def request(self, items: Sequence[bytes]) -> Request:
        """The request as the package makes it, before compression and without sentAt, the time of sending."""
        return self._request(items, sent_at="")

    def send(self, items: Sequence[bytes], *, attempt: int) -> Answer | NoAnswer:
        return self.send_built(lambda: self._request(items, sent_at=_now(), attempt=attempt))

    def _request(self, items: Sequence[bytes], *, sent_at: str, attempt: int = 0) -> Request:
        template = self._templates.get(attempt)
        if template is None:
            write_key = reveal(self.options.write_key)
            template = RequestTemplate(write_key=write_key, host=self.options.host, attempt=attempt)
            if len(self._templates) < _MAX_TEMPLATES:
                self._templates[attempt] = template
        return template.fill(items, sent_at=sent_at)


def _now() -> str:
    return utc_text(datetime.now(UTC), "milliseconds")
