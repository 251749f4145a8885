"""The access log says what was asked and answered, and nothing that was sent."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from dispatcher.collector.app import App, access
from dispatcher.collector.commit import Committer
from dispatcher.config import Settings


def ask(app: App, method: str, path: str, *, query: bytes = b"", body: bytes = b"") -> None:
    async def receive() -> Mapping[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Mapping[str, Any]) -> None:
        pass

    headers = [(b"authorization", b"Basic c2VjcmV0Og=="), (b"referer", b"https://example.org/secret")]
    scope = {"type": "http", "method": method, "path": path, "query_string": query, "headers": headers}
    asyncio.run(app({**scope, "client": ("192.0.2.7", 5)}, receive, send))


@pytest.mark.parametrize("is_on", [True, False])
def test_a_line_has_no_query_no_body_no_key_and_no_address(
    is_on: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tables: dict[str, Any] = {
        "state_directory": tmp_path,
        "collector": {"access_log": is_on},
        "sources": {"web": {"write_key": "secret"}},
    }
    app = App(Settings(**tables), cast("Committer", None))
    with caplog.at_level(logging.INFO, logger=access.name):
        ask(app, "GET", "/healthz", query=b"key=secret")
        ask(app, "POST", "/v1/events", body=b'{"key": "secret-too", "events": []}')
        ask(app, "GET", "/v1/projects-secret/settings")
    lines = [record.getMessage() for record in caplog.records if record.name == access.name]
    assert lines == (["GET /healthz 200", "POST /v1/events 401", "GET (unknown path) 404"] if is_on else [])
