"""DayFiles: among the files of a day each event is once, however many there are."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

pa = pytest.importorskip("pyarrow")

import pyarrow.parquet as pq  # noqa: E402 - behind the extra

from dispatcher.exports import day_files  # noqa: E402 - behind the extra
from dispatcher.exports.event_rows import SCHEMA  # noqa: E402 - behind the extra


def write(path: Path, ids: list[str]) -> Path:
    rows: list[dict[str, Any]] = [
        {"event_id": one, "timestamp": datetime(2026, 1, 1, tzinfo=UTC), "event_type": "e", "source_file": "a"}
        | {"line_number": number}
        for number, one in enumerate(ids, 1)
    ]
    day_files.write_rows(pa.Table.from_pylist(rows, SCHEMA), path)
    return path


def ids_of(path: Path) -> list[str]:
    return pq.read_table(path, columns=["event_id"])["event_id"].to_pylist() if path.exists() else []


@pytest.mark.parametrize("at_a_time", [20, 500_000], ids=["in-parts", "all-at-once"])
def test_the_first_of_several_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_a_time: int) -> None:
    monkeypatch.setattr(day_files, "_IDS_AT_A_TIME", at_a_time)
    chance = random.Random(5)
    there = ["é", *(f"{n:x}" for n in range(60))]
    came = [[f"{chance.randrange(200):x}" for _ in range(70)], there[:30], ["🙂", "é", "ê", "🙂", "new", "1"]]
    existing = write(tmp_path / "there.parquet", there)
    kept = existing.read_bytes()
    files = [write(tmp_path / f"{n}.parquet", ids) for n, ids in enumerate(came)]
    assert day_files.drop_repeats([day_files.ids_of(existing)], files) == len(there)
    seen = set(there)
    for file, ids in zip(files, came, strict=True):
        expected = [one for one in ids if one not in seen and not seen.add(one)]  # type: ignore[func-returns-value]
        assert ids_of(file) == expected
    assert not files[1].exists()
    assert existing.read_bytes() == kept
    after = [file.read_bytes() for file in files if file.exists()]
    assert day_files.drop_repeats([day_files.ids_of(existing)], [file for file in files if file.exists()]) == len(there)
    assert after == [file.read_bytes() for file in files if file.exists()]
