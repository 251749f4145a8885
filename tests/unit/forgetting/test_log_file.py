"""A file of lines that is written anew keeps what it has beside its lines."""

from __future__ import annotations

import gzip
from pathlib import Path

import zstandard

from dispatcher.edx_log.log_note import gzip_extra, gzip_head, zstd_frame, zstd_note
from dispatcher.forgetting import Person
from dispatcher.forgetting.log_file import LogFile
from dispatcher.forgetting.search import LineSearch

_LINES = b"".join(b'{"username": "%s", "n": %d}\n' % (b"ada" if n % 3 else b"bob", n) for n in range(9000))
_NOTE = bytes(range(256)) * 200


def test_a_note_outlives_what_is_taken_out(tmp_path: Path) -> None:
    bobs = b"".join(line for line in _LINES.splitlines(keepends=True) if b"bob" in line)
    plain = gzip.compress(_LINES, mtime=0)
    for content in (
        _LINES,
        plain,
        gzip_head(_NOTE) + plain[10:],
        zstandard.compress(_LINES),
        zstandard.compress(_LINES) + zstd_frame(_NOTE),
    ):
        path = tmp_path / "log"
        path.write_bytes(content)
        counts = LogFile(path).rewrite(LineSearch(Person(usernames=("ada",))), lambda _: None, lambda _: None)
        after = path.read_bytes()
        assert counts == (6000, 9000)
        assert (gzip_extra(after), zstd_note(after)) == (gzip_extra(content), zstd_note(content))
        assert b"".join(LogFile(path).blocks()) == bobs
