"""GnuPG: encrypts a stream to the holders of some keys. Nothing is written in clear, and no key server is asked.

It runs the program ``gpg``, whose keys are public keys in files: no key ring of anybody is read or changed.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Final, Self

from dispatcher.errors import DispatcherError

#: How long before a key expires people are told.
EXPIRES_SOON: Final = timedelta(days=7)
# Fields of a line of --with-colons, by doc/DETAILS of GnuPG.
_TYPE, _VALIDITY, _EXPIRES, _CAPABILITIES = 0, 1, 6, 11
_SECONDS: Final = 60


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key that something can be encrypted to now.

    Args:
        path: The file that it is in.
        expires: When it ends; None: never.
    """

    path: Path
    expires: datetime | None


def read_key(path: Path, now: datetime | None = None) -> PublicKey:
    """Look at a public key. Runs gpg, which blocks for some milliseconds.

    Args:
        path: A file with a public key, armored or not.
        now: The present time, for tests.

    Raises:
        DispatcherError: The key cannot be read, has expired, was revoked or is not for encryption; or gpg is missing.
    """
    _find_program()
    with tempfile.TemporaryDirectory(prefix="dispatcher-gnupg-") as home:
        command = ["gpg", "--homedir", home, "--batch", "--no-tty", "--with-colons", "--show-keys", str(path)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
        except subprocess.TimeoutExpired:
            raise DispatcherError(
                f"gpg did not answer within {_SECONDS} seconds when it was asked for {path}"
            ) from None
    lines = [line.split(":") for line in done.stdout.splitlines()]
    keys = [line for line in lines if line[_TYPE] == "pub"]
    if done.returncode or len(keys) != 1:
        what = "does not exist" if not path.exists() else f"holds {len(keys)} public keys, and should hold one"
        raise DispatcherError(f"the key {path} {what}: export it by `gpg --export --armor ADDRESS`")
    [key] = keys
    if key[_VALIDITY] == "r":
        raise DispatcherError(f"the key {path} was revoked: ask its holder for the new one")
    expires = _time(key[_EXPIRES])
    # Capital: of the whole key, sub-keys included, as far as it may be used.
    if key[_VALIDITY] == "e" or (expires is not None and expires <= (now or datetime.now(UTC))):
        when = "" if expires is None else f" on {expires.date()}"
        raise DispatcherError(f"the key {path} has expired{when}: ask its holder for one that is valid")
    if "E" not in key[_CAPABILITIES]:
        ends = [_time(line[_EXPIRES]) for line in lines if line[_TYPE] == "sub" and line[_VALIDITY] == "e"]
        what = "has a sub-key for encryption that has expired" if ends else "is not for encryption"
        raise DispatcherError(f"the key {path} {what}: ask its holder for one that is valid")
    usable = [_time(line[_EXPIRES]) for line in lines if line[_TYPE] == "sub" and "e" in line[_CAPABILITIES]]
    bounds = [one for one in (expires, *usable) if one is not None]
    return PublicKey(path, min(bounds) if bounds else None)


class Encryption:
    """Encrypts what is written to it into a file. A context manager; use it in one thread.

    Args:
        keys: Whoever holds the secret of one of them can read the file.
        to: Where the encrypted bytes go.
    """

    def __init__(self, keys: Sequence[PublicKey], to: IO[bytes]) -> None:
        self._to = to
        self._keys = keys

    def __enter__(self) -> Self:
        self._home = tempfile.TemporaryDirectory(prefix="dispatcher-gnupg-")
        recipients = [word for key in self._keys for word in ("--recipient-file", str(key.path))]
        self._errors = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            [
                *("gpg", "--homedir", self._home.name, "--batch", "--no-tty", "--quiet"),
                # By address it would ask the network for a key that it does not find.
                *("--no-auto-key-locate", "--no-default-keyring", "--trust-model", "always"),
                # What it gets is compressed already: to compress it again takes twice the time.
                *("-z", "0", "--encrypt", *recipients),
            ],
            stdin=subprocess.PIPE,
            stdout=self._to,
            stderr=self._errors,
        )
        return self

    def write(self, content: bytes) -> None:
        """Encrypt more. Blocks while gpg is behind. Raises DispatcherError where gpg has ended."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(content)
        except BrokenPipeError:
            self._fail()

    def finish(self) -> None:
        """Wait until all is in the file. Raises DispatcherError where gpg has failed."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
        except BrokenPipeError:
            self._fail()
        if self._process.wait():
            self._fail()

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        if self._process.stdin is not None and not self._process.stdin.closed:
            with suppress(BrokenPipeError):
                self._process.stdin.close()
        self._errors.close()
        self._home.cleanup()

    def _fail(self) -> None:
        self._process.wait()
        self._errors.seek(0)
        said = " ".join(self._errors.read().decode(errors="replace").split())
        raise DispatcherError(f"gpg could not encrypt, exit code {self._process.returncode}: {said[:500]}")


def _find_program() -> None:
    if shutil.which("gpg") is None:
        raise DispatcherError("gpg is not installed: `apt-get install gnupg`, or write files that are not encrypted")


def _time(seconds: str) -> datetime | None:
    return datetime.fromtimestamp(int(seconds), UTC) if seconds else None
