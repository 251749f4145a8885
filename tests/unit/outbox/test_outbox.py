"""The outbox: append puts whole events into the journal once, whatever happens to process and disk."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.errors import OutboxError, OutboxFullError
from dispatcher.outbox import Outbox, Reader, find_outboxes
from dispatcher.outbox.journal import HEADER_BYTES, frame_bytes
from dispatcher.outbox.state import State
from tests.support.outboxes import JOURNAL_BYTES, make_outbox, open_files, read_directory, read_on, read_root
from tests.support.scripts import run_script, start_script
from tests.support.waiting import wait_for


def numbered(count: int, *, size: int = 100) -> list[bytes]:
    return [f'{{"n":{number:0{size - 6}d}}}'.encode() for number in range(count)]


def journals(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.glob("[0-9]*.journal"))


# Where it is


def test_an_outbox_makes_its_directory_and_parents_for_the_owner_only(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        outbox = make_outbox(tmp_path / "var" / "outbox")
        outbox.append(b"x" * 40_000 + b"}")  # more than half a file: the next one is made
        wait_for((outbox.directory / "spare.journal").exists, what="the spare file")
    finally:
        os.umask(before)
    assert (tmp_path / "var" / "outbox").stat().st_mode & 0o777 == 0o700
    assert outbox.directory.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in outbox.directory.iterdir()} == {0o600}
    outbox.close()


def test_two_outboxes_under_one_root_have_separate_directories(root: Path) -> None:
    first, second = make_outbox(root), make_outbox(root)
    first.append(b"first}")
    second.append(b"second}")
    assert read_directory(first.directory) == [b"first}"]
    assert read_directory(second.directory) == [b"second}"]
    first.close()
    second.close()


def test_an_outboxs_name_contains_the_process_id(outbox: Outbox) -> None:
    assert outbox.name.startswith(f"{os.getpid()}-")
    assert outbox.state.pid == outbox.pid == os.getpid()


def test_a_living_process_is_recognised_as_the_writer(outbox: Outbox) -> None:
    reader = Reader(outbox.directory)
    assert not reader.writer_is_dead
    reader.close()


# What it takes of the disk


def disk_bytes(directory: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in directory.iterdir())


def test_an_event_takes_a_few_pages_and_no_spare_file(root: Path) -> None:
    outbox = make_outbox(root, journal_bytes=4 << 20)
    outbox.append(b"x" * 400 + b"}")
    assert disk_bytes(outbox.directory) <= 4 * 4_096
    outbox.close()
    assert disk_bytes(outbox.directory) <= 4 * 4_096


def test_a_file_grows_with_its_contents_up_to_its_size(root: Path) -> None:
    outbox = make_outbox(root, journal_bytes=4 << 20)
    payloads = [b"%d %s}" % (number, b"x" * (number % 2_000)) for number in range(5_000)]
    largest = 0
    for payload in payloads:
        outbox.append(payload)
        allocated = outbox._journal.allocated
        assert outbox.position % (4 << 20) <= allocated <= 4 << 20
        largest = max(largest, allocated)
    assert largest == 4 << 20
    assert read_directory(outbox.directory) == payloads
    outbox.close()


def test_a_file_that_cannot_grow_refuses_events_until_there_is_space(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dispatcher.outbox.outbox._REFUSE_SECONDS", 0.0)
    small, large = make_outbox(root, max_bytes=65_536), make_outbox(root, max_bytes=65_536)
    large.append(b"x" * 50_000 + b"}")
    small.append(b"x" * 6_000 + b"}")
    with pytest.raises(OutboxFullError, match=r"bytes are in use; outbox.max_bytes is 65,536"):
        small.append(b"y" * 6_000 + b"}")
    small.append(b"z}")  # fits
    Reader(large.directory).close()
    large.state.settled = large.state.position = large.position
    large.close()
    small.append(b"y" * 6_000 + b"}")
    assert [payload[:1] for payload in read_root(root)] == [b"x", b"z", b"y"]
    small.close()


# Appending


def test_appended_events_are_read_in_order(outbox: Outbox) -> None:
    payloads = [*numbered(100), b"x}", b"y" * 30_000 + b"}"]
    for payload in payloads:
        outbox.append(payload)
    assert read_directory(outbox.directory) == payloads


def test_the_position_moves_by_whole_frames(outbox: Outbox) -> None:
    assert outbox.position == 0
    outbox.append(b"123}")
    assert outbox.position == frame_bytes(4) == 16
    assert outbox.has_relayed(0)
    assert not outbox.has_relayed(16)


def test_a_full_file_is_followed_by_the_next(outbox: Outbox) -> None:
    payloads = numbered(3_000)
    for payload in payloads:
        outbox.append(payload)
    assert len(journals(outbox.directory)) == 1 + 3_000 // (JOURNAL_BYTES // frame_bytes(100))
    assert outbox.position // JOURNAL_BYTES == len(journals(outbox.directory)) - 1
    assert read_directory(outbox.directory) == payloads


@pytest.mark.parametrize("spare", [0, 8, 16], ids=lambda spare: f"{spare} bytes left")
def test_a_file_filled_to_the_last_bytes_is_read_to_the_end(outbox: Outbox, spare: int) -> None:
    filling = b"f" * (JOURNAL_BYTES - HEADER_BYTES - spare)
    for payload in (filling, b"next}", filling, b"last}"):
        outbox.append(payload)
    assert read_directory(outbox.directory) == [filling, b"next}", filling, b"last}"]


def test_a_full_file_relayed_before_the_next_one_starts_loses_nothing(outbox: Outbox) -> None:
    outbox.append(b"f" * (JOURNAL_BYTES - HEADER_BYTES))
    reader = Reader(outbox.directory)
    (payload,), (end,) = reader.read()
    reader.commit(end)
    reader.discard_before(end)
    assert outbox.has_relayed(outbox.position)
    assert journals(outbox.directory) == []
    outbox.append(b"next}")
    assert read_on(reader) == [b"next}"]
    reader.close()
    assert len(payload) == JOURNAL_BYTES - HEADER_BYTES


@pytest.mark.parametrize("journal_bytes", [4_097, 5_001, 8_191])
def test_files_of_unusual_sizes_lose_nothing(root: Path, journal_bytes: int) -> None:
    outbox = make_outbox(root, journal_bytes=journal_bytes)
    payloads = [b"x" * size + b"}" for size in range(1, 400)]
    for payload in payloads:
        outbox.append(payload)
    reader = Reader(outbox.directory)
    found: list[bytes] = []
    while True:
        got, ends = reader.read()
        if not got:
            break
        found += got
        reader.commit(ends[-1])
        reader.discard_before(ends[-1])
    assert found == payloads
    assert outbox.has_relayed(outbox.position)
    reader.close()
    outbox.close()


def test_a_payload_larger_than_a_file_is_refused_and_no_other_is(outbox: Outbox) -> None:
    outbox.append(b"before}")
    with pytest.raises(
        OutboxError, match=r"an event of 65,529 bytes does not fit into a journal of 65,536: raise DISPATCHER_OUTBOX"
    ):
        outbox.append(b"x" * (JOURNAL_BYTES - HEADER_BYTES + 1))
    outbox.append(b"after}")
    assert journals(outbox.directory) == ["00000000.journal"]
    assert read_directory(outbox.directory) == [b"before}", b"after}"]


@settings(max_examples=30, deadline=None)
@given(sizes=st.lists(st.integers(1, 3_000), max_size=60), moves=st.randoms(use_true_random=False))
def test_payloads_of_any_sizes_survive_commits_and_rewinds(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], moves: random.Random
) -> None:
    outbox = make_outbox(tmp_path_factory.mktemp("any"), journal_bytes=4_096)
    reader = Reader(outbox.directory)
    written: list[bytes] = []
    committed: list[bytes] = []
    pending: list[bytes] = []
    end = 0

    def look() -> None:
        nonlocal end
        payloads, ends = reader.read()
        pending.extend(payloads)
        end = ends[-1] if ends else end

    for number, size in enumerate(sizes):
        written.append(f"{number:06d}".encode() + b"x" * size + b"}")
        outbox.append(written[-1])
        match moves.randrange(6):
            case 0 | 1:
                look()
            case 2 if pending:
                reader.commit(end)
                reader.discard_before(end)
                committed += pending
                pending.clear()
            case 3:
                reader.rewind()
                pending.clear()
            case 4:
                # As a relay that dies does, and another one takes over.
                reader.close()
                reader = Reader(outbox.directory)
                pending.clear()
    found = committed + pending + read_on(reader)
    assert found == written
    reader.close()
    outbox.close()


# Many threads, signals


def test_threads_append_whole_frames_once_and_in_their_own_order(root: Path) -> None:
    outbox = make_outbox(root, journal_bytes=1 << 20)
    threads, each = 5, 20_000
    start = threading.Barrier(threads)

    def run(thread: int) -> None:
        start.wait()
        for number in range(each):
            outbox.append(b"%d %d %s}" % (thread, number, b"x" * (number % 90)))

    running = [threading.Thread(target=run, args=(thread,)) for thread in range(threads)]
    for one in running:
        one.start()
    for one in running:
        one.join()
    numbers: dict[int, list[int]] = {thread: [] for thread in range(threads)}
    for payload in read_directory(outbox.directory):
        thread, number, rest = payload.split(b" ")
        assert rest == b"x" * (int(number) % 90) + b"}"
        numbers[int(thread)].append(int(number))
    assert numbers == {thread: list(range(each)) for thread in range(threads)}
    outbox.close()


def in_another_thread(call: Callable[[], None]) -> None:
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(60)
    assert not thread.is_alive(), "it waits for a lock that nobody gives back"


@pytest.fixture
def alarm() -> Iterator[Callable[[Callable[[], None]], None]]:
    """Has a function called by the signal of ``signal.setitimer``."""
    before = signal.getsignal(signal.SIGALRM)

    def on_alarm(call: Callable[[], None]) -> None:
        signal.signal(signal.SIGALRM, lambda *_: call())

    yield on_alarm
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.timeout(60, method="thread")
def test_a_signal_handler_that_appends_does_not_disturb_a_running_append(
    root: Path, alarm: Callable[[Callable[[], None]], None]
) -> None:
    outbox = make_outbox(root, journal_bytes=32_768)
    handled: list[bytes] = []

    def handle() -> None:
        handled.append(b"signal %d}" % len(handled))
        outbox.append(handled[-1])

    alarm(handle)
    signal.setitimer(signal.ITIMER_REAL, 0.002, 0.002)
    written: list[bytes] = []
    deadline = time.monotonic() + 30
    while len(handled) < 300 and time.monotonic() < deadline:
        written.append(b"loop %d %s}" % (len(written), b"x" * 500))
        outbox.append(written[-1])
    signal.setitimer(signal.ITIMER_REAL, 0)

    found = read_directory(outbox.directory)
    assert [payload for payload in found if payload.startswith(b"loop")] == written
    assert sorted(payload for payload in found if payload.startswith(b"signal")) == sorted(handled)
    assert len(handled) >= 300
    outbox.close()


def test_events_appended_while_the_next_file_is_made_are_kept(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    take = outbox._files.take

    def interrupted(index: int) -> object:
        # As a signal handler or a finalizer does, in the middle of it.
        for payload in late:
            outbox.append(payload)
        late.clear()
        return take(index)

    late = [b"l" * 40_000 + b"}", b"small}", b"m" * 40_000 + b"}"]
    expected = sorted([b"f" * 60_000 + b"}", *late, b"n" * 40_000 + b"}"])
    outbox.append(b"f" * 60_000 + b"}")
    monkeypatch.setattr(outbox._files, "take", interrupted)
    outbox.append(b"n" * 40_000 + b"}")
    assert sorted(read_directory(outbox.directory)) == expected


class Interrupt(Exception):  # noqa: N818 - as KeyboardInterrupt
    """Raised by a signal handler, as time limits are."""


# Where it interrupts Python's own look into a directory.
@pytest.mark.filterwarnings("ignore:Exception ignored in. .*ScandirIterator")
@pytest.mark.timeout(60, method="thread")
def test_a_signal_handler_that_raises_leaves_no_lock_and_no_torn_frame(
    root: Path, alarm: Callable[[Callable[[], None]], None]
) -> None:
    outbox = make_outbox(root, journal_bytes=32_768)

    def interrupt() -> None:
        raise Interrupt

    alarm(interrupt)
    delays = random.Random(7)
    written = 0
    for _ in range(300):
        try:
            signal.setitimer(signal.ITIMER_REAL, delays.uniform(0.00005, 0.0004))
            while True:
                outbox.append(b"loop %d %s}" % (written, b"x" * 100))
                written += 1
        except Interrupt:
            pass
        in_another_thread(lambda: outbox.append(b"other}"))
    found = read_directory(outbox.directory)
    assert found.count(b"other}") == 300
    numbers = [int(payload.split(b" ")[1]) for payload in found if payload != b"other}"]
    # The one that was interrupted is there, or is not: the loop did not learn which and has done it again.
    assert sorted(set(numbers)) == list(range(written)) or sorted(set(numbers)) == list(range(written + 1))
    assert numbers == sorted(numbers)
    outbox.close()


@pytest.mark.timeout(60, method="thread")
def test_an_exception_of_a_signal_handler_reaches_the_waiting_appends_caller(
    outbox: Outbox, alarm: Callable[[Callable[[], None]], None]
) -> None:
    held, enough = threading.Event(), threading.Event()

    def hold() -> None:
        with outbox._lock:
            held.set()
            enough.wait(60)

    def interrupt() -> None:
        raise SystemExit(3)

    alarm(interrupt)
    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(60)
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    with pytest.raises(SystemExit):  # and no RuntimeError of the lock
        outbox.append(b"never}")
    enough.set()
    thread.join()
    outbox.append(b"after}")
    assert read_directory(outbox.directory) == [b"after}"]


def test_a_finalizer_that_emits_during_an_append_overwrites_nothing(root: Path) -> None:
    # Collections come at allocations. The one in append is that of a slice, of which Python keeps one for reuse.
    code = """
import gc
outbox = make_outbox(root, journal_bytes=16_384)
late = []
class Loop:
    def __init__(self):
        self.itself = self
    def __del__(self):
        late.append(b"late %d}" % len(late))
        outbox.append(late[-1])
payloads = [b"%d %s}" % (number, b"x" * (number % 300)) for number in range(3_000)]
for payload in payloads:
    gc.disable()
    Loop()
    gc.set_threshold(1)
    kept = slice(0, 1)
    gc.enable()
    outbox.append(payload)
gc.set_threshold(700, 10, 10)
found = read_root(root)
print(len(late) > 2_000, sorted(found) == sorted([*payloads, *late]))
print([one for one in found if not one.startswith(b"late")] == payloads)
"""
    assert run_script(code, root).split() == ["True", "True", "True"]


# Full, or out of order


def test_a_full_outbox_refuses_events_and_accepts_them_again_once_drained(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dispatcher.outbox.outbox._REFUSE_SECONDS", 0.0)
    outbox = make_outbox(root, max_bytes=4 * JOURNAL_BYTES)
    outbox._files.close()  # a spare file in the making takes up room that is free again a moment later
    taken: list[bytes] = []

    def fill() -> None:
        for payload in numbered(10_000):
            outbox.append(payload)
            taken.append(payload)

    with pytest.raises(OutboxFullError) as caught:
        fill()
    assert "is full" in str(caught.value)
    assert "outbox.max_bytes is 262,144" in str(caught.value)
    assert "DISPATCHER_OUTBOX__MAX_BYTES" in str(caught.value)
    assert len(taken) == 4 * (JOURNAL_BYTES // frame_bytes(100))
    with pytest.raises(OutboxFullError):
        outbox.append(b"x" * 100)
    assert outbox.state.refused == 2

    reader = Reader(outbox.directory)
    first, ends = reader.read()
    while len(first) < len(taken):
        more, ends = reader.read()
        first += more
    assert first == taken
    reader.commit(ends[-1])
    reader.discard_before(ends[-1])
    # The last file is the writer's until it has gone on to another.
    assert journals(outbox.directory) == ["00000003.journal"]
    outbox.append(b"after}")
    assert read_on(reader) == [b"after}"]
    reader.close()
    outbox.close()


def test_an_event_that_fits_is_accepted_after_a_larger_one_was_refused(root: Path) -> None:
    outbox = make_outbox(root, max_bytes=JOURNAL_BYTES)
    outbox.append(b"x" * 40_000 + b"}")
    with pytest.raises(OutboxFullError):
        outbox.append(b"y" * 40_000 + b"}")
    outbox.append(b"small}")
    assert len(read_directory(outbox.directory)) == 2
    outbox.close()


def test_a_refusal_is_repeated_for_a_while_without_checking_the_disk(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox = make_outbox(root, max_bytes=JOURNAL_BYTES)
    outbox.append(b"x" * 60_000 + b"}")
    looks: list[int] = []
    take = outbox._files.take
    monkeypatch.setattr(outbox._files, "take", lambda index: (looks.append(index), take(index))[1])
    for _ in range(100):
        with pytest.raises(OutboxFullError):
            outbox.append(b"y" * 10_000)
    assert len(looks) <= 2
    assert outbox.state.refused == 100
    outbox.close()


def test_a_full_disk_has_its_own_error_and_loses_no_event(root: Path) -> None:
    # A limit on the size of files stands for a disk that is full: posix_fallocate fails in the same way.
    code = """
from dispatcher.errors import OutboxFullError
import dispatcher.outbox.outbox
dispatcher.outbox.outbox._REFUSE_SECONDS = 0
outbox = make_outbox(root)
outbox._files.close()  # and with it the spare file
resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
taken = 0
try:
    while True:
        outbox.append(b"%d %s}" % (taken, b"x" * 1000))
        taken += 1
except OutboxFullError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
outbox.append(b"after}")
found = read_root(root)
print(taken, len(found), found[-1] == b"after}")
"""
    message, counts = run_script(code, root).splitlines()
    assert "is full (File too large; outbox.max_bytes is " in message
    assert "give it more disk" in message
    assert counts == "64 65 True"


def test_a_disk_full_at_the_start_is_an_error_and_leaves_no_files(root: Path) -> None:
    code = """
from dispatcher.errors import OutboxError
root.mkdir()
for limit in (100, 10_000):  # not even the state file; the state file and no journal
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        try:
            make_outbox(root)
        except OutboxError as error:
            message = str(error)
    print(len(os.listdir("/proc/self/fd")) - before, os.listdir(root), "cannot be used: File too large" in message)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
make_outbox(root).append(b"after}")
print(read_root(root))
"""
    assert run_script(code, root).splitlines() == ["0 [] True", "0 ['.usage'] True", "[b'after}']"]


def test_a_limit_used_up_by_others_is_an_error_and_leaves_no_files(root: Path) -> None:
    other = make_outbox(root, max_bytes=JOURNAL_BYTES)
    other.append(b"x" * (JOURNAL_BYTES - HEADER_BYTES))
    other._files.close()
    before = open_files(root)
    for _ in range(3):
        with pytest.raises(
            OutboxError, match=r"cannot be used: 65,536 bytes are in use; make it writable .* with room"
        ):
            make_outbox(root, max_bytes=JOURNAL_BYTES)
    assert open_files(root) == before
    assert find_outboxes(root) == [other.directory]
    assert sorted(os.listdir(root)) == [".usage", other.name]
    other.close()


@pytest.mark.parametrize("where", ["file", "file/outbox", "file/var/outbox"])
def test_a_directory_that_cannot_be_made_is_named_with_a_remedy(tmp_path: Path, where: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutboxError) as caught:
        make_outbox(tmp_path / where)
    assert f"the outbox directory {tmp_path / where} cannot be used" in str(caught.value)
    remedy = f"{tmp_path / 'file'} is a file: move it away, or set outbox.directory (DISPATCHER_OUTBOX__DIRECTORY)"
    assert remedy in str(caught.value)


def test_a_removed_directory_is_an_error_other_than_a_full_outbox(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outbox = make_outbox(root)
    outbox._files.close()
    for path in outbox.directory.iterdir():
        path.unlink()
    outbox.directory.rmdir()
    outbox.append(b"x" * 4_000 + b"}")
    for size in (10_000, 60_000):  # the file cannot grow, and there is no next one
        with pytest.raises(OutboxError, match="No such file or directory") as caught:
            outbox.append(b"y" * size + b"}")
    assert not isinstance(caught.value, OutboxFullError)
    outbox.close()


def test_a_journal_that_vanishes_while_measuring_counts_as_empty(root: Path) -> None:
    # As one does that a relay deletes just then.
    (root / "1-gone").mkdir(parents=True)
    (root / "1-gone" / "00000000.journal").symlink_to("nowhere")
    outbox = make_outbox(root)
    for payload in numbered(2_000):
        outbox.append(payload)
    assert len(read_directory(outbox.directory)) == 2_000
    outbox.close()


def test_without_the_file_thread_append_makes_the_files(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        outbox = make_outbox(root)
    for payload in numbered(2_000):
        outbox.append(payload)
    assert len(read_directory(outbox.directory)) == 2_000
    assert "nothing syncs them to disk: can't start new thread" in caplog.text
    outbox.close()


def test_a_half_made_next_file_is_replaced(root: Path) -> None:
    outbox = make_outbox(root)
    outbox._files.close()
    (outbox.directory / "00000001.journal").write_bytes(bytes(100))
    for payload in numbered(2_000):
        outbox.append(payload)
    assert len(read_directory(outbox.directory)) == 2_000
    outbox.close()


# The end


def test_closing_keeps_events_that_are_not_relayed(root: Path) -> None:
    outbox = make_outbox(root)
    outbox.append(b"kept}")
    outbox.close()
    outbox.close()
    reader = Reader(outbox.directory)
    assert reader.writer_is_dead
    assert read_on(reader) == [b"kept}"]
    reader.close()
    assert not (outbox.directory / "spare.journal").exists()


def test_closing_removes_a_fully_settled_directory(root: Path) -> None:
    outbox = make_outbox(root)
    outbox.append(b"relayed}")
    reader = Reader(outbox.directory)
    _, ends = reader.read()
    reader.commit(ends[-1])
    reader.discard_before(ends[-1])
    reader.close()
    outbox.close()
    assert os.listdir(root) == [".usage"]
    assert outbox.has_relayed(ends[-1])


def test_closing_keeps_unsettled_events_for_a_redis_that_loses_them(root: Path) -> None:
    outbox = make_outbox(root)
    outbox.append(b"put}")
    reader = Reader(outbox.directory)
    _, ends = reader.read()
    reader.commit(ends[-1])
    reader.close()
    outbox.close()
    assert outbox.has_relayed(ends[-1])
    assert find_outboxes(root) == [outbox.directory]


def test_closing_closes_every_file(root: Path) -> None:
    for _ in range(3):
        outbox = make_outbox(root)
        for payload in numbered(1_500):
            outbox.append(payload)
        outbox.close()
    assert open_files(root) == []


def test_an_append_after_close_is_refused(root: Path) -> None:
    outbox = make_outbox(root)
    outbox.append(b"in time}")
    outbox.close()
    with pytest.raises(OutboxError, match=r"is closed; the next event opens another"):
        outbox.append(b"late}")
    assert read_root(root) == [b"in time}"]


def test_a_child_that_abandons_an_outbox_does_not_harm_its_parent(root: Path) -> None:
    code = """
outbox = make_outbox(root)
outbox.append(b"before}")
child = os.fork()
if child == 0:
    outbox.abandon()
    own = make_outbox(root)
    own.append(b"child}")
    os._exit(0)
os.waitpid(child, 0)
outbox.append(b"after}")
from dispatcher.outbox import Reader, find_outboxes
from dispatcher.outbox.state import State
for directory in sorted(find_outboxes(root), key=lambda path: path != outbox.directory):
    reader = Reader(directory)
    print(reader.writer_is_dead, reader.read()[0])
    reader.close()
"""
    assert run_script(code, root).splitlines() == ["False [b'before}', b'after}']", "True [b'child}']"]


def test_a_fork_during_another_threads_append_harms_neither(root: Path) -> None:
    code = """
tracker = make_tracker(root, journal_bytes=2 << 20)
tracker.emit("first")
done = threading.Event()
emitted = 0
def run():
    global emitted
    while not done.is_set():
        tracker.emit("parent", {"n": emitted})
        emitted += 1
thread = threading.Thread(target=run)
thread.start()
for number in range(10):
    target = emitted + 200
    while emitted < target:
        time.sleep(0.0005)
    child = os.fork()
    if child == 0:
        for n in range(50):
            tracker.emit("child", {"n": n, "child": number})
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
done.set()
thread.join()
from collections import Counter
from dispatcher.event import decode
from dispatcher.outbox import find_outboxes
from tests.support.outboxes import read_directory
directories = find_outboxes(root)
found = [[decode(payload) for payload in read_directory(directory)] for directory in directories]
parents = [events for events in found if events[0].name == "first"]
children = [events for events in found if events[0].name == "child"]
assert len(parents) == 1 and len(children) == 10, [len(events) for events in found]
assert [event.data["n"] for event in parents[0][1:]] == list(range(emitted))
for events in children:
    assert [event.data["n"] for event in events] == list(range(50))
assert len({events[0].data["child"] for events in children}) == 10
ids = [event.id for events in found for event in events]
assert len(set(ids)) == len(ids)
print("whole")
"""
    assert run_script(code, root) == "whole\n"


@pytest.mark.parametrize("after", [1, 500, 5_000])
def test_a_kill_at_any_moment_leaves_all_appended_events_and_no_torn_frame(root: Path, after: int) -> None:
    code = """
outbox = make_outbox(root, journal_bytes=16_384)
said = os.open(root / "said", os.O_WRONLY | os.O_CREAT)
print("ready", flush=True)
number = 0
while True:
    outbox.append(b"%d %s}" % (number, b"x" * (number % 700)))
    number += 1
    os.pwrite(said, b"%20d" % number, 0)
"""
    process = start_script(code, root)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    wait_for(lambda: int((root / "said").read_bytes() or 0) >= after, every=0.001, what=f"{after} appends")
    process.kill()
    process.wait(60)
    process.stdout.close()
    returned = int((root / "said").read_bytes())
    found = read_root(root)
    assert returned >= after
    assert len(found) in (returned, returned + 1)
    assert found == [b"%d %s}" % (number, b"x" * (number % 700)) for number in range(len(found))]
    assert not (root / "damaged").exists()


def test_the_state_file_counts_refused_events_after_the_process_ended(root: Path) -> None:
    outbox = make_outbox(root, max_bytes=JOURNAL_BYTES)
    outbox.append(b"x" * 60_000 + b"}")
    for _ in range(3):
        with pytest.raises(OutboxFullError):
            outbox.append(b"y" * 60_000 + b"}")
    outbox.close()
    state = State.open(outbox.directory)
    assert (state.refused, state.position, state.journal_bytes) == (3, 0, JOURNAL_BYTES)
    state.close()
    state.close()


def test_a_child_forked_during_a_sync_of_the_state_frees_its_parents_lock(root: Path) -> None:
    code = """
from dispatcher.outbox.state import State
outbox = make_outbox(root)
syncing = memoryview(outbox.state._map)  # which the thread that syncs it has at that moment
read, write = os.pipe()
here, there = os.pipe()
child = os.fork()
if child == 0:
    os.close(write)
    os.write(there, b"!")
    os.read(read, 1)
    os._exit(0)
os.read(here, 1)
syncing.release()
outbox.state.close()
print("free" if State.open(outbox.directory).try_lock() else "locked")
os.close(write)
os.waitpid(child, 0)
"""
    assert run_script(code, root) == "free\n"
