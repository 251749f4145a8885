"""What every destination type that comes with dispatcher says of itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel, SecretStr

from dispatcher.config.destination_types import installed_types
from dispatcher.destinations.base import ONLY_WITH, BaseDestination
from dispatcher.destinations.deletion import describe
from dispatcher.destinations.types import load_type
from dispatcher.doctor.checks.destinations import urls

TYPES = {name: load_type(name) for name in installed_types()}


@pytest.mark.parametrize("name", sorted(TYPES))
def test_a_type_says_what_becomes_of_a_person_who_is_forgotten(name: str) -> None:
    type_ = TYPES[name]
    assert type_.deletion != "unknown"
    # Where `dispatcher forget` does not do it all, there is something left for who runs the site.
    assert type_.deletion_steps or name == "tracking_log"
    assert not type_.deletion_steps or type_.deletion_steps.endswith(".")
    if type_.deletion == "here":
        assert type_.places is not BaseDestination.places
    assert name in describe(name, type_.deletion, type_.deletion_steps)


def _conditional() -> Iterator[tuple[str, str, str]]:
    """Each option that is an address only together with another one."""
    for name, type_ in TYPES.items():
        for option, field in type_.Options.model_fields.items():
            extra: Any = field.json_schema_extra
            if isinstance(extra, dict) and ONLY_WITH in extra:
                yield name, option, str(extra[ONLY_WITH])


@pytest.mark.parametrize(("name", "option", "needed"), [*_conditional()])
def test_nothing_is_sent_to_an_address_without_what_it_is_for(name: str, option: str, needed: str) -> None:
    options = TYPES[name].Options
    assert needed in options.model_fields
    host = "only-with.example"
    given = _filled(options, {option: f"https://{host}"})
    assert host not in _hosts(given)
    assert host in _hosts(given.model_copy(update={needed: SecretStr("a-token")}))


def test_some_type_has_such_an_address() -> None:
    assert {name for name, _, _ in _conditional()} == {"firebase", "google_analytics", "segment"}


def _filled(options: type[BaseModel], given: dict[str, Any]) -> BaseModel:
    """Options without a check of what else the type needs."""
    required = {option: None for option, field in options.model_fields.items() if field.is_required()}
    return options.model_construct(**{**required, **given})


def _hosts(options: BaseModel) -> set[str]:
    return {url.hostname or "" for url in urls(options).values()}
