"""What collectors counted: kept in files, summed, bounded, and without anything that pages should not have said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dispatcher.monitoring.intake import OTHER, Intake, decode_intake, intake_directory, read_intake
from dispatcher.monitoring.source_summary import summarize
from tests.support.snapshots import NOW, intake


def test_the_files_of_all_processes_are_summed(tmp_path: Path) -> None:
    directory = intake_directory(tmp_path)
    directory.mkdir()
    for number in (1, 2):
        (directory / f"{number}.json").write_bytes(intake().encode())
    (directory / "2.new").write_bytes(b"half a fi")
    total, once = read_intake(directory), intake()
    assert total.accepted == {"web": 24_690, "old": 14}
    assert total.refused == {"foreign_origin": 6, "unknown_key": 826}
    assert total.last_seen == once.last_seen
    assert total.recent_refusals(NOW) == [(code, origin, 2 * n) for code, origin, n in once.recent_refusals(NOW)]
    assert decode_intake(once.encode()).render() == once.render()
    assert read_intake(tmp_path / "nowhere").accepted == {}


@pytest.mark.parametrize(
    "content",
    [b"", b"\0" * 4_096, b"[]", b'{"accepted":[["web"]]}', b'{"accepted":[["web","5"]]}', intake().encode()[:-9]],
    ids=["empty", "zeros", "list", "short", "text", "cut"],
)
def test_a_damaged_file_counts_nothing(content: bytes, tmp_path: Path) -> None:
    directory = intake_directory(tmp_path)
    directory.mkdir()
    (directory / "1.json").write_bytes(content)
    (directory / "2.json").write_bytes(intake().encode())
    assert read_intake(directory).accepted == intake().accepted


def test_an_operator_sees_which_page_sends_an_unknown_key() -> None:
    found = intake()
    assert found.recent_refusals(NOW) == [
        ("unknown_key", "https://old.example.org", 413),
        # Names, passwords and paths are not kept.
        ("foreign_origin", "https://shop.example.com", 3),
    ]
    assert found.recent_refusals(NOW + 4_300) == []


def test_made_up_origins_neither_fill_memory_nor_hide_a_frequent_one() -> None:
    found = Intake()
    for number in range(2_000):
        found.attribute_refusal("unknown_key", "", f"https://{number}.example.com", NOW)
        if number % 4 == 0:
            found.attribute_refusal("unknown_key", "", "https://www.example.org", NOW)
    assert ("unknown_key", "https://www.example.org", 500) in found.recent_refusals(NOW)
    assert sum(map(sum, (counts.values() for counts in found.recent.values()))) == 2_500
    assert all(len(counts) <= 101 for counts in found.recent.values())
    assert len(found.recent_refusals(NOW)) == 20
    for origin in ("null", "https://[", "javascript:alert(1)", "https://a b", "https://" + "x" * 500, 'https://a"b'):
        found.attribute_refusal("rate", "web", origin, NOW)
    assert ("rate", OTHER, 6) in found.recent_refusals(NOW)


def test_old_parts_of_the_hour_are_forgotten() -> None:
    found = Intake()
    for minutes in range(0, 600, 10):
        found.attribute_refusal("unknown_key", "", "", NOW + 60 * minutes)
    assert len(found.recent) <= 7
    assert len(json.loads(found.encode())["recent"]) <= 7


def test_versions_of_clients_are_bounded_and_cannot_break_a_label() -> None:
    found = Intake()
    for version in ("0.1.0", '1"}\n', "x" * 50, 7, None, {}):
        found.see_client("web", version)
    assert found.clients == {("web", "0.1.0"): 1, ("web", OTHER): 5}
    for number in range(1_000):
        found.see_client("web", f"{number}")
    assert len(found.clients) <= 51


def test_a_source_that_was_never_seen_is_listed_and_one_that_is_gone_too() -> None:
    web, app, old = summarize(intake(), ["web", "app"])
    assert (web.name, web.accepted, web.rejected, web.refused, web.dropped) == ("web", 12_345, 2, 3, 4)
    assert web.last_seen_ms == int((NOW - 3) * 1000)
    assert [client.version for client in web.clients] == ["0.1.0"]
    assert (app.name, app.is_known, app.last_seen_ms) == ("app", True, None)
    assert (old.name, old.is_known, old.accepted) == ("old", False, 7)
