"""BucketTarget: an export's files in a bucket. Made on this machine; put whole, and only where none is."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Final

import msgspec

from dispatcher.errors import DispatcherError
from dispatcher.exports.bucket.bucket import Bucket, BucketError, ObjectExistsError
from dispatcher.exports.bucket.lock import BucketLock
from dispatcher.exports.bucket.log_object import LogObject
from dispatcher.exports.target import held

# Bytes of one request where columns of a Parquet file are read, and not all of it.
_COLUMN_BYTES: Final = 1 << 18
_ADDRESS: Final = "bucket.json"


class BucketTarget:
    """A bucket's folder. See ``Target``.

    Args:
        bucket: The folder.
        state: A directory of this machine for what is under way, of this folder alone. It is made where it is missing.

    Attributes:
        bucket: As above.
    """

    def __init__(self, bucket: Bucket, state: Path) -> None:
        self.bucket = bucket
        self._state = state
        self.work = state / "_work"
        self._lock: BucketLock | None = None

    def __str__(self) -> str:
        return self.bucket.url

    @contextmanager
    def held(self) -> Iterator[None]:
        """See ``Target``. Raises BucketError too."""
        self._state.mkdir(parents=True, exist_ok=True)
        # What is written there has to be found again when a person is forgotten.
        (self._state / _ADDRESS).write_bytes(msgspec.json.encode(self.bucket))
        with held(self._state, self), BucketLock(self.bucket, self._owner()) as self._lock:
            yield

    def names(self, folder: str) -> set[str]:
        """See ``Target``. Raises BucketError."""
        return {one["path"].rpartition("/")[2] for one in self.bucket.list(folder)}

    def open(self, name: str) -> BufferedReader:
        """See ``Target``. Raises BucketError."""
        found = self.bucket.head(name)
        if found is None:
            raise BucketError(f"{self}/{name} is gone: another program deletes here. Run it again in the same way")
        log = LogObject(bucket=self.bucket, name=name, size=found["size"], e_tag=found["e_tag"] or "")
        return log.open(buffering=_COLUMN_BYTES)

    def put(self, name: str, content: bytes) -> None:
        """See ``Target``. Raises BucketError."""
        self._check()
        self.bucket.overwrite(name, content)

    def place(self, file: Path, name: str) -> None:
        """See ``Target``. Raises BucketError, and DispatcherError where another file of that name is there."""
        self._check()
        try:
            self.bucket.put(name, file)
        except ObjectExistsError:
            # As after a run that was killed before it could note it, or when the answer was lost.
            with self.open(name) as placed, file.open("rb") as own:
                if hashlib.file_digest(placed, "sha256").digest() != hashlib.file_digest(own, "sha256").digest():
                    raise DispatcherError(
                        f"{self}/{name} is there already with other content: another program writes here. "
                        "Export to a folder that nothing else writes to"
                    ) from None
        file.unlink()

    def _check(self) -> None:
        assert self._lock is not None, "hold it with `held`"
        self._lock.check()

    def _owner(self) -> str:
        """The same for each run with this state: only one of them can be at a time."""
        path = self._state / "owner"
        if not path.exists():
            path.write_text(uuid.uuid4().hex)
        return path.read_text()


def known_targets(exports: Path) -> Iterator[BucketTarget]:
    """The folders that were exported to from this machine.

    Args:
        exports: The directory of what is under way for each.
    """
    for path in sorted(exports.glob(f"*/{_ADDRESS}")):
        yield BucketTarget(msgspec.json.decode(path.read_bytes(), type=Bucket), path.parent)
