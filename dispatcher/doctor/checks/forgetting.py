"""Can a person be forgotten: is the list of those who are readable, and what do the destinations offer?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dispatcher.destinations.types import load_type
from dispatcher.doctor.deployment import Deployment
from dispatcher.doctor.finding import Check, Finding
from dispatcher.errors import DispatcherError, SettingsError
from dispatcher.monitoring.units import count_text
from dispatcher.suppression.suppression_list import suppression_list

if TYPE_CHECKING:
    from dispatcher.destinations.base import Deletion

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

_OFFERS: Final[Mapping[Deletion, str]] = {
    "here": "`dispatcher forget` takes a person out of {name}",
    "on_request": "the vendor of {name} deletes a person on request",
    "by_hand": "who runs {name} can delete a person there",
    "unknown": "{name} does not say how a person is deleted there: ask who runs it",
    "hidden": "{name} can hide what it has of a person, and not delete it",
    "never": "{name} cannot delete what it has of a person: it stays until it expires",
}


def check(deployment: Deployment) -> Iterator[Finding]:
    """The list, then every enabled destination."""
    yield readable(deployment.settings.state_directory)
    for name, table in deployment.destinations.items():
        try:
            offered = load_type(table.type).deletion
        except SettingsError:
            continue  # settings.valid has reported it
        yield deletion(name, offered)


def readable(state_directory: Path) -> Finding:
    """Whether the list can be read."""
    try:
        people = len(suppression_list(state_directory).people())
    except (OSError, DispatcherError) as error:
        return LIST.error(f"it cannot be read: {error}")
    return LIST.ok(f"it has {count_text(people, 'person', 'people')}" if people else "nobody is on it")


def deletion(name: str, offered: Deletion) -> Finding:
    """What a destination offers."""
    what = _OFFERS[offered].format(name=name)
    return DELETION.note(what, name=name) if offered in ("hidden", "never") else DELETION.ok(what)
