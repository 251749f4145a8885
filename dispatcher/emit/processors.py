"""Processors: plain callables that take an event and return one. Dropping an event is ``raise DropEvent(reason)``."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence

from dispatcher.errors import SettingsError
from dispatcher.event import Event

#: Runs in emit, in the thread of the caller: it must be quick and touch no network.
Processor = Callable[[Event], Event]


def load(names: Sequence[str]) -> tuple[Processor, ...]:
    """The processors that the settings name, each as ``package.module:callable``.

    Raises:
        SettingsError: One cannot be imported, or cannot be called. All such are named at once.
    """
    found: list[Processor] = []
    problems: list[str] = []
    for name in names:
        module, _, attribute = name.partition(":")
        try:
            processor = getattr(importlib.import_module(module), attribute)
        except Exception as error:  # whatever the module does as it is imported
            problems.append(
                f"processors: {name!r} cannot be imported ({type(error).__name__}: {error}): "
                "write it as 'package.module:callable'"
            )
            continue
        if callable(processor):
            found.append(processor)
        else:
            problems.append(f"processors: {name!r} is {type(processor).__name__}, which cannot be called")
    if problems:
        raise SettingsError(problems)
    return tuple(found)
