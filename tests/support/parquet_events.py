"""Parquet files of ``dispatcher export parquet``, made from lines that a test writes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dispatcher.exports.parquet import ParquetExport
from dispatcher.exports.part_reading import Chosen

COURSE = "course-v1:Örg+Code+2026"


def line(number: int, *, day: str = "2026-01-30", **fields: Any) -> dict[str, Any]:
    """A line of an edX log. A field that is given as None is null."""
    return {
        "name": "problem_check",
        "context": {"user_id": number % 7, "course_id": COURSE, "org_id": "Örg", "event_id": f"{day}-{number}"},
        "username": f"üser{number % 7}",
        "session": "a" * 32,
        "ip": "10.0.0.1",
        "agent": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
        "host": "lms.example.com",
        "event": {"problem_id": "block-v1:Örg+Code+2026+type@problem+block@p1", "grade": number % 4, "text": "日本"},
        "time": f"{day}T12:{number // 60 % 60:02}:{number % 60:02}.000{number % 1000:03}+00:00",
        "event_type": "problem_check",
        "event_source": "server",
        "page": None,
    } | fields


def write_log(path: Path, lines: Sequence[dict[str, Any]]) -> Path:
    """A log of these lines."""
    path.write_text("".join(json.dumps(one, ensure_ascii=False) + "\n" for one in lines))
    return path


def export_lines(lines: Sequence[dict[str, Any]], directory: Path, name: str = "tracking.log") -> Path:
    """Add lines to a directory of Parquet files, as the lines of a log of that name. Returns the directory."""
    log = write_log(directory.with_name(name), lines)
    ParquetExport([log], directory, Chosen(), processes=1).run(lambda what, done, total: None)
    return directory
