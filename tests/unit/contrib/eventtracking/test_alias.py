"""The name ``eventtracking`` for our modules, in processes of their own: other tests import the package here."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.processes import ROOT

ALIAS = """
import sys
from dispatcher.contrib import eventtracking as ours
ours.install()
ours.install()
import eventtracking.backends.logger, eventtracking.tracker
from eventtracking import tracker
from eventtracking.backends.routing import RoutingBackend
from dispatcher.contrib.eventtracking.backends import routing
import dispatcher.contrib.eventtracking.tracker
from importlib.util import find_spec
import inspect
assert eventtracking is ours
assert eventtracking.__version__ == "4.0.2"
assert tracker is dispatcher.contrib.eventtracking.tracker is sys.modules["eventtracking.tracker"]
assert RoutingBackend is routing.RoutingBackend
assert tracker.__spec__.name == "dispatcher.contrib.eventtracking.tracker"
assert find_spec("eventtracking.backends").submodule_search_locations is not None
assert "class RoutingBackend" in inspect.getsource(routing)
assert len([one for one in sys.meta_path if type(one).__module__ == "dispatcher.contrib.eventtracking.alias"]) == 1
assert not any(name.startswith(("celery", "django", "redis")) for name in sys.modules)
try:
    import eventtracking.nothing
except ModuleNotFoundError as error:
    assert error.name == "eventtracking.nothing", error.name
else:
    raise AssertionError
print("done")
"""
TOO_LATE = """
import eventtracking.tracker
from dispatcher.contrib.eventtracking import install
try:
    install()
except ImportError as error:
    print(error)
"""


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_module_has_one_object_under_both_names() -> None:
    assert run(ALIAS) == "done\n"


def test_where_event_tracking_was_imported_first_it_is_said() -> None:
    pytest.importorskip("eventtracking")
    said = run(TOO_LATE)
    assert said.startswith("eventtracking was imported from ")
    assert "before dispatcher.contrib.eventtracking.install() was called: call it earlier" in said
