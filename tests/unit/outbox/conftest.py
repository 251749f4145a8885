"""Fixtures of the outbox tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dispatcher.outbox import Outbox
from tests.support.outboxes import make_outbox


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The directory of all outboxes; it does not exist yet."""
    return tmp_path / "outbox"


@pytest.fixture
def outbox(root: Path) -> Iterator[Outbox]:
    """A small open outbox under ``root``."""
    outbox = make_outbox(root)
    yield outbox
    outbox.close()
