"""The Celery app beside a project with a Celery and a Django of its own."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from dispatcher.connections.celery_app import CeleryApp

OURS = "redis://127.0.0.1:6379/7"
THEIRS = "redis://127.0.0.1:6379/1"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory is a project that configures its own apps by variables."""
    (tmp_path / "theirsettings.py").write_text(f"broker_url = {THEIRS!r}\ntask_always_eager = True\nUSE_TZ = True\n")
    monkeypatch.chdir(tmp_path)
    for name in ("BROKER_URL", "BROKER_READ_URL", "BROKER_WRITE_URL", "RESULT_BACKEND"):
        monkeypatch.setenv(f"CELERY_{name}", THEIRS)
    for name in ("CELERY_CONFIG_MODULE", "DJANGO_SETTINGS_MODULE"):
        monkeypatch.setenv(name, "theirsettings")
    monkeypatch.setenv("CELERY_LOADER", "theirloader:Loader")
    return tmp_path


@pytest.mark.usefixtures("project")
def test_every_connection_goes_to_the_broker_that_was_given() -> None:
    with CeleryApp("ours", broker=OURS) as app:
        made = [app.connection(), app.connection_for_read(), app.connection_for_write(THEIRS)]
        pooled = app.amqp.producer_pool.connections.connection
        databases = [connection.as_uri().rpartition("/")[2] for connection in (*made, pooled)]

    assert databases == ["7"] * 4


@pytest.mark.usefixtures("project")
def test_the_variables_of_another_app_change_no_option() -> None:
    with CeleryApp("ours", broker=OURS) as app:
        assert app.conf.task_always_eager is False
        assert app.backend.as_uri() == "disabled://"


def test_the_current_directory_stays_off_the_path(project: Path) -> None:
    before = list(sys.path)
    with CeleryApp("ours", broker=OURS) as app:
        app.finalize()
        app.loader.import_default_modules()
        with pytest.raises(ModuleNotFoundError, match="theirsettings"):
            app.loader.import_from_cwd("theirsettings")

    assert sys.path == before
    assert str(project) not in sys.path
