"""Emitting from every kind of process: forked, spawned, threaded, asynchronous, under web servers, and as it ends."""

from __future__ import annotations

import asyncio
import http.client
import os
import re
import signal
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import dispatcher
from dispatcher import tracker
from dispatcher.outbox import Outbox, find_outboxes
from dispatcher.testing import Captured
from tests.support.deliveries import LOG, each_once, take_all, take_everything, take_numbers
from tests.support.processes import Child
from tests.support.site import Site
from tests.support.waiting import PATIENCE, soon, wait_for

pytestmark = pytest.mark.usefixtures("nothing_kept")

GUNICORN_APP = """
import os
from dispatcher import tracker

if os.environ.get("EMIT_AT_IMPORT"):
    tracker.emit("shop.app.loaded", {"n": -1})


def app(environ, start_response):
    n = int(environ["QUERY_STRING"].partition("=")[2])
    with tracker.context("request", {"path": environ["PATH_INFO"], "request": n}):
        tracker.emit("shop.basket.seen", {"n": n, "pid": os.getpid()})
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"%d" % os.getpid()]
"""


# Forks


def test_parent_and_forked_child_each_emit_into_their_own_outbox(site: Site) -> None:
    child = site.emitting(
        """
tracker.emit("shop.basket.seen", {"n": 0})
pids = []
for first in (1000, 2000, 3000):
    pid = os.fork()
    if pid == 0:
        for n in range(first, first + 1000): tracker.emit("shop.basket.seen", {"n": n})
        sys.exit(0)
    pids.append(pid)
for n in range(1, 1000): tracker.emit("shop.basket.seen", {"n": n})
assert [os.waitpid(pid, 0)[1] for pid in pids] == [0, 0, 0]
"""
    )
    child.succeed()
    # Each flushed at its end, and left nothing for others to adopt.
    assert site.outboxes() == []
    assert take_numbers(site) == each_once(4000)


def test_a_fork_during_emits_of_other_threads_neither_hangs_nor_loses(site: Site) -> None:
    child = site.emitting(
        """
import threading
tracker.emit("shop.first.seen", {"n": 0})
stop = threading.Event()
counts = [0] * 3
def emit(k):
    while not stop.is_set():
        tracker.emit("shop.basket.seen", {"n": k * 1_000_000 + counts[k]}); counts[k] += 1
        if counts[k] % 100 == 0: time.sleep(0.001)
threads = [threading.Thread(target=emit, args=(k,)) for k in range(3)]
for thread in threads: thread.start()
for turn in range(12):
    pid = os.fork()
    if pid == 0:
        tracker.emit("shop.child.seen", {"n": turn})
        os._exit(0 if dispatcher.flush(60) else 1)
    assert os.waitpid(pid, 0)[1] == 0
stop.set()
for thread in threads: thread.join()
print(sum(counts))
"""
    )
    emitted = int(child.succeed())
    site.relay_once()
    events = take_all(site)
    assert len({event["id"] for event in events}) == len(events) == 1 + emitted + 12
    children = Counter(event["data"]["n"] for event in events if event["name"] == "shop.child.seen")
    assert children == each_once(12)


def test_a_child_forked_during_another_threads_first_emit_can_emit(site: Site) -> None:
    child = site.emitting(
        """
import threading
started = threading.Event()
def emit():
    started.set()
    tracker.emit("shop.basket.seen", {"n": 0})
thread = threading.Thread(target=emit)
thread.start()
started.wait()
time.sleep(float(sys.argv[1]))  # the moment of the fork, in the middle of the other's imports
pid = os.fork()
if pid == 0:
    tracker.emit("shop.basket.seen", {"n": 1})
    os._exit(0 if dispatcher.flush(60) else 1)
assert os.waitpid(pid, 0)[1] == 0
thread.join()
""",
        "0.03",
    )
    child.succeed()
    assert take_everything(site) == each_once(2)


def test_a_child_forked_during_a_sync_of_the_journal_can_abandon_it(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path, journal_bytes=1 << 16, max_bytes=1 << 20)
    outbox.append(b"{}")
    with memoryview(outbox._map):
        pid = os.fork()
        if pid == 0:
            outbox.abandon()
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
    outbox.close()


def test_the_relay_thread_imports_nothing_that_a_fork_could_interrupt(site: Site) -> None:
    child = site.emitting(
        """
from dispatcher.relay.thread import RelayThread
start = RelayThread.start
def spy(self):
    known.update(sys.modules)
    start(self)
known = set()
RelayThread.start = spy
tracker.emit("shop.order.paid", {"n": 0})
assert dispatcher.flush(60)
assert not set(sys.modules) - known, set(sys.modules) - known
"""
    )
    child.succeed()


def test_a_child_forked_by_c_without_pythons_hooks_emits_into_its_own_outbox(site: Site) -> None:
    child = site.emitting(
        """
import ctypes
for n in range(100): tracker.emit("shop.basket.seen", {"n": n})
assert dispatcher.flush(60)
# The other threads rest, as they have to: without the hooks the interpreter itself can start no thread in a child that
# was forked while another waited for its turn.
time.sleep(0.2)
libc = ctypes.PyDLL(None)
for first in (1000, 2000):
    pid = libc.fork()
    if pid == 0:
        ids = [tracker.emit("shop.basket.seen", {"n": n}) for n in range(first, first + 900)]
        ok = dispatcher.flush(60) and len(set(ids)) == 900
        os._exit(0 if ok else 1)
    assert os.waitpid(pid, 0)[1] == 0
for n in range(100, 1000): tracker.emit("shop.basket.seen", {"n": n})
assert dispatcher.flush(60)
""",
        DISPATCHER_RELAY__LINGER_SECONDS="5",
    )
    child.succeed()
    site.relay_once()
    events = take_all(site)
    assert len({event["id"] for event in events}) == 2800
    wanted = [*range(1000), *range(1000, 1900), *range(2000, 2900)]
    assert Counter(event["data"]["n"] for event in events) == Counter(wanted)


def test_a_grandchild_of_a_child_that_never_emitted_has_its_own_outbox(site: Site) -> None:
    site.emitting(
        """
tracker.emit("shop.basket.seen", {"n": 0})
if os.fork() == 0:
    if os.fork() == 0:
        tracker.emit("shop.basket.seen", {"n": 1})
        sys.exit(0)
    os.wait()
    sys.exit(0)
os.wait()
"""
    ).succeed()
    assert take_numbers(site) == each_once(2)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing_children_deliver_what_they_emit(site: Site, method: str) -> None:
    child = site.emitting(
        """
import multiprocessing

def emit(first):
    for n in range(first, first + 500): tracker.emit("shop.basket.seen", {"n": n})

if __name__ == "__main__":
    tracker.emit("shop.basket.seen", {"n": 0})
    context = multiprocessing.get_context(sys.argv[1])
    children = [context.Process(target=emit, args=(first,)) for first in (1, 501, 1001)]
    for child in children: child.start()
    for child in children: child.join()
    assert [child.exitcode for child in children] == [0, 0, 0]
""",
        method,
    )
    child.succeed()
    assert take_everything(site) == each_once(1501)
    assert site.outboxes() == []


def test_a_process_pool_delivers_what_its_workers_emit(site: Site) -> None:
    site.emitting(
        """
from concurrent.futures import ProcessPoolExecutor

def emit(n):
    tracker.emit("shop.basket.seen", {"n": n})

if __name__ == "__main__":
    tracker.emit("shop.basket.seen", {"n": 0})
    with ProcessPoolExecutor(2) as pool:
        list(pool.map(emit, range(1, 300)))
"""
    ).succeed()
    assert take_everything(site) == each_once(300)


# Web servers


def serve(site: Site, *arguments: str, **environ: str) -> tuple[Child, int]:
    """Start gunicorn with the app. Returns it and its port."""
    (site.directory / "shop.py").write_text(GUNICORN_APP)
    server = site.processes.start(
        *(sys.executable, "-m", "gunicorn", "shop:app", "--bind", "127.0.0.1:0"),
        *("--chdir", str(site.directory), "--workers", "2", "--graceful-timeout", "10", *arguments),
        **environ,
    )
    server.wait_for_output("Listening at: http://127.0.0.1:")
    found = re.search(r"http://127\.0\.0\.1:(\d+)", server.output)
    assert found is not None
    return server, int(found[1])


def request(port: int, n: int) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("GET", f"/basket?n={n}")
        response = connection.getresponse()
        assert response.status == 200
        return int(response.read())
    finally:
        connection.close()


@pytest.mark.parametrize(("kind", "preload"), [("sync", False), ("gthread", True), ("gevent", False)])
def test_every_request_to_gunicorn_delivers_its_event(site: Site, kind: str, preload: bool) -> None:
    arguments = ["--worker-class", kind, *(["--threads", "4"] if kind == "gthread" else [])]
    server, port = serve(site, *arguments, *(["--preload"] if preload else []), EMIT_AT_IMPORT="yes" * preload)
    with ThreadPoolExecutor(8) as pool:
        pids = set(pool.map(lambda n: request(port, n), range(300)))
    assert server.stop() == 0
    assert "Traceback" not in server.output, server.output
    # Every process flushed at its end.
    assert site.outboxes() == []
    events = take_all(site)
    numbers = Counter(event["data"]["n"] for event in events)
    assert numbers == each_once(300) + Counter([-1] * preload)
    seen = [event for event in events if event["name"] == "shop.basket.seen"]
    assert all(event["context"] == {"path": "/basket", "request": event["data"]["n"]} for event in seen)
    assert {event["data"]["pid"] for event in seen} == pids
    assert len({event["id"] for event in events}) == len(events)


def test_recycled_or_killed_gunicorn_workers_lose_nothing(site: Site) -> None:
    server, port = serve(site, "--preload", "--max-requests", "40", EMIT_AT_IMPORT="yes")
    answered: list[int] = []
    for n in range(200):
        try:
            pid = request(port, n)
        except (OSError, http.client.HTTPException):
            continue
        answered.append(n)
        if n % 50 == 20:
            os.kill(pid, signal.SIGKILL)
    assert len(answered) > 150
    assert server.stop() == 0
    numbers = take_everything(site)
    assert {number: times for number, times in numbers.items() if times > 1} == {}
    # Answered requests have emitted their events, and others may have.
    assert set(answered) <= set(numbers)
    assert site.outboxes() == []


# Threads, asyncio, gevent


def test_threads_each_emit_with_their_own_context(in_site: Site) -> None:
    def emit(k: int) -> None:
        for n in range(500):
            with tracker.context("request", {"k": k, "n": n}):
                tracker.emit("shop.basket.seen", {"k": k, "n": n})

    threads = [threading.Thread(target=emit, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert dispatcher.flush(60)
    events = take_all(in_site)
    assert all(event["context"] == event["data"] for event in events)
    assert Counter((event["data"]["k"], event["data"]["n"]) for event in events) == Counter(
        (k, n) for k in range(8) for n in range(500)
    )


def test_closing_the_outbox_while_others_emit_loses_nothing(in_site: Site) -> None:
    emitted = [0] * 4
    stop = threading.Event()
    errors: list[Exception] = []

    def emit(k: int) -> None:
        try:
            while not stop.is_set():
                tracker.emit("shop.basket.seen", {"n": k * 1_000_000 + emitted[k]})
                emitted[k] += 1
                if emitted[k] % 10 == 0:
                    time.sleep(0.001)  # for the others, not a wait
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=emit, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(10):
        tracker.get_tracker().close()
    stop.set()
    for thread in threads:
        thread.join()
    assert errors == []
    tracker.get_tracker().close()
    wanted = Counter(k * 1_000_000 + n for k in range(4) for n in range(emitted[k]))
    assert take_everything(in_site) == wanted


def test_contexts_of_concurrent_asyncio_tasks_do_not_mix(emitted_events: Captured) -> None:
    async def handle(n: int, gate: asyncio.Barrier) -> None:
        with tracker.context("request", {"n": n}):
            await gate.wait()
            tracker.emit("shop.basket.seen", {"n": n})
            await asyncio.to_thread(tracker.emit, "shop.basket.seen", {"n": n})
            await asyncio.gather(*(inner(n, k) for k in range(3)))
        tracker.emit("shop.request.done", {"n": n})

    async def inner(n: int, k: int) -> None:
        tracker.enter_context("inner", {"k": k})
        await asyncio.sleep(0)
        tracker.emit("shop.inner.seen", {"n": n, "k": k})

    async def serve_all() -> None:
        gate = asyncio.Barrier(20)
        await asyncio.gather(*(handle(n, gate) for n in range(20)))

    asyncio.run(serve_all())
    for event in emitted_events.named("shop.basket.seen") + emitted_events.named("shop.inner.seen"):
        assert event.context == event.data
    assert [event.context for event in emitted_events.named("shop.request.done")] == [{}] * 20
    assert len(emitted_events.events) == 20 * (2 + 3 + 1)


def test_asyncio_emits_are_delivered(site: Site) -> None:
    site.emitting(
        """
import asyncio
async def handle(n):
    with tracker.context("request", {"n": n}):
        await asyncio.sleep(0)
        tracker.emit("shop.basket.seen", {"n": n})
async def main():
    await asyncio.gather(*(handle(n) for n in range(500)))
asyncio.run(main())
"""
    ).succeed()
    events = take_all(site)
    assert Counter(event["data"]["n"] for event in events) == each_once(500)
    assert all(event["context"] == event["data"] for event in events)


def test_a_process_patched_by_gevent_emits_and_delivers(site: Site) -> None:
    script = site.directory / "patched.py"
    script.write_text(
        """
from gevent import monkey
monkey.patch_all()
import gevent
from dispatcher import tracker
import dispatcher

def handle(n):
    with tracker.context("request", {"n": n}):
        gevent.sleep(0.001)
        tracker.emit("shop.basket.seen", {"n": n})

gevent.joinall([gevent.spawn(handle, n) for n in range(500)], raise_error=True)
# The relay is a greenlet beside the others, which a flush has to let in.
assert dispatcher.flush(60), "not flushed"
tracker.emit("shop.basket.seen", {"n": 500})
"""
    )
    site.processes.start(sys.executable, str(script)).succeed()
    assert site.outboxes() == []
    events = take_all(site)
    assert Counter(event["data"]["n"] for event in events) == each_once(501)
    assert all(event["context"] == event["data"] for event in events if event["data"]["n"] < 500)


def test_first_emits_of_many_greenlets_or_threads_at_once_open_one_outbox(site: Site) -> None:
    for patch in ("", "from gevent import monkey; monkey.patch_all()\n"):
        script = site.directory / "first.py"
        script.write_text(
            patch
            + """
import os, sys, threading
from pathlib import Path
from dispatcher import tracker
barrier = threading.Barrier(20)
def emit(n):
    barrier.wait()
    tracker.emit("shop.basket.seen", {"n": n})
threads = [threading.Thread(target=emit, args=(n,)) for n in range(20)]
for thread in threads: thread.start()
for thread in threads: thread.join()
outboxes = list(Path(os.environ["DISPATCHER_STATE_DIRECTORY"]).glob("outbox/*/state"))
assert len(outboxes) == 1, outboxes
"""
        )
        site.processes.start(sys.executable, str(script)).succeed()
        assert take_numbers(site) == each_once(20)


# The end of a process


def test_a_script_that_emits_and_ends_at_once_loses_nothing(site: Site) -> None:
    site.emitting("for n in range(1000): tracker.emit('shop.basket.seen', {'n': n})").succeed()
    assert site.outboxes() == []
    assert take_numbers(site) == each_once(1000)


@pytest.mark.parametrize("ending", ["sys.exit(0)", "raise SystemExit(0)", "import gc; gc.collect()"])
def test_every_clean_exit_flushes_the_events(site: Site, ending: str) -> None:
    site.emitting(f"tracker.emit('shop.basket.seen', {{'n': 0}})\n{ending}").succeed()
    assert take_numbers(site) == each_once(1)


def test_a_script_that_fails_loses_nothing(site: Site) -> None:
    child = site.emitting("tracker.emit('shop.basket.seen', {'n': 0})\nraise ValueError('of its own')")
    assert child.wait() == 1
    assert take_numbers(site) == each_once(1)


@pytest.mark.parametrize("ending", ["os._exit(0)", "os.kill(os.getpid(), 15)", "os.abort()"])
def test_events_of_a_process_that_dies_abruptly_are_adopted(site: Site, ending: str) -> None:
    site.emitting(f"tracker.emit('shop.basket.seen', {{'n': 0}})\n{ending}").wait()
    assert take_everything(site) == each_once(1)


@pytest.mark.parametrize("away", ["stop", "freeze"])
def test_without_redis_a_script_ends_soon_and_its_events_stay(site: Site, away: str) -> None:
    getattr(site.redis, away)()
    child = site.emitting(
        "tracker.emit('shop.basket.seen', {'n': 0})",
        DISPATCHER_OUTBOX__EXIT_FLUSH_SECONDS="0.5",
        DISPATCHER_RELAY__TIMEOUT_SECONDS="600",
    )
    with soon():
        child.succeed()
    assert len(site.outboxes()) == 1
    site.redis.thaw() if away == "freeze" else site.redis.start()
    assert take_everything(site) == each_once(1)
    assert site.outboxes() == []


def test_flush_returns_whether_everything_is_in_the_store(in_site: Site) -> None:
    assert dispatcher.flush(0)
    tracker.emit("shop.basket.seen", {"n": 0})
    assert dispatcher.flush(60)
    assert in_site.counts(LOG).queued == 1
    in_site.redis.stop()
    tracker.emit("shop.basket.seen", {"n": 1})
    began = time.monotonic()
    with soon():
        assert not dispatcher.flush(0.3)
    assert time.monotonic() - began > 0.25
    in_site.redis.start()
    assert dispatcher.flush(60)
    assert in_site.counts(LOG).queued == 2


def test_flush_in_a_child_that_emitted_nothing_has_nothing_to_wait_for(site: Site) -> None:
    site.redis.stop()
    site.emitting(
        "tracker.emit('shop.basket.seen', {'n': 0})\n"
        "if os.fork() == 0:\n"
        "    os._exit(0 if dispatcher.flush(0) else 1)\n"
        "assert os.wait()[1] == 0\n"
        "assert not dispatcher.flush(0)",
        DISPATCHER_OUTBOX__EXIT_FLUSH_SECONDS="0",
    ).succeed()


def test_configure_in_code_wins_over_files_and_environment(site: Site) -> None:
    elsewhere = site.directory / "elsewhere"
    site.emitting(
        "dispatcher.configure(outbox={'directory': sys.argv[1]}, relay__mode='external')\n"
        "tracker.emit('shop.basket.seen', {'n': 0})",
        str(elsewhere),
    ).succeed()
    assert len(find_outboxes(elsewhere)) == 1
    assert site.outboxes() == []
    site.environ["DISPATCHER_OUTBOX__DIRECTORY"] = str(elsewhere)
    assert take_everything(site) == each_once(1)


def test_importing_loads_neither_celery_nor_redis(site: Site) -> None:
    site.emitting(
        "heavy = {'celery', 'kombu', 'redis', 'pydantic', 'requests', 'segment'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    ).succeed()


def test_a_signal_handler_that_emits_during_an_emit_neither_hangs_nor_loses(site: Site) -> None:
    child = site.emitting(
        """
import itertools
import signal
import sys
# Counts in one step, since a handler may be interrupted by the next signal.
signals = itertools.count()
def emit(*_):
    tracker.emit("shop.signal.seen", {"n": next(signals)})
tracker.emit("shop.basket.seen", {"n": 0})
signal.signal(signal.SIGALRM, emit)
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.0005)
until = time.monotonic() + 0.8
n = 1
while time.monotonic() < until:
    tracker.emit("shop.basket.seen", {"n": n}); n += 1
signal.setitimer(signal.ITIMER_REAL, 0)
report(n, next(signals))
assert dispatcher.flush(60)
"""
    )
    emitted, signals = map(int, child.report())
    events = take_all(site)
    assert len({event["id"] for event in events}) == len(events) == emitted + signals
    wanted = {"shop.basket.seen": emitted, "shop.signal.seen": signals}
    assert Counter(event["name"] for event in events) == wanted
    wait_for(lambda: site.outboxes() == [])
