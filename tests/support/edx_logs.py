"""Tracking logs of an edX site, as files, and the numbers of their events in what was exported."""

from __future__ import annotations

import gzip
import json
import random
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import zstandard

COURSES = [f"course-v1:Org{n % 3}+C{n}+2026" for n in range(8)]


def make_lines(count: int, *, seed: int = 3, days: int = 2) -> list[bytes]:
    """Lines of an edX log, in order of time."""
    rng = random.Random(seed)
    lines = []
    for number in range(count):
        moment = datetime(2026, 1, 30, tzinfo=UTC) + timedelta(days=days * number / count)
        course = rng.choice(COURSES)
        line = {
            "name": "problem_check",
            "context": {"user_id": rng.randrange(50), "course_id": course, "org_id": course[10:14], "n": number},
            "username": f"user{rng.randrange(50)}",
            "event": rng.choice([{"answers": {"a": rng.random()}}, json.dumps({"label": "L", "x": 1}), "", []]),
            "time": moment.isoformat(timespec="microseconds"),
            "event_type": "problem_check",
            "event_source": "server",
            "page": None,
        }
        lines.append(json.dumps(line).encode())
    return lines


def write(path: Path, lines: Sequence[bytes], end: bytes = b"\n") -> Path:
    content = b"\n".join(lines) + end
    if path.suffix == ".gz":
        # Two members, as `cat a.gz b.gz` makes.
        half = content.index(b"\n", len(content) // 2) + 1
        content = gzip.compress(content[:half]) + gzip.compress(content[half:])
    if path.suffix == ".zst":
        content = zstandard.compress(content[:999]) + zstandard.compress(content[999:])
    path.write_bytes(content)
    return path


def numbers(directory: Path) -> Counter[int]:
    """The numbers of the events that DuckDB sees."""
    if not list(directory.glob("date=*/*.parquet")):
        return Counter()
    rows = duckdb.read_parquet(f"{directory}/date=*/*.parquet").select("CAST(context->>'n' AS INTEGER)")
    return Counter(row[0] for row in rows.fetchall())
