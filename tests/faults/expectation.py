"""Expectation: what a case may end with, apart from losing nothing."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """What is permitted at the end of a case. Lost events never are.

    Args:
        repeats: Whether the sink may take a message twice.
        exact: Whether the ledger must equal the count; False if Redis lost its own numbers.
        restarts: Whether workers may end by themselves.
        refusals: Whether emit may refuse events.
        dead_letters: Whether good events may become dead letters.
        damage: Whether journals may be damaged.
        quiet_seconds: How long nothing more may arrive once everything has.
        patience_seconds: How long everything may take to arrive.
    """

    repeats: bool = False
    exact: bool = True
    restarts: bool = False
    refusals: bool = False
    dead_letters: bool = False
    damage: bool = False
    quiet_seconds: float = 0.3
    patience_seconds: float = 90.0
