"""Several processes write one log file: killed, out of disk space, rotated, and every line is there once."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import time
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from dispatcher.destinations.base import Batch
from dispatcher.event import Event, encode
from dispatcher.tasks.destinations.tracking_log import TrackingLog, TrackingLogOptions

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.process import BaseProcess
    from pathlib import Path

_spawn = multiprocessing.get_context("spawn")
_MOMENT = datetime(2026, 3, 4, 5, 6, 7, 891011, tzinfo=UTC)
_DEADLINE_SECONDS = 60


def batch(writer: str, number: int, *, events: int, padding: int = 0, maybe_delivered: bool = False) -> Batch:
    payloads = tuple(
        encode(
            Event(
                id="i",
                name=f"{writer}-{number}-{index}",
                timestamp=_MOMENT,
                data={"padding": "x" * padding},
                context={},
            )
        )
        for index in range(events)
    )
    return Batch(
        destination="tracking_log", id=f"{writer}-{number}", payloads=payloads, maybe_delivered=maybe_delivered
    )


def tracking_log(path: Path, **options: Any) -> TrackingLog:
    return TrackingLog("tracking_log", TrackingLogOptions(path=path, **options))


def write(path: Path, writer: str, batches: int, events: int, options: dict[str, Any]) -> None:
    log = tracking_log(path, **options)
    for number in range(batches):
        log.deliver(batch(writer, number, events=events))
    log.close()


def write_until_killed(path: Path, batches: int, events: int, padding: int) -> None:
    log = tracking_log(path)
    for number in range(batches):
        log.deliver(batch("w", number, events=events, padding=padding, maybe_delivered=True))
    signal.pause()


def write_past_the_limit(path: Path, limit_bytes: int) -> None:
    """Exit with 0 if the limit stopped a batch, and nothing of that batch is left."""
    log = tracking_log(path)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, resource.RLIM_INFINITY))
    delivered = 0
    with pytest.raises(OSError, match="rotate it, or raise the limit on a file's size"):  # noqa: PT012 - how many fit
        while True:
            log.deliver(batch("w", delivered, events=7, padding=999))
            delivered += 1
    assert path.read_bytes().count(b"\n") == delivered * 7
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    for number in range(delivered, delivered + 5):
        log.deliver(batch("w", number, events=7, padding=999, maybe_delivered=number == delivered))
    assert path.read_bytes().count(b"\n") == (delivered + 5) * 7


def write_and_fork(path: Path, batches: int) -> None:
    log = tracking_log(path)
    log.deliver(batch("before", 0, events=5))
    child = os.fork()
    for number in range(batches):
        log.deliver(batch("child" if child == 0 else "parent", number, events=5))
    if child == 0:
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0


def start(target: Callable[..., None], *arguments: object) -> BaseProcess:
    process = _spawn.Process(target=target, args=arguments)
    process.start()
    return process


def finish(*processes: BaseProcess) -> None:
    for process in processes:
        process.join(_DEADLINE_SECONDS)
        assert process.exitcode == 0


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come about"
        time.sleep(0.001)


def names(*files: Path) -> list[str]:
    """The names of the events in the files. Every line must be whole."""
    found = []
    for file in files:
        text = file.read_text("ascii")
        assert text == "" or text.endswith("\n")
        for line in text.splitlines():
            assert line.startswith('{"name": "')
            assert line.endswith('"event_source": "server", "page": null}')
            found.append(line[len('{"name": "') : line.index('", ')])
    return found


def log_files(path: Path) -> list[Path]:
    return [file for file in path.parent.iterdir() if file.name.startswith(path.name)]


def test_processes_take_turns_and_no_line_is_torn(tmp_path: Path) -> None:
    path = tmp_path / "tracking.log"
    finish(*[start(write, path, writer, 500, 10, {}) for writer in ("a", "b")])
    found = names(path)
    assert len(found) == 10_000
    for writer in ("a", "b"):
        own = [name for name in found if name.startswith(writer)]
        assert own == [f"{writer}-{number}-{index}" for number in range(500) for index in range(10)]
    assert all(len({name.rpartition("-")[0] for name in found[at : at + 10]}) == 1 for at in range(0, 10_000, 10))
    # Each append must be recorded too, which fails if two processes write at the same time.
    log = tracking_log(path)
    for writer in ("a", "b"):
        for number in range(500):
            log.deliver(batch(writer, number, events=10, maybe_delivered=True))
    log.close()
    assert names(path) == found


@pytest.mark.parametrize(("batches", "events", "padding"), [(400, 20, 10), (40, 150, 8_000)])
def test_killed_writers_leave_no_gap_no_double_and_no_half_line(
    tmp_path: Path, batches: int, events: int, padding: int
) -> None:
    path = tmp_path / "tracking.log"

    def size() -> int:
        return path.stat().st_size if path.exists() else 0

    for _ in range(6):
        before = size()
        writer = start(write_until_killed, path, batches, events, padding)
        wait_for(lambda before=before: size() > before)  # type: ignore[misc]
        writer.kill()
        writer.join(_DEADLINE_SECONDS)
    log = tracking_log(path)
    for number in range(batches):
        log.deliver(batch("w", number, events=events, padding=padding, maybe_delivered=True))
    log.close()
    assert names(path) == [f"w-{number}-{index}" for number in range(batches) for index in range(events)]


def test_a_killed_writer_does_not_disturb_another(tmp_path: Path) -> None:
    path = tmp_path / "tracking.log"
    steady = start(write, path, "steady", 1_000, 5, {})
    while steady.is_alive():
        size = path.stat().st_size if path.exists() else 0
        victim = start(write_until_killed, path, 100, 100, 1_000)
        wait_for(lambda size=size: path.exists() and path.stat().st_size > size + 200_000)  # type: ignore[misc]
        victim.kill()
        victim.join(_DEADLINE_SECONDS)
    finish(steady)
    log = tracking_log(path)
    for number in range(100):
        log.deliver(batch("w", number, events=100, padding=1_000, maybe_delivered=True))
    log.close()
    expected = [f"steady-{number}-{index}" for number in range(1_000) for index in range(5)]
    expected += [f"w-{number}-{index}" for number in range(100) for index in range(100)]
    assert Counter(names(path)) == Counter(expected)


@pytest.mark.parametrize("limit_bytes", [100_000, 99_999, 100_001, 103_333])
def test_a_full_disk_leaves_no_half_line_and_the_batch_can_be_retried(tmp_path: Path, limit_bytes: int) -> None:
    path = tmp_path / "tracking.log"
    finish(start(write_past_the_limit, path, limit_bytes))
    found = names(path)
    assert found == [f"w-{number}-{index}" for number in range(len(found) // 7) for index in range(7)]


def test_logrotate_renaming_the_file_loses_no_line(tmp_path: Path) -> None:
    path = tmp_path / "tracking.log"
    writers = [start(write, path, writer, 600, 5, {}) for writer in ("a", "b")]
    rotations = 0
    while any(writer.is_alive() for writer in writers):
        if path.exists() and path.stat().st_size > 0:
            path.rename(path.with_name(f"tracking.log.{rotations}"))
            rotations += 1
            if rotations % 2:
                path.touch()  # As logrotate does with `create`.
        time.sleep(0.002)
    finish(*writers)
    assert rotations > 3
    expected = [f"{writer}-{number}-{index}" for writer in ("a", "b") for number in range(600) for index in range(5)]
    assert sorted(names(*log_files(path))) == sorted(expected)


def test_processes_that_rotate_the_file_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "tracking.log"
    finish(*[start(write, path, writer, 300, 5, {"rotate_bytes": 50_000}) for writer in ("a", "b")])
    files = log_files(path)
    assert len(files) > 5
    assert all(file.stat().st_size <= 50_000 for file in files)
    expected = [f"{writer}-{number}-{index}" for writer in ("a", "b") for number in range(300) for index in range(5)]
    assert sorted(names(*files)) == sorted(expected)


def test_a_forked_process_takes_turns_with_its_parent(tmp_path: Path) -> None:
    path = tmp_path / "tracking.log"
    finish(start(write_and_fork, path, 400))
    batches = [(writer, number) for writer in ("child", "parent") for number in range(400)]
    log = tracking_log(path)
    for writer, number in batches:
        log.deliver(batch(writer, number, events=5, maybe_delivered=True))
    log.close()
    assert sorted(names(path)[5:]) == sorted(
        f"{writer}-{number}-{index}" for writer, number in batches for index in range(5)
    )
