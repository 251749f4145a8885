"""Run the unit tests of event-tracking against ``dispatcher.contrib.eventtracking``.

    git clone https://github.com/openedx/event-tracking
    pip install ddt mock openedx-events pymongo pytz six
    python -m tests.eventtracking event-tracking

Only the folders with tests are read from the checkout, into a temporary folder: none of its code can stand in for ours.
Ends with 0 if all tests pass but those that ``DIFFERENT`` explains.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Final

import pytest

from dispatcher.contrib.eventtracking import install

#: Tests that fail on purpose, by name, with the reason.
DIFFERENT: Final = {
    "test_authentication_settings": "it asks for a method that pymongo 4 has no more",
    "test_send_tracking_log_to_backends_error": "it compares the wording of a line in the log",
    "test_send_tracking_log_to_backends_in_same_runtime": "it compares the wording of a line in the log",
}
_PACKAGE: Final = "eventtracking"


class Count:
    """What became of the tests. A plugin of pytest."""

    def __init__(self) -> None:
        self.passed: list[str] = []
        self.failed: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and report.nodeid not in self.failed:
            self.failed.append(report.nodeid)
        elif report.when == "call" and report.passed:
            self.passed.append(report.nodeid)


def copy_tests(checkout: Path, to: Path) -> None:
    """Copy the folders with tests, and have the packages of the drop-in find them there.

    Raises:
        FileNotFoundError: The folder is no checkout of event-tracking.
    """
    found = sorted((checkout / _PACKAGE).glob("**/tests"))
    if not found:
        raise FileNotFoundError(f"{checkout} has no {_PACKAGE}/tests: give a checkout of openedx/event-tracking")
    for source in found:
        target = to / source.relative_to(checkout)
        shutil.copytree(source, target)
        for folder in (target.parent, to / _PACKAGE):
            (folder / "__init__.py").touch()
        package = ".".join(target.parent.relative_to(to).parts)
        import_module(package).__path__.append(str(target.parent))


def main(checkout: Path) -> int:
    """Run them; returns the status of the process."""
    install()
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "eventtracking.django.tests.settings",
        "DISPATCHER_OUTBOX__STORAGE": "memory",
        "DISPATCHER_STRICT": "false",
    }
    count = Count()
    with tempfile.TemporaryDirectory() as directory:
        copy_tests(checkout, Path(directory))
        import_module("django").setup()
        (Path(directory) / "pytest.ini").write_text("[pytest]\n")
        chosen = ["-k", "not integration and not performance"]
        plugins = ["-p", "no:randomly", "-p", "no:cacheprovider", "-p", "no:dispatcher"]
        pytest.main(["-q", *plugins, *chosen, directory], [count])
    return report(count)


def report(count: Count) -> int:
    """Say what passed, and why the others did not."""
    names = {test: test.rpartition("::")[2].partition("[")[0] for test in count.failed}
    print(f"{len(count.passed)} of {len(count.passed) + len(count.failed)} tests of event-tracking pass")
    for test, name in names.items():
        print(f"  {name}: {DIFFERENT.get(name, f'NOT EXPECTED, {test}')}")
    return 0 if count.passed and set(names.values()) <= set(DIFFERENT) else 1


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("python -m tests.eventtracking CHECKOUT")
    sys.exit(main(Path(sys.argv[1])))
