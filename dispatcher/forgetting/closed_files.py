"""Closed files: what `dispatcher forget` cannot look into, since it is encrypted, or another program's own form."""

from __future__ import annotations

from pathlib import PurePath
from typing import Final

_WHY: Final = {
    ".gpg": "it is encrypted: make the package of this day anew, and tell who has it",
    ".pgp": "it is encrypted: make it anew, and tell who has it",
    ".hyper": "it is Tableau's own form: make it anew from the Parquet files",
}


def why_closed(name: str) -> str | None:
    """Why a file, or an object, of that name cannot be looked into, with the way out; None where it can."""
    return _WHY.get(PurePath(name).suffix)
