"""What a relay knows of a journal: what the store has, what is settled, and where losses start."""

from __future__ import annotations

from dispatcher.relay.journal_progress import JournalProgress
from dispatcher.relay.put_log import PutRange
from dispatcher.store.counts import NOT_TAKEN
from dispatcher.store.put import Progress, Put

LOG, SEGMENT = "tracking_log", "segment"
NOTHING = Progress(-1, -1)


def a_put(destination: str, start: int, end: int) -> Put:
    return Put(destination=destination, journal="7-a", start=start, end=end)


def make_progress(*entries: PutRange, position: int = 0, settled: int = 0, **answers: Progress) -> JournalProgress:
    """The progress that a relay has when it has just started, and has asked the store."""
    progress = JournalProgress(entries, position=position, settled=settled)
    progress.update({LOG: NOTHING, SEGMENT: NOTHING} | answers, position)
    return progress


THREE_PUTS = (
    (0, 100, [a_put(LOG, 0, 50), a_put(LOG, 50, 100), a_put(SEGMENT, 0, 100)]),
    (100, 200, [a_put(LOG, 100, 200)]),
    (200, 300, [a_put(LOG, 200, 300), a_put(SEGMENT, 200, 300)]),
)


def progress_of_three_ranges() -> JournalProgress:
    progress = make_progress()
    for start, end, puts in THREE_PUTS:
        progress.record(start, end, puts)
        progress.confirm(puts)
    return progress


def entries_of_three_ranges() -> list[PutRange]:
    progress = JournalProgress(position=0, settled=0)
    entries = [progress.record(start, end, puts) for start, end, puts in THREE_PUTS]
    return [entry for entry in entries if entry is not None]


def test_a_new_journal_has_lost_nothing() -> None:
    assert make_progress().lost_from is None


# A relay that has just started


def test_a_journal_unknown_to_the_store_is_lost_from_its_settled_position() -> None:
    assert make_progress(position=500, settled=200).lost_from == 200
    assert make_progress(position=500, settled=500).lost_from is None


def test_a_range_without_an_entry_is_lost_where_the_store_is_behind() -> None:
    progress = make_progress(position=500, settled=200, tracking_log=Progress(500, 300), segment=Progress(400, -1))
    assert progress.lost_from == 400
    assert progress.starts(400) == {LOG: 500, SEGMENT: 400}


def test_a_recorded_range_missing_from_the_store_is_lost() -> None:
    entries = entries_of_three_ranges()
    complete = make_progress(*entries, position=300, tracking_log=Progress(300, 0), segment=Progress(300, 200))
    assert complete.lost_from is None
    behind = make_progress(*entries, position=300, tracking_log=Progress(300, 0), segment=Progress(100, -1))
    assert behind.lost_from == 100
    put_range = behind.recorded_range(100)
    assert put_range is not None
    assert (put_range.start, put_range.end, dict(put_range.batches)) == (100, 200, {LOG: [(100, 200)]})


def test_a_destination_without_batches_in_the_entries_has_lost_nothing() -> None:
    progress = make_progress(*entries_of_three_ranges()[1:2], position=200, settled=100, tracking_log=Progress(200, -1))
    assert progress.lost_from is None
    assert progress.settled == {LOG: 200, SEGMENT: 200}


def test_a_recorded_range_that_may_not_be_put_keeps_its_batches() -> None:
    progress = make_progress(*entries_of_three_ranges(), position=200, tracking_log=Progress(200, -1))
    assert progress.lost_from == 0
    found = make_progress(
        *entries_of_three_ranges(), position=200, tracking_log=Progress(200, 0), segment=Progress(100, 0)
    )
    assert found.lost_from is None
    put_range = found.recorded_range(200)
    assert put_range is not None
    assert dict(put_range.batches) == {LOG: [(200, 300)], SEGMENT: [(200, 300)]}


def test_without_entries_everything_missing_from_the_store_is_lost() -> None:
    first, _, third = entries_of_three_ranges()
    progress = make_progress(first, third, position=300, tracking_log=Progress(150, -1), segment=Progress(300, -1))
    assert progress.lost_from == 150
    assert (progress.recorded_range(150) or first).start == 200
    late = make_progress(first, position=300, tracking_log=Progress(300, -1), segment=Progress(100, -1))
    assert late.lost_from == 100


def test_a_discarded_range_is_not_lost() -> None:
    progress = make_progress(*entries_of_three_ranges(), position=300, settled=300)
    assert progress.lost_from is None
    assert progress.recorded_range(0) is None


def test_losses_at_some_destinations_are_not_settled_by_others_without_batches() -> None:
    progress = make_progress(*entries_of_three_ranges(), position=300, emit=NOTHING)
    assert progress.lost_from == 0
    assert progress.settled == {LOG: 0, SEGMENT: 0, NOT_TAKEN: 300}
    assert progress.settled_everywhere == 0


def test_a_settled_position_within_a_batch_settles_the_whole_batch() -> None:
    progress = make_progress(*entries_of_three_ranges(), position=300, settled=70)
    assert progress.lost_from == 100
    assert progress.starts(70) == {LOG: 100, SEGMENT: 100}
    assert make_progress(*entries_of_three_ranges(), position=300, settled=50).starts(50) == {LOG: 50, SEGMENT: 100}


def test_nothing_is_discarded_in_the_middle_of_a_batch() -> None:
    progress = progress_of_three_ranges()
    assert [progress.range_end_before(at) for at in (99, 100, 250, 300, 1_000)] == [0, 100, 200, 300, 300]


# A relay that goes on


def test_a_range_settled_everywhere_is_forgotten() -> None:
    progress = progress_of_three_ranges()
    progress.update({LOG: Progress(300, -1), SEGMENT: Progress(300, 200)}, 300)
    assert progress.lost_from is None
    assert progress.settled == {LOG: 300, SEGMENT: 200}
    assert progress.settled_everywhere == 200
    put_range = progress.recorded_range(0)
    assert put_range is not None
    assert (put_range.start, put_range.end) == (200, 300)


def test_an_emptied_store_has_lost_everything_unsettled() -> None:
    progress = progress_of_three_ranges()
    progress.update({LOG: Progress(300, 200), SEGMENT: Progress(300, 0)}, 300)
    progress.update({LOG: NOTHING, SEGMENT: NOTHING}, 300)
    assert progress.lost_from == 0
    assert progress.starts(0) == {LOG: 200, SEGMENT: 0}
    assert progress.put == {LOG: -1, SEGMENT: -1}


def test_a_store_that_went_back_in_time_has_lost_what_follows_its_position() -> None:
    progress = progress_of_three_ranges()
    progress.update({LOG: Progress(100, 0), SEGMENT: Progress(300, 0)}, 300)
    assert progress.lost_from == 100
    assert progress.starts(100) == {LOG: 100, SEGMENT: 300}


def test_settled_ranges_stay_settled_while_the_store_is_empty() -> None:
    progress = progress_of_three_ranges()
    progress.update({LOG: Progress(300, 200), SEGMENT: Progress(300, 0)}, 300)
    for _ in range(2):
        progress.update({LOG: NOTHING, SEGMENT: NOTHING}, 0)
        progress.clear_loss()
        assert progress.starts(0) == {LOG: 200, SEGMENT: 0}


def test_a_destination_without_batches_has_lost_nothing() -> None:
    progress = make_progress()
    puts = [a_put(LOG, 0, 100)]
    progress.record(0, 100, puts)
    progress.confirm(puts)
    progress.update({LOG: Progress(100, 0), SEGMENT: NOTHING}, 100)
    assert progress.lost_from is None


def test_dead_letters_of_emit_are_lost_like_batches() -> None:
    progress = make_progress(emit=NOTHING)
    puts = [a_put(LOG, 0, 100), a_put(NOT_TAKEN, 0, 100)]
    progress.record(0, 100, puts)
    progress.confirm(puts)
    progress.update({LOG: Progress(100, 0), SEGMENT: NOTHING, NOT_TAKEN: NOTHING}, 100)
    assert progress.lost_from == 0


def test_a_store_that_fails_during_the_repair_still_has_its_losses() -> None:
    progress = progress_of_three_ranges()
    progress.update({LOG: NOTHING, SEGMENT: NOTHING}, 300)
    progress.update({LOG: Progress(50, 0), SEGMENT: NOTHING}, 300)
    assert progress.lost_from == 0


def test_batches_put_again_after_a_loss_are_maybe_delivered_new_ones_are_not() -> None:
    progress = progress_of_three_ranges()
    assert not progress.is_again(a_put(LOG, 0, 50))
    progress.record(300, 400, [a_put(LOG, 300, 400)])
    progress.update({LOG: Progress(100, 0), SEGMENT: Progress(300, 0)}, 300)
    assert progress.is_again(a_put(LOG, 100, 200))
    assert progress.is_again(a_put(LOG, 200, 300))
    assert not progress.is_again(a_put(LOG, 300, 400))
    assert not progress.is_again(a_put(SEGMENT, 200, 300))


def test_a_range_is_found_by_position_and_recorded_once() -> None:
    progress = progress_of_three_ranges()
    first, second = progress.recorded_range(0), progress.recorded_range(100)
    assert first is not None
    assert second is not None
    assert dict(first.batches) == {LOG: [(0, 50), (50, 100)], SEGMENT: [(0, 100)]}
    assert (second.start, second.end) == (100, 200)
    assert progress.record(0, 100, [a_put(LOG, 0, 50), a_put(LOG, 50, 100)]) is None
    assert progress.recorded_range(100) is second
    assert progress.recorded_range(300) is None


def test_the_next_range_is_found_after_one_of_another_relay() -> None:
    progress = make_progress(position=100, tracking_log=Progress(120, 0), segment=Progress(100, 0))
    progress.record(100, 300, [a_put(LOG, 120, 300)])
    put_range = progress.recorded_range(0)
    assert put_range is not None
    assert put_range.start == 100


def test_an_entry_includes_batches_put_before_it() -> None:
    first = make_progress(position=100, tracking_log=Progress(100, 0), segment=Progress(100, 0))
    entry = first.record(0, 200, [a_put(LOG, 100, 200), a_put(NOT_TAKEN, 0, 200)])
    assert entry is not None
    assert dict(entry.batches) == {LOG: [(0, 100), (100, 200)], SEGMENT: [(0, 100)], NOT_TAKEN: [(0, 200)]}
    then = make_progress(entry, position=200, tracking_log=Progress(200, 0), emit=Progress(200, -1))
    assert then.lost_from == 0


def test_a_range_between_two_others_is_recorded_in_order() -> None:
    first, _, third = entries_of_three_ranges()
    progress = JournalProgress([first, third], position=300, settled=0)
    assert progress.record(100, 200, [a_put(LOG, 100, 200)]) is not None
    assert progress.record(50, 250, [a_put(LOG, 50, 250)]) is None
    assert [(progress.recorded_range(at) or first).start for at in (0, 100, 200)] == [0, 100, 200]
