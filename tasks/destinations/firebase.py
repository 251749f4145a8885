"""Firebase: sends events as hits to an app's stream of Google Analytics, over the Measurement Protocol.

The app instance id joins them with what the app itself sends through Firebase's software development kit. The limits
are those of measurement_protocol. Source: https://developers.google.com/analytics/devguides/collection/protocol/ga4.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from pydantic import Field, field_validator

from dispatcher.tasks.destinations.measurement_protocol import ValidatedMeasurementProtocol, ValidatedOptions
from dispatcher.tasks.destinations.measurement_protocol.identity import app_instance_id_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dispatcher.event import Event

_FIREBASE_APP_ID: Final = re.compile(r"[0-9]+:[0-9]+:[A-Za-z]+:[A-Za-z0-9]+", re.ASCII)


class FirebaseOptions(ValidatedOptions):
    """The settings of a Firebase destination."""

    firebase_app_id: str | None = Field(
        default=None,
        description="The app's id, such as 1:1234567890:android:321abc456def7890. Without one, events wait.",
    )

    @field_validator("firebase_app_id")
    @classmethod
    def _check_firebase_app_id(cls, firebase_app_id: str | None) -> str | None:
        if firebase_app_id and not _FIREBASE_APP_ID.fullmatch(firebase_app_id):
            raise ValueError("must be an app id of Firebase such as 1:1234567890:android:321abc456def7890")
        return firebase_app_id


class Firebase(ValidatedMeasurementProtocol[FirebaseOptions]):
    """Delivers to an app's stream of Google Analytics."""

    Options = FirebaseOptions
    deletion = "on_request"
    deletion_steps = (
        "`dispatcher forget` asks Google where property_id and admin_token are set; else delete the "
        "user in the property under User explorer."
    )
    integration = "Firebase"
    app = True

    def missing_settings(self) -> str | None:
        absent = [
            self.variable(option)
            for option, value in (("firebase_app_id", self.options.firebase_app_id), ("api_secret", self.secret()))
            if not value
        ]
        if not absent:
            return None
        return (
            f"Firebase needs the app's id and an API secret: set {' and '.join(absent)}; the id stands in Firebase's "
            f"project settings, the secret in Google Analytics under Admin, Data streams; the events of {self.name!r} "
            "wait until then"
        )

    def identity(self, event: Event) -> Mapping[str, str]:
        return {"app_instance_id": app_instance_id_of(event)}

    def query(self) -> Mapping[str, str]:
        return {"firebase_app_id": self.options.firebase_app_id or "", "api_secret": self.secret()}
