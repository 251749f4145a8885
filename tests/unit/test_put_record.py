"""What a relay remembers of a journal: what the store has, what is settled, and from where on it has lost something."""

from __future__ import annotations

from dispatcher.batches import Progress, Put
from dispatcher.put_record import PutRecord

LOG, SEGMENT = "tracking_log", "segment"
NOTHING = Progress(-1, -1)


def a_put(destination: str, start: int, end: int) -> Put:
    return Put(destination=destination, journal="7-a", start=start, end=end)


def a_record(position: int = 0, settled: int = 0, **progress: Progress) -> PutRecord:
    return PutRecord({LOG: NOTHING, SEGMENT: NOTHING} | progress, position=position, settled=settled)


def a_record_of_three_stretches() -> PutRecord:
    record = a_record()
    record.note(0, 100, [a_put(LOG, 0, 50), a_put(LOG, 50, 100), a_put(SEGMENT, 0, 100)])
    record.note(100, 200, [a_put(LOG, 100, 200)])
    record.note(200, 300, [a_put(LOG, 200, 300), a_put(SEGMENT, 200, 300)])
    return record


def test_a_new_journal_has_lost_nothing() -> None:
    assert a_record().lost_from is None


def test_a_journal_that_is_known_nowhere_any_more_is_lost_from_where_it_was_settled() -> None:
    assert a_record(position=500, settled=200).lost_from == 200
    assert a_record(position=500, settled=500).lost_from is None
    assert a_record(position=500, settled=200, tracking_log=Progress(500, 300)).lost_from is None


def test_what_is_settled_everywhere_is_forgotten() -> None:
    record = a_record_of_three_stretches()
    record.learn({LOG: Progress(300, -1), SEGMENT: Progress(300, 200)}, 300)
    assert record.lost_from is None
    assert record.settled == {LOG: 300, SEGMENT: 200}
    assert record.settled_everywhere == 200
    stretch = record.stretch_from(0)
    assert stretch is not None
    assert (stretch.start, stretch.end) == (200, 300)


def test_a_store_that_is_empty_has_lost_everything_that_was_not_settled() -> None:
    record = a_record_of_three_stretches()
    record.learn({LOG: Progress(300, 200), SEGMENT: Progress(300, 0)}, 300)
    record.learn({LOG: NOTHING, SEGMENT: NOTHING}, 300)
    assert record.lost_from == 0
    assert record.starts(0) == {LOG: 200, SEGMENT: 0}
    assert record.put == {LOG: -1, SEGMENT: -1}


def test_a_store_that_came_back_without_its_last_moments_has_lost_what_is_behind_its_position() -> None:
    record = a_record_of_three_stretches()
    record.learn({LOG: Progress(100, 0), SEGMENT: Progress(300, 0)}, 300)
    assert record.lost_from == 100
    assert record.starts(100) == {LOG: 100, SEGMENT: 300}


def test_a_destination_that_had_nothing_of_it_has_lost_nothing() -> None:
    record = a_record()
    record.note(0, 100, [a_put(LOG, 0, 100)])
    record.learn({LOG: Progress(100, 0), SEGMENT: NOTHING}, 100)
    assert record.lost_from is None


def test_a_store_that_fails_again_while_it_is_being_mended_has_still_lost_it() -> None:
    record = a_record_of_three_stretches()
    record.learn({LOG: NOTHING, SEGMENT: NOTHING}, 300)
    record.learn({LOG: Progress(50, 0), SEGMENT: NOTHING}, 300)
    assert record.lost_from == 0


def test_the_stretches_are_found_by_position_and_a_stretch_that_is_put_again_is_not_noted_twice() -> None:
    record = a_record_of_three_stretches()
    first, second = record.stretch_from(0), record.stretch_from(100)
    assert first is not None
    assert second is not None
    assert first.cuts == {LOG: ((0, 50), (50, 100)), SEGMENT: ((0, 100),)}
    assert (second.start, second.end) == (100, 200)
    record.note(0, 100, [a_put(LOG, 0, 50), a_put(LOG, 50, 100)])
    assert record.stretch_from(100) is second
    assert record.stretch_from(300) is None


def test_between_what_another_relay_put_and_what_this_one_did_the_next_stretch_is_found() -> None:
    record = a_record(position=100, tracking_log=Progress(120, 0), segment=Progress(100, 0))
    record.note(100, 300, [a_put(LOG, 120, 300)])
    stretch = record.stretch_from(0)
    assert stretch is not None
    assert stretch.start == 100
