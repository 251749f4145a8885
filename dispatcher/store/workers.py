"""Workers: which ones serve a destination, as they say themselves every few seconds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

import msgspec

from dispatcher.store import script
from dispatcher.store.script import ScriptCaller

if TYPE_CHECKING:
    from dispatcher.connections.redis_pool import RedisPool

#: Seconds between two announcements of a worker.
EVERY_SECONDS: Final = 10.0
# Milliseconds after which a worker that is silent is not counted: two announcements may come late.
_SILENT_MS: Final = 30_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingWorker:
    """A worker that serves a destination. Times are in milliseconds since 1970.

    Args:
        name: Celery's name for it, such as ``celery@host``.
        pid: Its process, on its host.
        version: Of dispatcher.
        settings_ms: When it read its settings, which it does not do again while it runs.
        seen_ms: When it last said so, by the clock of Redis; 0 in what it says itself.
    """

    name: str
    pid: int
    version: str
    settings_ms: int
    seen_ms: int = 0

    @classmethod
    def from_fields(cls, fields: Iterable[tuple[str, str]], *, now_ms: int) -> tuple[Self, ...]:
        """Read the answer of counts.lua: those that were there lately, by name.

        Args:
            fields: Descriptions, each with when its worker was last there.
            now_ms: The time, by the same clock.
        """
        found = []
        for text, seen in fields:
            seen_ms = int(float(seen))
            if now_ms - seen_ms <= _SILENT_MS:
                try:
                    known = msgspec.json.decode(text, type=dict[str, str | int])
                    found.append(cls(**{**known, "seen_ms": seen_ms}))  # type: ignore[arg-type]
                except (msgspec.DecodeError, TypeError):
                    continue  # of a later version, which says something else
        return tuple(sorted(found, key=lambda worker: (worker.name, worker.pid)))


class Workers:
    """Says which worker serves what. Blocks up to the pool's timeout; raises StoreUnavailableError.

    Args:
        pool: The connections to use.
    """

    def __init__(self, pool: RedisPool) -> None:
        self._scripts = ScriptCaller(pool)

    def announce(self, destinations: Iterable[str], worker: ServingWorker, *, leaves: bool = False) -> None:
        """Say that a worker serves these, or with ``leaves`` that it does not any more. For every few seconds.

        Args:
            destinations: Their names.
            worker: The same each time.
            leaves: Whether it stops, so that it is not looked for in the seconds to come.
        """
        known = {name: getattr(worker, name) for name in ("name", "pid", "version", "settings_ms")}
        text = msgspec.json.encode(known).decode()
        arguments = {"worker": text, "leaves": True} if leaves else {"worker": text}
        self._scripts.call_many(script.ANNOUNCE, [(name, arguments, ()) for name in destinations])
