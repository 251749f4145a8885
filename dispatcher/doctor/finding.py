"""Finding: what a check has seen, and the one way out that belongs to the check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "note", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Args:
        check: The name of the check, such as ``redis.eviction``.
        level: ``error`` loses or holds up events, or will; ``warning`` may; ``note`` is for information.
        what: What was found, in one sentence without a full stop. Holds no credential.
        way_out: What to do about it, in one sentence; empty where nothing is to be done.
    """

    check: str
    level: Level
    what: str
    way_out: str = ""

    @property
    def area(self) -> str:
        """The part of the deployment that it belongs to."""
        return self.check.partition(".")[0]


@dataclass(frozen=True, slots=True)
class Check:
    """One question about a deployment.

    Args:
        name: Its area, a full stop, and its own name.
        asks: What it looks at, for the reference.
        way_out: What to do where the answer is bad. Names in braces are filled from the facts of the finding.
    """

    name: str
    asks: str
    way_out: str

    def ok(self, what: str) -> Finding:
        """All is well."""
        return Finding(self.name, "ok", what)

    def skipped(self, why: str) -> Finding:
        """It could not be looked at, or not now; another finding says so where that is bad."""
        return Finding(self.name, "note", f"not looked at: {why}")

    def note(self, what: str, **facts: object) -> Finding:
        """Good to know."""
        return self.found("note", what, **facts)

    def warning(self, what: str, **facts: object) -> Finding:
        """It may go wrong."""
        return self.found("warning", what, **facts)

    def error(self, what: str, **facts: object) -> Finding:
        """It goes wrong."""
        return self.found("error", what, **facts)

    def found(self, level: Level, what: str, **facts: object) -> Finding:
        """A finding of any level, with the check's way out."""
        return Finding(self.name, level, what, self.way_out.format_map(facts))
