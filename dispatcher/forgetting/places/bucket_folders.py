"""Bucket folders: logs and exports in buckets that the settings or the command name, as directories are named."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from dispatcher.forgetting.place import Place
from dispatcher.forgetting.places.unreachable import Unreachable
from dispatcher.installation.extras import install_command

_NAME: Final = "exports"
_DIGEST_CHARACTERS: Final = 16


def folder_places(urls: Iterable[str], state_directory: Path) -> Iterator[Place]:
    """A place for each address; credentials and endpoints are those of the environment. Opens nothing.

    Args:
        urls: Addresses, such as ``s3://logs/tracking``.
        state_directory: Where copies of what is replaced go.
    """
    for url in dict.fromkeys(one.rstrip("/") for one in urls):
        if find_spec("obstore") is None:
            yield Unreachable(_NAME, url, f"it is a bucket: {install_command('buckets')}")
            continue
        from dispatcher.exports.bucket.bucket import Bucket  # noqa: PLC0415 - the extra
        from dispatcher.forgetting.object_files import WORK, ObjectFiles  # noqa: PLC0415 - the extra

        digest = sha256(url.encode()).hexdigest()[:_DIGEST_CHARACTERS]
        yield ObjectFiles(_NAME, Bucket(url=url), state_directory / WORK / digest, _is_looked_at)


def _is_looked_at(name: str) -> bool:
    """Everything, but what is hidden, and what an export has under way."""
    return not any(part.startswith(".") or part == "_work" for part in name.split("/"))
