"""Settings directories of a test, and destination types as if a package had installed them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest


def own_settings(directory: Path, base: str, *, development: str = "") -> Path:
    """Make a settings directory with these contents of its two files."""
    directory.mkdir()
    directory.joinpath("base.toml").write_text(base)
    directory.joinpath("development.toml").write_text(development)
    return directory


def install_types(
    directory: Path, monkeypatch: pytest.MonkeyPatch, *, traits: Mapping[str, str] | None = None, **types: str
) -> Path:
    """Have the entry points of a package in ``directory`` say ``types``, each as ``package.module:Class``.

    ``traits`` are those of some of them, each as ``package.module:NAME``.
    """
    metadata = directory / "sample_types-1.dist-info"
    metadata.mkdir(parents=True)
    metadata.joinpath("METADATA").write_text("Metadata-Version: 2.1\nName: sample-types\nVersion: 1\n")
    groups = {"dispatcher.destinations": types, "dispatcher.destination_traits": traits or {}}
    lines = [
        line
        for group, places in groups.items()
        for line in (f"[{group}]", *(f"{name} = {place}" for name, place in places.items()))
    ]
    metadata.joinpath("entry_points.txt").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(str(directory))
    return directory
