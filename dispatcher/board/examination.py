"""Examination: what `dispatcher doctor --problems` finds, for the page, when somebody asks for it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, Final

import msgspec

from dispatcher.errors import DispatcherError
from dispatcher.installation import launch

# Seconds that an examination may take; most take a few.
_MAX_SECONDS: Final = 90.0


class ExaminationError(DispatcherError):
    """The doctor came to no end, or said nothing that can be read."""


class Examiner:
    """Runs the doctor as a process of its own, so that the board keeps nothing of what it loads. For one event loop."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()

    @property
    def is_busy(self) -> bool:
        """Whether an examination is under way; there is one at a time."""
        return self._lock.locked()

    async def examine(self) -> dict[str, Any]:
        """Examine this deployment. It changes nothing, and takes some seconds.

        Returns:
            ``findings``, warnings first and errors last, each with its check, level, what and remedy; and ``counts`` of
            findings by level.

        Raises:
            ExaminationError: The doctor does not answer.
        """
        async with self._lock:
            process = await asyncio.create_subprocess_exec(
                *launch.command("dispatcher", "doctor", "--problems", "--json"),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
            )
            try:
                output, _ = await asyncio.wait_for(process.communicate(), _MAX_SECONDS)
                found = msgspec.json.decode(output, type=dict[str, Any])
                return {name: found[name] for name in ("findings", "counts")}
            except TimeoutError as error:
                raise ExaminationError(f"the doctor has not ended within {_MAX_SECONDS:.0f} seconds") from error
            except (msgspec.DecodeError, KeyError) as error:
                raise ExaminationError("the doctor did not answer: run `dispatcher doctor` to see why") from error
            finally:
                # Whoever asked may be gone.
                with suppress(ProcessLookupError):
                    process.kill()
