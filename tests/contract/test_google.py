"""The destinations that send hits to Google pass the contract suite."""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from dispatcher.event import Event
from dispatcher.tasks.testing import POISON, DestinationContract, Vendor
from dispatcher.tasks.testing.contract.subject import with_data
from tests.support.vendors.google import (
    API_SECRET,
    FIREBASE_APP_ID,
    MEASUREMENT_ID,
    GoogleCollect,
    GoogleVendor,
    ServerContainer,
)


def made_large(event: Event, limit: int) -> Event:
    """Texts are cut to what Google takes, so that only many items make an event large."""
    items = [{"item_id": f"item {number}", "item_name": "x" * 100} for number in range(limit // 130 + 1)]
    return with_data(event, items=items)


class TestGoogleAnalytics(DestinationContract):
    type = "google_analytics"
    credentials = ("measurement_id", "api_secret")

    def options(self, url: str) -> dict[str, Any]:
        return {"endpoint": url, "measurement_id": MEASUREMENT_ID, "api_secret": API_SECRET}

    def vendor(self) -> Vendor:
        return GoogleCollect()

    def event(self, number: int) -> Event:
        # Of one person, or there would be one event a request.
        event = super().event(number)
        return msgspec.structs.replace(event, context={**event.context, "user_id": 7000})

    def complaints(self, server: Vendor) -> list[Any]:
        assert isinstance(server, GoogleVendor)
        return server.violations

    def poisoned(self, event: Event) -> Event:
        return with_data(event, _poison=POISON)

    def oversized(self, event: Event, limit: int) -> Event | None:
        return made_large(event, limit)


class TestFirebase(TestGoogleAnalytics):
    type = "firebase"
    credentials = ("firebase_app_id", "api_secret")

    def options(self, url: str) -> dict[str, Any]:
        return {"endpoint": url, "firebase_app_id": FIREBASE_APP_ID, "api_secret": API_SECRET}

    def vendor(self) -> Vendor:
        return GoogleCollect(stream="app")

    def event(self, number: int) -> Event:
        return with_data(super().event(number), app_instance_id="0123456789abcdefABCDEF0123456789")


class TestGoogleTagManager(TestGoogleAnalytics):
    type = "google_tag_manager"
    credentials = ("container_url",)
    answers: ClassVar = {400: "setup"}

    def options(self, url: str) -> dict[str, Any]:
        return {"container_url": url, "preview_header": "hidden-preview-header"}

    def vendor(self) -> Vendor:
        return ServerContainer()
