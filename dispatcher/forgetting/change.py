"""Change: what becomes of an event that names a person who is forgotten."""

from __future__ import annotations

from typing import Any, Literal, Protocol

#: As receipts say it.
How = Literal["deleted", "pseudonymised"]


class Change(Protocol):
    """One way of forgetting. It knows whom, is asked only for what names the person, and is pure."""

    @property
    def how(self) -> How:
        """Names it."""
        ...

    def line(self, line: bytes) -> bytes | None:
        """What a line of a log becomes, without its line break; None: it goes."""
        ...

    def record(self, record: dict[str, Any]) -> dict[str, Any] | None:
        """The same for a line that was read: a new object, as JSON decodes it."""
        ...


class Deletion:
    """Everything that names the person goes."""

    how: How = "deleted"

    def line(self, line: bytes) -> bytes | None:
        """Nothing."""
        return None

    def record(self, record: dict[str, Any]) -> dict[str, Any] | None:
        """Nothing."""
        return None
