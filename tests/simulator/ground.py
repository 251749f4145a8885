"""Ground: what all histories of a run share: a Redis, a directory, and the replaced parts of the real code."""

from __future__ import annotations

import logging
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any, Final, Self
from uuid import UUID

from dispatcher import config
from dispatcher.config import Settings
from dispatcher.connections.redis_pool import RedisPool
from dispatcher.outbox.journal_files import JournalFiles
from dispatcher.outbox.state import State
from dispatcher.process import clock as process_clock
from dispatcher.routing import Router
from dispatcher.store.script import SCRIPTS
from tests.simulator.clock import Clock
from tests.simulator.crossings import CrossingOs, Crossings
from tests.simulator.line import Line
from tests.support.redis_server import RedisServer

LOG, SEGMENT, HOOK, LATE = "tracking_log", "segment", "hook", "late"
DESTINATIONS: Final = (LOG, SEGMENT, HOOK, LATE)

# A file system in memory, if the machine has one: no test here is about the disk.
_MEMORY: Final = Path("/dev/shm")

# Modules whose time and system calls the simulator replaces.
_SIMULATED: Final = (
    "dispatcher.config.watch",
    "dispatcher.outbox",
    "dispatcher.relay",
)

# Empties the second database and copies every key of the first into it; or of one slot of all destinations alone.
_COPY: Final = """
local function is_meant(key) return ARGV[3] == '' or (string.match(key, '#(%d+)}') or '0') == ARGV[3] end
redis.call('SELECT', ARGV[2])
for _, key in ipairs(redis.call('KEYS', '*')) do if is_meant(key) then redis.call('DEL', key) end end
redis.call('SELECT', ARGV[1])
for _, key in ipairs(redis.call('KEYS', '*')) do
  if is_meant(key) then redis.call('COPY', key, key, 'DB', ARGV[2]) end
end
"""
#: The most slots that a destination has: each has a server of its own, which may lose something alone.
MOST_SLOTS: Final = 3


@dataclass(frozen=True, slots=True)
class Version:
    """One version of the settings files.

    Args:
        flipped: Whether ``flip.*`` goes to the hook instead of to Segment.
        late: Whether the destination that is added later exists.
        small: Whether batches are smaller.
        keeps: Whether journals are kept until their batches are settled.
        slots: Over how many slots the batches of each destination spread.
    """

    flipped: bool = False
    late: bool = False
    small: bool = False
    keeps: bool = True
    slots: int = 1


class Ground:
    """Use it in a ``with``. Only one per process at a time, since it changes modules."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.crossings = Crossings()
        self.random = Random()
        self.version = Version()
        self._server = RedisServer()
        self._directory = Path()
        self._undo: list[Callable[[], None]] = []

    def __enter__(self) -> Self:
        self._server.start()
        with self._server.client() as client:
            # Not to the disk: a run writes hundreds of megabytes.
            client.config_set("appendonly", "no")
        memory = str(_MEMORY) if _MEMORY.is_dir() else None
        self._directory = Path(tempfile.mkdtemp(prefix="dispatcher-simulator-", dir=memory))
        self.root = self._directory / "outbox"
        self.crossings.root = str(self.root)
        self._stamp = self._directory / "stamp"
        self._stamp.touch()
        self.pool = RedisPool(self._server.url, timeout_seconds=30)
        self.line = Line(self._server.socket)
        for script in SCRIPTS:
            self.line.execute("SCRIPT", "LOAD", script.text)
        self._copy = self.line.execute("SCRIPT", "LOAD", _COPY)
        self.settings = cache(self._settings)
        self.router = cache(lambda version: Router(self.settings(version)))
        self._change_modules()
        return self

    def __exit__(self, *_: object) -> None:
        for undo in reversed(self._undo):
            undo()
        self.line.close()
        self.pool.close()
        self._server.close()
        shutil.rmtree(self._directory, ignore_errors=True)

    def reset(self, seed: int) -> None:
        """Begin another history, with nothing left of the previous one."""
        shutil.rmtree(self.root, ignore_errors=True)
        self.root.mkdir()
        self.clock.reset()
        self.random.seed(seed)
        self.crossings.is_full = False
        self.set_version(Version())
        self.line.execute("FLUSHDB")

    def copy(self, source: int, target: int, slot: int | None = None) -> None:
        """Make one Redis database a copy of another; with ``slot``, what is in that slot of each destination."""
        self.line.execute("EVALSHA", self._copy, 0, source, target, "" if slot is None else slot)

    def set_version(self, version: Version) -> None:
        """Write the settings files, which relays read at their next step."""
        self.version = version
        stamp = os.stat(self._stamp).st_mtime_ns + 1
        os.utime(self._stamp, ns=(stamp, stamp))

    # The interface of the settings' origin.

    def load(self) -> Settings:
        return self.settings(self.version)

    def files(self) -> tuple[Path, ...]:
        return (self._stamp,)

    def _settings(self, version: Version) -> Settings:
        events = ["both.*", "poison.*", "filter.*"]
        tables: dict[str, Any] = {
            LOG: {"batch_events": 2 if version.small else 4, "batch_bytes": 1500},
            SEGMENT: {
                "events": events if version.flipped else [*events, "flip.*"],
                "batch_events": 2 if version.small else 3,
            },
            HOOK: {"type": "webhook", "events": [*events, "flip.*"] if version.flipped else events, "batch_events": 5},
        }
        if version.late:
            tables[LATE] = {"type": "webhook", "events": events, "batch_events": 2}
        for table in tables.values():
            table["slots"] = version.slots
        overrides = {
            "broker_url": self._server.url,
            "state_directory": str(self._directory),
            "outbox": {"directory": str(self.root), **({} if version.keeps else {"keep_bytes": 0})},
            "relay": {"reload_seconds": 1e-9},
            "destinations": tables,
        }
        empty = self._directory / "settings"
        empty.mkdir(exist_ok=True)
        for name in ("base", "development"):
            (empty / f"{name}.toml").touch()
        settings = config.load({"DISPATCHER_SETTINGS": str(empty)}, overrides)
        settings._origin = self
        return settings

    def _change_modules(self) -> None:
        for name, module in list(sys.modules.items()):
            if name.startswith(_SIMULATED):
                self._replace(module, "time", time, self.clock)
                for clock in ("monotonic", "time_ns"):
                    self._replace(module, clock, getattr(process_clock, clock), getattr(self.clock, clock))
                self._replace(module, "os", os, CrossingOs(self.crossings))
                if "uuid4" in vars(module):
                    self._set(module, "uuid4", lambda: UUID(int=self.random.getrandbits(128)))
        # Its work is a step of the history.
        self._set(JournalFiles, "keep", lambda *_: None)
        write = State._write

        def crossing_write(state: State, at: int, value: int) -> None:
            self.crossings.cross()
            write(state, at, value)

        self._set(State, "_write", crossing_write)
        _audit(self.crossings)
        self._undo.append(lambda: _audit(None))
        logging.disable(logging.CRITICAL)
        self._undo.append(lambda: logging.disable(logging.NOTSET))

    def _replace(self, module: ModuleType, name: str, real: object, replacement: object) -> None:
        if vars(module).get(name) is real:
            self._set(module, name, replacement)

    def _set(self, holder: Any, name: str, value: object) -> None:
        before = getattr(holder, name)
        setattr(holder, name, value)
        self._undo.append(lambda: setattr(holder, name, before))


_audited: list[Crossings | None] = []


def _audit(crossings: Crossings | None) -> None:
    # An audit hook cannot be removed again, so the process has one for good.
    if not _audited:
        _audited.append(crossings)
        sys.addaudithook(_hook)
    _audited[0] = crossings


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    crossings = _audited[0]
    if crossings is not None:
        crossings.audit(event, arguments)
