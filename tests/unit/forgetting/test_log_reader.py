"""A file of lines is looked through, whole or in parts."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from dispatcher.forgetting import Person, line_files
from dispatcher.forgetting.line_files import count_each
from dispatcher.forgetting.log_reader import WHOLE, LogFileError, LogReader, ignore, parts_of
from dispatcher.forgetting.search import LineSearch

ADA = Person(usernames=("ada",))
SEARCH = LineSearch(ADA)
LINES = [b'{"username": "%b", "n": %d}\n' % (b"ada" if n % 3 else b"bob", 10**n) for n in range(12)]


@pytest.mark.parametrize("ending", [b"\n", b""], ids=["whole", "unfinished"])
def test_parts_of_any_size_have_every_line_once(tmp_path: Path, ending: bytes) -> None:
    path = tmp_path / "tracking.log"
    path.write_bytes(b"".join(LINES).removesuffix(b"\n") + ending)
    for size in range(1, 60):
        parts = parts_of(path, size)
        counts = [LogReader(path).count(SEARCH, ignore, part) for part in parts]
        assert len(parts) > 1
        assert (sum(named for named, _ in counts), sum(lines for _, lines in counts)) == (8, 12)


def test_a_compressed_file_is_one_part(tmp_path: Path) -> None:
    path = tmp_path / "tracking.log.1.gz"
    path.write_bytes(gzip.compress(b"".join(LINES)))
    assert parts_of(path, 1) == [WHOLE]


def test_parts_of_a_file_that_was_rotated_meanwhile_are_not_those_of_another(tmp_path: Path) -> None:
    path = tmp_path / "tracking.log"
    path.write_bytes(b"".join(LINES))
    parts = parts_of(path, 100)
    path.rename(tmp_path / "tracking.log.1")
    path.write_bytes(b"".join(LINES))
    with pytest.raises(LogFileError, match="rotated"):
        LogReader(path).count(SEARCH, ignore, parts[1])


def test_large_files_are_looked_through_in_several_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [tmp_path / "tracking.log", tmp_path / "missing.log", tmp_path / "tracking.log.1.gz"]
    paths[0].write_bytes(b"".join(LINES))
    paths[2].write_bytes(gzip.compress(b"".join(LINES)))
    said: list[tuple[int, int]] = []

    def look() -> list[tuple[int, int, bool]]:
        found = count_each("tracking_log", paths, ADA, lambda _, done, total: said.append((done, total)))
        return [(one.events, one.of, bool(one.left)) for one in found]

    in_one = look()
    said.clear()
    monkeypatch.setattr(line_files, "_SHARED_FROM_BYTES", 1)
    monkeypatch.setattr(line_files, "_PART_BYTES", 100)
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    assert look() == in_one == [(8, 12, False), (0, 0, True), (8, 12, False)]
    assert said[-1] == (sum(path.stat().st_size for path in (paths[0], paths[2])),) * 2
