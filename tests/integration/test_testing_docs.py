"""The examples of docs/how-to/testing-your-app.md that need a project, a loop or a browser, as they stand there."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dispatcher.testing import BrowserEvents
from tests.integration.test_framework_docs import blocks
from tests.support import browser as chromium
from tests.support.browser import Browser
from tests.support.processes import ROOT
from tests.support.vendor import Call, Reply, Vendor

PAGE = "testing-your-app.md"


def example(words: str) -> str:
    (found,) = [block for block in blocks(PAGE, "py") if words in block]
    return found


def run(directory: Path, *command: str) -> str:
    """What a module of Python prints, run in that directory. Fails if it does."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("DISPATCHER_")}
    environ |= {"PYTHONPATH": os.pathsep.join((str(directory), str(ROOT))), "DISPATCHER_OUTBOX__STORAGE": "memory"}
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=directory,
        env=environ,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def run_pytest(directory: Path, file: str) -> str:
    return run(directory, "pytest", "-q", "-p", "no:randomly", "-p", "no:cacheprovider", "--rootdir", ".", file)


def test_the_example_with_pytest_asyncio(tmp_path: Path) -> None:
    source = example("mark.asyncio")
    if importlib.util.find_spec("pytest_asyncio") is None:
        # AnyIO comes with Starlette. pytest-asyncio would change how every test of this suite runs.
        source = source.replace("mark.asyncio", "mark.anyio")
        source += "\n\n@pytest.fixture\ndef anyio_backend():\n    return 'asyncio'\n"
    (tmp_path / "test_shop.py").write_text(source)
    assert "1 passed" in run_pytest(tmp_path, "test_shop.py")


def test_the_examples_with_djangos_test_client(tmp_path: Path) -> None:
    run(tmp_path, "django", "startproject", "app", ".")
    settings, views, *_ = blocks("django.md", "py")
    with (tmp_path / "app" / "settings.py").open("a") as file:
        file.write(settings)
    (tmp_path / "app" / "views.py").write_text(views)
    with (tmp_path / "app" / "urls.py").open("a") as file:
        file.write("from app import views\nurlpatterns += [path('pay/<order>', views.pay)]\n")
    (tmp_path / "app" / "tests.py").write_text(example("TestCase"))
    assert "Ran 1 test" in run(tmp_path, "manage", "test")

    (tmp_path / "test_pay.py").write_text(example("(client, emitted_events)"))
    (tmp_path / "conftest.py").write_text(
        "import os\nos.environ['DJANGO_SETTINGS_MODULE'] = 'app.settings'\n"
        "import django, pytest\nfrom django.test import Client\n"
        "from django.test.utils import setup_test_environment\n"
        "django.setup()\nsetup_test_environment()\n"
        "@pytest.fixture\ndef client():\n    return Client()\n"
    )
    assert "1 passed" in run_pytest(tmp_path, "test_pay.py")


class Shop(Vendor):
    """A site whose pages have the snippet of its settings."""

    def __init__(self, settings: SimpleNamespace) -> None:
        super().__init__()
        self._settings = settings

    def answer(self, call: Call) -> Reply:
        click = "Tracker.emit('shop.button.clicked', {product: 'tea'})"
        page = (
            f'<!doctype html><title>Tea</title>{self._settings.TRACKER_SNIPPET}<button onclick="{click}">Buy</button>'
        )
        return Reply(body=page.encode(), headers={"content-type": "text/html"})


@pytest.mark.skipif(bool(chromium.missing()), reason=f"not installed: {chromium.missing()}")
def test_the_example_with_a_browser(driven: Browser, browser_events: BrowserEvents) -> None:
    settings, scope = SimpleNamespace(TRACKER_SNIPPET=""), dict[str, Any]()
    exec(compile(example("browser_events, live_server"), PAGE, "exec"), scope)  # noqa: S102 - our own page
    with Shop(settings) as shop:
        scope["test_a_click_is_recorded"](browser_events, shop, driven.driver, settings)
