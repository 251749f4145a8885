"""The trace of the app's current span gets into its events where OpenTelemetry's variables want that."""

from __future__ import annotations

from pathlib import Path

import pytest

from dispatcher import config
from dispatcher.monitoring.otel.traceparent import KEY
from dispatcher.outbox import Reader, find_outboxes
from dispatcher.store.event_ids import SOURCE_KEY, source_of
from dispatcher.tracker import Tracker
from tests.support.spans import current_span

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


def emitted_in_a_span(root: Path, *, ids_repeat: bool = False) -> tuple[str, bytes]:
    """The trace of a span, and the payload of an event that was emitted in it."""
    settings = config.load({}, {"outbox": {"directory": str(root)}, "relay": {"mode": "external"}})
    one = Tracker(settings, ids_repeat=ids_repeat)
    with current_span() as span, one.context("request", {"user_id": 7, SOURCE_KEY: "web"}):
        one.emit("shop.order.paid", {"n": 1})
    (directory,) = find_outboxes(root)
    reader = Reader(directory)
    (payload,), _ = reader.read()
    reader.close()
    one.close()
    return f"{span.trace_id:032x}", payload


def test_an_event_has_the_trace_of_the_span_that_it_was_emitted_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ENDPOINT, "http://localhost:4318")

    trace, payload = emitted_in_a_span(tmp_path)

    assert trace.encode() in payload


def test_without_the_variables_nothing_is_in_its_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENDPOINT, raising=False)

    _, payload = emitted_in_a_span(tmp_path)

    assert KEY.encode() not in payload


def test_events_of_a_collector_keep_their_source_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENDPOINT, "http://localhost:4318")

    _, payload = emitted_in_a_span(tmp_path, ids_repeat=True)

    assert source_of(payload) == "web"
