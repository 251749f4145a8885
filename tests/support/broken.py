"""A mapping that fails, like one that reads from a database."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


class Broken(Mapping[str, Any]):
    """A mapping with one key, whose own code fails when the value is read."""

    def __getitem__(self, key: str) -> Any:
        raise RuntimeError("the database is gone")

    def __iter__(self) -> Iterator[str]:
        return iter(["a"])

    def __len__(self) -> int:
        return 1
