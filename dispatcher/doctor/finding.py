"""Finding: what a check has found, and the remedy, of which each check has one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "note", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Finding:
    """The answer of one check.

    Args:
        check: The name of the check, such as ``redis.eviction``.
        level: ``error`` loses or holds up events, or will; ``warning`` may; ``note`` informs; ``ok`` is fine.
        what: What was found, in one sentence without a full stop. Holds no credential.
        remedy: What to do about it, in one sentence; empty if there is nothing to do.
    """

    check: str
    level: Level
    what: str
    remedy: str = ""

    @property
    def area(self) -> str:
        """The part of the deployment that it belongs to."""
        return self.check.partition(".")[0]


@dataclass(frozen=True, slots=True)
class Check:
    """One question about a deployment.

    Args:
        name: Its area, a full stop, and its own name.
        description: What it checks, for the reference.
        remedy: What to do about a bad answer. Names in braces are filled from the facts of the finding.
    """

    name: str
    description: str
    remedy: str

    def ok(self, what: str) -> Finding:
        """All is well."""
        return Finding(self.name, "ok", what)

    def skipped(self, why: str) -> Finding:
        """It could not be checked, or not now. If that is bad, another finding says so."""
        return Finding(self.name, "note", f"not checked: {why}")

    def note(self, what: str, **facts: object) -> Finding:
        """Good to know."""
        return self.finding("note", what, **facts)

    def warning(self, what: str, **facts: object) -> Finding:
        """It may go wrong."""
        return self.finding("warning", what, **facts)

    def error(self, what: str, **facts: object) -> Finding:
        """It goes wrong."""
        return self.finding("error", what, **facts)

    def finding(self, level: Level, what: str, **facts: object) -> Finding:
        """A finding of any level, with the check's remedy. ``facts`` are for the names in its braces."""
        return Finding(self.name, level, what, self.remedy.format_map(facts))
