"""SourceFile: one file of a site or a course, what the codemod makes of it, and how that is written."""

from __future__ import annotations

import difflib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from dispatcher.collector.deprecations.codemod.fragments import SUFFIXES, find_fragments, find_unread
from dispatcher.collector.deprecations.codemod.rewrite import Edit, apply, rewrite

# Directories with what others wrote, which a new release of it would bring back.
_SKIPPED: Final = frozenset({"node_modules", "bower_components", ".git", ".hg", ".svn", ".venv", "__pycache__"})
# Larger files are built, and are built again from their sources.
_MAX_BYTES: Final = 5_000_000
_NAMES: Final = (b"Logger", b"log_event")


@dataclass(frozen=True, slots=True, order=True)
class Kept:
    """A call that stays: its line from 1, or 0 for the whole file; what is called; and why it stays."""

    line: int
    call: str
    why: str


@dataclass(slots=True)
class SourceFile:
    """What becomes of one file.

    Args:
        path: Where it is.
        before: As it was read.
        after: As it is to be.
        calls: How many calls were rewritten.
        kept: Calls that stay, in the order of the file.
    """

    path: Path
    before: bytes = b""
    after: bytes = b""
    calls: int = 0
    kept: list[Kept] = field(default_factory=list)

    @property
    def is_changed(self) -> bool:
        """Whether writing it would change it."""
        return self.before != self.after

    def diff(self) -> str:
        """The change as a unified diff for people: without carriage returns."""
        try:
            before, after = self.before.decode(), self.after.decode()
        except UnicodeDecodeError:
            before, after = self.before.decode("latin-1"), self.after.decode("latin-1")
        lines = difflib.unified_diff(
            before.splitlines(), after.splitlines(), str(self.path), str(self.path), lineterm=""
        )
        return "".join(f"{line}\n" for line in lines)

    def write(self) -> None:
        """Replace the file in one step, with its mode. Raises OSError; then the file is as it was."""
        descriptor, name = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(self.after)
            shutil.copymode(self.path, name)
            os.replace(name, self.path)
        except BaseException:
            os.unlink(name)
            raise


def find_files(paths: Iterable[Path]) -> Iterator[Path]:
    """The files to read, each once: those that are named, and below directories those with known endings.

    Reads the disk. Below directories it leaves out links, minified files, and directories such as node_modules.
    """
    seen: set[Path] = set()
    for path in paths:
        found: Iterable[Path] = (path,)
        if path.is_dir():
            found = (
                Path(directory, name)
                for directory, directories, names in os.walk(path)
                # In place, so that it does not go there.
                for _ in (directories.__setitem__(slice(None), sorted(set(directories) - _SKIPPED)),)
                for name in sorted(names)
                if Path(name).suffix.lower() in SUFFIXES and ".min." not in name
            )
            found = (file for file in found if not file.is_symlink())
        for file in found:
            real = file.resolve()
            if real not in seen:
                seen.add(real)
                yield file


def read_file(path: Path) -> SourceFile:
    """Read a file and rewrite its calls, in memory. Raises nothing: what cannot be read is said in ``kept``."""
    if path.suffix.lower() not in SUFFIXES:
        return SourceFile(path, kept=[Kept(0, "", f"{path.suffix or 'a file without an ending'} is not read")])
    try:
        if path.stat().st_size > _MAX_BYTES:
            return SourceFile(path, kept=[Kept(0, "", "it has more than 5 MB: rewrite what it is built from")])
        content = path.read_bytes()
    except OSError as error:
        return SourceFile(path, kept=[Kept(0, "", f"it cannot be read: {error.strerror}")])
    result = SourceFile(path, content, content)
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        result.kept.append(Kept(0, "", "it is in UTF-16: convert it to UTF-8"))
        return result
    if not any(name in content for name in _NAMES):
        return result
    try:
        content.decode()
        encoding = "utf-8"
    except UnicodeDecodeError:
        # Any bytes can be read so, and are written as they were.
        encoding = "latin-1"
    text = content.decode(encoding).encode()
    fragments = find_fragments(text, path)
    edits: list[Edit] = []
    for fragment in fragments:
        rewritten = rewrite(fragment.code, fragment.grammar)
        result.calls += rewritten.calls
        places = fragment.places
        edits += [Edit(places[edit.start], places[edit.end], edit.text) for edit in rewritten.edits]
        result.kept += [Kept(text.count(b"\n", 0, places[one.offset]) + 1, one.call, one.why) for one in rewritten.kept]
    result.kept += [
        Kept(text.count(b"\n", 0, place) + 1, "Logger", "it is in a part of the page that is not read as a script")
        for place in find_unread(text, path, fragments)
    ]
    result.kept.sort()
    result.after = apply(text, edits).decode().encode(encoding)
    return result
