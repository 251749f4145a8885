"""BucketLock: one export at a time writes to a bucket's folder, from whatever machine. An object that is renewed."""

from __future__ import annotations

import socket
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Self

import msgspec

from dispatcher.errors import DispatcherError
from dispatcher.exports.bucket.bucket import Bucket, BucketError, ObjectChangedError, ObjectExistsError

# S3 refuses requests of a clock that is off by a quarter of an hour, so that twice that is long on every clock.
_LEASE: Final = timedelta(minutes=30)
_RENEW_SECONDS: Final = 60.0
# Well before others may take it: the longest that one file can take on its way is less than the rest.
_TRUSTED_SECONDS: Final = 20 * 60.0
_NAME: Final = "_work/lock.json"


class _Holder(msgspec.Struct):
    owner: str
    host: str
    count: int = 0


class BucketLock:
    """Held in a ``with``. Taken at once from a run of the same owner that was killed; from another half an hour later.

    Args:
        bucket: What is held.
        owner: The same for all runs of which only one can be at a time.
    """

    def __init__(self, bucket: Bucket, owner: str) -> None:
        self._bucket = bucket
        self._holder = _Holder(owner, socket.gethostname())
        self._version: dict[str, Any] = {}
        self._renewed = 0.0
        self._is_lost = False
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._renew_until_end, name="bucket-lock", daemon=True)

    def __enter__(self) -> Self:
        try:
            self._version = self._bucket.put(_NAME, self._content())
        except ObjectExistsError:
            self._take_over()
        self._renewed = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join()
        if not self._is_lost:
            self._bucket.delete(_NAME)

    def check(self) -> None:
        """Call it before each file. Raises DispatcherError where others may have taken it meanwhile. Does not block."""
        if self._is_lost or time.monotonic() - self._renewed > _TRUSTED_SECONDS:
            raise DispatcherError(
                f"{self._bucket.url} is not held any more: this machine could not reach it for too long. "
                "Run it again in the same way to go on"
            )

    def _take_over(self) -> None:
        content, known = self._bucket.get(_NAME)
        holder = msgspec.json.decode(content, type=_Holder)
        free_at = known["last_modified"] + _LEASE
        refused = DispatcherError(
            f"another export on {holder.host} writes to {self._bucket.url}: wait for its end. If it was killed, "
            f"run it again there, or after {free_at:%H:%M} UTC here"
        )
        if holder.owner != self._holder.owner and datetime.now(UTC) < free_at:
            raise refused
        try:
            self._put(known)
        except ObjectChangedError:
            raise refused from None

    def _content(self) -> bytes:
        self._holder.count += 1  # so that each content has an e-tag of its own
        return msgspec.json.encode(self._holder)

    def _put(self, known: dict[str, Any]) -> None:
        self._version = self._bucket.put(_NAME, self._content(), replaces=known)

    def _renew_until_end(self) -> None:
        while not self._ends.wait(_RENEW_SECONDS):
            try:
                self._put(self._version)
                self._renewed = time.monotonic()
            except ObjectChangedError:
                if not self._is_own_retry():
                    self._is_lost = True
                    return
            except (BucketError, OSError):
                continue  # `check` says when this has lasted too long

    def _is_own_retry(self) -> bool:
        """Whether what is there was put by this run: the answer to it was lost."""
        try:
            content, known = self._bucket.get(_NAME)
        except (BucketError, OSError):
            return True  # for now; the next round looks again
        if content != msgspec.json.encode(self._holder):
            return False
        self._version, self._renewed = known, time.monotonic()
        return True
