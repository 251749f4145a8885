"""A tracking log of a platform for courses, as its servers write one: by chance from a seed, the same each time."""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

# What stands before the JSON where lines come out of a container.
_PREFIX: Final = "lms_1  | 2026-03-01 08:15:00,123 INFO 21 [tracking] [user 42] [ip 198.51.100.7] logger.py:41 - "
#: One of each kind of line that cannot be read, as logs have them after a full disk, a crash, or a careless script.
BROKEN: Final[tuple[Callable[[str], bytes], ...]] = (
    lambda line: line[: len(line) // 2].encode(),
    lambda line: (line[:80] + line).encode(),
    lambda line: line.replace("{", "", 1).encode(),
    lambda line: line[::-1].encode(),
    lambda line: line.replace('"time"', '"tome"').encode(),
    lambda line: line.replace('"event_type"', '"event_typo"').replace('"name"', '"nome"').encode(),
    lambda line: line.replace("2026-", "20x6-").encode(),
    lambda line: line.encode().replace(b"GET", b"\xff\xfe", 1)[:-1],
    lambda line: b"[" + line.encode() + b"]x",
    lambda line: b"\x00" * 200,
    lambda line: b"5",
    lambda line: b"Traceback (most recent call last):",
    lambda line: line.replace(":", " ", 3).encode(),
)
_AGENTS: Final = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Safari",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
)
_BEGINS: Final = datetime(2026, 3, 1, tzinfo=UTC)


def write_log(
    path: Path, lines: int, *, dirty: bool = False, seed: int = 1, days: int = 2, in_utf8: bool = False
) -> int:
    """Write a log, with some 1 200 bytes a line.

    Args:
        path: Is replaced.
        lines: How many.
        dirty: Put a container's prefix before two lines of five, and break one of a hundred.
        seed: Another gives another log.
        in_utf8: Leave broken bytes out, at which some readers end.
        days: Over how many days the lines are spread.

    Returns:
        How many lines are broken.
    """
    chance = random.Random(seed)
    broken = 0
    step = timedelta(days=days) / lines
    with path.open("wb") as file:
        for number, line in enumerate(_lines(chance, lines, step)):
            if dirty and chance.random() < 0.01:
                content = BROKEN[broken % len(BROKEN)](line)
                file.write((content if not in_utf8 else content.replace(b"\xff\xfe", b"??")) + b"\n")
                broken += 1
            elif dirty and number % 5 < 2:
                file.write((_PREFIX + line + "\n").encode())
            else:
                file.write(line.encode() + b"\n")
    return broken


def _lines(chance: random.Random, lines: int, step: timedelta) -> Iterator[str]:
    patterns = [_pattern(chance) for _ in range(400)]
    for number in range(lines):
        event_id = uuid.UUID(int=chance.getrandbits(128), version=4)
        user = chance.randrange(1, 20_000)
        time = (_BEGINS + number * step).isoformat()
        yield (
            patterns[chance.randrange(400)]
            .replace("@ID@", str(event_id))
            .replace("@TIME@", time)
            .replace('"@USER@"', str(user))
            .replace("@NAME@", f"learner_{user}")
            .replace("@SESSION@", f"{user * 2654435761 % 2**128:032x}")
        )


def _pattern(chance: random.Random) -> str:
    """A line with its places for what differs, as Python's logger writes one."""
    course = f"course-v1:Org{chance.randrange(6)}+C{chance.randrange(40)}+2026"
    block = f"block-v1:{course.removeprefix('course-v1:')}+type@problem+block@{chance.getrandbits(128):032x}"
    kind = chance.choices(["browser", "implicit", "problem", "mobile"], [30, 35, 32, 3])[0]
    event: Any
    if kind == "browser":
        event = json.dumps(
            {
                "id": block,
                "currentTime": round(chance.random() * 600, 3),
                "code": "hls",
                "duration": 612.5,
                "note": "é" * 9,
            }
            | {"target": f"https://learn.example.org/courses/{course}/x/{chance.getrandbits(64):x}" * 2}
        )
        name = chance.choice(["play_video", "pause_video", "seek_video", "page_close", "seq_next"])
    elif kind == "implicit":
        name = f"/courses/{course}/xblock/{block}/handler/xmodule_handler/problem_get"
        event = json.dumps({"GET": {}, "POST": {"input": [f"choice_{chance.randrange(5)}"] * 9}})
    elif kind == "problem":
        name = "problem_check"
        answers = {f"{block[-32:]}_{part}_1": f"choice_{chance.randrange(5)}" for part in range(2, 5)}
        event = {"problem_id": block, "answers": answers, "attempts": chance.randrange(9), "success": "correct"}
        event |= {"state": {"seed": 1, "done": None, "input_state": {part: {} for part in answers}}}
    else:
        name = "edx.video.played"
        event = {"id": block, "current_time": chance.random() * 600, "code": "mobile"}
    context: dict[str, Any] = {"user_id": "@USER@", "path": "/event", "course_id": course, "org_id": course[10:14]}
    context |= {"enterprise_uuid": "", "course_user_tags": {}, "event_id": "@ID@"}
    return json.dumps(
        {"name": name, "context": context, "username": "@NAME@", "session": "@SESSION@", "ip": "198.51.100.23"}
        | {"agent": chance.choice(_AGENTS), "host": "learn.example.org", "accept_language": "en-GB,en;q=0.9"}
        | {"referer": f"https://learn.example.org/courses/{course}/courseware/{chance.getrandbits(64):x}/"}
        | {"event": event, "time": "@TIME@", "event_type": name}
        | {"event_source": {"browser": "browser", "mobile": "mobile"}.get(kind, "server")}
        | {"page": f"https://learn.example.org/courses/{course}/courseware/" if kind == "browser" else None}
    )
