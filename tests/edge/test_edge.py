"""The short form of ``make edge``: what happens to pages of ours, with the real collector, worker and log."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.edge.__main__ import main
from tests.edge.cell import CELLS, play
from tests.edge.client import CLIENTS, OURS
from tests.edge.report import MARKS
from tests.edge.target import Sink, Target, open_target
from tests.support import browser as chromium
from tests.support.browser import Browser


@pytest.fixture(scope="module")
def driven(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Browser, Target]]:
    with open_target(CLIENTS[OURS], tmp_path_factory.mktemp("edge")) as target, Browser() as browser:
        yield browser, target


@pytest.mark.skipif(bool(chromium.missing()), reason=f"not installed: {chromium.missing()}")
@pytest.mark.parametrize("cell", ["crash", "preflight_close", "cuts", "restart"])
def test_each_click_is_in_the_log_once(
    driven: tuple[Browser, Target], cell: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser, target = driven
    # Others use the machine too. Both are waited for only where a click is missing.
    monkeypatch.setattr("tests.edge.cell._QUIET_SECONDS", 30)
    monkeypatch.setattr("tests.edge.cell._STAY_SECONDS", 10)
    _, kinds = CELLS[cell].faults
    # More often than in the long form, since two visitors make few requests.
    played = replace(CELLS[cell], faults=(0.6, kinds)) if kinds else CELLS[cell]
    count = play(played, browser, target, 2, lambda _: None)
    assert (count.once, count.lost, count.doubled) == (count.clicks, 0, 0)
    assert count.clicks >= 2


@pytest.mark.parametrize(
    ("client", "target", "body", "copies"),
    [
        ("analytics-next", "/v1/t", b'{"messageId": "a", "properties": {"click": "edge.x.1.0"}}', 1),
        ("snowplow", "/com.snowplowanalytics.snowplow/tp2", b'{"data": [{"eid": "a", "se_la": "edge.x.1.0"}]}', 1),
        ("posthog", "/e/", gzip.compress(b'{"uuid": "a", "properties": {"click": "edge.x.1.0"}}'), 1),
        ("posthog", "/e/", b"data=eyJ1dWlkIjogImEiLCAiYyI6ICJlZGdlLnguMS4wIn0%3D", 1),
        ("plausible", "/api/event", b'{"p": {"click": "edge.x.1.0"}}', 2),
    ],
)
def test_a_sink_counts_each_id_of_a_peer_once(client: str, target: str, body: bytes, copies: int) -> None:
    with Sink(CLIENTS[client], {}) as sink:
        for _ in range(2):
            assert sink.forward("POST", target, {"Origin": "http://a.example"}, body)[0] == 200
        assert sink.counts() == {"edge.x.1.0": copies}
        assert not sink.unknown
        sink.forward("POST", target, {}, b"\xff")
        assert sum(sink.unknown.values()) == 1


def test_a_results_file_becomes_the_tables_of_the_page(tmp_path: Path) -> None:
    counts = {"clicks": 50, "at_once": 40, "once": 44, "lost": 6, "doubled": 0, "seconds": 1.0}
    results = {"browser": "1.2.3", "at": "2026-01-02", "clients": {OURS: {"version": "", "cells": {"reload": counts}}}}
    file, page = tmp_path / "results.json", tmp_path / "edge.md"
    file.write_text(json.dumps(results))
    page.write_text("\n".join(("Before.", *MARKS, "Behind.")))
    arguments = ["--render", "--json", str(file), "--markdown", str(page)]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 1, done.output
    assert "reload: of 50 clicks 6 lost, 0 doubled" in done.output
    text = page.read_text()
    assert "| reload | 44 of 50 (6 lost, 40 at once) |" in text
    assert "Chromium 1.2.3" in text
    assert text.startswith("Before.")
    assert text.endswith("Behind.")
