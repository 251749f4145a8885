"""Values as people paste them: what sticks to a credential, a path, a name or a file is taken off, or refused."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from pydantic import Field, SecretStr

from dispatcher import config
from dispatcher.cli import main
from dispatcher.config.credential import SecretText, trim
from dispatcher.config.destination import RESERVED_NAMES
from dispatcher.destinations.base import Options
from dispatcher.destinations.options import check_options
from dispatcher.errors import SettingsError
from dispatcher.store.counts import NOT_TAKEN
from tests.support.own_settings import own_settings

KEY = "DISPATCHER_DESTINATIONS__SEGMENT__WRITE_KEY"
AROUND = [" ", "\t", "\n", "\r\n", "\N{NO-BREAK SPACE}", "\ufeff", "\u200b", "\u2060", "\u2028", "\x00", "\x85"]
QUOTED = ["'hush'", '"hush"', "`hush`", "\u201chush\u201d", "\u201ehush\u201c", "\u00abhush\u00bb", "\u2018hush\u2019"]
INSIDE = ["hu\nsh", "hu\tsh", "hu\u200bsh", "hu\N{NO-BREAK SPACE}sh", "hu\ufeffsh"]


def problems(tmp_path: Path, environ: dict[str, str], base: str = "") -> list[str]:
    """What is wrong with the settings, and with the options of their destinations."""
    if base:
        environ = {"DISPATCHER_SETTINGS": str(own_settings(tmp_path / "settings", base)), **environ}
    try:
        loaded = config.read({"HOME": str(tmp_path), **environ})
    except SettingsError as error:
        return list(error.problems)
    return check_options(loaded.settings, loaded.source)


@pytest.mark.parametrize("stuck", AROUND, ids=ascii)
def test_what_sticks_around_a_credential_is_taken_off_in_variables_files_and_code(stuck: str, tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path)}
    text = f"{stuck}a-key{stuck}{stuck}"
    for settings in (
        config.load({**home, KEY: text}),
        config.load(home, {"destinations": {"segment": {"write_key": text}}}),
    ):
        assert settings.destinations["segment"].options["write_key"] == "a-key"
    assert config.load({**home, "DISPATCHER_ENV": f"production{stuck}"}).environment == "production"
    assert config.load({**home, KEY: stuck}).destinations["segment"].options.get("write_key") is None


@pytest.mark.parametrize("secret", [*QUOTED, *INSIDE, "'hush", 'hush"', "hu sh", "h\u00fcsh"], ids=ascii)
def test_a_credential_that_is_none_is_refused_without_showing_it(secret: str, tmp_path: Path) -> None:
    [line] = problems(tmp_path, {KEY: secret})

    assert line.startswith(f"{KEY}: destinations.segment.write_key")
    assert secret.strip("\"'") not in line


@pytest.mark.parametrize("command", ["worker", "up", "relay", "emit shop.order.paid", "doctor --quick"])
@pytest.mark.parametrize(
    "name", [KEY, "DISPATCHER_DESTINATIONS__SHOP__SECRET", "DISPATCHER_SENTRY__DSN", "DISPATCHER_BROKER_URL"]
)
def test_every_command_refuses_a_credential_in_quotes(
    name: str, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.execve", lambda *_: pytest.fail("it was started"))
    environ = {
        "HOME": str(tmp_path),
        "DISPATCHER_DESTINATIONS__SHOP__TYPE": "webhook",
        "DISPATCHER_DESTINATIONS__SHOP__URL": "http://127.0.0.1:9",
        name: '"https://hush@h/1"',
    }
    refused = CliRunner().invoke(main, command.split(), env=environ)

    assert refused.exit_code == (1 if "doctor" in command else 3), refused.output
    assert "quotation marks" in " ".join(refused.output.split())
    assert "hush" not in refused.output


class OwnOptions(Options):
    """As somebody else's destination declares them."""

    pin: SecretStr
    more: list[SecretStr] = Field(default_factory=list)
    phrase: SecretText | None = None


def test_the_secrets_of_any_destination_are_known_by_their_type() -> None:
    found = OwnOptions.model_validate(
        {"pin": " 12\n", "more": ["a b\r\n"], "phrase": "\ufeffhorse bätter'y "},
    )

    assert found.pin.get_secret_value() == "12"
    assert [one.get_secret_value() for one in found.more] == ["a b"]
    assert found.phrase is not None
    assert found.phrase.get_secret_value() == "horse bätter'y"
    for wrong in ({"pin": "'1'"}, {"pin": "1", "more": ['"1"']}, {"pin": "1", "phrase": "'a b'"}):
        with pytest.raises(ValueError, match="quotation marks"):
            OwnOptions.model_validate(wrong)


def test_trimming_leaves_what_is_inside() -> None:
    assert trim("\ufeff a b\u200b \n") == "a b"
    assert trim(" \n") == ""


@pytest.mark.parametrize("path", ["'/var/x'", '"/var/x"', "\u201c/var/x\u201d", "state", "./state", "../x"])
@pytest.mark.parametrize(
    "name",
    [
        *("DISPATCHER_STATE_DIRECTORY", "DISPATCHER_OUTBOX__DIRECTORY", "DISPATCHER_SETTINGS"),
        "DISPATCHER_DESTINATIONS__TRACKING_LOG__PATH",
    ],
)
def test_a_path_in_a_variable_is_absolute_and_without_quotes(name: str, path: str, tmp_path: Path) -> None:
    [line] = problems(tmp_path, {name: path})

    assert line.startswith(name)
    assert ("quotation marks" in line) or ("it is relative" in line)


def test_a_path_in_a_file_has_no_quotes(tmp_path: Path) -> None:
    [line] = problems(tmp_path, {}, "state_directory = \"'/var/x'\"")

    assert "quotation marks" in line


@pytest.mark.parametrize("name", [*sorted(RESERVED_NAMES), "a__b", "a_"])
def test_a_name_that_means_something_else_is_refused(name: str, tmp_path: Path) -> None:
    [line] = problems(tmp_path, {}, f"[destinations.{name}]\ntype = 'webhook'\nurl = 'http://127.0.0.1:9'\n")

    assert "the name of a destination" in line


def test_the_name_of_what_emit_could_not_take_is_reserved() -> None:
    assert NOT_TAKEN in RESERVED_NAMES


@pytest.mark.parametrize(
    ("content", "wrong"),
    [
        (b"\xef\xbb\xbfstrict = true\n", None),
        (b"strict = true\r\n[worker]\r\nconcurrency = 2\r\n", None),
        (b"", None),
        (b"\xef\xbb\xbf", None),
        ("strict = true".encode("utf-16"), "it is UTF-16: save it as UTF-8"),
        (b"x = '\xff'", "not UTF-8 at byte 5"),
        (b"strict = \x00", "not TOML"),
    ],
)
def test_a_file_is_read_as_editors_save_it(content: bytes, wrong: str | None, tmp_path: Path) -> None:
    own_settings(tmp_path / "settings", "").joinpath("base.toml").write_bytes(content)

    found = problems(tmp_path, {"DISPATCHER_SETTINGS": str(tmp_path / "settings")})

    assert (found == []) if wrong is None else (wrong in found[0] and "base.toml" in found[0])


@pytest.mark.parametrize("name", ["base.toml", "development.toml"])
def test_a_directory_or_a_pipe_in_place_of_a_file_is_named(name: str, tmp_path: Path) -> None:
    place = own_settings(tmp_path / "settings", "") / name
    environ = {"DISPATCHER_SETTINGS": str(place.parent)}
    place.unlink()
    place.mkdir()
    assert problems(tmp_path, environ) == [f"{place}: it is a directory, not a file"]
    place.rmdir()
    os.mkfifo(place)
    assert problems(tmp_path, environ) == [f"{place}: it is not a file"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may act as another user")
@pytest.mark.parametrize("closed", ["settings", "settings/base.toml"])
def test_settings_that_this_user_may_not_read_are_named(closed: str, tmp_path: Path) -> None:
    place = own_settings(tmp_path / "settings", "")
    tmp_path.joinpath(closed).chmod(0)
    for directory in (tmp_path, *tmp_path.parents[:2]):
        directory.chmod(0o755)
    code = """
import os
from dispatcher import config
os.setgroups([]), os.setgid(54321), os.setuid(54321)
try:
    config.load()
except config.loading.SettingsError as error:
    print(error)
"""
    environ = {"HOME": "/", "PATH": os.environ["PATH"], "DISPATCHER_SETTINGS": str(place)}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)

    assert str(tmp_path / "settings") in done.stdout
    assert "cannot be read: Permission denied" in done.stdout
