"""``dispatcher settings from-django``: what it says of what it was given."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from dispatcher.cli.main import main

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

SITE = """
EVENT_TRACKING_BACKENDS = {
    "tracking_logs": {"ENGINE": "eventtracking.backends.logger.LoggerBackend", "OPTIONS": {"name": "tracking"}}
}
"""


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tmp_path.joinpath("site_of_open_edx.py").write_text(SITE)
    tmp_path.joinpath("site_of_a_shop.py").write_text("DEBUG = True\n")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["settings", "from-django", *arguments])


def test_the_command_that_it_names_next_works() -> None:
    told = run("site_of_open_edx", "--output", "site.toml").stderr
    named = re.search(r"DISPATCHER_SETTINGS=(\S+) dispatcher (.*)", told)
    assert named is not None, told
    checked = CliRunner().invoke(main, named[2].split(), env={"DISPATCHER_SETTINGS": named[1]})
    assert (checked.exit_code, checked.stdout[:3]) == (0, "ok:"), checked.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["site_of_open_edx", "--output", "nowhere/site.toml"], r"nowhere/site\.toml cannot be written: No such file"),
        (["site_of_a_shop"], r"no setting of event-tracking .*DJANGO_SETTINGS_MODULE"),
        (["site_of_open_edx.py"], r"give a module, .*not its file"),
        (["./site_of_open_edx"], r"give a module, .*not its file"),
        (["site_of_nobody"], r"ModuleNotFoundError.*manage\.py"),
    ],
    ids=["directory", "not a site", "file", "path", "module"],
)
def test_a_mistake_is_named_with_the_way_out(arguments: list[str], words: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 1
    assert re.search(words, result.stderr), result.stderr
    assert result.stdout == ""
