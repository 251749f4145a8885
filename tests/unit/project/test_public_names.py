"""The public names, and that importing them costs a web process next to nothing."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import dispatcher
from dispatcher.errors import DispatcherError, DropEvent

PUBLIC = {
    "dispatcher.context": {"context", "enter_context", "exit_context", "wrap"},
    "dispatcher.contrib.asgi": {"DispatcherMiddleware"},
    "dispatcher.contrib.celery": {"FIELDS", "HEADER", "install"},
    "dispatcher.contrib.wsgi": {"DispatcherMiddleware"},
    "dispatcher": {
        "DispatcherError",
        "DropEvent",
        "Event",
        "EventTooLargeError",
        "InvalidEventError",
        "NotEncodableError",
        "OutboxError",
        "OutboxFullError",
        "ProcessorError",
        "SettingsError",
        "StoreUnavailableError",
        "Tracker",
        "configure",
        "context",
        "emit",
        "flush",
        "page_reference",
        "segment",
        "tracker",
    },
    "dispatcher.tracker": {
        "Tracker",
        "configure",
        "context",
        "emit",
        "enter_context",
        "exit_context",
        "flush",
        "get_tracker",
        "page_reference",
        "set_tracker",
    },
    "dispatcher.segment": {"alias", "group", "identify", "page", "screen", "track"},
    "dispatcher.monitoring.otel": {"trace_context"},
    "dispatcher.monitoring.sentry": {"trace_context"},
    "dispatcher.testing": {"BrowserEvents", "Captured", "EmittedEventsMixin", "capture", "capture_browser"},
    "dispatcher.tasks.destinations.http": {"Answer", "HttpDestination", "HttpOptions", "Limits", "NoAnswer", "Request"},
    "dispatcher.tasks.testing": {
        "CUT",
        "POISON",
        "SILENT",
        "Call",
        "DestinationContract",
        "EventsContract",
        "Reply",
        "Vendor",
        "batch_of",
        "fates",
        "with_data",
    },
}

# What makes up most of a worker, and has no business in a web process that only emits into its outbox.
HEAVY = [
    "celery",
    "kombu",
    "redis",
    "pydantic",
    "segment",
    "requests",
    "click",
    "rich",
    "zstandard",
    "sentry_sdk",
    "opentelemetry",
    "dispatcher.tasks",
    "pytest",
]

SEE_WHAT_IS_LOADED = """
import json, sys
{code}
print(json.dumps(sorted(sys.modules)))
"""


def loaded_by(code: str, cwd: Path) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SEE_WHAT_IS_LOADED.format(code=code)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return [name for name in json.loads(done.stdout) if name in HEAVY]


@pytest.mark.parametrize("name", PUBLIC)
def test_the_public_names_are_exactly_these(name: str) -> None:
    module = importlib.import_module(name)
    assert set(module.__all__) == PUBLIC[name]
    assert len(module.__all__) == len(PUBLIC[name])
    for public in PUBLIC[name]:
        assert hasattr(module, public)


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_has_a_docstring(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__doc__
    for public in PUBLIC[name]:
        assert getattr(module, public).__doc__, f"{name}.{public} has no docstring"


def test_every_public_error_is_a_dispatcher_error() -> None:
    errors = [getattr(dispatcher, name) for name in PUBLIC["dispatcher"] if name.endswith("Error")]
    assert len(errors) == 9
    assert all(issubclass(error, DispatcherError) for error in errors)
    # A decision of a processor, which nobody should catch as an error by chance.
    assert not issubclass(DropEvent, DispatcherError)


@pytest.mark.parametrize(
    "code",
    [
        "import dispatcher",
        "from dispatcher import tracker, segment",
        "import dispatcher.testing",
        "from dispatcher.monitoring.otel import trace_context; trace_context()",
        "from dispatcher.monitoring.sentry import trace_context; trace_context()",
        "import dispatcher; dispatcher.tracker.enter_context('request', {'user_id': 7})",
    ],
)
def test_importing_the_package_loads_nothing_heavy(code: str, tmp_path: Path) -> None:
    assert loaded_by(code, tmp_path) == []


def test_emit_stands_at_the_top_too_and_its_room_stays_reachable(tmp_path: Path) -> None:
    code = (
        "import dispatcher\n"
        "from dispatcher.emit.context import current\n"
        "assert dispatcher.emit is dispatcher.tracker.emit\n"
    )
    assert loaded_by(code, tmp_path) == []


def test_emitting_with_an_external_relay_loads_neither_celery_nor_redis(tmp_path: Path) -> None:
    code = (
        "import dispatcher\n"
        "dispatcher.configure(relay={'mode': 'external'}, outbox={'directory': 'outbox'})\n"
        "dispatcher.tracker.emit('shop.order.paid')\n"
    )
    assert {"celery", "kombu", "redis", "zstandard", "segment", "requests", "dispatcher.tasks"}.isdisjoint(
        loaded_by(code, tmp_path)
    )


def test_the_package_has_a_version_and_is_typed() -> None:
    assert dispatcher.__version__
    assert isinstance(dispatcher.tracker, ModuleType)
    assert (Path(dispatcher.__file__).parent / "py.typed").exists()
