"""Can a person be forgotten: is the list of those who are readable, and what do the destinations offer?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from dispatcher.destinations.deletion import Deletion, describe
from dispatcher.destinations.types import load_type
from dispatcher.doctor.deployment import Deployment
from dispatcher.doctor.finding import Check, Finding
from dispatcher.errors import DispatcherError, SettingsError
from dispatcher.monitoring.units import count_text
from dispatcher.suppression.suppression_list import suppression_list

LIST: Final = Check(
    "forgetting.list",
    "Whether the list of who is to be forgotten on this host can be read; until then they are let through.",
    "let the users of relays and workers read `forgetting` in the state directory, or take it from a backup",
)
DELETION: Final = Check(
    "forgetting.deletion",
    "What each destination offers for a person who is to be forgotten.",
    "take personal data out by [destinations.{name}.privacy], and tell people for how long the vendor keeps events",
)

CHECKS: Final = (LIST, DELETION)


def check(deployment: Deployment) -> Iterator[Finding]:
    """The list, then every enabled destination."""
    yield readable(deployment.settings.state_directory)
    for name, table in deployment.destinations.items():
        try:
            type_ = load_type(table.type)
        except SettingsError:
            continue  # settings.valid has reported it
        yield deletion(name, type_.deletion, type_.deletion_steps)


def readable(state_directory: Path) -> Finding:
    """Whether the list can be read."""
    try:
        people = len(suppression_list(state_directory).people())
    except (OSError, DispatcherError) as error:
        return LIST.error(f"it cannot be read: {error}")
    return LIST.ok(f"it has {count_text(people, 'person', 'people')}" if people else "nobody is on it")


def deletion(name: str, offered: Deletion, steps: str) -> Finding:
    """What a destination offers, and what is left to do there."""
    what = describe(name, offered, steps)
    return DELETION.note(what, name=name) if offered in ("hidden", "never") else DELETION.ok(what)
