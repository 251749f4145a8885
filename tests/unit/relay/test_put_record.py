"""What a relay remembers of a journal: what the store has, what is settled, and where losses start."""

from __future__ import annotations

from dispatcher.relay.put_log import PutStretch
from dispatcher.relay.put_record import PutRecord
from dispatcher.store.batches import NOT_TAKEN, Progress, Put

LOG, SEGMENT = "tracking_log", "segment"
NOTHING = Progress(-1, -1)


def a_put(destination: str, start: int, end: int) -> Put:
    return Put(destination=destination, journal="7-a", start=start, end=end)


def a_record(*notes: PutStretch, position: int = 0, settled: int = 0, **progress: Progress) -> PutRecord:
    """The record of a relay that has just started, and has asked the store."""
    record = PutRecord(notes, position=position, settled=settled)
    record.learn({LOG: NOTHING, SEGMENT: NOTHING} | progress, position)
    return record


THREE_PUTS = (
    (0, 100, [a_put(LOG, 0, 50), a_put(LOG, 50, 100), a_put(SEGMENT, 0, 100)]),
    (100, 200, [a_put(LOG, 100, 200)]),
    (200, 300, [a_put(LOG, 200, 300), a_put(SEGMENT, 200, 300)]),
)


def a_record_of_three_stretches() -> PutRecord:
    record = a_record()
    for start, end, puts in THREE_PUTS:
        record.note(start, end, puts)
        record.confirm(puts)
    return record


def notes_of_three_stretches() -> list[PutStretch]:
    record = PutRecord(position=0, settled=0)
    notes = [record.note(start, end, puts) for start, end, puts in THREE_PUTS]
    return [note for note in notes if note is not None]


def test_a_new_journal_has_lost_nothing() -> None:
    assert a_record().lost_from is None


# A relay that has just started


def test_a_journal_unknown_to_the_store_is_lost_from_its_settled_position() -> None:
    assert a_record(position=500, settled=200).lost_from == 200
    assert a_record(position=500, settled=500).lost_from is None


def test_a_range_without_a_note_is_lost_where_the_store_is_behind() -> None:
    record = a_record(position=500, settled=200, tracking_log=Progress(500, 300), segment=Progress(400, -1))
    assert record.lost_from == 400
    assert record.starts(400) == {LOG: 500, SEGMENT: 400}


def test_a_noted_range_missing_from_the_store_is_lost() -> None:
    notes = notes_of_three_stretches()
    complete = a_record(*notes, position=300, tracking_log=Progress(300, 0), segment=Progress(300, 200))
    assert complete.lost_from is None
    behind = a_record(*notes, position=300, tracking_log=Progress(300, 0), segment=Progress(100, -1))
    assert behind.lost_from == 100
    stretch = behind.stretch_from(100)
    assert stretch is not None
    assert (stretch.start, stretch.end, dict(stretch.cuts)) == (100, 200, {LOG: [(100, 200)]})


def test_a_destination_without_batches_in_the_notes_has_lost_nothing() -> None:
    record = a_record(*notes_of_three_stretches()[1:2], position=200, settled=100, tracking_log=Progress(200, -1))
    assert record.lost_from is None
    assert record.settled == {LOG: 200, SEGMENT: 200}


def test_a_noted_range_that_may_not_be_put_keeps_its_batches() -> None:
    record = a_record(*notes_of_three_stretches(), position=200, tracking_log=Progress(200, -1))
    assert record.lost_from == 0
    found = a_record(*notes_of_three_stretches(), position=200, tracking_log=Progress(200, 0), segment=Progress(100, 0))
    assert found.lost_from is None
    stretch = found.stretch_from(200)
    assert stretch is not None
    assert dict(stretch.cuts) == {LOG: [(200, 300)], SEGMENT: [(200, 300)]}


def test_without_notes_everything_missing_from_the_store_is_lost() -> None:
    first, _, third = notes_of_three_stretches()
    record = a_record(first, third, position=300, tracking_log=Progress(150, -1), segment=Progress(300, -1))
    assert record.lost_from == 150
    assert (record.stretch_from(150) or first).start == 200
    late = a_record(first, position=300, tracking_log=Progress(300, -1), segment=Progress(100, -1))
    assert late.lost_from == 100


def test_a_discarded_range_is_not_lost() -> None:
    record = a_record(*notes_of_three_stretches(), position=300, settled=300)
    assert record.lost_from is None
    assert record.stretch_from(0) is None


def test_losses_at_some_destinations_are_not_settled_by_others_without_batches() -> None:
    record = a_record(*notes_of_three_stretches(), position=300, emit=NOTHING)
    assert record.lost_from == 0
    assert record.settled == {LOG: 0, SEGMENT: 0, NOT_TAKEN: 300}
    assert record.settled_everywhere == 0


def test_a_settled_position_within_a_batch_settles_the_whole_batch() -> None:
    record = a_record(*notes_of_three_stretches(), position=300, settled=70)
    assert record.lost_from == 100
    assert record.starts(70) == {LOG: 100, SEGMENT: 100}
    assert a_record(*notes_of_three_stretches(), position=300, settled=50).starts(50) == {LOG: 50, SEGMENT: 100}


def test_nothing_is_discarded_in_the_middle_of_a_batch() -> None:
    record = a_record_of_three_stretches()
    assert [record.end_before(at) for at in (99, 100, 250, 300, 1_000)] == [0, 100, 200, 300, 300]


# A relay that goes on


def test_a_range_settled_everywhere_is_forgotten() -> None:
    record = a_record_of_three_stretches()
    record.learn({LOG: Progress(300, -1), SEGMENT: Progress(300, 200)}, 300)
    assert record.lost_from is None
    assert record.settled == {LOG: 300, SEGMENT: 200}
    assert record.settled_everywhere == 200
    stretch = record.stretch_from(0)
    assert stretch is not None
    assert (stretch.start, stretch.end) == (200, 300)


def test_an_emptied_store_has_lost_everything_unsettled() -> None:
    record = a_record_of_three_stretches()
    record.learn({LOG: Progress(300, 200), SEGMENT: Progress(300, 0)}, 300)
    record.learn({LOG: NOTHING, SEGMENT: NOTHING}, 300)
    assert record.lost_from == 0
    assert record.starts(0) == {LOG: 200, SEGMENT: 0}
    assert record.put == {LOG: -1, SEGMENT: -1}


def test_a_store_that_went_back_in_time_has_lost_what_follows_its_position() -> None:
    record = a_record_of_three_stretches()
    record.learn({LOG: Progress(100, 0), SEGMENT: Progress(300, 0)}, 300)
    assert record.lost_from == 100
    assert record.starts(100) == {LOG: 100, SEGMENT: 300}


def test_settled_ranges_stay_settled_while_the_store_is_empty() -> None:
    record = a_record_of_three_stretches()
    record.learn({LOG: Progress(300, 200), SEGMENT: Progress(300, 0)}, 300)
    for _ in range(2):
        record.learn({LOG: NOTHING, SEGMENT: NOTHING}, 0)
        record.rewound()
        assert record.starts(0) == {LOG: 200, SEGMENT: 0}


def test_a_destination_without_batches_has_lost_nothing() -> None:
    record = a_record()
    puts = [a_put(LOG, 0, 100)]
    record.note(0, 100, puts)
    record.confirm(puts)
    record.learn({LOG: Progress(100, 0), SEGMENT: NOTHING}, 100)
    assert record.lost_from is None


def test_dead_letters_of_emit_are_lost_like_batches() -> None:
    record = a_record(emit=NOTHING)
    puts = [a_put(LOG, 0, 100), a_put(NOT_TAKEN, 0, 100)]
    record.note(0, 100, puts)
    record.confirm(puts)
    record.learn({LOG: Progress(100, 0), SEGMENT: NOTHING, NOT_TAKEN: NOTHING}, 100)
    assert record.lost_from == 0


def test_a_store_that_fails_during_the_repair_still_has_its_losses() -> None:
    record = a_record_of_three_stretches()
    record.learn({LOG: NOTHING, SEGMENT: NOTHING}, 300)
    record.learn({LOG: Progress(50, 0), SEGMENT: NOTHING}, 300)
    assert record.lost_from == 0


def test_batches_put_again_after_a_loss_are_maybe_delivered_new_ones_are_not() -> None:
    record = a_record_of_three_stretches()
    assert not record.is_again(a_put(LOG, 0, 50))
    record.note(300, 400, [a_put(LOG, 300, 400)])
    record.learn({LOG: Progress(100, 0), SEGMENT: Progress(300, 0)}, 300)
    assert record.is_again(a_put(LOG, 100, 200))
    assert record.is_again(a_put(LOG, 200, 300))
    assert not record.is_again(a_put(LOG, 300, 400))
    assert not record.is_again(a_put(SEGMENT, 200, 300))


def test_a_range_is_found_by_position_and_noted_once() -> None:
    record = a_record_of_three_stretches()
    first, second = record.stretch_from(0), record.stretch_from(100)
    assert first is not None
    assert second is not None
    assert dict(first.cuts) == {LOG: [(0, 50), (50, 100)], SEGMENT: [(0, 100)]}
    assert (second.start, second.end) == (100, 200)
    assert record.note(0, 100, [a_put(LOG, 0, 50), a_put(LOG, 50, 100)]) is None
    assert record.stretch_from(100) is second
    assert record.stretch_from(300) is None


def test_the_next_range_is_found_after_one_of_another_relay() -> None:
    record = a_record(position=100, tracking_log=Progress(120, 0), segment=Progress(100, 0))
    record.note(100, 300, [a_put(LOG, 120, 300)])
    stretch = record.stretch_from(0)
    assert stretch is not None
    assert stretch.start == 100


def test_a_note_includes_batches_put_before_it() -> None:
    first = a_record(position=100, tracking_log=Progress(100, 0), segment=Progress(100, 0))
    note = first.note(0, 200, [a_put(LOG, 100, 200), a_put(NOT_TAKEN, 0, 200)])
    assert note is not None
    assert dict(note.cuts) == {LOG: [(0, 100), (100, 200)], SEGMENT: [(0, 100)], NOT_TAKEN: [(0, 200)]}
    then = a_record(note, position=200, tracking_log=Progress(200, 0), emit=Progress(200, -1))
    assert then.lost_from == 0


def test_a_range_between_two_others_is_noted_in_order() -> None:
    first, _, third = notes_of_three_stretches()
    record = PutRecord([first, third], position=300, settled=0)
    assert record.note(100, 200, [a_put(LOG, 100, 200)]) is not None
    assert record.note(50, 250, [a_put(LOG, 50, 250)]) is None
    assert [(record.stretch_from(at) or first).start for at in (0, 100, 200)] == [0, 100, 200]
