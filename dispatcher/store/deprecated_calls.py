"""DeprecatedCalls: who still calls what is deprecated, by week: counted by relays, read by ``dispatcher deprecations``.

A relay counts what it puts, from the events themselves. So nothing is lost when a collector or a relay is killed, the
counts are those of all collectors together, and no request waits for them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final, Self

import msgspec

from dispatcher.connections.redis_pool import RedisPool
from dispatcher.event import decode
from dispatcher.store import script
from dispatcher.store.counts import NOT_TAKEN
from dispatcher.store.keys import DEPRECATED_CALLS
from dispatcher.store.script import Call, ScriptCaller

#: Where the context of an event says by which deprecated call it came: an object of ``via`` and ``script``.
CONTEXT_KEY: Final = "deprecated_call"
#: How long a week is kept: half a year, as long as most deprecations take.
WEEKS: Final = 26
#: The most combinations of call, event, script and course in a week; some 300 bytes of Redis each. What is beyond is
#: counted together. Pages say all four, so that anybody could make more of them.
MAX_FIELDS: Final = 2_000

# So long a part of each is kept.
_MAX_CHARACTERS: Final = 200
_NEEDLE: Final = f'"{CONTEXT_KEY}":{{'.encode()
# Day 0, 1970-01-01, was a Thursday.
_FIRST_MONDAY: Final = date(1969, 12, 29)
# Redis does nothing else while it counts so many: some milliseconds.
_CALLS_IN_SCRIPT: Final = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class DeprecatedCall:
    """How often one script made a deprecated call, with one event, in one course.

    Args:
        call: What was called, such as ``Logger.log``; empty for all that a week had no room for.
        event: The name of the event.
        script: The URL of the script that called, without its query; empty where the browser did not say it.
        course: The key of the course; empty outside of courses.
        week: The Monday on which the week began, by the clock of Redis.
        count: How often.
        last_seen: When it was counted last.
    """

    call: str
    event: str
    script: str
    course: str
    week: date
    count: int
    last_seen: datetime

    @classmethod
    def from_field(cls, week: date, field: bytes, value: bytes) -> Self:
        """Read what deprecated_calls.lua keeps."""
        call, event, script_url, course = json.loads(field) if field else ("", "", "", "")
        count, last_seen_ms = value.split()
        return cls(
            call=call,
            event=event,
            script=script_url,
            course=course,
            week=week,
            count=int(count),
            last_seen=datetime.fromtimestamp(int(last_seen_ms) / 1000, UTC),
        )


class DeprecatedCalls:
    """The counts in one Redis. Safe in threads and after a fork.

    Args:
        scripts: Calls the store's scripts.
        pool: The same connections.
    """

    def __init__(self, scripts: ScriptCaller, pool: RedisPool) -> None:
        self._scripts = scripts
        self._pool = pool

    def count(self, journal: str, finish: int, events: Sequence[tuple[bytes, int]]) -> None:
        """Count the calls by which events came. Counts none twice when it is called again. Blocks for a round trip.

        Args:
            journal: The name of the journal.
            finish: The position behind the range that has the events.
            events: Payloads with a deprecated call, as ``find`` picks them, in order, with the position behind each.

        Raises:
            StoreUnavailableError: Redis did not answer. Call again with the same, or with a longer range.
        """
        calls: list[Call] = []
        for start in range(0, len(events), _CALLS_IN_SCRIPT):
            part = events[start : start + _CALLS_IN_SCRIPT]
            is_last = start + _CALLS_IN_SCRIPT >= len(events)
            fields: dict[str, int] = {}
            numbers: list[int] = []
            for payload, end in part:
                field = _to_field(payload)
                if field is not None:
                    numbers += (fields.setdefault(field, len(fields) + 1), end)
            arguments = {
                "journal": journal,
                "finish": finish if is_last else part[-1][1],
                "weeks": WEEKS,
                "limit": MAX_FIELDS,
                "fields": list(fields),
                "calls": numbers,
            }
            calls.append((NOT_TAKEN, arguments, ()))
        self._scripts.call_many(script.DEPRECATED_CALLS, calls)

    def read(self, weeks: int, today: date) -> list[DeprecatedCall]:
        """What was counted in this week and those before it. Blocks for one round trip.

        Args:
            weeks: How many weeks, this one among them; older ones than ``WEEKS`` are gone.
            today: A day of this week.

        Raises:
            StoreUnavailableError: Redis did not answer.
        """
        this_week = (today - _FIRST_MONDAY).days // 7
        numbers = range(this_week, this_week - min(weeks, WEEKS), -1)
        answers = self._pool.execute_many(
            [("HGETALL", DEPRECATED_CALLS.of(NOT_TAKEN, str(number))) for number in numbers]
        )
        found: list[DeprecatedCall] = []
        for number, answer in zip(numbers, answers, strict=True):
            week = _FIRST_MONDAY + timedelta(weeks=number)
            pairs = answer.items() if isinstance(answer, dict) else zip(answer[::2], answer[1::2], strict=True)
            found += (DeprecatedCall.from_field(week, field, value) for field, value in pairs)
        return found


def find(payloads: Iterable[bytes], ends: Iterable[int]) -> list[tuple[bytes, int]]:
    """The events that may have come by a deprecated call, with the position behind each. Pure; looks for one text."""
    return [(payload, end) for payload, end in zip(payloads, ends, strict=True) if _NEEDLE in payload]


def _to_field(payload: bytes) -> str | None:
    """What is counted of an event; None where its data alone has the text that was looked for."""
    try:
        event = decode(payload)
    except (msgspec.DecodeError, RecursionError):
        return None
    call = event.context.get(CONTEXT_KEY)
    if not isinstance(call, dict) or not call.get("via"):
        return None
    parts = (call["via"], event.name, call.get("script") or "", event.context.get("course_id") or "")
    return json.dumps([str(part)[:_MAX_CHARACTERS] for part in parts], ensure_ascii=False, separators=(",", ":"))
