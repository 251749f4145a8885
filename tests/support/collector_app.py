"""Collector app: the collector without a server, called as ASGI, with an outbox of its own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from dispatcher.collector.app import App
from dispatcher.collector.commit import Committer
from dispatcher.config import Settings
from dispatcher.outbox.journal import parse


@dataclass(frozen=True)
class Answer:
    """What it answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class CollectorApp:
    """An app whose events go into an outbox below ``state``, from where no relay takes them.

    Args:
        state: The directory of its state.
        sources: ``[sources]`` of the settings.
        collector: ``[collector]`` of the settings.
        tables: Other tables.
    """

    def __init__(
        self, state: Path, sources: Mapping[str, Any], collector: Mapping[str, Any] | None = None, **tables: Any
    ) -> None:
        self._state = state
        given: dict[str, Any] = {
            "state_directory": state,
            "relay": {"mode": "external"},
            "sources": sources,
            "collector": collector or {},
            **tables,
        }
        settings = Settings(**given)
        self.committer = Committer(settings)
        self.committer.open()
        self.app = App(settings, self.committer)
        self._loop = asyncio.new_event_loop()

    def close(self) -> None:
        self.committer.close()
        self._loop.close()

    def ask(
        self, method: str, target: str, body: bytes | str = b"", headers: Mapping[str, str] | None = None
    ) -> Answer:
        """One request; ``target`` is the path with its query, as it is sent."""
        return self._loop.run_until_complete(self.request(method, target, body, headers))

    async def request(
        self, method: str, target: str, body: bytes | str = b"", headers: Mapping[str, str] | None = None
    ) -> Answer:
        """The same, for several at a time in a loop of the caller's."""
        sent = body if isinstance(body, bytes) else body.encode("utf-8", "surrogatepass")
        path, _, query = target.partition("?")
        given = {"content-length": str(len(sent)), **{name.lower(): value for name, value in (headers or {}).items()}}
        scope = {
            "type": "http",
            "method": method,
            "path": unquote(path),
            "query_string": query.encode("latin-1"),
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in given.items()],
            "client": ("192.0.2.7", 4711),
        }
        parts: list[Mapping[str, Any]] = []

        async def receive() -> Mapping[str, Any]:
            return {"type": "http.request", "body": sent, "more_body": False}

        async def send(message: Mapping[str, Any]) -> None:
            parts.append(message)

        await self.app(scope, receive, send)
        start, *rest = parts
        answered = {name.decode(): value.decode("latin-1") for name, value in start["headers"]}
        return Answer(start["status"], answered, b"".join(part["body"] for part in rest))

    def events(self) -> list[dict[str, Any]]:
        """What is in the outbox."""
        files = sorted(self._state.glob("outbox/*/0*.journal"))
        return [json.loads(payload) for file in files for payload in parse(file.read_bytes()).payloads]
