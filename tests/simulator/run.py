"""Run: many seeds, in one process or several, each with a Redis of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from multiprocessing import get_context
from typing import Final

from tests.simulator.ground import Ground
from tests.simulator.history import play_seed
from tests.simulator.result import Result

# Seeds that a process plays with one Redis, whose start takes a tenth of a second.
_PORTION: Final = 250
# Failing seeds whose problems are kept; all are counted.
_MOST_FAILURES: Final = 1000


@dataclass(slots=True)
class Group:
    """The results of the histories in which one kind of action was played."""

    histories: int = 0
    played: int = 0
    emitted: int = 0
    refused: int = 0
    failed: int = 0
    log_doubled: int = 0
    again: int = 0

    def add(self, result: Result, played: int) -> None:
        """Add a history, in which the action was played ``played`` times."""
        self.histories += 1
        self.played += played
        self.emitted += result.emitted
        self.refused += result.refused
        self.failed += not result.holds
        self.log_doubled += result.log_doubled
        self.again += result.again


@dataclass(slots=True)
class Totals:
    """The results of many histories.

    Args:
        everything: All histories.
        by_action: The histories with each kind of action.
        kinds: How many histories had each kind of problem.
        permitted: The number of events lost or doubled for each permitted reason.
        failures: The failing seeds, with their problems.
    """

    everything: Group = field(default_factory=Group)
    by_action: dict[str, Group] = field(default_factory=dict)
    kinds: Counter[str] = field(default_factory=Counter)
    permitted: Counter[str] = field(default_factory=Counter)
    failures: dict[int, list[str]] = field(default_factory=dict)

    def add(self, seed: int, result: Result) -> None:
        """Add the history of a seed."""
        self.everything.add(result, result.happened.total())
        for kind, played in result.happened.items():
            self.by_action.setdefault(kind, Group()).add(result, played)
        self.kinds.update({problem.partition(":")[0] for problem in result.problems})
        self.permitted.update({reason: n for reason, n in result.permitted.items() if n})
        if not result.holds and len(self.failures) < _MOST_FAILURES:
            self.failures[seed] = result.problems


def run(
    seeds: range,
    *,
    troubles: Sequence[str] = (),
    processes: int = 1,
    on_progress: Callable[[int, Totals], None] = lambda played, totals: None,
) -> Totals:
    """Play all seeds. ``on_progress`` gets the number played since its last call, and the totals so far."""
    totals = Totals()
    portions = [seeds[at : at + _PORTION] for at in range(0, len(seeds), _PORTION)]
    if processes == 1:
        for portion in portions:
            for seed, result in _play(portion, tuple(troubles)):
                totals.add(seed, result)
                on_progress(1, totals)
        return totals
    # Spawned: a forked child would inherit this process's files without its threads.
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        waiting = [pool.submit(_play_all, portion, tuple(troubles)) for portion in portions]
        for future in as_completed(waiting):
            found = future.result()
            for seed, result in found:
                totals.add(seed, result)
            on_progress(len(found), totals)
    return totals


def _play(seeds: range, troubles: tuple[str, ...]) -> Iterator[tuple[int, Result]]:
    with Ground() as ground:
        for seed in seeds:
            yield seed, play_seed(ground, seed, troubles=troubles).result


def _play_all(seeds: range, troubles: tuple[str, ...]) -> list[tuple[int, Result]]:
    return list(_play(seeds, troubles))
