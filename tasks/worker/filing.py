"""Filing: a thread in every worker that moves the oldest dead letters to files, so that they do not fill Redis.

What has waited too long for its visitor's page becomes a dead letter here first.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Final

from dispatcher.connections.redis_pool import RedisPool
from dispatcher.errors import StoreUnavailableError
from dispatcher.store.counts import NOT_TAKEN
from dispatcher.store.dead_letter_files import directory_of, write
from dispatcher.store.dead_letters import DeadLetters
from dispatcher.store.keys import DEAD
from dispatcher.store.mailboxes import Mailboxes
from dispatcher.store.occupancy import find_occupied
from dispatcher.store.slots import find_slots, slot_name, split_name

if TYPE_CHECKING:
    from dispatcher.config import Settings

logger = logging.getLogger(__name__)

# Seconds that one call to Redis may take.
_TIMEOUT_SECONDS: Final = 5.0
# Seconds between two checks, of all workers together. Dead letters take far longer to grow from the limit to twice it.
_EVERY_SECONDS: Final = 10.0
# Checks between which every destination is told its limit, even where it has no dead letter.
_ALL_CHECKS: Final = 60


class Filing:
    """Files the dead letters of every destination. One worker at a time does; any number may run.

    Dead letters leave Redis once their file is on the disk: a worker that is killed in between files them twice.
    """

    def __init__(self, settings: Settings, *, every_seconds: float = _EVERY_SECONDS) -> None:
        self._every = every_seconds
        self._directory = directory_of(settings.state_directory)
        self._limits = {name: table.dead for name, table in settings.destinations.items()}
        self._in_browsers = list(settings.browser_destinations)
        self._limits[NOT_TAKEN] = settings.dead
        self._slots = {name: settings.destinations[name].slots if name != NOT_TAKEN else 1 for name in self._limits}
        # By name, how many slots the destination has.
        self._known: dict[str, int] = {}
        self._url = settings.store
        self._stopped = threading.Event()
        self._failing = False
        self._checks = 0

    def start(self) -> None:
        """Start filing. Returns at once."""
        threading.Thread(target=self._run, name="dispatcher-filing", daemon=True).start()

    def stop(self) -> None:
        """Stop after the current file. Does not wait for it."""
        self._stopped.set()

    def _run(self) -> None:
        pool = RedisPool(self._url, timeout_seconds=_TIMEOUT_SECONDS)
        while True:
            try:
                self.file_overdue(pool)
                self._failing = False
            except StoreUnavailableError as error:
                logger.debug("dead letters were not checked: %s", error)
            except OSError as error:
                if not self._failing:
                    logger.error("dead letters stay in Redis, until it has no room for them: %s", error)
                self._failing = True
            except Exception:  # one damaged dead letter must not end all filing to come
                logger.exception("dead letters could not be filed")
            if self._stopped.wait(self._every):
                break
        pool.close()

    def file_overdue(self, pool: RedisPool) -> int:
        """File the dead letters that are too many or too old now. Blocks.

        Returns:
            How many events were filed.

        Raises:
            StoreUnavailableError: Redis does not answer.
            OSError: The file cannot be written; its dead letters stay in Redis.
        """
        mailboxes = Mailboxes(pool)
        for name in self._in_browsers:
            while mailboxes.expire(name) and not self._stopped.is_set():
                pass
        letters = DeadLetters(pool)
        is_for_all = self._checks % _ALL_CHECKS == 0
        if is_for_all:
            slots = find_slots(pool, self._slots)
            self._known = {slot_name(name, slot): len(slots[name]) for name in slots for slot in slots[name]}
        names = list(self._known) if is_for_all else find_occupied(pool, self._known, (DEAD,))
        filed = sum(self._file(letters, *split_name(name)) for name in names)
        self._checks += 1
        return filed

    def _file(self, letters: DeadLetters, name: str, slot: int) -> int:
        # A slot's dead letters go to files of their own, so that these say where they count as dead.
        limits, number, filed = self._limits[name], self._known[slot_name(name, slot)], 0
        while not self._stopped.is_set():
            overdue = letters.overdue(
                name,
                max_bytes=max(1, limits.max_bytes // number),
                max_age_seconds=0.0 if limits.max_age_seconds == "never" else limits.max_age_seconds,
                every_seconds=self._every * 0.9,
                going_on=filed > 0,
                slot=slot,
            )
            if not overdue:
                break
            path = write(self._directory, name, letters.read(name, overdue))
            filed += letters.mark_filed(name, overdue)
            logger.warning("%d dead letters of %s went to %s", len(overdue), name, path)
        return filed
