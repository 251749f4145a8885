"""What an own destination says or raises about an event stays out of log, ledger, dead letters and every command."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest
import requests
from celery.exceptions import Retry
from click.testing import CliRunner

from dispatcher.cli import main
from dispatcher.config import DestinationSettings
from dispatcher.connections.redis_pool import RedisPool
from dispatcher.destinations.base import Batch
from dispatcher.outcomes import Dead, Outcome, RetryAfter
from dispatcher.store.batches import BatchStore
from dispatcher.store.packing import pack
from dispatcher.store.put import Put
from dispatcher.tasks.delivery.request import retry_fields, safe_text
from dispatcher.tasks.delivery.task import Delivery
from tests.support.redis_server import RedisServer

NAME = "acme"
MARK = "hush0123456789"
ADDRESS = f"ada.{MARK}@example.org"
URL = f"https://user:{MARK}@vendor.example/x?api_key={MARK}&email={ADDRESS}"
EVENT = b'{"id":"0190","type":"event","name":"a.b","timestamp":"2026-11-23T00:00:00Z","data":{},"context":{}}'


def raises(error: type[Exception], *arguments: object) -> Callable[[Batch], Sequence[Outcome]]:
    def deliver(batch: Batch) -> Sequence[Outcome]:
        try:
            {}[MARK]
        except KeyError as cause:
            raised = error(*arguments)
            raised.add_note(URL)
            raise raised from cause
        return ()

    return deliver


def says(outcome: Outcome) -> Callable[[Batch], Sequence[Outcome]]:
    return lambda batch: [outcome] * len(batch.payloads)


DESTINATIONS = {
    "an error with a URL": raises(RuntimeError, f"GET {URL} failed"),
    "requests' error": raises(requests.ConnectionError, f"HTTPSConnectionPool: {URL}"),
    "the system's error": raises(OSError, 28, f"text {URL}", f"/tmp/{MARK}"),
    "a retry with a URL": says(RetryAfter(f"{URL} answered 500\x1b[31m\u2028")),
    "a setup error with headers": says(RetryAfter(f"Authorization: Bearer {MARK}", retry_class="setup")),
    "a dead letter with an address": says(Dead("invalid", f"no such person {ADDRESS}, see {URL}\x9b31m")),
}


@pytest.fixture
def store(redis_server: RedisServer) -> Iterator[BatchStore]:
    pool = RedisPool(redis_server.url, timeout_seconds=30)
    store = BatchStore(pool)
    store.put([Put(destination=NAME, journal="7-a", start=0, end=10, packed=pack([EVENT]), count=1)])
    yield store
    pool.close()


@pytest.mark.parametrize("deliver", DESTINATIONS.values(), ids=DESTINATIONS)
def test_nothing_that_an_own_destination_says_shows_a_mark(
    deliver: Callable[[Batch], Sequence[Outcome]],
    store: BatchStore,
    redis_server: RedisServer,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level(logging.DEBUG)
    settings = DestinationSettings(type="tests:Acme")
    task = Delivery(store, NAME, settings, lambda: cast("Any", SimpleNamespace(deliver=deliver)))
    shown: dict[str, str] = {}
    try:
        shown["result"] = task.run("7-a-0")
    except Retry as retry:
        shown["Flower"] = safe_text(str(retry_fields(retry)["exception"])) + str(retry)
    shown["log"] = caplog.text
    shown["ledger"] = repr(store.counts([NAME])[NAME])
    monkeypatch.setenv("DISPATCHER_BROKER_URL", redis_server.url)
    for command in (["status"], ["status", "--json"], ["dead", "list", NAME], ["dead", "list", NAME, "--json"]):
        shown[" ".join(command)] = CliRunner().invoke(main, command).output

    assert "raised in" in shown["log"] or "Flower" in shown or "1 dead" in shown["result"]
    for place, text in shown.items():
        assert MARK not in text, place
        assert text.replace("\n", "").isprintable(), place
