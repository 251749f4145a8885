"""Processors: plain callables that take an event and return one. Dropping an event is ``raise DropEvent(reason)``."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence

from dispatcher.errors import SettingsError
from dispatcher.event import Event
from dispatcher.secrecy.foreign_error import describe_error

#: Runs in emit, in the thread of the caller, so it must be quick and touch no network. Called by several threads at
#: once. Returns the event that is taken, changed or not; raises DropEvent to drop it.
Processor = Callable[[Event], Event]


def load(names: Sequence[str]) -> tuple[Processor, ...]:
    """Import the processors that the settings name. Blocks while their modules are imported.

    Args:
        names: Each ``package.module:callable``.

    Returns:
        The processors, in the same order.

    Raises:
        SettingsError: Some cannot be imported, or cannot be called. All of them are named at once.
    """
    loaded: list[Processor] = []
    problems: list[str] = []
    for name in names:
        module, _, attribute = name.partition(":")
        try:
            processor = getattr(importlib.import_module(module), attribute)
        except Exception as error:  # whatever the module does as it is imported
            # The import system names what it did not find; others may quote what they worked on.
            is_missing = isinstance(error, ImportError | AttributeError)
            what = f"{type(error).__name__}: {error}" if is_missing else describe_error(error)
            problems.append(f"processors: {name!r} cannot be imported ({what}): write it as 'package.module:callable'")
            continue
        if callable(processor):
            loaded.append(processor)
        else:
            problems.append(f"processors: {name!r} is {type(processor).__name__}, which cannot be called")
    if problems:
        raise SettingsError(problems)
    return tuple(loaded)
