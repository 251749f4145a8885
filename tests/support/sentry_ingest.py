"""A stand-in for Sentry's ingest endpoint: it takes the SDK's envelopes and keeps every byte of them."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

from tests.support.vendor import Call, Reply, Vendor
from tests.support.waiting import wait_for


class SentryIngest(Vendor):
    """Listens on this machine from ``with`` on. Safe in threads."""

    def __init__(self) -> None:
        super().__init__()
        #: Everything that was received, uncompressed: the path, headers and body of each request.
        self.received = b""
        self._items: list[tuple[str, dict[str, Any]]] = []

    @property
    def dsn(self) -> str:
        """The DSN with which an SDK is started."""
        return f"http://public-key@{urlsplit(self.url).netloc}/1"

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events of issues, oldest first."""
        return self._of_type("event")

    @property
    def transactions(self) -> list[dict[str, Any]]:
        """The transactions, oldest first."""
        return self._of_type("transaction")

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        """The events that dispatcher made of one kind of report."""
        return [event for event in self.events if event["tags"].get("dispatcher.kind") == kind]

    def wait_for_kind(self, kind: str, timeout: float = 30.0) -> dict[str, Any]:
        """Wait for the first event of a kind, and return it."""
        wait_for(lambda: self.of_kind(kind), timeout, what=lambda: f"a report of {kind}; there are {self.events}")
        return self.of_kind(kind)[0]

    def answer(self, call: Call) -> Reply:
        """Keep one envelope."""
        # A line of headers, then for each item a line with its type and length, and as many bytes.
        _, _, rest = call.content.partition(b"\n")
        items = []
        while rest.strip():
            line, _, rest = rest.lstrip(b"\n").partition(b"\n")
            header = json.loads(line)
            items.append((header["type"], json.loads(rest[: header["length"]])))
            rest = rest[header["length"] :]
        with self._lock:
            self.received += f"{call.path}\n{call.query}\n{call.headers}\n".encode() + call.content + b"\n"
            self._items += items
        return Reply(body=b"{}")

    def _of_type(self, wanted: str) -> list[dict[str, Any]]:
        with self._lock:
            return [item for type, item in self._items if type == wanted]
