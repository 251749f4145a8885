"""Clocks: whether another machine's time is near enough to ours."""

from __future__ import annotations

from typing import Final

from dispatcher.doctor.finding import Check, Finding

# Seconds. What NTP keeps up with anywhere.
_NEAR_SECONDS: Final = 1.0


def skew(check: Check, whose: str, *, there: float, asked: float, answered: float) -> Finding:
    """Compare a time that was read somewhere between ``asked`` and ``answered``; all in seconds since 1970.

    Never an error, since leases and due times are told by Redis' clock alone. But events carry the time of the machine
    that they were emitted on.
    """
    # The other clock was read at some time in between, so that much is not known.
    off = max(0.0, abs(there - (asked + answered) / 2) - (answered - asked) / 2)
    word = "ahead of" if there > answered else "behind"
    what = f"the clock of {whose} is {off:,.1f} s {word} this machine's"
    if off >= _NEAR_SECONDS:
        return check.warning(what)
    return check.ok(f"the clock of {whose} agrees with this machine's")
