"""Commands: all commands by name, each imported when it is asked for, so that none waits for the others' imports."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from importlib import import_module
from typing import Final

import click

#: Where each command is, as ``module:name`` within this package.
COMMANDS: Final = {
    "up": "up:up",
    "emit": "emit:emit",
    "status": "status:status",
    "tail": "tail:tail",
    "find": "find:find",
    "report": "report:report",
    "doctor": "doctor:doctor",
    "retirement": "retirement:retirement",
    "retry": "retry:retry",
    "pause": "pause:pause",
    "resume": "pause:resume",
    "dead": "dead:dead",
    "waiting": "waiting:waiting",
    "replay": "replay:replay",
    "export": "export:export",
    "forget": "forget:forget",
    "unsuppress": "forget:unsuppress",
    "retention": "retention:retention",
    "drain": "drain:drain",
    "explain": "explain:explain",
    "settings": "settings:settings",
    "worker": "worker:worker",
    "relay": "relay:relay",
    "collector": "collector:collector",
    "board": "board:board",
    "deprecations": "deprecations:deprecations",
    "flower": "flower:flower",
    "exporter": "exporter:exporter",
    "segment-stub": "segment_stub:segment_stub",
    "sink": "segment_stub:sink",
}


class Commands(MutableMapping[str, click.Command]):
    """The commands of a group, as click asks for them.

    Args:
        places: Where each is.
    """

    def __init__(self, places: dict[str, str]) -> None:
        self._places = places
        self._loaded: dict[str, click.Command] = {}

    def __getitem__(self, name: str) -> click.Command:
        if name not in self._loaded:
            module, _, function = self._places[name].partition(":")
            self._loaded[name] = getattr(import_module(f"dispatcher.cli.{module}"), function)
        return self._loaded[name]

    def __setitem__(self, name: str, command: click.Command) -> None:
        self._places[name] = ""
        self._loaded[name] = command

    def __delitem__(self, name: str) -> None:
        del self._places[name]
        self._loaded.pop(name, None)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)
