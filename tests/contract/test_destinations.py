"""Segment and the webhook pass the contract suite, as every type that sends over HTTP must; vendors have own files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

from dispatcher.config import installed_types
from dispatcher.destinations.types import load_type
from dispatcher.tasks.destinations.http import HttpDestination
from dispatcher.tasks.testing import DestinationContract

_TYPE: Final = re.compile(r'^    type = "(\w+)"$', re.MULTILINE)


class TestSegment(DestinationContract):
    type = "segment"
    volatile_headers = frozenset({"x-retry-count"})

    def options(self, url: str) -> dict[str, Any]:
        return {"host": url, "write_key": "hidden-write-key"}

    def steady(self, body: Any) -> Any:
        return {**body, "sentAt": None}


class TestWebhook(DestinationContract):
    type = "webhook"
    credentials = ()
    volatile_headers = frozenset({"webhook-timestamp", "webhook-signature"})

    def options(self, url: str) -> dict[str, Any]:
        return {
            "url": f"{url}/events",
            "secret": "whsec_aGlkZGVuLWhpZGRlbi1oaWRkZW4taGlkZGVuIQ==",
            "headers": {"Authorization": "Bearer hidden-token"},
            "query": {"code": "hidden/code&more"},
        }


class TestWebhookInBatches(TestWebhook):
    def options(self, url: str) -> dict[str, Any]:
        return {**super().options(url), "batch": True, "gzip": True, "method": "PUT", "max_bytes": 20_000}


class TestWebhookInLines(TestWebhook):
    def options(self, url: str) -> dict[str, Any]:
        return {**super().options(url), "format": "ndjson", "max_events": 20}


def test_every_type_that_sends_over_http_is_tested_by_the_contract() -> None:
    tested = {name for file in Path(__file__).parent.glob("test_*.py") for name in _TYPE.findall(file.read_text())}

    sending = {name for name in installed_types() if issubclass(load_type(name), HttpDestination)}

    assert len(sending) >= 8
    assert sending - tested == set()
