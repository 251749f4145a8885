"""Hundreds of dead processes: one relay on the machine takes over their outboxes, a few at a time."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterator
from functools import partial

import pytest

from dispatcher import config
from dispatcher.outbox.listing import ADOPTION_LOCK, RELAY_LOCK
from dispatcher.outbox.stats import survey
from dispatcher.relay.adoption import MAX_OPEN
from dispatcher.relay.relay import Relay
from dispatcher.tracker import Tracker
from tests.support.deliveries import LOG, SEGMENT, each_once, take_numbers
from tests.support.outboxes import open_files
from tests.support.processes import Child
from tests.support.site import Site
from tests.support.waiting import wait_for

DEAD = 300
# Descriptors that a process may have: far fewer than four for each dead outbox.
FEW = 160


def leave_many(site: Site, count: int) -> None:
    """Leave ``count`` outboxes with one event each, as if as many processes had died."""
    settings = config.load(site.environ, {"relay": {"mode": "external"}})
    for n in range(count):
        tracker = Tracker(settings)
        tracker.emit("shop.order.paid", {"n": n})
        tracker.close()


def locked_outboxes(site: Site) -> list[str]:
    """The outboxes that a relay of this process has open."""
    return [path for path in open_files(site.settings().outbox_directory) if path.endswith(RELAY_LOCK)]


def descriptors(child: Child) -> int:
    return len(os.listdir(f"/proc/{child.pid}/fd"))


def with_few_descriptors(child: Child) -> Child:
    resource.prlimit(child.pid, resource.RLIMIT_NOFILE, (FEW, FEW))
    return child


@pytest.fixture
def relays() -> Iterator[list[Relay]]:
    relays: list[Relay] = []
    yield relays
    for relay in relays:
        relay.close()


def test_hundreds_of_dead_outboxes_take_few_descriptors_and_all_are_put(site: Site) -> None:
    leave_many(site, DEAD)
    assert sum(found.disk_bytes for found in survey(site.settings().outbox_directory)) <= DEAD * 8_192
    relay = with_few_descriptors(site.processes.dispatcher("relay"))
    most = 0

    def is_put() -> bool:
        nonlocal most
        most = max(most, descriptors(relay))
        return site.counts(LOG).queued == DEAD and site.counts(SEGMENT).queued == DEAD

    wait_for(is_put, what=lambda: relay.output)
    assert most < FEW // 2
    assert take_numbers(site) == each_once(DEAD)
    assert take_numbers(site, SEGMENT) == each_once(DEAD)
    wait_for(lambda: site.outboxes() == [], timeout=90, what=lambda: len(site.outboxes()))
    assert "Traceback" not in relay.output
    assert relay.stop() == 0


def test_a_web_process_beside_hundreds_of_dead_outboxes_emits_and_opens_sockets(site: Site) -> None:
    leave_many(site, DEAD)
    code = """
import resource, socket
resource.setrlimit(resource.RLIMIT_NOFILE, (160, 160))
for n in range(300, 400):
    tracker.emit("shop.order.paid", {"n": n})
    sockets = [socket.socket() for _ in range(60)]
    for one in sockets: one.close()
    time.sleep(0.02)
assert dispatcher.flush(60)
print("flushed", flush=True)
while not os.path.exists(sys.argv[1]): time.sleep(0.02)
"""
    child = site.emitting(code, str(site.directory / "stop"))
    child.wait_for_output("flushed")
    wait_for(lambda: site.counts(LOG).queued == DEAD + 100, what=lambda: child.output)
    (site.directory / "stop").touch()
    child.succeed()
    assert take_numbers(site) == each_once(DEAD + 100)


def test_a_slow_destination_keeps_no_dead_outbox_from_the_others(site: Site, relays: list[Relay]) -> None:
    count = 4 * MAX_OPEN
    leave_many(site, count)
    relays.append(relay := Relay(site.settings()))
    wait_for(lambda: relay.step() == 0 and relay.is_drained())
    assert take_numbers(site) == each_once(count)
    # Nothing is settled at Segment, so all are kept, and none is open.
    assert len(site.outboxes()) == count
    wait_for(lambda: relay.step() == 0 and not locked_outboxes(site))
    take_numbers(site, SEGMENT)
    wait_for(lambda: relay.step() == 0 and site.outboxes() == [], what=lambda: len(site.outboxes()))


def test_one_relay_adopts_dead_outboxes_and_another_takes_over_when_it_ends(site: Site, relays: list[Relay]) -> None:
    relays += [Relay(site.settings()), Relay(site.settings())]
    first, second = relays
    leave_many(site, 1)
    first.step()
    leave_many(site, 2)
    assert second.step() == 0
    wait_for(lambda: first.step() == 0 and first.is_drained())
    assert site.counts(LOG).queued == 3
    first.close()
    leave_many(site, 2)
    wait_for(lambda: second.step() == 0 and second.is_drained())
    assert site.counts(LOG).queued == 5


def test_a_forked_child_does_not_block_adoption_of_its_dead_parents_outbox(site: Site) -> None:
    code = """
tracker.emit("shop.order.paid", {"n": 0})
assert dispatcher.flush(60)
child = os.fork()
if child == 0:
    while not os.path.exists(sys.argv[1]): time.sleep(0.02)
    os._exit(0)
print("forked", flush=True)
while True: time.sleep(1)
"""
    parent = site.emitting(code, str(site.directory / "stop"))
    parent.wait_for_output("forked")
    parent.kill()
    site.relay_once()
    assert take_numbers(site) == each_once(1)
    (site.directory / "stop").touch()


@pytest.mark.parametrize("left", ["relay.lock", "00000000.puts", ""], ids=["a lock", "a put log", "nothing"])
def test_a_relay_removes_old_half_made_and_half_deleted_outboxes(site: Site, relays: list[Relay], left: str) -> None:
    leave_many(site, 1)
    root = site.settings().outbox_directory
    old, new, hidden = root / "7-old", root / "8-new", root / ".9-hidden"
    for directory in (old, new, hidden):
        directory.mkdir()
        if left:
            (directory / left).touch()
    for directory in (old, hidden):
        os.utime(directory, (time.time() - 120,) * 2)
    (root / ADOPTION_LOCK).touch()
    relays.append(relay := Relay(site.settings()))
    wait_for(lambda: relay.step() == 0 and not old.exists() and not hidden.exists())
    assert new.exists()


def test_a_race_of_a_closing_process_and_a_relay_leaves_no_directory(site: Site) -> None:
    site.environ["DISPATCHER_OUTBOX__KEEP_BYTES"] = "0"
    relay = site.processes.dispatcher("relay", DISPATCHER_RELAY__LINGER_SECONDS="0")
    relay.wait_for_output("relaying")
    code = """
from dispatcher.tracker import Tracker
from dispatcher import config
settings = config.load()
for n in range(int(sys.argv[1]), int(sys.argv[1]) + 100):
    one = Tracker(settings)
    one.emit("shop.order.paid", {"n": n})
    one.close()
"""
    children = [site.emitting(code, str(100 * number)) for number in range(3)]
    for child in children:
        child.succeed()
    root = site.settings().outbox_directory
    wait_for(lambda: site.outboxes() == [], what=site.outboxes)
    assert [path.name for path in root.iterdir() if path.is_dir()] == []
    assert take_numbers(site) == each_once(300)
    assert "Traceback" not in relay.output
    assert relay.stop() == 0


@pytest.mark.parametrize("blank", [True, False], ids=["made anew", "not to be read"])
def test_relay_once_fails_when_an_outbox_cannot_be_read(site: Site, blank: bool) -> None:
    leave_many(site, 2)
    state = site.outboxes()[0] / "state"
    state.write_bytes(bytes(4_096) if blank else b"something else" * 300)
    done = site.processes.run("relay", "--once", "--timeout", "10")
    if blank:
        assert done.returncode == 0, done.stderr
        assert take_numbers(site) == each_once(2)
        return
    assert done.returncode == 1
    assert f"the outbox {state.parent.name} cannot be read" in done.stderr
    assert "is not the state file of an outbox" in done.stderr
    assert site.counts(LOG).queued == 1


def test_an_unreadable_outbox_does_not_delay_the_others(
    site: Site, relays: list[Relay], monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_many(site, 3)
    broken = site.outboxes()[0] / "00000000.journal"
    pread = os.pread

    def failing(fd: int, size: int, offset: int) -> bytes:
        if os.readlink(f"/proc/self/fd/{fd}") == str(broken):
            raise OSError(5, "Input/output error", str(broken))
        return pread(fd, size, offset)

    monkeypatch.setattr(os, "pread", failing)
    relays.append(relay := Relay(site.settings()))
    wait_for(lambda: relay.step() == 0 and site.counts(LOG).queued == 2)
    monkeypatch.undo()
    wait_for(partial(lambda: relay.step() == 0 and site.counts(LOG).queued == 3))
