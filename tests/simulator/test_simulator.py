"""Random histories hold; the simulator notices spoilt code; and a seed always gives the same history."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from dispatcher.outbox import Reader
from dispatcher.relay.journal_progress import JournalProgress
from dispatcher.relay.relay import Relay
from dispatcher.store.batches import BatchStore
from dispatcher.store.counts import NOT_TAKEN
from dispatcher.store.put import Put
from tests.simulator.__main__ import main, summary
from tests.simulator.ground import Ground
from tests.simulator.history import History, play_seed
from tests.simulator.minimise import minimise
from tests.simulator.plan import TROUBLES, plan_of
from tests.simulator.report import MARKS
from tests.simulator.run import Totals, run

# A process that is killed while it opens a file leaves it to the garbage collector; a real one leaves it to the system.
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:Exception ignored in. .*ScandirIterator"),
]

# Seeds of each case: those of all of them take about 15 seconds of two processors.
# `python -m tests.simulator` plays as many as are wanted.
_MIXED = 200
_ALONE = 12
_TOGETHER = 30

#: Troubles that belong together: each of these has lost or doubled something once.
_PAIRS = (
    ("roll back", "kill relay", "start relay"),
    ("roll back", "kill web", "end"),
    ("roll back", "fault", "arrive"),
    ("roll back", "settings", "kill relay"),
    ("roll back", "claim", "deliver", "settle", "lease"),
    ("wipe", "kill relay", "fault"),
    ("week", "kill relay", "kill web", "lease"),
    ("disk", "kill relay", "kill web"),
)


@pytest.fixture
def ground() -> Iterator[Ground]:
    with Ground() as found:
        yield found


def assert_holds(ground: Ground, totals: Totals, troubles: tuple[str, ...] = ()) -> None:
    """Fails with the shortest form of the first history that does not hold."""
    if not totals.failures:
        return
    seed = min(totals.failures)
    shortest = minimise(ground, play_seed(ground, seed, troubles=troubles))
    story = "\n".join([*shortest.story, summary(shortest)])
    raise AssertionError(f"{totals.everything.failed} of {totals.everything.histories}: {dict(totals.kinds)}\n{story}")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_histories_with_all_troubles_lose_and_double_nothing() -> None:
    totals = run(range(_MIXED), processes=min(2, os.cpu_count() or 1))
    with Ground() as ground:
        assert_holds(ground, totals)


@pytest.mark.parametrize("trouble", TROUBLES)
def test_histories_with_one_kind_of_trouble_lose_and_double_nothing(ground: Ground, trouble: str) -> None:
    assert_holds(ground, run_on(ground, _ALONE, (trouble,)), (trouble,))


@pytest.mark.parametrize("troubles", _PAIRS, ids=" and ".join)
def test_histories_with_combined_troubles_lose_and_double_nothing(ground: Ground, troubles: tuple[str, ...]) -> None:
    assert_holds(ground, run_on(ground, _TOGETHER, troubles), troubles)


def run_on(ground: Ground, seeds: int, troubles: tuple[str, ...]) -> Totals:
    totals = Totals()
    for seed in range(seeds):
        totals.add(seed, play_seed(ground, seed, troubles=troubles).result)
    return totals


def test_a_seed_always_gives_the_same_history(ground: Ground) -> None:
    for seed in range(20):
        first = play_seed(ground, seed, is_told=True)
        assert play_seed(ground, seed, is_told=True).story == first.story


def test_a_plan_limited_to_some_troubles_has_no_others() -> None:
    for seed in range(50):
        found = {action.kind for action in plan_of(seed, ("wipe", "week"))} & set(TROUBLES)
        assert found <= {"wipe", "week"}


# What the simulator has to see: the code is spoilt, and quiet histories with one kind of trouble do not hold any more.


def first_failure(ground: Ground, troubles: tuple[str, ...], *, most: int = 300) -> History:
    for seed in range(most):
        history = play_seed(ground, seed, troubles=troubles)
        if not history.result.holds:
            return history
    raise AssertionError(f"all {most} hold")


def kinds(history: History) -> set[str]:
    return {problem.partition(":")[0] for problem in history.result.problems}


def test_the_simulator_notices_a_relay_that_does_not_wait_for_the_store(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish = Relay._publish

    def hasty(relay: Relay, puts: list[Put]) -> None:
        try:
            publish(relay, puts)
        except Exception:
            return

    monkeypatch.setattr(Relay, "_publish", hasty)
    assert "lost" in kinds(first_failure(ground, ("fault",)))


def test_the_simulator_notices_a_relay_that_deletes_journals_too_early(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Relay, "_keep_within_limits", Relay._discard_put)
    assert kinds(first_failure(ground, ("wipe",))) & {"lost", "letters"}


def test_the_simulator_notices_a_reader_that_skips_an_event(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = Reader.commit
    monkeypatch.setattr(Reader, "commit", lambda reader, position: commit(reader, position + 8))
    assert not first_failure(ground, ("kill relay",)).result.holds


def test_the_simulator_notices_a_range_that_is_split_differently_later(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(JournalProgress, "record", lambda *_: None)
    assert not first_failure(ground, ("roll back", "deliver")).result.holds


def test_the_simulator_notices_lost_dead_letters(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    put = BatchStore.put_and_ring

    def forgetful(store: BatchStore, puts: list[Put], *, here: bool) -> object:
        return put(store, [one for one in puts if one.destination != NOT_TAKEN], here=here)

    monkeypatch.setattr(BatchStore, "put_and_ring", forgetful)
    assert "letters" in kinds(first_failure(ground, ()))


def test_a_failing_seed_is_reported_in_its_shortest_form(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Relay, "_keep_within_limits", Relay._discard_put)
    whole = first_failure(ground, ("wipe",))
    shortest = minimise(ground, whole)
    assert len(shortest.kept) <= min(8, len(whole.kept))
    assert "Redis comes back empty" in "\n".join(shortest.story)
    keep = ",".join(map(str, shortest.kept))
    assert f'--seed {whole.seed} --only "wipe" --keep {keep}' in summary(shortest)
    assert kinds(play_seed(ground, whole.seed, troubles=("wipe",), kept=shortest.kept)) & kinds(whole)


def test_the_table_goes_into_a_page_and_the_numbers_into_a_file(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n{}\n{}\nafter\n".format(*MARKS))
    told = CliRunner().invoke(
        main,
        [
            "--seeds",
            "5",
            "--only",
            "lease",
            "--json",
            str(tmp_path / "found.json"),
            "--markdown",
            str(page),
        ],
    )
    assert told.exit_code == 0, told.output
    assert "all 5 hold" in told.output
    assert "| anything | 5 |" in page.read_text()
    assert '"seeds": 5' in (tmp_path / "found.json").read_text()
