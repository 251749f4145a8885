"""Alias: the name ``eventtracking`` for the modules of this package, by a finder of Python's import system.

A module has one object under both names, so that its state, such as the registered trackers, is there once, and what is
patched under one name is patched under both.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Final

_NAME: Final = "eventtracking"
_OURS: Final = __name__.rpartition(".")[0]


def install() -> None:
    """Have every ``import eventtracking`` get the modules of this package. May be called twice. Does not block.

    Call it in the first lines of Django's settings, or wherever the process starts. The package event-tracking may stay
    installed, as other packages ask for it: this one stands before it.

    Raises:
        ImportError: The package event-tracking is imported already, and those who did hold its tracker.
    """
    loaded = sys.modules.get(_NAME)
    if loaded is not None and loaded is not sys.modules[_OURS]:
        raise ImportError(
            f"eventtracking was imported from {getattr(loaded, '__file__', None)} before "
            f"{_OURS}.install() was called: call it earlier, in the first lines of Django's settings",
            name=_NAME,
        )
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Finder(MetaPathFinder):
    """Finds ``eventtracking`` and what is in it."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        head, dot, rest = fullname.partition(".")
        if head != _NAME:
            return None
        ours = f"{_OURS}{dot}{rest}"
        found = find_spec(ours)
        if found is None:
            return None
        return ModuleSpec(
            fullname, _Loader(ours), origin=found.origin, is_package=found.submodule_search_locations is not None
        )


class _Loader(Loader):
    """Gives the module of another name.

    Args:
        ours: That name.
    """

    def __init__(self, ours: str) -> None:
        self._ours = ours
        self._spec: ModuleSpec | None = None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = import_module(self._ours)
        self._spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        # It ran when it was imported. Import has given it the spec of the alias, which says nothing of its file.
        module.__spec__ = self._spec
