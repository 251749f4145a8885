"""Forks at any moment: what a child inherits of its parent's relay, connections, locks and files.

Under gevent threads are greenlets, and a fork copies them with all that they are doing.
"""

from __future__ import annotations

import json
import os
import signal
from collections import Counter

import pytest

from tests.support.deliveries import LOG, each_once, take_everything, take_numbers
from tests.support.gunicorn import ask, serve
from tests.support.processes import MARK, Child, assert_none_left
from tests.support.site import Site
from tests.support.waiting import wait_for

pytestmark = pytest.mark.usefixtures("nothing_kept")

KINDS = pytest.mark.parametrize("kind", ["threads", "gevent"])

# Functions with which the scripts below inspect their own process and wait for others.
LOOKING = """
import gc, logging, signal
from pathlib import Path
logging.basicConfig(level=logging.INFO, format="%(process)d %(message)s")

def sockets():
    found = set()
    for entry in Path("/proc/self/fd").iterdir():
        try:
            found.add(os.readlink(entry))
        except OSError:
            pass  # the directory's own
    return {name for name in found if name.startswith("socket:")}

def mapped():
    return [line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines() if "/outbox/" in line]

def opened():
    links = [os.readlink(entry) for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink()]
    return [link for link in links if "/outbox/" in link]

def copies():
    import greenlet
    found = []
    for thing in gc.get_objects():
        if isinstance(thing, greenlet.greenlet) and not thing.dead and thing.gr_frame is not None:
            frame = thing.gr_frame
            while frame is not None:
                if "/dispatcher/" in frame.f_code.co_filename:
                    found.append(frame.f_code.co_qualname)
                frame = frame.f_back
    return found

def wait_until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it did not become true"
        time.sleep(0.01)

def await_child(pid):
    assert os.waitpid(pid, 0)[1] == 0, "the child failed"

redis = int(os.environ["REDIS_PID"])
"""


def run(site: Site, kind: str, code: str, *arguments: str, **environ: str) -> Child:
    """Start a process that runs ``code``; its threads are greenlets if ``kind`` is gevent."""
    patch = "from gevent import monkey\nmonkey.patch_all()\nimport gevent\n" if kind == "gevent" else ""
    head = "import os, sys, time\nimport dispatcher\nfrom dispatcher import tracker\n"
    return site.processes.python(patch + head + LOOKING + code, *arguments, REDIS_PID=str(site.redis.pid), **environ)


def assert_quiet(child: Child) -> None:
    for word in ("Traceback", "Error", "stay in the outbox", "refused"):
        assert word not in child.output, child.output


@KINDS
def test_a_child_forked_during_a_command_does_not_take_its_parents_answer(site: Site, kind: str) -> None:
    child = run(
        site,
        kind,
        """
tracker.emit("shop.basket.seen", {"n": 0})
assert dispatcher.flush(60)
os.kill(redis, signal.SIGSTOP)
for n in range(1, 500): tracker.emit("shop.basket.seen", {"n": n})
time.sleep(0.3)  # the relay has sent them, and waits
before = sockets()
assert before
pid = os.fork()
if pid == 0:
    assert not sockets() & before, "the parent's connection is shared"
    assert not copies(), copies()
    assert not opened() and (not mapped() or len(sys.argv) > 1), (opened(), mapped())
    os.kill(redis, signal.SIGCONT)
    time.sleep(0.5)  # time for whatever was copied to go on
    assert not sockets() & before and not copies() and not opened()
    for n in range(1000, 1500): tracker.emit("shop.basket.seen", {"n": n})
    assert dispatcher.flush(60)
    os._exit(0)
assert dispatcher.flush(60), "the answer went elsewhere, and is waited for in vain"
await_child(pid)
for n in range(500, 1000): tracker.emit("shop.basket.seen", {"n": n})
assert dispatcher.flush(60)
""",
        DISPATCHER_RELAY__TIMEOUT_SECONDS="180",
    )
    child.succeed()
    assert_quiet(child)
    assert not [path for path in site.outboxes() if path.name.startswith(f"{child.pid}-")]
    assert take_everything(site) == each_once(1500)


@KINDS
def test_children_forked_at_any_moment_deliver_each_event_once(site: Site, kind: str) -> None:
    child = run(
        site,
        kind,
        """
pids = []
for turn in range(15):
    for n in range(200): tracker.emit("shop.basket.seen", {"n": turn * 1000 + n})
    time.sleep(0.003 * turn)
    pid = os.fork()
    if pid == 0:
        for n in range(200, 400): tracker.emit("shop.basket.seen", {"n": turn * 1000 + n})
        if turn % 3 == 0:
            os._exit(0 if dispatcher.flush(60) else 1)
        if turn % 3 == 1:
            sys.exit(0)
        os._exit(0)
    pids.append(pid)
for pid in pids: await_child(pid)
assert dispatcher.flush(60)
""",
        DISPATCHER_OUTBOX__SYNC_SECONDS="0.001",
        DISPATCHER_OUTBOX__MAX_EVENT_BYTES="16384",
        DISPATCHER_OUTBOX__JOURNAL_BYTES="65536",
    )
    child.succeed()
    assert_quiet(child)
    assert take_everything(site) == Counter(turn * 1000 + n for turn in range(15) for n in range(400))
    assert site.outboxes() == []


@KINDS
def test_a_killed_parents_outbox_is_adopted_while_its_silent_child_lives(site: Site, kind: str) -> None:
    child = run(
        site,
        kind,
        """
os.kill(redis, signal.SIGSTOP)
for n in range(100): tracker.emit("shop.basket.seen", {"n": n})
time.sleep(0.3)
if os.fork() == 0:
    print("child runs", flush=True)
    while True: time.sleep(0.1)
time.sleep(0.3)
os.kill(os.getpid(), 9)
""",
    )
    assert child.wait() == -signal.SIGKILL
    wait_for(lambda: "child runs" in child.output)
    site.redis.thaw()
    assert take_everything(site) == each_once(100)
    assert site.outboxes() == []


@KINDS
@pytest.mark.parametrize("ending", ["sys.exit(0)", "os._exit(0)", "raise SystemExit", "pass"])
def test_a_child_that_never_emitted_ends_without_touching_the_parents_outbox(
    site: Site, kind: str, ending: str
) -> None:
    child = run(
        site,
        kind,
        f"""
tracker.emit("shop.basket.seen", {{"n": 0}})
assert dispatcher.flush(60)
before = sorted(Path(os.environ["DISPATCHER_STATE_DIRECTORY"]).glob("outbox/*/*"))
assert before
pid = os.fork()
if pid:
    await_child(pid)
    assert sorted(Path(os.environ["DISPATCHER_STATE_DIRECTORY"]).glob("outbox/*/*")) == before
    for n in range(1, 100): tracker.emit("shop.basket.seen", {{"n": n}})
    assert dispatcher.flush(60)
else:
    {ending}
""",
    )
    child.succeed()
    assert_quiet(child)
    assert take_numbers(site) == each_once(100)


@KINDS
def test_grandchildren_and_children_forked_after_close_have_their_own_outboxes(site: Site, kind: str) -> None:
    child = run(
        site,
        kind,
        """
tracker.emit("shop.basket.seen", {"n": 0})
pid = os.fork()
if pid == 0:
    tracker.emit("shop.basket.seen", {"n": 1})
    pid = os.fork()
    if pid == 0:
        pid = os.fork()
        if pid == 0:
            tracker.emit("shop.basket.seen", {"n": 2})
            sys.exit(0)
        tracker.emit("shop.basket.seen", {"n": 3})
        await_child(pid)
        sys.exit(0)
    await_child(pid)
    tracker.emit("shop.basket.seen", {"n": 4})
    sys.exit(0)
await_child(pid)
tracker.get_tracker().close()
pid = os.fork()
if pid == 0:
    tracker.emit("shop.basket.seen", {"n": 5})
    sys.exit(0)
await_child(pid)
tracker.emit("shop.basket.seen", {"n": 6})
""",
    )
    child.succeed()
    assert_quiet(child)
    assert site.outboxes() == []
    assert take_numbers(site) == each_once(7)


@KINDS
def test_a_child_forked_during_close_or_flush_leaves_the_outbox_to_the_parent(site: Site, kind: str) -> None:
    child = run(
        site,
        kind,
        """
import threading
for own in (None, tracker.Tracker()):  # of the default one, the fork waits for the lock
    one = own or tracker.get_tracker()
    first = 1000 if own else 0
    one.emit("shop.basket.seen", {"n": first})
    assert one.flush(60)
    os.kill(redis, signal.SIGSTOP)
    one.emit("shop.basket.seen", {"n": first + 1})
    results = []
    others = [threading.Thread(target=lambda: results.append(one.flush(1.5))), threading.Thread(target=one.close)]
    for thread in others: thread.start()
    time.sleep(0.2)
    pid = os.fork()
    if pid == 0:
        here = sorted(Path(os.environ["DISPATCHER_STATE_DIRECTORY"]).glob("outbox/*/*"))
        assert one.flush(0)
        one.emit("shop.basket.seen", {"n": first + 2})
        time.sleep(2)  # for copies of those greenlets to end
        assert set(here) <= set(Path(os.environ["DISPATCHER_STATE_DIRECTORY"]).glob("outbox/*/*"))
        os.kill(redis, signal.SIGCONT)
        assert one.flush(60)
        one.close()
        os._exit(0)
    for thread in others: thread.join()
    # The outbox of the parent is still relayed, by any process.
    await_child(pid)
""",
        DISPATCHER_OUTBOX__EXIT_FLUSH_SECONDS="1",
        DISPATCHER_RELAY__TIMEOUT_SECONDS="30",
    )
    child.succeed()
    assert take_everything(site) == Counter([0, 1, 2, 1000, 1001, 1002])
    assert site.outboxes() == []


def test_a_greenlet_forked_while_opening_an_outbox_opens_the_childs_own(site: Site) -> None:
    child = run(
        site,
        "gevent",
        """
one = tracker.Tracker()
import threading
start = threading.Thread.start
reached, go_on = threading.Event(), threading.Event()
def slow(self):
    if self.name == "dispatcher-relay":
        reached.set()
        go_on.wait()
    start(self)
threading.Thread.start = slow
opener = gevent.spawn(lambda: one.emit("shop.basket.seen", {"n": 0}))
reached.wait()
pid = os.fork()
go_on.set()
if pid == 0:
    wait_until(lambda: list(Path(os.environ["DISPATCHER_STATE_DIRECTORY"]).glob(f"outbox/{os.getpid()}-*/state")))
    one.emit("shop.basket.seen", {"n": 1})
    assert one.flush(60)
    os._exit(0)
opener.join()
assert one.flush(60)
await_child(pid)
""",
    )
    child.succeed()
    assert_quiet(child)
    # The copied greenlet does in the child what it does in the parent.
    assert take_everything(site) == Counter([0, 0, 1])


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing_children_under_gevent_deliver_what_they_emit(site: Site, method: str) -> None:
    child = run(
        site,
        "gevent",
        """
import multiprocessing

def emit(first):
    for n in range(first, first + 300): tracker.emit("shop.basket.seen", {"n": n})
    assert dispatcher.flush(60)

if __name__ == "__main__":
    tracker.emit("shop.basket.seen", {"n": 0})
    context = multiprocessing.get_context(sys.argv[1])
    children = [context.Process(target=emit, args=(first,)) for first in (1, 301, 601)]
    for child in children: child.start()
    for child in children: child.join()
    assert [child.exitcode for child in children] == [0, 0, 0]
""",
        method,
    )
    child.succeed()
    assert_quiet(child)
    assert take_everything(site) == each_once(901)
    assert site.outboxes() == []


def test_a_gevent_process_without_new_threads_syncs_its_events_all_the_same(site: Site) -> None:
    # As from CPython 3.12 on, while the interpreter ends.
    child = run(
        site,
        "gevent",
        """
import gevent.threadpool
def refuse(*arguments):
    raise RuntimeError("can't create new thread at interpreter shutdown")
gevent.threadpool.start_new_thread = refuse
tracker.emit("shop.basket.seen", {"n": 0})
time.sleep(1.5)  # a sync is due each second
""",
        DISPATCHER_RELAY__MODE="external",
    )
    child.succeed()
    assert_quiet(child)
    assert take_everything(site) == each_once(1)


def test_a_child_forked_by_c_under_gevent_emits_into_its_own_outbox(site: Site) -> None:
    child = run(
        site,
        "gevent",
        """
import ctypes
for n in range(100): tracker.emit("shop.basket.seen", {"n": n})
assert dispatcher.flush(60)
before = sockets()
pid = ctypes.PyDLL(None).fork()
if pid == 0:
    gevent.reinit()
    time.sleep(0.3)  # the copies have had their turn before the first event
    for n in range(1000, 1900): tracker.emit("shop.basket.seen", {"n": n})
    assert dispatcher.flush(60)
    assert not sockets() & before
    strange = [name for name in opened() if f"/{os.getpid()}-" not in name]
    assert not strange, strange
    os._exit(0)
for n in range(100, 1000): tracker.emit("shop.basket.seen", {"n": n})
assert dispatcher.flush(60)
await_child(pid)
""",
    )
    child.succeed()
    assert_quiet(child)
    assert take_everything(site) == Counter([*range(1000), *range(1000, 1900)])


def test_greenlets_open_one_outbox_after_a_late_gevent_patch(site: Site) -> None:
    child = site.processes.python(
        """
import os, sys, time
import dispatcher
from dispatcher import tracker
tracker.get_tracker()
from gevent import monkey
monkey.patch_all()
import gevent
from pathlib import Path
gevent.joinall([gevent.spawn(tracker.emit, "shop.basket.seen", {"n": n}) for n in range(20)], raise_error=True)
found = list(Path(os.environ["DISPATCHER_STATE_DIRECTORY"]).glob("outbox/*/state"))
assert len(found) == 1, found
"""
    )
    child.succeed()
    assert take_numbers(site) == each_once(20)
    assert site.outboxes() == []


# Under gunicorn

# Events that the master emits while it loads the app have negative numbers.
APP = """
import os
if os.environ["PATCHED"] == "by the app":
    from gevent import monkey
    monkey.patch_all()
from dispatcher import tracker

for n in range(1, 101):
    tracker.emit("shop.app.loaded", {"n": -n})

def app(environ, start_response):
    n = int(environ["QUERY_STRING"].partition("=")[2])
    tracker.emit("shop.basket.seen", {"n": n})
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"%d" % os.getpid()]
"""


def preload(site: Site, kind: str, patched: str) -> tuple[Child, int]:
    """Start gunicorn with the app, and have gevent patch it in one of the possible ways."""
    configuration = site.directory / "gunicorn.conf.py"
    configuration.write_text("from gevent import monkey\nmonkey.patch_all()\n" * (patched == "by gunicorn.conf.py"))
    more = ("--threads", "4") if kind == "gthread" else ()
    arguments = ("--preload", "--worker-class", kind, "--config", str(configuration), *more)
    return serve(site, APP, *arguments, PATCHED=patched)


@pytest.mark.parametrize(
    ("kind", "patched"),
    [
        ("gevent", "by gunicorn.conf.py"),
        ("gevent", "by the app"),
        ("gevent", "by the worker"),
        ("gthread", "never"),
        ("sync", "never"),
    ],
)
def test_gunicorn_with_preload_and_killed_workers_logs_each_event_once(site: Site, kind: str, patched: str) -> None:
    site.worker()
    server, port = preload(site, kind, patched)
    answered: list[int] = []
    for n in range(200):
        pid = ask(port, n)
        if pid is not None:
            answered.append(n)
            # gunicorn cannot restart a worker if the app patches gevent: its master waits for an unpatched event.
            if n % 40 == 20 and patched != "by the app":
                os.kill(pid, signal.SIGKILL)
    assert len(answered) > 150
    assert server.stop() == 0
    assert "Traceback" not in server.output, server.output
    site.relay_once()
    site.wait_until_delivered()
    numbers = Counter(json.loads(line)["event"]["n"] for line in site.log.read_text().splitlines())
    assert {number: times for number, times in numbers.items() if times > 1} == {}
    # Answered requests have emitted their events, and others may have.
    assert {*answered, *range(-100, 0)} <= set(numbers)
    assert site.outboxes() == []
    site.assert_ledger_closes()


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGKILL])
def test_events_of_a_busy_gevent_master_are_delivered_after_it_ended(site: Site, ending: signal.Signals) -> None:
    site.redis.freeze()
    server, port = preload(site, "gevent", "by the app")
    assert ask(port, 0)
    site.redis.thaw()
    wait_for(lambda: site.counts(LOG).queued >= 1, what="the worker's event")
    server.send(ending)
    server.wait()
    assert_none_left(site.environ[MARK])  # workers see that their parent has gone
    assert take_everything(site) == Counter(range(-100, 1))
    assert site.outboxes() == []
