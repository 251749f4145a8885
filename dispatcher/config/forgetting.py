"""The tables of what is forgotten and of what is kept: where exports are, and who is held."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Final, Self

from pydantic import Field, StringConstraints, field_validator, model_validator

from dispatcher.config.base import Count, Table

# A folder of a bucket. A password or a query has no place in it.
_ADDRESS: Final = r"^(s3|s3a|gs|az|abfs|abfss)://[^:?#\s]+$"


class HoldSettings(Table):
    """A legal hold: what must stay as it is, whoever asks to be forgotten and however old it is."""

    reason: str = Field(description="Why, for who is told that something stays.")
    users: tuple[str, ...] = Field((), description="Ids, names and e-mail addresses of who must not be forgotten.")
    since: date | None = Field(None, description="Files with events of that day, in UTC, or later are not deleted.")
    until: date | None = Field(None, description="Files with events before that day are not deleted.")

    @model_validator(mode="after")
    def _holds_something(self) -> Self:
        if not self.users and self.since is None and self.until is None:
            raise ValueError("it holds nothing: give users, since or until")
        return self

    def covers(self, oldest: date, newest: date) -> bool:
        """Whether it holds a file with events of these days."""
        if self.since is None and self.until is None:
            return False
        return (self.since is None or newest >= self.since) and (self.until is None or oldest < self.until)


class ForgettingSettings(Table):
    """`dispatcher forget`: where a person is looked for besides logs, outboxes and the batch store."""

    directories: tuple[Path, ...] = Field(
        (), description="Exports, and copies of logs; everything in them is looked at."
    )
    buckets: tuple[Annotated[str, StringConstraints(pattern=_ADDRESS)], ...] = Field(
        (), description="The same in folders of buckets, such as s3://logs/tracking; credentials are the environment's."
    )
    max_share: float = Field(
        0.01, gt=0, le=1, description="The fraction of all events that may name one person; beyond it nothing is done."
    )

    @field_validator("directories")
    @classmethod
    def _check_directories(cls, directories: tuple[Path, ...]) -> tuple[Path, ...]:
        if any(":" in path.parts[0] for path in directories if path.parts):
            raise ValueError("must be directories: the address of a bucket's folder goes into forgetting.buckets")
        return directories


class RetentionSettings(Table):
    """`dispatcher retention`: what is deleted for its age, by the times of its events."""

    log_days: Count | None = Field(None, description="Age of rotated tracking logs, whole files. Absent: they stay.")
    export_days: Count | None = Field(
        None, description="Age of days of exports in `forgetting.directories`. Absent: they stay."
    )
    dead_letter_days: Count | None = Field(None, description="Age of files of dead letters. Absent: they stay.")
    holds: Mapping[Annotated[str, StringConstraints(pattern=r"^\w[\w.\-]*$")], HoldSettings] = Field(
        default_factory=dict, description="A table for each legal hold, under a name. A hold wins over everything."
    )
