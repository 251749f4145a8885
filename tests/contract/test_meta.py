"""Meta's Conversions API passes the contract suite."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from dispatcher.event import Event
from dispatcher.tasks.testing import DestinationContract, Vendor
from dispatcher.tasks.testing.contract.subject import with_data
from tests.support.vendors.meta import ACCESS_TOKEN, DATASET_ID, MetaVendor


class TestMetaConversions(DestinationContract):
    type = "meta_conversions"
    credentials = ("dataset_id", "access_token")
    # Meta says how many events it received; a bare 204 is not from there.
    answers: ClassVar[Mapping[int, str]] = {204: "transient"}

    def options(self, url: str) -> dict[str, Any]:
        return {"host": url, "dataset_id": DATASET_ID, "access_token": ACCESS_TOKEN}

    def vendor(self) -> Vendor:
        return MetaVendor()

    def oversized(self, event: Event, limit: int) -> Event | None:
        # A long text of the data is left out, but for one that the mapping puts there.
        return with_data(event, custom_data={"content_name": "x" * limit})
