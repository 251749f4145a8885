"""The page's files: what they import is served, and their types hold."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

import dispatcher.board
from dispatcher.board.app import _FILES
from dispatcher.board.live import _SHOP

PAGE = Path(dispatcher.board.__file__).parent / "page"
TSC = PAGE.parents[1] / "collector/client/node_modules/.bin/tsc"


def test_every_file_of_the_page_is_served_and_every_import_is_there() -> None:
    served = {name for name, _ in _FILES.values()} | {_SHOP.name}
    assert served == {path.name for path in PAGE.iterdir()}
    for script in PAGE.glob("*.js"):
        for imported in re.findall(r'^import .* from "\./(.*)";$', script.read_text(), re.MULTILINE):
            assert imported in served, (script.name, imported)


@pytest.mark.skipif(not TSC.exists(), reason="npm ci in dispatcher/collector/client installs TypeScript")
def test_the_types_in_the_pages_scripts_hold() -> None:
    options = ("--allowJs", "--checkJs", "--strict", "--noImplicitAny", "false", "--noEmit", "--target", "es2022")
    modules = ("--module", "es2022", "--moduleResolution", "bundler", "--lib", "es2022,dom,dom.iterable")
    command = [str(TSC), *options, *modules, *map(str, PAGE.glob("*.js"))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
