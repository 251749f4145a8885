"""Locator: where the contexts of a tracker are, by the names under which they were entered."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, MutableMapping
from types import MappingProxyType
from typing import Any

from dispatcher.emit.context import current, enter_context, exit_context


class DefaultContextLocator:
    """One set of contexts for all threads. What a ``Tracker`` has that was given no locator."""

    def __init__(self) -> None:
        self.context: MutableMapping[Any, Any] = OrderedDict()

    def get(self) -> MutableMapping[Any, Any]:
        """The contexts by name. Changes are seen in every thread."""
        return self.context


class BoundContexts(MutableMapping[str, Mapping[str, Any]]):
    """What dispatcher has bound in the thread, asyncio task or greenlet of the caller, as a mapping by name.

    A context is copied as it is entered; what is read is that copy, and cannot be changed.
    """

    def __getitem__(self, name: str) -> Mapping[str, Any]:
        layer = current().layer(name)
        if layer is None:
            raise KeyError(name)
        return MappingProxyType(layer)

    def __setitem__(self, name: str, ctx: Mapping[str, Any]) -> None:
        """Raises TypeError if ``ctx`` is not a mapping, or cannot be read."""
        enter_context(name, ctx)

    def __delitem__(self, name: str) -> None:
        exit_context(name)

    def __iter__(self) -> Iterator[str]:
        return iter([name for name, _ in current().layers])

    def __len__(self) -> int:
        return len(current().layers)

    def __repr__(self) -> str:
        # Names only: contexts have users and addresses in them.
        return f"BoundContexts({list(self)})"


class ThreadLocalContextLocator:
    """The contexts of this thread, asyncio task or greenlet: those that dispatcher has bound there.

    So what a middleware of dispatcher binds is in the events of event-tracking's API, and the other way round. All
    locators of this class show the same.
    """

    def get(self) -> BoundContexts:
        """The contexts by name, to read and to change. Safe to keep, and to use in other threads."""
        return BoundContexts()
