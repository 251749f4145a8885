"""The Django app and middleware, tested by a project's own suite, as Django runs it."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.support.processes import ROOT

SUITES = ("tests.support.django_site.cases", "tests.support.django_site.openedx_cases")


def test_the_projects_suite_passes() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", "-m", "django", "test", *SUITES],
        cwd=ROOT,
        env={
            **{key: value for key, value in os.environ.items() if not key.startswith("DISPATCHER_")},
            "DJANGO_SETTINGS_MODULE": "tests.support.django_site.settings",
        },
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "OK" in done.stderr


def test_the_collector_has_loaded_the_site_before_it_listens() -> None:
    code = (
        "import dispatcher.contrib.django.collector_user; from django.apps import apps; assert apps.ready",
        "import dispatcher.contrib.django.collector_user",
    )
    for line, site in zip(code, ("tests.support.django_site.settings", ""), strict=True):
        environ = {**os.environ, "DJANGO_SETTINGS_MODULE": site, "PYTHONPATH": str(ROOT)}
        subprocess.run([sys.executable, "-c", line], env=environ, check=True, timeout=60)
