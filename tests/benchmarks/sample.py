"""Sample: events of about 1 KB like edX's, with a 12-key context. Neighbouring ones share neither people nor places."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import count, cycle
from random import Random
from typing import Any, Final

NAME: Final = "edx.course.enrollment.activated"

# How many different ones there are: more than a batch holds, so that no repetition improves its compression, and more
# contexts than a worker caches. They are made ahead, so that this is not measured.
_CONTEXTS: Final = 10_007
_DATA: Final = 3_001

_AGENTS: Final = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 14_5) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Safari/605",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:141.0) Gecko/20100101 Firefox/141.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
)
_COURSES: Final = ("Botany+101+2026", "Welding+B2+2026", "Maps+Intro+2025", "Tides+Advanced+2026", "Bees+7+2026")
_MODES: Final = ("audit", "honor", "verified", "professional")


def contexts() -> Iterator[dict[str, Any]]:
    """The contexts of endless requests."""
    return cycle(_contexts())


def data(*, first: int = 0, empty: str | None = "") -> Iterator[dict[str, Any]]:
    """The data of endless events: each has its number as ``sequence``, and the value ``empty`` in it."""
    samples = [{**sample, "answer": empty} for sample in _data()]
    return ({**samples[number % _DATA], "sequence": number} for number in count(first))


@cache
def _contexts() -> list[dict[str, Any]]:
    random = Random(1)
    return [_context(random) for _ in range(_CONTEXTS)]


def _context(random: Random) -> dict[str, Any]:
    course = f"course-v1:{random.choice(_COURSES)}"
    unit = f"{random.getrandbits(128):032x}"
    person = random.randrange(1, 2_000_000)
    path = f"/courses/{course}/courseware/{unit}/"
    return {
        "user_id": person,
        "username": f"learner_{person}",
        "session": f"{random.getrandbits(128):032x}",
        "client_id": f"{random.getrandbits(31)}.{1_760_000_000 + random.randrange(10_000_000)}",
        "ip": ".".join(str(random.randrange(1, 255)) for _ in range(4)),
        "host": "courses.example.org",
        "agent": random.choice(_AGENTS),
        "path": path,
        "referer": f"https://courses.example.org/dashboard?from={random.getrandbits(64):016x}",
        "page": f"https://courses.example.org{path}?activate=block-v1:{unit}",
        "course_id": course,
        "org_id": "ExampleX",
    }


@cache
def _data() -> list[dict[str, Any]]:
    random = Random(2)
    return [
        {
            "course_id": f"course-v1:{random.choice(_COURSES)}",
            "mode": random.choice(_MODES),
            "user_id": random.randrange(1, 2_000_000),
            "attempt": random.randrange(7),
            "score": random.randrange(1000) / 10,
            "problem": f"block-v1:{random.getrandbits(128):032x}",
            "answers": {"first": "choice_2", "second": [1, 2, 3]},
        }
        for _ in range(_DATA)
    ]
