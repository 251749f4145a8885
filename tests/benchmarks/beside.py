"""Beside: the code of another checkout, measured by the benchmarks of this one."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click


@dataclass(frozen=True, slots=True)
class Checkout:
    """Where the process of a measurement starts.

    Args:
        directory: The directory to start in: ``tests`` is imported from there.
        python: The interpreter, whose environment has the ``dispatcher`` that is measured.
    """

    directory: Path
    python: str


#: The checkout that this belongs to.
HERE: Final = Checkout(Path(__file__).resolve().parents[2], sys.executable)


@contextmanager
def other_checkout(checkout: Path | None) -> Iterator[Checkout | None]:
    """The other checkout with its own environment and with these benchmarks; None if none is wanted.

    Raises:
        ClickException: It has no environment.
    """
    if checkout is None:
        yield None
        return
    python = checkout.absolute() / ".venv" / "bin" / "python"
    if not python.exists():
        raise click.ClickException(f"{checkout} has no .venv: run `make venv` there first")
    # Not the checkout itself, whose own tests would be found first.
    with tempfile.TemporaryDirectory(prefix="bench-beside-") as directory:
        (Path(directory) / "tests").symlink_to(HERE.directory / "tests")
        yield Checkout(Path(directory), str(python))
