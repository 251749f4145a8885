"""Traits: what sets a destination type apart is said by its package, and known without importing the type."""

from __future__ import annotations

from importlib.metadata import EntryPoints, entry_points
from pathlib import Path

import pytest

from dispatcher import config
from dispatcher.config import Settings, Traits, destination_types
from dispatcher.config.destination_types import TYPES_GROUP, traits_of
from dispatcher.destinations.options import check_options
from dispatcher.destinations.types import load_type
from dispatcher.errors import SettingsError
from dispatcher.replay.filter import Filter
from dispatcher.replay.replay import Replay
from dispatcher.routing import Router
from tests.support.own_settings import install_types

DIARY_TRAITS = """
from dispatcher.config import Traits

TRAITS = Traits(
    defaults={"batch_events": 7, "retry": {"max_age_seconds": "never"}},
    takes_all_events=True,
    takes_direct_calls=True,
    refuses={"mapping": "a diary is kept as it is"},
    no_replay="has each day once",
    paths={"book": "diary.txt", "key_file": None},
)
"""


@pytest.fixture
def diary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package with a type whose module is not there, and with the module of its traits, which is."""
    site = install_types(
        tmp_path / "site", monkeypatch, diary="not_to_be_imported:Diary", traits={"diary": "diary_traits:TRAITS"}
    )
    site.joinpath("diary_traits.py").write_text(DIARY_TRAITS)
    return site


def load(home: Path, **destinations: dict[str, object]) -> Settings:
    file = home / "own.toml"
    file.write_text("")
    environ = {"HOME": str(home), "DISPATCHER_SETTINGS": str(file), "HERE": "/here"}
    return config.load(environ, {"destinations": destinations, "state_directory": "/state"})


@pytest.mark.usefixtures("diary")
def test_a_types_defaults_are_under_those_of_its_table(tmp_path: Path) -> None:
    tables = load(tmp_path, diary={}, other={"type": "diary", "batch_events": 9, "retry": {"factor": 3}}).destinations

    assert (tables["diary"].batch_events, tables["diary"].retry.max_age_seconds) == (7, "never")
    assert (tables["other"].batch_events, tables["other"].retry.max_age_seconds) == (9, "never")
    assert tables["other"].retry.factor == 3


@pytest.mark.usefixtures("diary")
def test_a_types_own_paths_are_made_absolute_and_have_defaults(tmp_path: Path) -> None:
    tables = load(tmp_path, diary={"key_file": "$HERE/key"}, other={"type": "diary", "book": "~/book"}).destinations

    assert tables["diary"].options == {"book": "/state/diary.txt", "key_file": "/here/key"}
    assert tables["other"].options == {"book": f"{tmp_path}/book"}


@pytest.mark.usefixtures("diary")
def test_a_type_may_take_every_event_and_direct_calls(tmp_path: Path) -> None:
    router = Router(load(tmp_path, diary={}, usual={"type": "webhook"}))

    for route in (router.route("shop.order.paid"), router.route("ada", "identify")):
        assert "diary" in route.destinations
        assert "usual" not in route.destinations


@pytest.mark.usefixtures("diary")
def test_a_type_says_why_it_refuses_a_key_of_its_table(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"destinations\.diary\.mapping.*: a diary is kept as it is"):
        load(tmp_path, diary={"mapping": [{"skip": True}]})


@pytest.mark.usefixtures("diary")
def test_a_type_says_why_nothing_is_replayed_to_it(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="diary has each day once"):
        Replay(load(tmp_path, diary={}), "diary", Filter())


def test_a_type_without_traits_has_the_usual_ones() -> None:
    assert traits_of("webhook") == traits_of("package.module:Class") == traits_of("nothing") == Traits()


@pytest.mark.parametrize(
    ("place", "error"),
    [
        ("not_there:TRAITS", "the traits of destination type 'broken' cannot be imported: No module named 'not_there'"),
        ("os:sep", "the traits of destination type 'broken' must be Traits, not '/'"),
    ],
)
def test_traits_that_cannot_be_read_are_a_mistake(
    place: str, error: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_types(tmp_path / "site", monkeypatch, broken="whatever:Broken", traits={"broken": place})

    with pytest.raises(SettingsError) as caught:
        load(tmp_path, broken={"path": "here"})

    assert caught.value.problems == (f"configure(): destinations.broken: {error}",)


def test_a_type_is_found_that_was_installed_while_the_process_ran(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    with pytest.raises(SettingsError, match="unknown destination type 'diary'"):
        load(tmp_path, diary={})

    site = install_types(tmp_path / "site", monkeypatch, diary="a:B", traits={"diary": "diary_traits_of_late:TRAITS"})
    site.joinpath("diary_traits_of_late.py").write_text(DIARY_TRAITS)

    assert load(tmp_path, diary={}).destinations["diary"].batch_events == 7


@pytest.mark.parametrize("name", config.installed_types())
def test_the_traits_of_each_installed_type_are_those_of_its_class(name: str) -> None:
    assert load_type(name).traits == traits_of(name)


def test_a_class_whose_traits_are_not_installed_is_a_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = "dispatcher.tasks.destinations.tracking_log:TrackingLog"
    install_types(tmp_path / "site", monkeypatch, diary=place)

    (problem,) = check_options(load(tmp_path, diary={"path": "/diary", "events": ["*"]}))

    assert problem.startswith("settings: destinations.diary: the traits of destination type 'diary' are not those that")


def test_a_class_that_is_named_by_its_path_is_an_ordinary_destination(tmp_path: Path) -> None:
    place = "dispatcher.tasks.destinations.tracking_log:TrackingLog"
    table = {"type": place, "path": "/diary", "events": ["*"], "mapping": [{"skip": True}]}

    assert check_options(load(tmp_path, diary=table)) == []


def test_a_browser_destination_cannot_be_named_by_its_path(tmp_path: Path) -> None:
    place = "dispatcher.destinations.browser.qualaroo:Qualaroo"

    (problem,) = check_options(load(tmp_path, page={"type": place, "events": ["*"]}))

    assert "dispatcher.destination_traits" in problem


def test_an_installation_older_than_the_checkout_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def without_traits(**_: str) -> EntryPoints:
        return entry_points(group=TYPES_GROUP)

    monkeypatch.setattr(destination_types, "entry_points", without_traits)
    destination_types._entry_points.cache_clear()
    try:
        with pytest.raises(SettingsError, match="installed from an older checkout: install it again"):
            traits_of("tracking_log")
    finally:
        destination_types._entry_points.cache_clear()
