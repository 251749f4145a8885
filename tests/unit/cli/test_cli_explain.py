"""``dispatcher explain NAME``: what it says, in a table and in JSON, and its exit code."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from dispatcher.cli.explain import explain
from dispatcher.errors import SettingsError
from tests.support.own_settings import install_types, own_settings

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result


@pytest.fixture(autouse=True)
def _installed_types(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Destination types by name."""
    install_types(tmp_path / "site", monkeypatch, tracking_log="not_imported:Log", segment="not_imported:Http")


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A site's own settings directory."""
    return own_settings(
        tmp_path / "own",
        "[destinations.tracking_log]\ninternal = false\n"
        "[destinations.segment]\nevents = ['shop.order.paid', 'shop.cart.*', '!shop.cart.seen']\n",
    )


def run(own: Path, *arguments: str, **variables: str) -> Result:
    environ = {"HOME": "/home/sam", "DISPATCHER_SETTINGS": str(own), "COLUMNS": "250", **variables}
    return CliRunner().invoke(explain, arguments, env=environ)


def rows(result: Result) -> dict[str, dict[str, Any]]:
    return {row["destination"]: row for row in json.loads(result.stdout)["destinations"]}


def test_a_routed_event_names_the_entry_and_the_file(own: Path) -> None:
    result = run(own, "shop.cart.emptied", "--json")

    assert result.exit_code == 0
    assert rows(result)["segment"] == {
        "destination": "segment",
        "goes": True,
        "reason": None,
        "why": "a glob of its allowlist matches",
        "entry": "shop.cart.*",
        "source": str(own / "base.toml"),
        "nearest": None,
    }


def test_an_allowlist_from_a_variable_is_named_as_such(own: Path) -> None:
    result = run(own, "a", "--json", DISPATCHER_DESTINATIONS__SEGMENT__EVENTS='["a"]')

    assert rows(result)["segment"]["source"] == "DISPATCHER_DESTINATIONS__SEGMENT__EVENTS"


def test_an_event_that_is_not_routed_names_the_nearest_entry(own: Path) -> None:
    result = run(own, "shop.order.payed", "--json")

    assert result.exit_code == 0
    row = rows(result)["segment"]
    assert (row["goes"], row["reason"], row["nearest"]) == (False, "not_on_allowlist", "shop.order.paid")
    assert rows(result)["tracking_log"]["goes"] is True


def test_an_event_that_goes_nowhere_fails(own: Path) -> None:
    result = run(own, "edx.bi.page", "--json")

    assert result.exit_code == 1
    assert json.loads(result.stdout)["internal"] is True
    assert rows(result)["tracking_log"]["reason"] == "internal"
    assert rows(result)["tracking_log"]["source"] == str(own / "base.toml")


def test_the_table_shows_the_same(own: Path) -> None:
    result = run(own, "shop.order.payed")

    assert result.exit_code == 0
    log = next(line for line in result.stdout.splitlines() if "tracking_log" in line)
    segment = next(line for line in result.stdout.splitlines() if "segment" in line)
    assert "yes" in log
    assert "it has no allowlist and takes every event" in log
    assert "no entry of its allowlist matches" in segment
    assert "shop.order.paid" in segment
    assert "base.toml" in result.stdout
    assert "internal" not in result.stdout


def test_the_table_names_the_entry_that_decided(own: Path) -> None:
    result = run(own, "shop.cart.seen")

    assert "an exception of its allowlist matches: !shop.cart.seen" in result.stdout


def test_an_internal_name_is_reported_as_internal(own: Path) -> None:
    assert "edx.bi.page is internal" in run(own, "edx.bi.page").stdout


def test_a_name_with_brackets_is_shown_unchanged(own: Path) -> None:
    assert "[bold]x[/bold]" in run(own, "[bold]x[/bold]").stdout


def test_without_destinations_an_event_goes_nowhere(own: Path) -> None:
    own.joinpath("base.toml").write_text("")

    result = run(own, "a")

    assert result.exit_code == 1
    assert "No destination is configured." in result.stdout


def test_unreadable_settings_are_an_error(own: Path) -> None:
    result = run(own, "a", DISPATCHER_STRICT="maybe")

    assert isinstance(result.exception, SettingsError)
