"""Appends leave whole lines, each once, whatever a killed process left behind."""

from __future__ import annotations

import errno
import fcntl
import gzip
import os
import re
import threading
from typing import TYPE_CHECKING, Any

import pytest

from dispatcher.tasks.destinations.tracking_log.append_log import Append, AppendLog
from dispatcher.tasks.destinations.tracking_log.appender import Appender
from dispatcher.tasks.destinations.tracking_log.rotation import compress_rotated, open_sibling

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LINES = [b'{"n": 1}', b'{"n": 2, "text": "two"}', b'{"n": 3}']
TEXT = b'{"n": 1}\n{"n": 2, "text": "two"}\n{"n": 3}\n'
KEY = b"k" * 16
OTHER = b"o" * 16


def new_key() -> bytes:
    return os.urandom(16)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tracking.log"


@pytest.fixture
def appender(path: Path) -> Iterator[Appender]:
    appender = Appender(path)
    yield appender
    appender.close()


@pytest.fixture
def compressing(path: Path) -> Iterator[Appender]:
    appender = Appender(path, rotate_bytes=40, rotate_compress=True, clock=lambda: 1_772_600_767.9)
    yield appender
    appender.close()


def record_of(path: Path) -> AppendLog:
    return AppendLog(path.with_name(".tracking.log.appends"))


def killed_while_writing(path: Path, written: bytes, *, first: int = 0, gaps: bool = False) -> None:
    """Leave what a process leaves that was killed when ``written`` of its lines had reached the file."""
    record = record_of(path)
    path.touch()
    status = path.stat()
    text = b"\n".join(LINES[first:]) + b"\n"
    with record.lock(1):
        record.begin(
            key=KEY,
            inode=status.st_ino,
            offset=status.st_size,
            length=len(text),
            first=first,
            events=len(LINES) - first + gaps,
            gaps=gaps,
        )
        with path.open("ab") as log:
            log.write(written)
    record.close()


def test_lines_are_appended_with_line_breaks(path: Path, appender: Appender) -> None:
    appender.append(LINES, key=KEY)
    appender.append([b"{}"], key=OTHER)
    assert path.read_bytes() == TEXT + b"{}\n"


def test_parent_directories_are_created(tmp_path: Path) -> None:
    appender = Appender(tmp_path / "var" / "log" / "tracking.log", fsync=True)
    appender.append(LINES, key=KEY)
    appender.close()
    assert (tmp_path / "var" / "log" / "tracking.log").read_bytes() == TEXT


def test_other_users_cannot_read_the_files(path: Path, appender: Appender) -> None:
    appender.append(LINES, key=KEY)
    assert [file.stat().st_mode & 0o007 for file in path.parent.iterdir()] == [0, 0]


def test_an_appended_batch_is_not_appended_again(path: Path, appender: Appender) -> None:
    appender.append(LINES, key=KEY)
    appender.append([b"{}"], key=OTHER)
    appender.append(LINES, key=KEY, again=True)
    assert path.read_bytes() == TEXT + b"{}\n"


def test_a_repeated_batch_is_appended_if_it_is_unknown(path: Path, appender: Appender) -> None:
    appender.append([b"{}"], key=OTHER)
    appender.append(LINES, key=KEY, again=True)
    assert path.read_bytes() == b"{}\n" + TEXT


def test_a_recently_appended_batch_is_recognised_without_the_again_flag(path: Path, appender: Appender) -> None:
    appender.append(LINES, key=KEY)
    appender.append(LINES, key=KEY)
    other = Appender(path)
    other.append(LINES, key=KEY)
    appender.append([b"{}"], key=OTHER)
    other.append([b"{}"], key=OTHER)
    other.close()
    assert path.read_bytes() == TEXT + b"{}\n"


@pytest.mark.parametrize("written", range(len(TEXT) + 1))
def test_a_batch_cut_short_by_a_kill_is_completed(path: Path, appender: Appender, written: int) -> None:
    path.write_bytes(b"{}\n")
    killed_while_writing(path, TEXT[:written])
    appender.append(LINES, key=KEY, again=True)
    assert path.read_bytes() == b"{}\n" + TEXT


@pytest.mark.parametrize("written", range(len(TEXT) + 1))
def test_a_batch_with_an_event_without_a_line_is_completed_after_a_kill(
    path: Path, appender: Appender, written: int
) -> None:
    path.write_bytes(b"{}\n")
    killed_while_writing(path, TEXT[:written], gaps=True)
    appender.append([LINES[0], None, *LINES[1:]], key=KEY, again=True)
    assert path.read_bytes() == b"{}\n" + TEXT


@pytest.mark.parametrize("written", range(len(TEXT) + 1))
def test_a_part_of_a_batch_cut_short_by_a_kill_is_completed(path: Path, appender: Appender, written: int) -> None:
    killed_while_writing(path, TEXT[:written])
    appender.append(LINES[:2], key=KEY, again=True)
    appender.append(LINES[2:], key=KEY, first=2, again=True)
    assert path.read_bytes() == TEXT


@pytest.mark.parametrize("written", range(len(TEXT) + 1))
def test_a_batch_cut_short_is_completed_after_others_have_appended(
    path: Path, appender: Appender, written: int
) -> None:
    killed_while_writing(path, TEXT[:written])
    appender.append([b"{}"], key=OTHER)
    appender.append(LINES, key=KEY, again=True)
    lines = path.read_bytes().splitlines()
    assert sorted(lines) == sorted([*LINES, b"{}"])
    assert [line for line in lines if line != b"{}"] == LINES


@pytest.mark.parametrize("written", [0, 5, 9, 20, len(TEXT) - 1, len(TEXT)])
def test_a_batch_cut_short_is_completed_in_the_next_file_after_a_rotation(
    path: Path, appender: Appender, written: int
) -> None:
    killed_while_writing(path, TEXT[:written])
    path.rename(path.with_name("tracking.log.1"))
    appender.append(LINES, key=KEY, again=True)
    rotated = path.with_name("tracking.log.1").read_bytes()
    assert rotated + path.read_bytes() == TEXT
    assert rotated in (b"", TEXT) or rotated.endswith(b"\n")


def test_a_batch_that_is_cut_short_twice_is_completed(path: Path, appender: Appender) -> None:
    killed_while_writing(path, TEXT[:12])
    appender.append([b"{}"], key=OTHER)
    killed_while_writing(path, LINES[1] + b"\n" + LINES[2][:3], first=1)
    appender.append(LINES, key=KEY, again=True)
    assert path.read_bytes() == LINES[0] + b"\n{}\n" + LINES[1] + b"\n" + LINES[2] + b"\n"


def test_a_partial_batch_whose_file_is_gone_is_written_again(path: Path, appender: Appender) -> None:
    killed_while_writing(path, TEXT[:12])
    kept = path.open("rb")  # Its inode is not used again while it is open.
    path.unlink()
    appender.append(LINES, key=KEY, again=True)
    kept.close()
    assert path.read_bytes() == TEXT


def test_a_whole_batch_is_recognised_when_its_file_is_gone(path: Path, appender: Appender) -> None:
    appender.append(LINES, key=KEY)
    path.unlink()
    appender.append([b"{}"], key=OTHER)
    appender.append(LINES, key=KEY, again=True)
    assert path.read_bytes() == b"{}\n"


def test_a_batch_whose_file_was_emptied_is_written_again(path: Path, appender: Appender) -> None:
    appender.append([b"{}"] * 9, key=OTHER)
    killed_while_writing(path, TEXT[:12])
    path.write_bytes(b"")
    appender.append(LINES, key=KEY, again=True)
    assert path.read_bytes() == TEXT


@pytest.mark.parametrize("tail", [b"{", b'{"a": "b', b"x" * 200_000, b"2026 INFO [tracking] - ", b"\xff"])
def test_an_unfinished_line_of_unknown_origin_is_removed(
    path: Path, appender: Appender, tail: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path.write_bytes(b"{}\n" + tail)
    appender.append(LINES, key=KEY)
    assert path.read_bytes() == b"{}\n" + TEXT
    assert f"unfinished line of {len(tail)} bytes" in caplog.text


@pytest.mark.parametrize("tail", [b'{"a": 1}', b'2026 INFO 0 [tracking] - {"a": 1}'])
def test_a_whole_line_without_a_line_break_is_kept(path: Path, appender: Appender, tail: bytes) -> None:
    path.write_bytes(b"{}\n" + tail)
    appender.append(LINES, key=KEY)
    assert path.read_bytes() == b"{}\n" + tail + b"\n" + TEXT


def test_a_file_that_logrotate_renamed_is_not_written_to(path: Path, appender: Appender) -> None:
    appender.append([b'"old"'], key=OTHER)
    path.rename(path.with_name("tracking.log.1"))
    appender.append([b'"new"'], key=KEY)
    assert (path.with_name("tracking.log.1").read_bytes(), path.read_bytes()) == (b'"old"\n', b'"new"\n')


def test_a_file_that_was_replaced_or_emptied_is_noticed(path: Path, appender: Appender) -> None:
    appender.append([b'"old"'], key=OTHER)
    path.rename(path.with_name("tracking.log.1"))
    path.touch()
    appender.append([b'"new"'], key=KEY)
    assert path.read_bytes() == b'"new"\n'
    path.write_bytes(b"")
    appender.append([b'"newer"'], key=new_key())
    assert path.read_bytes() == b'"newer"\n'


def test_a_removed_directory_is_created_again(tmp_path: Path) -> None:
    path = tmp_path / "log" / "tracking.log"
    appender = Appender(path)
    appender.append([b'"old"'], key=OTHER)
    for file in path.parent.iterdir():
        file.unlink()
    path.parent.rmdir()
    appender.append([b'"new"'], key=KEY)
    appender.close()
    assert path.read_bytes() == b'"new"\n'


def test_closing_twice_and_appending_afterwards_work(path: Path, appender: Appender) -> None:
    appender.append([b"1"], key=KEY)
    appender.close()
    appender.close()
    appender.append([b"2"], key=OTHER)
    assert path.read_bytes() == b"1\n2\n"


def test_threads_take_turns(path: Path, appender: Appender) -> None:
    start = threading.Barrier(8)

    def work(worker: int) -> None:
        start.wait()
        for batch in range(50):
            appender.append([f"{worker}-{batch}-{line}".encode() for line in range(5)], key=new_key())

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = path.read_text().splitlines()
    assert len(lines) == len(set(lines)) == 8 * 50 * 5
    assert all(lines[at].rpartition("-")[0] == lines[at + 4].rpartition("-")[0] for at in range(0, len(lines), 5))


def test_a_lock_that_is_never_released_is_an_error(path: Path) -> None:
    appender = Appender(path, lock_seconds=0.05)
    appender.append(LINES, key=KEY)
    with path.with_name(".tracking.log.appends").open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(TimeoutError, match=r"held this lock for 0\.05 s.*\.tracking\.log\.appends"):
            appender.append(LINES, key=OTHER)
    appender.append(LINES, key=OTHER)
    appender.close()
    assert path.read_bytes() == TEXT + TEXT


def test_a_removed_append_log_is_started_anew(path: Path, appender: Appender) -> None:
    other = Appender(path)
    appender.append([b"1"], key=KEY)
    path.with_name(".tracking.log.appends").unlink()
    other.append([b"2"], key=OTHER)
    appender.append([b"3"], key=new_key())
    other.append([b"2"], key=OTHER, again=True)
    other.close()
    assert path.read_bytes() == b"1\n2\n3\n"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_an_append_that_fails_midway_leaves_nothing(
    path: Path, appender: Appender, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    appender.append([b"{}"], key=OTHER)
    write = os.write

    def full(fd: int, data: Any) -> int:
        # As a disk does that runs full: what fits is written, then the next write fails.
        if len(data) < len(TEXT):
            raise OSError(number, os.strerror(number))
        return write(fd, data[:12])

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match=r"cannot append to the tracking log: .*tried again.*tracking\.log") as caught:
        appender.append(LINES, key=KEY)
    monkeypatch.undo()
    assert caught.value.errno == number
    assert path.read_bytes() == b"{}\n"
    appender.append(LINES, key=KEY, again=True)
    assert path.read_bytes() == b"{}\n" + TEXT


def test_lines_written_without_a_log_entry_are_not_written_again(
    path: Path, appender: Appender, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_record: AppendLog, _append: Append) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(AppendLog, "finish", refuse)
    appender.append(LINES, key=KEY)
    monkeypatch.undo()
    appender.append(LINES, key=KEY, again=True)
    assert path.read_bytes() == TEXT


def test_a_directory_at_the_path_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "tracking.log").mkdir()
    appender = Appender(tmp_path / "tracking.log")
    with pytest.raises(IsADirectoryError, match=r"set a path that is not a directory.*tracking\.log"):
        appender.append(LINES, key=KEY)
    appender.close()


def test_a_file_in_place_of_the_parent_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "log").touch()
    appender = Appender(tmp_path / "log" / "tracking.log")
    with pytest.raises(OSError, match=r"cannot append to the tracking log: .*log"):
        appender.append(LINES, key=KEY)
    appender.close()


def test_a_full_file_is_renamed_like_edxs(path: Path) -> None:
    now = iter([1_772_600_767.9, 1_772_600_767.95, 1_772_600_769.0])
    appender = Appender(path, rotate_bytes=20, clock=lambda: next(now))
    for number in range(7):
        appender.append([b'{"n": %d}' % number], key=new_key())
    appender.close()
    files = {file.name: file.read_text() for file in path.parent.iterdir() if not file.name.startswith(".")}
    assert files == {
        "tracking.log-20260304-1772600767": '{"n": 0}\n{"n": 1}\n',
        "tracking.log-20260304-1772600768": '{"n": 2}\n{"n": 3}\n',
        "tracking.log-20260304-1772600769": '{"n": 4}\n{"n": 5}\n',
        "tracking.log": '{"n": 6}\n',
    }


def test_an_append_larger_than_a_file_may_be_is_not_split(path: Path) -> None:
    appender = Appender(path, rotate_bytes=5)
    appender.append(LINES, key=KEY)
    appender.close()
    assert path.read_bytes() == TEXT


def test_rotated_files_are_compressed(path: Path, compressing: Appender) -> None:
    for number in range(7):
        compressing.append([b'{"number": %d}' % number], key=new_key())
    # One compression may have been under way when the next file was due: the next rotation sees to it.
    compressing.close()
    compressing.append([b"x" * 50], key=OTHER)
    compressing.close()
    rotated = sorted(path.parent.glob("tracking.log-*"))
    assert all(re.fullmatch(r"tracking\.log-\d{8}-\d+\.gz", file.name) for file in rotated)
    assert b"".join(gzip.decompress(file.read_bytes()) for file in rotated) == b"".join(
        b'{"number": %d}\n' % number for number in range(7)
    )
    assert not list(path.parent.glob("*.partial"))


def test_files_that_are_renamed_and_removed_meanwhile_harm_no_listing(path: Path) -> None:
    path.write_bytes(b"kept\n")
    log_inode = path.stat().st_ino
    stopped = threading.Event()

    def rename_and_remove() -> None:
        while not stopped.is_set():
            other = path.with_name("tracking.log-20260101-1767225600")
            other.write_bytes(b"")
            path.rename(path.with_name("tracking.log-20260102-1767312000"))
            other.unlink()
            path.with_name("tracking.log-20260102-1767312000").rename(path)

    renaming = threading.Thread(target=rename_and_remove)
    renaming.start()
    try:
        for _ in range(2_000):
            compress_rotated(path.with_name("tracking.log-2026"))  # No rotated file has that name: it lists only.
            fd = open_sibling(path, log_inode)
            if fd is not None:
                assert os.fstat(fd).st_ino == log_inode
                os.close(fd)
    finally:
        stopped.set()
        renaming.join()


def test_an_interrupted_compression_is_repeated(path: Path, compressing: Appender) -> None:
    path.with_name("tracking.log-20260101-1767225600").write_bytes(b"old\n")
    path.with_name(".tracking.log-20260101-1767225600.gz.partial").write_bytes(b"half")
    path.with_name("tracking.log-notes").write_bytes(b"kept\n")
    compressing.append([b"x" * 50], key=new_key())
    compressing.append([b"y" * 50], key=new_key())
    compressing.close()
    assert gzip.decompress(path.with_name("tracking.log-20260101-1767225600.gz").read_bytes()) == b"old\n"
    assert not list(path.parent.glob("*.partial"))
    assert path.with_name("tracking.log-notes").read_bytes() == b"kept\n"


def test_a_file_that_another_process_compresses_is_skipped(path: Path, compressing: Appender) -> None:
    old = path.with_name("tracking.log-20260101-1767225600")
    old.write_bytes(b"old\n")
    with old.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        compressing.append([b"x" * 50], key=new_key())
        compressing.append([b"y" * 50], key=new_key())
        compressing.close()
        assert old.read_bytes() == b"old\n"


def test_a_file_that_cannot_be_compressed_stays_and_is_logged(
    path: Path, compressing: Appender, caplog: pytest.LogCaptureFixture
) -> None:
    old = path.with_name("tracking.log-20260101-1767225600")
    old.write_bytes(b"old\n")
    path.with_name(f"{old.name}.gz").mkdir()
    compressing.append([b"x" * 50], key=new_key())
    compressing.append([b"y" * 50], key=new_key())
    compressing.close()
    assert old.read_bytes() == b"old\n"
    assert f"cannot compress {old}" in caplog.text
