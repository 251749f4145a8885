"""The check that ends every case, and the cases that run with every run of the tests."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from random import SystemRandom

import pytest
from click.testing import CliRunner

from tests.faults.__main__ import main
from tests.faults.account import Account
from tests.faults.cases import CASES
from tests.faults.count import LOG, SEGMENT, Count, check
from tests.faults.expectation import Expectation
from tests.faults.numbering import for_segment, is_poison, key
from tests.faults.page import TAGS
from tests.faults.progress import WORDS, Emitted, progress_path, read_emitted
from tests.faults.report import MARKS, line, markdown, write_between
from tests.faults.runner import Result, play

EVENTS = frozenset(key(0, 0, n) for n in range(8))


def counted(emitted: Emitted) -> Count:
    """Everything as it should be."""
    due = for_segment(emitted.sure)
    numbers = {
        "accepted": len(emitted.sure),
        "dead": 0,
        "filtered": 0,
        "duplicates": 0,
        "waiting": 0,
        "retried": 0,
        "closes": True,
    }
    return Count(
        emitted=emitted,
        lines=Counter(emitted.sure),
        seen=Counter(f"id-{one}" for one in due),
        taken=Counter(f"id-{one}" for one in due),
        keys={f"id-{one}": one for one in emitted.sure},
        ledger={LOG: {**numbers, "delivered": len(emitted.sure)}, SEGMENT: {**numbers, "delivered": len(due)}},
    )


@pytest.fixture
def count() -> Count:
    return counted(Emitted(EVENTS, frozenset(), 0))


def test_a_count_with_everything_once_holds(count: Count) -> None:
    account = check(count, Expectation())
    assert account.holds, account.problems
    assert (account.emitted, account.lines, account.due, account.taken) == (8, 8, 6, 6)


def test_an_event_without_a_line_is_lost(count: Count) -> None:
    account = check(replace(count, lines=Counter(EVENTS - {"0.0.3"})), Expectation(exact=False))
    assert account.log_lost == 1
    assert account.problems == ("1 events have no line, such as 0.0.3",)


def test_a_second_line_is_a_problem_even_if_repeats_are_allowed(count: Count) -> None:
    account = check(replace(count, lines=count.lines + Counter({"0.0.3": 1})), Expectation(repeats=True))
    assert account.log_doubled == 1
    assert account.problems == ("1 events have more than one line, such as 0.0.3",)


def test_an_event_whose_process_died_in_emit_may_be_there_or_not(count: Count) -> None:
    unsure = Emitted(EVENTS - {"0.0.3"}, frozenset({"0.0.3", "0.0.7"}), 0)
    assert check(replace(count, emitted=unsure), Expectation()).holds


def test_a_line_of_an_event_that_emit_refused_is_a_problem(count: Count) -> None:
    account = check(replace(count, emitted=Emitted(EVENTS - {"0.0.3"}, frozenset(), 1)), Expectation(refusals=True))
    assert account.problems == ("1 lines of events that emit did not take, such as 0.0.3",)


def test_a_refused_event_is_a_problem_unless_refusals_are_allowed(count: Count) -> None:
    refused = replace(count, emitted=replace(count.emitted, refused=1))
    assert check(refused, Expectation(refusals=True)).holds
    assert check(refused, Expectation()).problems == ("emit refused 1 events",)


def test_events_emitted_shortly_before_a_power_cut_may_be_there_or_not(tmp_path: Path) -> None:
    for number in range(3):
        progress_path(tmp_path, number).write_bytes(WORDS.pack(6, 5) + WORDS.pack(2, 2))
    emitted = read_emitted(tmp_path, 3, {1: [3, 2], 2: []})
    assert {one for one in emitted.sure if one.startswith("0")} == {key(0, 0, n) for n in range(5)} | {"0.1.0", "0.1.1"}
    assert {one for one in emitted.sure if one.startswith("1")} == {key(1, 0, n) for n in range(3)} | {"1.1.0", "1.1.1"}
    assert {one for one in emitted.unsure if one.startswith("1")} == {"1.0.3", "1.0.4", "1.0.5"}
    assert not {one for one in emitted.sure if one.startswith("2")}
    assert len({one for one in emitted.unsure if one.startswith("2")}) == 8


def test_a_message_taken_twice_is_a_problem_unless_repeats_are_allowed(count: Count) -> None:
    again = replace(count, taken=count.taken + Counter({"id-0.0.1": 1}))
    assert check(again, Expectation(repeats=True)).holds
    account = check(again, Expectation())
    assert account.again == 1
    assert account.problems == ("1 events were taken by the sink more than once, such as 0.0.1",)


def test_an_event_missing_at_the_sink_is_lost_unless_it_is_poison_and_dead() -> None:
    emitted = Emitted(frozenset(key(0, 0, n) for n in range(600)), frozenset(), 0)
    count = counted(emitted)
    [poison] = [one for one in emitted.sure if is_poison(int(one.split(".")[2]))]
    taken = Counter({one: 1 for one in count.taken if one != f"id-{poison}"})
    count = replace(count, taken=taken, ledger={})
    assert check(count, Expectation(exact=False)).sink_lost == 1
    dead = replace(count, dead=frozenset({poison}))
    assert check(replace(dead, poison=True), Expectation(exact=False)).holds
    assert "good events became dead letters" in check(dead, Expectation(exact=False)).problems[0]


HANDED = Counter({(one.rpartition(".")[0], one): 1 for one in for_segment(EVENTS)})


@pytest.mark.parametrize(
    ("handed", "problem"),
    [
        (HANDED - Counter([("0.0", "0.0.1")]), "1 events were neither handed over nor dead, such as 0.0.1"),
        (HANDED + Counter([("0.0", "0.0.1")]), "1 events were handed over twice, such as 0.0.1"),
        (HANDED + Counter([("0.1", "0.0.1")]), "1 events were handed to another visitor, such as 0.0.1"),
        (HANDED + Counter([("0.0", "0.0.3")]), "1 events were handed over that are not for pages, such as 0.0.3"),
    ],
    ids=["lost", "twice", "another visitor", "another route"],
)
def test_what_pages_handed_over_is_counted(count: Count, handed: Counter[tuple[str, str]], problem: str) -> None:
    numbers = {**count.ledger[SEGMENT], "delivered": len(HANDED)}
    good = replace(count, handed=HANDED, ledger={**count.ledger, TAGS: numbers})

    assert check(good, Expectation()).holds
    assert problem in check(replace(good, handed=handed), Expectation()).problems
    dead = replace(good, dead_of_pages=frozenset({"0.0.1"}))
    assert "1 events for pages became dead letters, such as 0.0.1" in check(dead, Expectation()).problems


def test_a_ledger_that_differs_from_the_count_is_a_problem(count: Count) -> None:
    wrong = {**count.ledger, LOG: {**count.ledger[LOG], "delivered": 9, "closes": False}}
    stories = check(replace(count, ledger=wrong), Expectation()).problems
    assert "does not close" in stories[0]
    assert stories[1] == "the ledger of tracking_log says 9 delivered, and 8 were counted"


@pytest.fixture
def result() -> Result:
    account = Account(emitted=8, lines=7, log_lost=1, due=6, taken=6, problems=("1 events have no line",))
    return Result(case=CASES["kill_web"], account=account, seed=5, seconds=3.2)


def test_the_line_of_a_case_names_its_problems(result: Result) -> None:
    assert "lost 1" in line(result)
    assert "1 events have no line" in line(result)


def test_the_table_is_written_between_the_two_marks_of_a_page(result: Result, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{MARKS[0]}\nold\n{MARKS[1]}\nafter\n")
    write_between(page, markdown([result], seed=5))
    text = page.read_text()
    assert text.startswith(f"before\n{MARKS[0]}\n")
    assert text.endswith(f"{MARKS[1]}\nafter\n")
    assert "old" not in text
    assert "python -m tests.faults --only kill_web --seed 5" in text
    page.write_text("no marks")
    with pytest.raises(ValueError, match="needs the lines"):
        write_between(page, "")


def test_the_cases_can_be_listed_without_being_played() -> None:
    listed = CliRunner().invoke(main, ["--list"])
    assert listed.exit_code == 0
    assert {entry.split()[0] for entry in listed.output.splitlines()} == set(CASES)


@pytest.mark.slow
@pytest.mark.parametrize("name", [case.name for case in CASES.values() if case.in_tests])
def test_nothing_is_lost_and_no_line_comes_twice(name: str) -> None:
    seed = SystemRandom().randrange(1 << 32)
    result = play(CASES[name], seed=seed, short=True, keep=True)
    assert result.account.holds, f"python -m tests.faults --short --only {name} --seed {seed}\n{line(result)}"
