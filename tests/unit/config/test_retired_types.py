"""Retired destination types: the settings say what to use instead."""

from __future__ import annotations

from pathlib import Path

import pytest

from dispatcher import config
from dispatcher.destinations.types import load_type
from dispatcher.errors import SettingsError

BECAME = (
    "Fabric and its Answers have ended, and Google Analytics for Firebase is what their users were moved to: "
    'write type = "firebase"'
)


@pytest.mark.parametrize(
    ("table", "key"),
    [
        ("[destinations.app]\ntype = 'fabric'", 'destinations.app.type = "fabric"'),
        ("[destinations.fabric]", "destinations.fabric"),
    ],
)
def test_fabric_is_refused_with_its_replacement(tmp_path: Path, table: str, key: str) -> None:
    file = tmp_path / "production.toml"
    file.write_text(table)

    with pytest.raises(SettingsError) as caught:
        config.load({"DISPATCHER_SETTINGS": str(file), "DISPATCHER_ENV": "production", "HOME": str(tmp_path)})

    assert caught.value.problems == (f"{file}: {key}: {BECAME}",)


def test_a_destination_of_another_type_may_be_called_fabric(tmp_path: Path) -> None:
    file = tmp_path / "production.toml"
    file.write_text("[destinations.fabric]\ntype = 'firebase'")

    loaded = config.load({"DISPATCHER_SETTINGS": str(file), "DISPATCHER_ENV": "production", "HOME": str(tmp_path)})

    assert loaded.destinations["fabric"].type == "firebase"


def test_loading_a_retired_type_gives_the_same_error() -> None:
    with pytest.raises(SettingsError) as caught:
        load_type("fabric")

    assert caught.value.problems == (BECAME,)
