"""Google Tag Manager: sends events as hits to a server container, whose Measurement Protocol client hands them to tags.

The limits are those of measurement_protocol. Source:
https://developers.google.com/tag-platform/tag-manager/server-side/send-data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field, SecretStr, field_validator

from dispatcher.destinations.base import reveal
from dispatcher.outcomes import Outcome, RetryAfter
from dispatcher.tasks.destinations.http import Answer
from dispatcher.tasks.destinations.http.urls import check_base_url
from dispatcher.tasks.destinations.measurement_protocol import MeasurementProtocol, MeasurementProtocolOptions
from dispatcher.tasks.destinations.measurement_protocol.identity import client_id_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dispatcher.event import Event
    from dispatcher.tasks.destinations.measurement_protocol.hit import Hit


class GoogleTagManagerOptions(MeasurementProtocolOptions):
    """The settings of a Google Tag Manager destination."""

    container_url: str | None = Field(
        default=None,
        description="The server container: scheme and host, such as https://gtm.example.org. Without one, events wait.",
    )
    path: str = Field(
        default="/mp/collect", pattern=r"^/[\w\-./]*$", description="The activation path of the container's client."
    )
    measurement_id: str | None = Field(
        default=None, description="Sent along for clients and tags that ask for one, such as G-1A2B3C4D5E."
    )
    preview_header: SecretStr | None = Field(
        default=None,
        description="X-Gtm-Server-Preview of the container's preview mode, which then shows the requests.",
    )

    @field_validator("container_url")
    @classmethod
    def _check_container_url(cls, container_url: str | None) -> str | None:
        return check_base_url(container_url) if container_url else container_url


class GoogleTagManager(MeasurementProtocol[GoogleTagManagerOptions]):
    """Delivers to a server container."""

    Options = GoogleTagManagerOptions
    deletion = "by_hand"
    deletion_steps = "The container keeps nothing: ask those to whom its tags send."
    integration = "Google Tag Manager"

    @property
    def endpoint(self) -> str:
        return f"{self.options.container_url or ''}{self.options.path}"

    def missing_settings(self) -> str | None:
        if self.options.container_url:
            return None
        return (
            f"Google Tag Manager has no server container: set {self.variable('container_url')} to its address, such as "
            f"https://gtm.example.org; the events of {self.name!r} wait until then"
        )

    def identity(self, event: Event) -> Mapping[str, str]:
        return {"client_id": client_id_of(event)}

    def query(self) -> Mapping[str, str]:
        return {"measurement_id": self.options.measurement_id} if self.options.measurement_id else {}

    def headers(self) -> Mapping[str, str]:
        preview = reveal(self.options.preview_header)
        return {"X-Gtm-Server-Preview": preview} if preview else {}

    body_matters = False

    def outcome(self, answer: Answer, items: Sequence[Hit]) -> Outcome:
        if answer.status == 400:
            # The container answers so if no client claims the request, whatever it contains.
            return RetryAfter(
                f"{self.label} answered 400: no client of the container claims {self.options.path}; publish one of the "
                f"type Measurement Protocol (GA4) with that activation path, or set {self.variable('path')} to its own",
                None,
                "setup",
            )
        return super().outcome(answer, items)
