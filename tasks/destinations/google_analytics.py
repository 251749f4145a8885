"""Google Analytics 4: sends events as hits to a web stream, over the Measurement Protocol.

The limits are those of measurement_protocol. Source:
https://developers.google.com/analytics/devguides/collection/protocol/ga4.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from pydantic import Field, field_validator

from dispatcher.tasks.destinations.measurement_protocol import ValidatedMeasurementProtocol, ValidatedOptions
from dispatcher.tasks.destinations.measurement_protocol.identity import client_id_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dispatcher.event import Event

_MEASUREMENT_ID: Final = re.compile(r"G-[A-Z0-9]+", re.ASCII)


class GoogleAnalyticsOptions(ValidatedOptions):
    """The settings of a Google Analytics destination."""

    measurement_id: str | None = Field(
        default=None, description="The web stream's measurement id, such as G-1A2B3C4D5E. Without one, events wait."
    )

    @field_validator("measurement_id")
    @classmethod
    def _check_measurement_id(cls, measurement_id: str | None) -> str | None:
        if measurement_id and not _MEASUREMENT_ID.fullmatch(measurement_id):
            raise ValueError("must be a measurement id such as G-1A2B3C4D5E, which is not the stream's number")
        return measurement_id


class GoogleAnalytics(ValidatedMeasurementProtocol[GoogleAnalyticsOptions]):
    """Delivers to a web stream of Google Analytics."""

    Options = GoogleAnalyticsOptions
    deletion = "on_request"
    deletion_steps = (
        "`dispatcher forget` asks Google where property_id and admin_token are set; else delete the "
        "user in the property under User explorer."
    )
    integration = "Google Analytics 4"

    def missing_settings(self) -> str | None:
        absent = [
            self.variable(option)
            for option, value in (("measurement_id", self.options.measurement_id), ("api_secret", self.secret()))
            if not value
        ]
        if not absent:
            return None
        return (
            f"Google Analytics needs the web stream's measurement id and an API secret: set {' and '.join(absent)}, "
            f"which Google shows under Admin, Data streams; the events of {self.name!r} wait until then"
        )

    def identity(self, event: Event) -> Mapping[str, str]:
        return {"client_id": client_id_of(event)}

    def query(self) -> Mapping[str, str]:
        return {"measurement_id": self.options.measurement_id or "", "api_secret": self.secret()}
