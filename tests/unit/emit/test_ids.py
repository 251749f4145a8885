"""Event ids: unique UUIDs of version 7."""

from __future__ import annotations

import threading
import time
from uuid import RFC_4122, UUID

import pytest

from dispatcher.emit import ids
from dispatcher.emit.ids import IdSource


def test_an_id_is_a_version_7_uuid_that_contains_the_time() -> None:
    before = time.time_ns() // 1_000_000
    made = IdSource().new()
    after = time.time_ns() // 1_000_000
    parsed = UUID(made)
    assert parsed.version == 7
    assert parsed.variant == RFC_4122
    assert str(parsed) == made
    assert before <= parsed.int >> 80 <= after


def test_every_id_of_a_long_run_is_a_version_7_uuid() -> None:
    # Longer than any counter inside it counts before something else has to change.
    source = IdSource()
    ids = [source.new() for _ in range(20_000)]
    assert len(set(ids)) == len(ids)
    parsed = [UUID(made) for made in ids]
    assert {(one.version, one.variant) for one in parsed} == {(7, RFC_4122)}
    assert [str(one) for one in parsed] == ids


def test_ids_sort_by_their_millisecond() -> None:
    source = IdSource()
    ids = []
    for _ in range(5):
        now = time.time_ns() // 1_000_000
        while time.time_ns() // 1_000_000 == now:
            pass
        ids.append(source.new())
    assert sorted(ids) == ids


def test_threads_that_share_a_source_get_unique_ids() -> None:
    source = IdSource()
    made: list[list[str]] = [[] for _ in range(4)]
    start = threading.Barrier(4)

    def run(mine: list[str]) -> None:
        start.wait()
        mine += [source.new() for _ in range(10_000)]

    threads = [threading.Thread(target=run, args=(mine,)) for mine in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    together = [one for mine in made for one in mine]
    assert len(set(together)) == 40_000


def test_two_sources_have_no_id_in_common() -> None:
    # As a forked child has one of its own.
    first, second = IdSource(), IdSource()
    ids = {source.new() for _ in range(5_000) for source in (first, second)}
    assert len(ids) == 10_000


def test_an_id_of_a_time_before_1970_is_a_uuid_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ids, "time_ns", lambda: -2_177_452_800_000_000_000)
    made = IdSource().new()
    assert str(UUID(made)) == made
    assert UUID(made).version == 7
