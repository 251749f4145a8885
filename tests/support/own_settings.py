"""A site's own settings directory, and destination types as packages install them."""

from __future__ import annotations

from pathlib import Path

import pytest


def own_settings(directory: Path, base: str, *, development: str = "") -> Path:
    """Make ``directory``, with what the two files of settings hold."""
    directory.mkdir()
    directory.joinpath("base.toml").write_text(base)
    directory.joinpath("development.toml").write_text(development)
    return directory


def install_types(directory: Path, monkeypatch: pytest.MonkeyPatch, **types: str) -> Path:
    """Have the entry points of a package in ``directory`` say ``types``, each as ``package.module:Class``."""
    metadata = directory / "sample_types-1.dist-info"
    metadata.mkdir(parents=True)
    metadata.joinpath("METADATA").write_text("Metadata-Version: 2.1\nName: sample-types\nVersion: 1\n")
    lines = "".join(f"{name} = {place}\n" for name, place in types.items())
    metadata.joinpath("entry_points.txt").write_text(f"[dispatcher.destinations]\n{lines}")
    monkeypatch.syspath_prepend(str(directory))
    return directory
