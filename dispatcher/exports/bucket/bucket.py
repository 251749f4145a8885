"""Bucket: the objects under one address of S3, of Google Cloud Storage or of Azure. Every error has a name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import lru_cache
from typing import Any, Final

import msgspec
import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PermissionDeniedError, PreconditionError
from obstore.store import from_url

from dispatcher.errors import DispatcherError

#: Seconds for one request. It has 8 MiB at most, so that a slower line is taken for one that hangs.
TIMEOUT_SECONDS: Final = 60.0
#: Seconds for which a request is tried again, after errors of the server and broken connections.
RETRY_SECONDS: Final = 90.0
_MAX_RETRIES: Final = 10
# As the answers of S3, of Google's XML interface and of Azure have them.
_STATUS: Final = re.compile(r"status code: (\d{3})")
_CODE: Final = re.compile(r"<Code>(\w{1,60})</Code>")
# What new credentials mend, and no other object would answer better. S3 says some of it with 400 and some with 403.
_CREDENTIALS: Final = frozenset(
    {
        *("ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired", "RequestTimeTooSkewed"),
        *("InvalidAccessKeyId", "InvalidToken", "SignatureDoesNotMatch", "AuthenticationFailed", "AuthFailure"),
    }
)


class BucketError(DispatcherError):
    """The bucket does not do what was asked: for now, or not with these credentials. What is whole there stays."""


class ObjectUnreadableError(OSError):
    """This one object cannot be read; others may be."""


class ObjectExistsError(Exception):
    """The object is there already."""


class ObjectChangedError(Exception):
    """The object is another one than was said."""


class Bucket(msgspec.Struct, frozen=True, kw_only=True):
    """Where objects are. Safe in threads, and as an argument of other processes; not used across a fork.

    Credentials and endpoints come from the variables and services that the vendors' own tools know (``AWS_…``,
    ``GOOGLE_…``, ``AZURE_STORAGE_…``, the identity of a container or machine).

    Args:
        url: ``s3://bucket/prefix`` or the like, without a slash at its end.
        timeout_seconds: For one request.
        retry_seconds: How long a request is tried again.
        endpoint: Of a server with the vendor's protocol; empty for that of the variables, or the vendor's own.
    """

    url: str
    timeout_seconds: float = TIMEOUT_SECONDS
    retry_seconds: float = RETRY_SECONDS
    endpoint: str = ""

    def client(self) -> Any:
        """What asks the server. Each bucket has connections of its own."""
        return _open(self)

    def top(self) -> tuple[list[str], list[dict[str, Any]]]:
        """The folders at the top, by name, and the objects that are in none, as ``list`` has them.

        Raises:
            BucketError: It cannot be listed.
        """
        with self.named_errors(""):
            found = obstore.list_with_delimiter(self.client())
            return sorted(found["common_prefixes"]), list(map(dict, found["objects"]))

    def list(self, folder: str = "") -> Iterator[dict[str, Any]]:
        """Name, size and e-tag of each object in a folder and its folders, as ``obstore`` has them.

        Raises:
            BucketError: It cannot be listed.
        """
        with self.named_errors(folder):
            for batch in obstore.list(self.client(), f"{folder}/" if folder else None):
                yield from map(dict, batch)

    def head(self, name: str) -> dict[str, Any] | None:
        """Size, e-tag and time of an object; None where it is missing."""
        with self.named_errors(name):
            try:
                return dict(obstore.head(self.client(), name))
            except FileNotFoundError:
                return None

    def get(self, name: str) -> tuple[bytes, dict[str, Any]]:
        """All bytes of a small object, and what ``head`` says. Raises ObjectUnreadableError where it is missing."""
        with self.named_errors(name):
            answer = obstore.get(self.client(), name)
            return bytes(answer.bytes()), dict(answer.meta)

    def read(self, name: str, start: int, end: int, e_tag: str) -> memoryview:
        """The bytes of a range of an object.

        Raises:
            ObjectUnreadableError: It is another one than that with the e-tag, is gone, or must not be read.
            BucketError: As above.
        """
        with self.named_errors(name):
            answer = obstore.get(self.client(), name, options={"range": (start, end), "if_match": e_tag or None})
            return memoryview(answer.bytes())

    def put(self, name: str, content: Any, *, replaces: dict[str, Any] | None = None) -> dict[str, Any]:
        """Put an object, whole or not at all.

        Args:
            name: Its name.
            content: Bytes, or the path of a file.
            replaces: What ``put``, ``head`` or ``get`` said of the object that is replaced; None for a new one.

        Returns:
            By what it is known, for ``replaces``.

        Raises:
            ObjectExistsError: One of that name is there. An earlier try, whose answer was lost, may have put it.
            ObjectChangedError: The one that was to be replaced is another one now.
            BucketError: As above.
        """
        known = {key: (replaces or {}).get(key) for key in ("e_tag", "version")}
        mode: Any = {key: value for key, value in known.items() if value is not None} or "create"
        with self.named_errors(name):
            try:
                return dict(obstore.put(self.client(), name, content, mode=mode, use_multipart=False))
            except AlreadyExistsError as error:
                raise ObjectExistsError(name) from error
            except PreconditionError as error:
                raise ObjectChangedError(name) from error

    def overwrite(self, name: str, content: bytes) -> None:
        """Put an object, in place of one that may be there."""
        with self.named_errors(name):
            obstore.put(self.client(), name, content, use_multipart=False)

    def delete(self, name: str) -> None:
        """Delete an object, if it is there."""
        with self.named_errors(name):
            try:
                obstore.delete(self.client(), name)
            except FileNotFoundError:
                return

    @contextmanager
    def named_errors(self, name: str) -> Iterator[None]:
        """Translate the client's errors. Its own words may hold what signs a request, and are not repeated."""
        place = f"{self.url}/{name}" if name else self.url
        try:
            yield
        except FileNotFoundError as error:
            raise ObjectUnreadableError(f"{place} is gone") from error
        except PreconditionError as error:
            raise ObjectUnreadableError(f"{place} was replaced meanwhile: run it again") from error
        except (BaseError, ValueError) as error:
            why = _reason_of(str(error))
            if isinstance(error, PermissionDeniedError) and not _CREDENTIALS & set(_CODE.findall(str(error))) and name:
                raise ObjectUnreadableError(f"{place} must not be read or written: {why}") from error
            raise BucketError(f"{place}: {why}") from error


@lru_cache(maxsize=64)
def _open(bucket: Bucket) -> Any:
    return from_url(
        bucket.url,
        config={"endpoint": bucket.endpoint} if bucket.endpoint else None,
        client_options={"timeout": timedelta(seconds=bucket.timeout_seconds), "allow_http": True},
        retry_config={"max_retries": _MAX_RETRIES, "retry_timeout": timedelta(seconds=bucket.retry_seconds)},
    )


def _reason_of(words: str) -> str:
    status, code = _STATUS.search(words), _CODE.search(words)
    answered = " ".join(match[1] for match in (status, code) if match is not None)
    if code is not None and code[1] in _CREDENTIALS:
        return f"the server answers {answered}: renew the credentials, and run it again in the same way to go on"
    if status is not None and status[1] in {"401", "403"}:
        return f"the server answers {answered}: these credentials may not do that"
    if code is not None and code[1] in {"NoSuchBucket", "ContainerNotFound"}:
        return f"the server answers {answered}: look at the name, and at the endpoint and region of the variables"
    if answered:
        return f"the server still answers {answered} after several tries: run it again in the same way to go on"
    if "HTTP error" in words or "timed out" in words or "error sending request" in words:
        return "the server cannot be reached, or does not answer in time: run it again in the same way to go on"
    return "the address or its credentials cannot be used: look at the address, and at the variables of its vendor"
