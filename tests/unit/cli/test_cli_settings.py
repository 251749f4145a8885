"""``dispatcher settings show`` and ``check``: what is printed, what is masked, and the exit codes."""

from __future__ import annotations

import json
import tomllib
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from dispatcher.cli.settings import settings
from dispatcher.errors import SettingsError
from tests.support.own_settings import install_types, own_settings

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

SAMPLE_TYPES = """
from dispatcher.destinations import base, traits

class LogOptions(base.Options):
    path: str

class Log(base.Destination):
    Options = LogOptions
    traits = traits.TRACKING_LOG

class HttpOptions(base.Options):
    write_key: str | None = None
    host: str = "https://example.org"

class Http(base.Destination):
    Options = HttpOptions
    traits = traits.SEGMENT
"""


@pytest.fixture(autouse=True)
def _installed_types(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A distribution with destination types of its own."""
    site = install_types(
        tmp_path / "site", monkeypatch, tracking_log="cli_sample_types:Log", segment="cli_sample_types:Http"
    )
    site.joinpath("cli_sample_types.py").write_text(SAMPLE_TYPES)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A site's own settings directory."""
    return own_settings(
        tmp_path / "own",
        "[destinations.segment]\nevents = ['shop.*']\n[destinations.tracking_log]\n",
        development="strict = true\n",
    )


def run(own: Path, *arguments: str, **variables: str) -> Result:
    environ = {"HOME": "/home/sam", "DISPATCHER_SETTINGS": str(own), **variables}
    unset = {"XDG_STATE_HOME": None, "DISPATCHER_STATE_DIRECTORY": None}
    return CliRunner().invoke(settings, arguments, env=unset | environ)


def test_show_prints_toml_with_the_source_of_each_value(own: Path) -> None:
    result = run(own, "show", DISPATCHER_WORKER__CONCURRENCY="9")

    assert result.exit_code == 0
    values = tomllib.loads(result.stdout)
    assert values["strict"] is True
    assert values["worker"]["concurrency"] == 9
    assert values["destinations"]["tracking_log"]["path"] == "/home/sam/.local/state/dispatcher/tracking.log"
    lines = {line.split("#")[0].strip(): line.rpartition("# ")[2] for line in result.stdout.splitlines()}
    assert lines["strict = true"] == str(own / "development.toml")
    assert lines["concurrency = 9"] == "DISPATCHER_WORKER__CONCURRENCY"
    assert lines['events = ["shop.*"]'] == str(own / "base.toml")
    assert lines["max_event_bytes = 1048576"] == "default"


def test_show_marks_settings_without_a_value(own: Path) -> None:
    assert "# broker_url is not set " in run(own, "show").stdout


def test_show_prints_json_with_values_and_sources(own: Path) -> None:
    shown = json.loads(run(own, "show", "--json", DISPATCHER_RELAY__MODE="external").stdout)

    assert shown["environment"] == "development"
    assert shown["files"] == [str(own / "base.toml"), str(own / "development.toml")]
    assert shown["settings"]["relay"]["mode"] == "external"
    assert shown["sources"]["relay.mode"] == "DISPATCHER_RELAY__MODE"
    assert shown["sources"]["destinations.segment.events"] == str(own / "base.toml")


@pytest.mark.parametrize("arguments", [["show"], ["show", "--json"], ["check"], ["check", "--json"]])
def test_no_command_shows_a_credential(own: Path, arguments: list[str]) -> None:
    own.joinpath("development.toml").write_text("[destinations.segment.credentials]\nuser = 'hush'\n")
    result = run(
        own,
        *arguments,
        DISPATCHER_BROKER_URL="redis://:hush@localhost:6379/0",
        DISPATCHER_DESTINATIONS__SEGMENT__WRITE_KEY="hush",
        DISPATCHER_DESTINATIONS__SEGMENT__API_SECRET="hush",
    )

    assert result.output
    assert "hush" not in result.output


def test_show_fails_for_unreadable_settings(own: Path) -> None:
    result = run(own, "show", DISPATCHER_STRICT="maybe")

    assert isinstance(result.exception, SettingsError)


def test_check_summarises_correct_settings(own: Path) -> None:
    result = run(own, "check", DISPATCHER_BROKER_URL="redis://localhost")

    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "ok: environment development, broker redis://localhost",
        "  segment: an allowlist of 1",
        "  tracking_log: all events",
        f"  read {own / 'base.toml'}",
        f"  read {own / 'development.toml'}",
    ]


def test_check_prints_every_mistake_and_fails(own: Path) -> None:
    result = run(own, "check", DISPATCHER_STRICT="maybe", DISPATCHER_WORKER__POOL="thread")

    assert result.exit_code == 1
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert len(lines) == 3
    assert lines[0] == 'DISPATCHER_STRICT: strict = "maybe": it must be true or false'
    assert lines[2] == "2 mistakes in the settings"


def test_check_finds_mistakes_in_a_destinations_options(own: Path) -> None:
    result = run(own, "check", DISPATCHER_DESTINATIONS__SEGMENT__HOTS="http://h")

    assert result.exit_code == 1
    assert result.stderr.splitlines()[0] == (
        'DISPATCHER_DESTINATIONS__SEGMENT__HOTS: destinations.segment.hots = "http://h": unknown setting; '
        "did you mean DISPATCHER_DESTINATIONS__SEGMENT__HOST?"
    )


def test_check_prints_json(own: Path) -> None:
    right = run(own, "check", "--json")
    wrong = run(own, "check", "--json", DISPATCHER_STRICT="maybe")

    assert right.exit_code == 0
    assert json.loads(right.stdout)["ok"] is True
    assert json.loads(right.stdout)["destinations"] == {"segment": "an allowlist of 1", "tracking_log": "all events"}
    assert wrong.exit_code == 1
    assert json.loads(wrong.stdout) == {
        "ok": False,
        "problems": ['DISPATCHER_STRICT: strict = "maybe": it must be true or false'],
    }


@pytest.mark.skipif(find_spec("event_routing_backends") is not None, reason="its package is installed here")
def test_a_package_that_a_destination_misses_is_named_with_the_way_out(tmp_path: Path) -> None:
    environ = {
        "DISPATCHER_DESTINATIONS__LRS__TYPE": "event_routing_backends",
        "DISPATCHER_DESTINATIONS__LRS__URL": "https://lrs.example.com/xapi",
        "DISPATCHER_STATE_DIRECTORY": str(tmp_path),
    }

    checked = CliRunner().invoke(settings, ["check"], env=environ)

    assert checked.exit_code == 1
    assert "destinations.lrs: the package edx-event-routing-backends is not installed" in checked.stderr
