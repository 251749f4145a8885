"""Minimise: finds the few actions of a history that cause the same problem."""

from __future__ import annotations

from tests.simulator.ground import Ground
from tests.simulator.history import History, play_seed


def minimise(ground: Ground, history: History) -> History:
    """Leave out actions: halves first, then ever smaller parts, until none can be left out."""
    wanted = _kinds(history)
    best = history
    size = max(1, len(best.kept) // 2)
    while True:
        found = _without_part(ground, best, size, wanted)
        if found is not None:
            best = found
            size = min(size, max(1, len(best.kept) // 2))
        elif size == 1:
            return play_seed(ground, best.seed, troubles=best.troubles, kept=best.kept, is_told=True)
        else:
            size //= 2


def _without_part(ground: Ground, history: History, size: int, wanted: frozenset[str]) -> History | None:
    for start in range(0, len(history.kept), size):
        kept = history.kept[:start] + history.kept[start + size :]
        shorter = play_seed(ground, history.seed, troubles=history.troubles, kept=kept)
        if _kinds(shorter) & wanted:
            return shorter
    return None


def _kinds(history: History) -> frozenset[str]:
    return frozenset(problem.partition(":")[0] for problem in history.result.problems)
