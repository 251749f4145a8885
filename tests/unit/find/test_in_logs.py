"""A line is found with its number and byte in whatever file it is; what only mentions the id is not taken for it."""

from __future__ import annotations

import gzip
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import zstandard

from dispatcher.edx_log.render import Format, renderer
from dispatcher.event import Event, encode
from dispatcher.find import in_logs
from dispatcher.find.in_logs import LoggedLine, count_lines, find_in_log
from dispatcher.find.wanted import Wanted

BEGAN = datetime(2026, 11, 29, 12, tzinfo=UTC)
FORMATS: tuple[Format, ...] = ("edx", "tutor", "event")


def id_at(at: datetime, number: int) -> str:
    """An id as emit makes it, of that time."""
    digits = f"{int(at.timestamp() * 1000):012x}7{number % 4096:03x}8{number:015x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def event(number: int, *, event_id: str = "", **data: object) -> Event:
    at = BEGAN + timedelta(seconds=number)
    event_id = event_id or id_at(at, abs(number))
    return Event(id=event_id, name="shop.paid", timestamp=at, data={"n": number, **data}, context={})


def write(path: Path, events: list[Event], line_format: Format = "edx") -> list[bytes]:
    render = renderer(line_format, ids=True)
    lines = [render(encode(one)) + b"\n" for one in events]
    path.write_bytes(b"".join(lines))
    return lines


def find(path: Path, *ids: str, max_bytes: int | None = None) -> tuple[dict[str, LoggedLine], list[str]]:
    wanted = Wanted(ids)
    found = {finding.id: line for finding, line in find_in_log(path, wanted, max_bytes=max_bytes)}
    return found, wanted.partial


@pytest.fixture(params=["small", "as they are"])
def sizes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces so small that a line stands across several of them, and those that are used."""
    if request.param == "small":
        sizes = {"_CHUNK": 300, "_COUNTED": 70, "_NEAR_BYTES": 4_000, "_NARROW_BYTES": 1_500, "_LINE_BYTES": 1_200}
        for name, size in sizes.items():
            monkeypatch.setattr(in_logs, name, size)


@pytest.mark.usefixtures("sizes")
@pytest.mark.parametrize("line_format", FORMATS)
def test_each_line_is_found_with_its_number_and_byte(tmp_path: Path, line_format: Format) -> None:
    events = [event(number) for number in range(60)]
    lines = write(tmp_path / "t.log", events, line_format)
    found, partial = find(tmp_path / "t.log", *(one.id for one in events))
    assert partial == []
    for place, one in enumerate(events):
        line = found[one.id]
        assert (line.number, line.offset) == (place + 1, len(b"".join(lines[:place])))
        assert line.content + b"\n" == lines[place]


@pytest.mark.usefixtures("sizes")
def test_late_events_and_ids_of_others_are_found_too(tmp_path: Path) -> None:
    late, foreign = event(-3_600), event(7, event_id='of a "client"')
    events = [*(event(number) for number in range(30)), late, foreign, *(event(number) for number in range(30, 60))]
    write(tmp_path / "t.log", events)
    found, _ = find(tmp_path / "t.log", late.id, foreign.id)
    assert {one: line.number for one, line in found.items()} == {late.id: 31, foreign.id: 32}


def test_a_line_that_only_mentions_the_id_is_another_events(tmp_path: Path) -> None:
    mine = event(1)
    write(tmp_path / "t.log", [event(0, about=mine.id), mine, event(2, about=mine.id)])
    found, _ = find(tmp_path / "t.log", mine.id)
    assert found[mine.id].number == 2
    write(tmp_path / "t.log", [event(0, about=mine.id)])
    assert find(tmp_path / "t.log", mine.id) == ({}, [])


def test_rotated_and_compressed_files_are_looked_through(tmp_path: Path) -> None:
    packed, squeezed, last = event(0), event(1), event(2)
    write(tmp_path / "t.log-20261128-1", [event(9), packed])
    content = (tmp_path / "t.log-20261128-1").read_bytes()
    (tmp_path / "t.log-20261128-1.gz").write_bytes(gzip.compress(content))
    write(tmp_path / "t.log-20261128-1", [event(8), squeezed])
    content = (tmp_path / "t.log-20261128-1").read_bytes()
    (tmp_path / "t.log-20261128-1").unlink()
    (tmp_path / "t.log-20261128-2.zst").write_bytes(zstandard.compress(content))
    write(tmp_path / "t.log", [last])
    found, partial = find(tmp_path / "t.log", packed.id, squeezed.id, last.id)
    assert {one: (line.file.suffix, line.number) for one, line in found.items()} == {
        packed.id: (".gz", 2),
        squeezed.id: (".zst", 2),
        last.id: (".log", 1),
    }
    assert partial == []


def test_a_truncated_archive_is_named_and_hides_no_other_file(tmp_path: Path) -> None:
    mine = event(0)
    (tmp_path / "t.log.1.gz").write_bytes(gzip.compress(os.urandom(1000))[:-20])
    write(tmp_path / "t.log", [mine])
    found, partial = find(tmp_path / "t.log", mine.id, "of a client")
    assert set(found) == {mine.id}
    assert len(partial) == 1
    assert "t.log.1.gz cannot be read" in partial[0]


def test_a_file_that_ended_before_the_event_is_not_read(tmp_path: Path) -> None:
    write(tmp_path / "t.log", [event(0)])
    before = BEGAN.timestamp() - 3_600
    os.utime(tmp_path / "t.log", (before, before))
    assert find(tmp_path / "t.log", event(0).id) == ({}, [])


def test_what_is_not_read_for_its_size_is_said(tmp_path: Path) -> None:
    write(tmp_path / "t.log", [event(0)])
    _, partial = find(tmp_path / "t.log", "of a client", max_bytes=10)
    assert partial == ["of t.log only the part was looked through in which the event should be"]


def test_a_directory_that_is_gone_is_said(tmp_path: Path) -> None:
    _, (partial,) = find(tmp_path / "nowhere" / "t.log", "x")
    assert "cannot be read" in partial


@pytest.mark.parametrize("end", [0, 1, 2, 9, 10, 11, 10_000])
def test_lines_are_counted_up_to_a_byte(tmp_path: Path, end: int) -> None:
    (tmp_path / "t").write_bytes(b"\n\n3456789\n" * 10)
    fd = os.open(tmp_path / "t", os.O_RDONLY)
    assert count_lines(fd, end) == (b"\n\n3456789\n" * 10)[:end].count(b"\n")
    os.close(fd)
