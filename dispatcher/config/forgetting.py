"""The tables of what is forgotten and of what is kept: where exports are, and who is held."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field, StringConstraints

from dispatcher.config.base import Table


class HoldSettings(Table):
    """A legal hold: who must not be forgotten, whoever asks."""

    reason: str = Field(description="Why, for who is told that something stays.")
    users: tuple[str, ...] = Field(description="Identifiers of people: ids, names, e-mail addresses.")


class ForgettingSettings(Table):
    """`dispatcher forget`: where a person is looked for besides logs, outboxes and the batch store."""

    directories: tuple[Path, ...] = Field(
        (), description="Exports, and copies of logs; everything in them is looked at."
    )
    max_share: float = Field(
        0.01, gt=0, le=1, description="The fraction of all events that may name one person; beyond it nothing is done."
    )


class RetentionSettings(Table):
    """What must stay."""

    holds: Mapping[Annotated[str, StringConstraints(pattern=r"^\w[\w.\-]*$")], HoldSettings] = Field(
        default_factory=dict, description="A table for each legal hold, under a name. A hold wins over everything."
    )
