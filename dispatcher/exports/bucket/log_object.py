"""LogObject: a tracking log that is an object of a bucket, read range by range: memory stays flat."""

from __future__ import annotations

import hashlib
from io import BufferedReader, RawIOBase
from typing import Any, Final, Literal

import msgspec

from dispatcher.errors import DispatcherError
from dispatcher.exports.bucket.bucket import Bucket

# Bytes of one request: enough to make the way there and back small beside it.
_REQUEST_BYTES: Final = 8 << 20
_HEAD_CHARACTERS: Final = 24


class LogObject(msgspec.Struct, frozen=True, kw_only=True):
    """An object, as it was when the bucket was listed. Immutable, and an argument of other processes.

    Args:
        bucket: Where it is.
        name: Its name there.
        size: Its bytes.
        e_tag: By which the server knows this content of it.
    """

    bucket: Bucket
    name: str
    size: int
    e_tag: str

    def __str__(self) -> str:
        return f"{self.bucket.url}/{self.name}" if self.name else self.bucket.url

    @property
    def head(self) -> str:
        """By what it is known again, without reading it."""
        known = f"{self} {self.size} {self.e_tag}"
        return hashlib.sha256(known.encode()).hexdigest()[:_HEAD_CHARACTERS]

    def open(self, mode: Literal["rb"] = "rb", buffering: int = _REQUEST_BYTES) -> BufferedReader:
        """It as a file. Each read blocks for a request, and raises as ``Bucket.read``.

        Args:
            mode: As of any file.
            buffering: Bytes of one request.
        """
        assert mode == "rb"
        return BufferedReader(_ObjectReader(self), buffering)


class _ObjectReader(RawIOBase):
    def __init__(self, log: LogObject) -> None:
        self._log = log
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0, /) -> int:
        self._position = offset + (0, self._position, self._log.size)[whence]
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any, /) -> int:
        end = min(self._position + len(buffer), self._log.size)
        if end <= self._position:
            return 0
        content = self._log.bucket.read(self._log.name, self._position, end, self._log.e_tag)
        buffer[: len(content)] = content
        self._position += len(content)
        return len(content)


def find_objects(bucket: Bucket) -> list[LogObject]:
    """The logs under an address: those in the folder of that name, or the object. In order of their names.

    Objects of no bytes, and names that begin with ``.`` or ``_`` in any folder, are left out.

    Raises:
        DispatcherError: It has no objects, or cannot be listed.
    """
    found = [
        LogObject(bucket=bucket, name=one["path"], size=one["size"], e_tag=one["e_tag"] or "") for one in bucket.list()
    ]
    if not found:
        parent, _, name = bucket.url.rpartition("/")
        if not parent.endswith("/"):
            beside = msgspec.structs.replace(bucket, url=parent)
            if (one := beside.head(name)) is not None:
                found = [LogObject(bucket=beside, name=name, size=one["size"], e_tag=one["e_tag"] or "")]
    logs = [log for log in found if log.size and not any(part.startswith((".", "_")) for part in log.name.split("/"))]
    if not logs:
        raise DispatcherError(f"--from: {bucket.url} has no objects: give a prefix that ends between two slashes")
    return sorted(logs, key=lambda log: log.name)
