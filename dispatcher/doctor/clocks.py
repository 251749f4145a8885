"""Clocks: whether another machine's time is near enough to ours."""

from __future__ import annotations

from typing import Final

from dispatcher.doctor.finding import Check, Finding

# Seconds. What NTP keeps up with anywhere.
_NEAR_SECONDS: Final = 1.0


def skew(check: Check, whose: str, *, there: float, asked: float, answered: float, lease_seconds: float) -> Finding:
    """Compare a time that was read somewhere between ``asked`` and ``answered``; all in seconds since 1970.

    A worker whose clock is ahead takes batches over before their lease has run out: with half of the shortest lease
    that is an error.
    """
    # The other clock was read at some time in between, so that much is not known.
    off = max(0.0, abs(there - (asked + answered) / 2) - (answered - asked) / 2)
    word = "ahead of" if there > answered else "behind"
    what = f"the clock of {whose} is {off:,.1f} s {word} this machine's"
    if off >= lease_seconds / 2:
        return check.error(f"{what}, and the shortest lease is {lease_seconds:g} s")
    if off >= _NEAR_SECONDS:
        return check.warning(what)
    return check.ok(f"the clock of {whose} agrees with this machine's")
