"""The table of ``dispatcher status``: what it says, and that it fits."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from dispatcher.cli.output.ledger_screen import LedgerScreen
from dispatcher.monitoring.rates import Rates
from dispatcher.monitoring.snapshot import Snapshot
from dispatcher.store.counts import Breaker, Counts, Pause, RateLimit
from tests.support.snapshots import NOW_MS, away, outbox, quiet, snapshot_of, troubled


def shown(found: Snapshot, width: int = 80, *, styles: bool = False, **options: object) -> str:
    screen = LedgerScreen(snapshot=found, **options)  # type: ignore[arg-type]
    file = StringIO()
    console = Console(width=width, file=file, highlight=False, color_system="standard" if styles else None)
    console.print(screen)
    return file.getvalue()


def line(text: str, start: str) -> str:
    return next(line for line in text.splitlines() if line.startswith(start))


def test_each_destinations_ledger_is_a_line_of_whole_numbers() -> None:
    text = shown(troubled())

    assert line(text, "tracking_log").split() == ["tracking_log", "12,345,678", "12,345,000", "678", "0", "0"]
    assert line(text, "segment").split() == ["segment", "12,345,678", "2,300,000", "45,578", "12", "10,000,088"]
    assert line(text, "(not taken)").split()[-5:] == ["3", "0", "0", "3", "0"]


def test_without_refused_events_there_is_no_line_for_emit() -> None:
    assert "(not taken)" not in shown(quiet())


def test_waiting_events_are_shown_by_state_with_next_try_and_breaker() -> None:
    waits = shown(troubled()).partition("What waits")[2]

    assert line(waits, "tracking_log").split() == ["tracking_log", "400", "278", "-", "-", "3", "s", "0", "s", "closed"]
    assert line(waits, "segment ").split() == [
        "segment",
        "-",
        "100",
        "45,478",
        *["12", "s", "4", "min", "3", "min", "open"],
    ]


@pytest.mark.parametrize(
    ("until_ms", "reason", "note", "due"),
    [
        (None, "", "segment: paused for 60 s, until `dispatcher resume segment`", "-"),
        (
            NOW_MS + 300_000,
            "they\x1b[31m move",
            "segment: paused for 60 s (they [31m move), until 5 min from now",
            "5 min",
        ),
    ],
)
def test_a_pause_is_shown_with_its_end(until_ms: int | None, reason: str, note: str, due: str) -> None:
    pause = Pause(since_ms=NOW_MS - 60_000, until_ms=until_ms, reason=reason)
    text = shown(snapshot_of({"segment": Counts(accepted=1, parked=1, due_ms=NOW_MS - 5_000, pause=pause)}))

    assert note in text
    waits = line(text.partition("What waits")[2], "segment")
    assert waits.split()[-1] == "paused"
    assert f" {due} " in waits


def test_the_next_try_waits_for_the_breaker() -> None:
    breaker = Breaker(state="open", cause="setup", opened_ms=NOW_MS - 1_000, until_ms=NOW_MS + 30_000)
    counts = Counts(accepted=1, parked=1, due_ms=NOW_MS - 5_000, breaker=breaker)
    text = shown(snapshot_of({"segment": counts}))

    assert "segment: breaker open for 1 s (setup), the next try in 30 s" in text
    assert " 30 s " in line(text.partition("What waits")[2], "segment")


def test_errors_and_nonzero_reasons_are_listed_below_with_their_age() -> None:
    text = shown(troubled(), 200)

    assert "segment, 3 s ago: Segment at https://api.segment.io answered 503" in text
    assert "segment dead: oversized 10, invalid 2\n" in text
    assert "segment filtered: not_allowed 10,000,000, internal 88\n" in text


@pytest.mark.parametrize(
    ("rate", "said"),
    [
        (RateLimit(per_second=40, current_per_second=40), "limit 40/s"),
        (RateLimit(per_second=0.5, current_per_second=0.5), "limit 0.5/s"),
        (
            RateLimit(per_second=40, current_per_second=20, error="answered 429\n"),
            "limit 20/s of 40/s, throttled: answered 429 ",
        ),
        (
            RateLimit(per_second=40, current_per_second=20, until_ms=NOW_MS + 90_000, error="answered 429"),
            "cooldown for 90 s, then limit 20/s of 40/s, throttled: answered 429",
        ),
    ],
    ids=["as set", "less than one", "slowed down", "cooldown"],
)
def test_a_rate_limit_has_a_line_that_says_if_it_is_lowered(rate: RateLimit, said: str) -> None:
    assert f"\nsailthru: {said}\n" in shown(snapshot_of({"sailthru": Counts(rate=rate)}), 120)


def test_a_destination_without_a_rate_limit_has_no_such_line() -> None:
    assert "sailthru: limit" not in shown(snapshot_of({"sailthru": Counts()}))


def test_a_servers_error_text_cannot_control_the_terminal() -> None:
    counts = Counts(accepted=1, parked=1, last_error="answered\x1b[2J\n[bold]400", last_error_ms=NOW_MS)
    text = shown(snapshot_of({"segment": counts}))

    assert "segment, 0 s ago: answered [2J [bold]400\n" in text


def test_an_old_error_of_a_recovered_destination_is_left_out() -> None:
    old = Counts(accepted=1, delivered=1, last_error="answered 503", last_error_ms=NOW_MS - 4_000_000)

    assert "503" not in shown(snapshot_of({"segment": old}))
    assert "503" in shown(snapshot_of({"segment": replace(old, last_error_ms=NOW_MS - 600_000)}))
    assert "503" in shown(snapshot_of({"segment": replace(old, accepted=2, parked=1)}))


def test_a_ledger_that_closes_is_said_to_close() -> None:
    assert "The sum closes: accepted = delivered + waiting + dead + filtered." in shown(quiet())


def test_a_ledger_that_does_not_close_is_red_with_its_numbers() -> None:
    found = snapshot_of({"segment": Counts(accepted=17, delivered=12, parked=3)})
    said = "The sum of segment does not close: 17 accepted, but 12 + 3 + 0 + 0 = 15."

    assert said in shown(found)
    assert "The sum closes" not in shown(found)
    assert f"\x1b[1;31m{said}" in shown(found, 200, styles=True)


def test_an_unserved_destination_for_which_events_wait_is_red() -> None:
    found = snapshot_of({"segment": Counts()})
    waiting = shown(replace(found, unserved={"old": Counts(accepted=499, parked=499)}), styles=True)
    settled = shown(replace(found, unserved={"old": Counts(accepted=1, dead=1)}), styles=True)

    assert "\x1b[1;31m: nobody delivers it: disabled, or not in the settings" in waiting
    assert "\x1b[1mold" in waiting
    assert "\x1b[2m: nobody delivers it: disabled, or not in the settings\x1b" in settled
    assert "\x1b[1;2mold" in settled


def test_each_outbox_with_events_has_a_line_and_all_have_a_sum() -> None:
    text = shown(troubled())

    assert line(text, "4711-19ab3f").split() == ["4711-19ab3f", "1,234", "1.2", "MB", "0", "40", "s", "4711"]
    assert line(text, "4712-19ab40").split()[-2:] == ["4712,", "dead"]
    assert "4713" not in text
    assert line(text, "Outboxes here") == (
        "Outboxes here: 3 (1 dead), 1,246 events, oldest 40 s, 25.2 MB of 2.1 GB (1%)"
    )
    assert "lost because an outbox was full: 2 events" in text


def test_hundreds_of_outboxes_do_not_fill_the_screen() -> None:
    many = [outbox(name=f"box-{number}", waiting=number + 1) for number in range(300)]
    text = shown(snapshot_of({"tracking_log": Counts()}, *many))

    assert "box-299" in text
    assert "and 292 more" in text
    assert len(text.splitlines()) < 40


def test_a_live_screen_leaves_out_events_that_only_pass_through_an_outbox() -> None:
    passing = snapshot_of({"tracking_log": Counts()}, outbox(waiting=3, oldest_ms=NOW_MS - 50))

    assert "Waiting in outboxes" in shown(passing)
    assert "Waiting in outboxes" not in shown(passing, live=True)
    assert "Waiting in outboxes" in shown(troubled(), live=True)


def test_the_memory_of_redis_is_shown_with_its_limit() -> None:
    assert "Redis: 830.0 MB of memory in use of 1.0 GB (83%)" in shown(troubled())
    assert "Redis: 1.4 MB of memory in use, without a limit" in shown(quiet())


def test_without_redis_the_outboxes_are_shown() -> None:
    text = shown(away())

    assert "Outboxes here: 1, 5 events" in text
    assert "accepted" not in text


def test_a_live_screen_keeps_the_last_snapshot_and_says_that_it_is_old() -> None:
    text = shown(troubled(), live=True, problem="Redis at redis://redis:6379/0 does not answer")

    assert "Redis does not answer; trying again. These are its last answers:" in text
    assert "12,345,678" in text


@pytest.mark.parametrize("width", [80, 100, 140])
@pytest.mark.parametrize("make", [quiet, troubled, away], ids=["quiet", "troubled", "away"])
@pytest.mark.parametrize("live", [False, True], ids=["once", "watch"])
def test_the_table_fits_the_terminal_and_cuts_no_number(width: int, make: object, live: bool) -> None:
    found = make()  # type: ignore[operator]
    text = shown(found, width, live=live, rates={"segment": 1240.4} if live else None)

    assert max(map(len, text.splitlines())) <= width
    cut = [line for line in text.splitlines() if "…" in line and not line.startswith("segment, ")]
    assert cut == []


def test_numbers_that_do_not_fit_are_shortened() -> None:
    counts = Counts(accepted=123_456_789_012, delivered=123_456_789_012)
    text = shown(snapshot_of({"a_destination_with_a_very_long_name": counts}), 60)

    assert "123 G" in text
    assert max(map(len, text.splitlines())) <= 60


# Rates


def test_a_rate_needs_two_snapshots_and_covers_the_last_ten_seconds() -> None:
    rates = Rates()
    assert rates.add(0, {"log": 0}) == {}
    assert rates.add(1, {"log": 500}) == {"log": 500}
    for second in range(2, 31):
        found = rates.add(second, {"log": 500})
    assert found == {"log": 0}


def test_snapshots_that_are_far_apart_still_make_a_rate() -> None:
    rates = Rates()
    for number in range(5):
        found = rates.add(number * 60.0, {"log": number * 600})
    assert found == {"log": 10}


def test_a_reset_ledger_and_a_new_destination_have_no_negative_rate() -> None:
    rates = Rates()
    rates.add(0, {"log": 1_000})
    assert rates.add(1, {"log": 10, "segment": 7}) == {"log": 0, "segment": 0}


def test_a_line_that_is_too_wide_for_a_live_screen_keeps_its_end() -> None:
    error = f"Segment at https://api.segment.io answered 400 {'and so on ' * 20}because the key is wrong"
    counts = Counts(accepted=1, parked=1, last_error=error, last_error_ms=NOW_MS - 1_000)

    text = line(shown(snapshot_of({"segment": counts}), live=True), "segment, 1 s ago")

    assert len(text) == 80
    assert text.endswith("because the key is wrong")


@pytest.mark.parametrize(("delivered_ago", "waiting", "is_there"), [(60, 0, False), (60, 3, False), (200, 3, True)])
def test_a_live_screen_drops_an_error_that_is_over(delivered_ago: int, waiting: int, is_there: bool) -> None:
    counts = Counts(
        accepted=9,
        delivered=9 - waiting,
        queued=waiting,
        last_error="answered 503",
        last_error_ms=NOW_MS - 100_000,
        last_delivered_ms=NOW_MS - delivered_ago * 1000,
    )
    found = snapshot_of({"segment": counts})

    assert ("answered 503" in shown(found, live=True)) is is_there
    assert "answered 503" in shown(found)


def test_what_came_over_http_is_shown_by_source_with_what_was_refused() -> None:
    text = shown(troubled())

    assert line(text, "web ").split() == ["web", "12,345", "2", "3", "17", "4", "3", "s"]
    assert line(text, "app ").split() == ["app", "-", "-", "-", "-", "-", "never"]
    assert line(text, "old").split()[:3] == ["old,", "gone", "7"]
    assert "unknown_key: 413 refused in the last hour from https://old.example.org" in text
    assert "secret" not in text
    assert "Events over HTTP" not in shown(quiet())
