"""Logs in every state: plain, compressed, renamed, being written, damaged."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from dispatcher.edx_log import source as module
from dispatcher.edx_log.reader import parse_lines
from dispatcher.replay import Source

LINES = [b'{"name": "n%d", "time": "2026-03-04T05:06:07"}\n' % number for number in range(100)]


@pytest.fixture(params=["plain", "gzip", "several gzips in one"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A log of a hundred lines."""
    path = tmp_path / "tracking.log-20260101"
    match request.param:
        case "plain":
            path.write_bytes(b"".join(LINES))
        case "gzip":
            path.write_bytes(gzip.compress(b"".join(LINES)))
        case _:
            path.write_bytes(b"".join(gzip.compress(line) for line in LINES))
    return path


def test_lines_have_the_numbers_and_positions_of_the_uncompressed_log(log: Path) -> None:
    with Source(log) as source:
        assert source.first_line() == LINES[0]
        lines = list(source.lines())

        assert [line.content for line in lines] == LINES
        assert [line.number for line in lines] == list(range(1, 101))
        assert [line.end for line in lines] == [sum(map(len, LINES[: count + 1])) for count in range(100)]
        assert source.consumed == source.size == log.stat().st_size


def test_reading_continues_after_a_line_that_was_read_before(log: Path) -> None:
    with Source(log) as source:
        line = list(source.lines())[41]
    with Source(log) as source:
        source.first_line()
        assert source.go_to(line.end, number=line.number, tail=line.tail)
        assert source.skip_to(line.end + len(LINES[42]))
        found = next(source.lines())
    assert (found.number, found.content) == (44, LINES[43])


def test_another_log_is_recognised_by_the_line_before_the_position(log: Path) -> None:
    end = sum(map(len, LINES[:42]))
    with Source(log) as source:
        source.first_line()
        assert not source.go_to(end, number=42, tail=LINES[7])
    with Source(log) as source:
        source.first_line()
        assert not source.go_to(1_000_000, number=42, tail=LINES[7])


def test_overlong_lines_are_not_kept_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_LINE_BYTES", 1000)
    monkeypatch.setattr(module, "_CHUNK_BYTES", 100)
    log = tmp_path / "log"
    log.write_bytes(LINES[0] + b"x" * 5555 + b"\n" + LINES[1])

    with Source(log) as source:
        first, second, third = parse_lines(source)

    assert first.event is not None
    assert second.error is not None
    assert str(second.error) == f"{log}:2: it has more than 1,000 bytes"
    assert second.line is not None
    assert len(second.line.content) == 1000
    assert third.event is not None
    assert third.event.name == "n1"


def test_a_truncated_compressed_log_names_its_last_line(tmp_path: Path) -> None:
    log = tmp_path / "log.gz"
    log.write_bytes(gzip.compress(b"".join(LINES))[:-20])

    with Source(log) as source:
        *_, last = parse_lines(source)

    assert last.line is None
    assert last.error is not None
    assert "cannot be read on" in last.error.reason
    assert last.is_unfinished


def test_an_unfinished_line_is_distinguished_from_a_damaged_one(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b'{"name": "a"\n' + LINES[0] + LINES[1][:-20])

    with Source(log) as source:
        damaged, whole, unfinished = parse_lines(source)

    assert (damaged.is_unfinished, whole.is_unfinished, unfinished.is_unfinished) == (False, False, True)
