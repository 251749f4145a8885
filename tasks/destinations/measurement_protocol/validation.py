"""Validation: the protocol at Google itself, which takes anything without a word; with ``debug`` it is asked first.

Source: https://developers.google.com/analytics/devguides/collection/protocol/ga4/validating-events.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from pydantic import BaseModel, Field, SecretStr

from dispatcher.destinations.base import ONLY_WITH, reveal
from dispatcher.errors import UndeliverableError
from dispatcher.outcomes import INVALID, Dead, Outcome, RetryAfter
from dispatcher.tasks.destinations.http import Answer, NoAnswer
from dispatcher.tasks.destinations.http.deletion import RECORD, DeletionPlace, Subject, identified
from dispatcher.tasks.destinations.http.urls import BaseUrl
from dispatcher.tasks.destinations.measurement_protocol.deletion import SUBJECTS, UserDeletion, ids_by_key
from dispatcher.tasks.destinations.measurement_protocol.destination import (
    MeasurementProtocol,
    MeasurementProtocolOptions,
    body_of,
)
from dispatcher.tasks.destinations.person import Person as Whom

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dispatcher.forgetting.person import Person
    from dispatcher.forgetting.place import Place
    from dispatcher.tasks.destinations.measurement_protocol.hit import Hit

# Google's descriptions repeat names and values of the event, so an error has these words instead.
_CODES: Final = {
    "VALUE_INVALID": "has a value that is not allowed",
    "VALUE_REQUIRED": "lacks a value",
    "NAME_INVALID": "has a name that is not allowed",
    "NAME_RESERVED": "has a name that is Google's own",
    "VALUE_OUT_OF_BOUNDS": "has a value that is too large or too small",
    "EXCEEDED_MAX_ENTITIES": "has too many parts",
    "NAME_DUPLICATED": "has a name twice",
}
# Paths and codes are made of names; anything else may be somebody's data.
_NAME: Final = re.compile(r"[\w.\[\]/]{1,100}", re.ASCII)
# Messages that an error describes.
_MAX_DESCRIBED: Final = 3


class ValidatedOptions(MeasurementProtocolOptions):
    """The settings of a destination at Google itself."""

    endpoint: BaseUrl = Field(
        default="https://www.google-analytics.com",
        description="Google's server: scheme and host. https://region1.google-analytics.com collects in the EU.",
    )
    api_secret: SecretStr | None = Field(
        default=None, description="The stream's Measurement Protocol API secret. Without one, events wait."
    )
    debug: bool = Field(
        default=False,
        description="Ask Google's validation server first. Events that it objects to are dead letters; the rest is "
        "sent.",
    )
    property_id: str | None = Field(
        default=None,
        pattern=r"^[0-9]+$",
        coerce_numbers_to_str=True,
        description="The property, in digits, in which `dispatcher forget` has a person deleted.",
    )
    admin_token: SecretStr | None = Field(
        default=None,
        description="An access token of Google's with the scope analytics.edit, for that; it is valid for an hour.",
    )
    admin_api: BaseUrl = Field(
        default="https://analyticsadmin.googleapis.com",
        json_schema_extra={ONLY_WITH: "admin_token"},
        description="Where the Admin API is: scheme and host.",
    )


ValidatedOptionsT = TypeVar("ValidatedOptionsT", bound=ValidatedOptions)


class ValidatedMeasurementProtocol(MeasurementProtocol[ValidatedOptionsT], Generic[ValidatedOptionsT]):
    """Base of destinations at Google itself, whose answer to hits does not say what becomes of them."""

    # Only the validation server's answers say something.
    body_matters = False

    @property
    def endpoint(self) -> str:
        return f"{self.options.endpoint}/mp/collect"

    @classmethod
    def longest_seconds(cls, options: BaseModel) -> float:
        assert isinstance(options, ValidatedOptions)
        return super().longest_seconds(options) * (2 if options.debug else 1)

    def send(self, items: Sequence[Hit], *, attempt: int) -> Answer | NoAnswer:
        if self.options.debug and (objection := self._objection(items)) is not None:
            return objection
        return super().send(items, attempt=attempt)

    def outcome(self, answer: Answer, items: Sequence[Hit]) -> Outcome:
        if messages := _messages(answer):
            return Dead(INVALID, f"{self.label} would not count it: {_describe(messages)}")
        return super().outcome(answer, items)

    def places(self) -> Sequence[Place]:
        """Google's Admin API, where there is a property and a token for it."""
        options = self.options
        if not options.property_id or not reveal(options.admin_token) or self.state_directory is None:
            return ()
        deletion = UserDeletion(
            api=options.admin_api,
            property_id=options.property_id,
            token=reveal(options.admin_token),
            connect_seconds=options.connect_timeout_seconds,
            answer_seconds=options.timeout_seconds,
        )
        return (
            DeletionPlace(
                self.name,
                label=deletion.label,
                path=self.state_directory / RECORD,
                subjects=self._subjects,
                ask=deletion.ask,
                at_once=1,
            ),
        )

    def _subjects(self, person: Person) -> Sequence[Subject]:
        """Whom Google knows a person as: the user, each browser or app, and the id that was made of the user."""
        subjects: dict[Subject, None] = {}
        for key, id_ in ids_by_key(person):
            event = identified(self.rules, key, id_)
            user_id = Whom.of(event).user_id if self.options.send_user_id else None
            with suppress(UndeliverableError):
                subjects |= {(SUBJECTS[name], value): None for name, value in self.identity(event).items()}
            if user_id is not None:
                subjects[SUBJECTS["user_id"], user_id] = None
        return list(subjects)

    def secret(self) -> str:
        """The API secret; empty if it is not set."""
        return reveal(self.options.api_secret)

    def _objection(self, items: Sequence[Hit]) -> Answer | NoAnswer | None:
        """The validation server's answer if it objects to the hits; else None. It counts no hits."""
        body = body_of(items) | {"validation_behavior": "ENFORCE_RECOMMENDATIONS"}
        answer = self._client.send(self.request_to(f"{self.options.endpoint}/debug/mp/collect", body))
        if isinstance(answer, NoAnswer):
            return NoAnswer(answer.outcome, maybe_taken=False)
        outcome = self.outcome(answer, items)
        if answer.fault is not None and not isinstance(outcome, RetryAfter):
            error = f"{self.label} was asked about hits, answered {answer.status} and {answer.fault}"
            return NoAnswer(RetryAfter(error), maybe_taken=False)
        if isinstance(outcome, RetryAfter):
            return NoAnswer(outcome, maybe_taken=False)
        if isinstance(outcome, Dead):
            return answer
        if not isinstance(answer.json(), dict):
            error = (
                f"{self.label} has no validation server: set {self.variable('endpoint')} to Google's, or "
                f"{self.variable('debug')} to false"
            )
            return NoAnswer(RetryAfter(error, None, "setup"), maybe_taken=False)
        return None


def _messages(answer: Answer) -> list[Any]:
    body = answer.json()
    messages = body.get("validationMessages") if isinstance(body, dict) else None
    return messages if isinstance(messages, list) else []


def _describe(messages: Sequence[Any]) -> str:
    descriptions = []
    for message in messages[:_MAX_DESCRIBED]:
        fields = message if isinstance(message, dict) else {}
        path, code = _name(fields.get("fieldPath")), _name(fields.get("validationCode"))
        descriptions.append(f"{path or 'the request'} {_CODES.get(code, 'is not valid')} ({code or 'no code'})")
    more = len(messages) - len(descriptions)
    return "; ".join(descriptions) + (f"; and {more} more" if more else "")


def _name(value: object) -> str:
    return value if isinstance(value, str) and _NAME.fullmatch(value) else ""
