"""Clocks: whether the time of another machine agrees with this one's."""

from __future__ import annotations

from typing import Final

from dispatcher.doctor.finding import Check, Finding

# NTP keeps clocks nearer to each other than that anywhere.
_NEAR_SECONDS: Final = 1.0


def skew(check: Check, whose: str, *, there: float, asked: float, answered: float) -> Finding:
    """Compare the clock of another machine with this one's. All times are in seconds since 1970.

    Never an error: leases and due times go by Redis' clock alone. But the timestamp of an event is that of the machine
    that emitted it.

    Args:
        check: Whose finding it is.
        whose: The other machine, for people.
        there: Its time, which it read between ``asked`` and ``answered``.
        asked: When it was asked, by this machine's clock.
        answered: When the answer had come, by this machine's clock.
    """
    # The other clock was read at some time in between, which is known no better than that.
    off = max(0.0, abs(there - (asked + answered) / 2) - (answered - asked) / 2)
    word = "ahead of" if there > answered else "behind"
    what = f"the clock of {whose} is {off:,.1f} s {word} this machine's"
    if off >= _NEAR_SECONDS:
        return check.warning(what)
    return check.ok(f"the clock of {whose} agrees with this machine's")
