"""The relay between real outboxes and a real Redis: with Redis away, silent or killed, and the relay killed too."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

import dispatcher
from dispatcher import tracker
from dispatcher.outbox import Outbox, Reader
from dispatcher.relay.relay import Relay
from tests.support.deliveries import LOG, SEGMENT, each_once, take_numbers
from tests.support.processes import memory_bytes
from tests.support.site import Site
from tests.support.waiting import wait_for

# A process without a relay that emits some events and then kills itself with SIGKILL.
EMIT_AND_DIE = """
for n in range(int(sys.argv[1])):
    tracker.emit(sys.argv[2], {"n": n, "padding": "x" * int(sys.argv[3])})
os.kill(os.getpid(), 9)
"""


pytestmark = pytest.mark.usefixtures("nothing_kept")


def emit_and_die(site: Site, count: int, name: str = "shop.order.paid", padding: int = 0) -> None:
    child = site.emitting(EMIT_AND_DIE, str(count), name, str(padding), DISPATCHER_RELAY__MODE="external")
    assert child.wait() == -signal.SIGKILL, child.output


def batches(site: Site, destination: str = LOG) -> int:
    return site.counts(destination).batches


def has_batches(site: Site, count: int) -> bool:
    return batches(site) == count


def test_the_relay_thread_puts_each_event_for_every_destination_that_lists_it(in_site: Site) -> None:
    for n in range(20):
        tracker.emit("shop.order.paid", {"n": n})
    tracker.emit("shop.basket.seen", {"n": 20})
    assert dispatcher.flush(60)
    assert take_numbers(in_site) == each_once(21)
    assert take_numbers(in_site, SEGMENT) == each_once(20)
    assert in_site.counts(SEGMENT).filtered == 1
    in_site.assert_ledger_closes()


def test_in_light_traffic_an_event_is_its_own_batch_at_once(in_site: Site) -> None:
    for n in range(3):
        tracker.emit("shop.basket.seen", {"n": n})
        wait_for(partial(has_batches, in_site, n + 1))
    assert take_numbers(in_site) == each_once(3)


def test_in_steady_traffic_events_are_collected_into_batches(site: Site) -> None:
    child = site.emitting(
        "until = time.monotonic() + 1.5\nn = 0\n"
        "while time.monotonic() < until:\n"
        "    tracker.emit('shop.basket.seen', {'n': n}); n += 1\n"
        "    time.sleep(0.0003)\n"
        "print(n)",
        DISPATCHER_RELAY__LINGER_SECONDS="0.05",
    )
    emitted = int(child.succeed())
    # At most one batch per linger time, and a few more while the process starts and ends.
    assert batches(site) <= 1.5 / 0.05 + 10, f"{emitted} events in {batches(site)} batches"
    assert take_numbers(site) == each_once(emitted)


def test_an_external_relay_takes_the_events_of_a_living_process(site: Site) -> None:
    relay = site.processes.dispatcher("relay")
    child = site.emitting(
        "tracker.emit('shop.order.paid', {'n': 0})\nassert dispatcher.flush(60)\nprint('put')\ntime.sleep(60)",
        DISPATCHER_RELAY__MODE="external",
    )
    child.wait_for_output("put")
    assert site.counts(LOG).queued == 1
    child.kill()
    wait_for(lambda: site.outboxes() == [], what="the relay to remove the outbox of the dead")
    assert relay.stop() == 0
    assert "damaged" not in relay.output


def test_a_living_process_adopts_the_outbox_of_a_dead_one(site: Site) -> None:
    emit_and_die(site, 1000)
    [left] = site.outboxes()
    adopter = site.emitting(
        "tracker.emit('shop.order.paid', {'n': 1000})\n"
        "deadline = time.monotonic() + 10\n"
        "while os.path.exists(sys.argv[1]) and time.monotonic() < deadline: time.sleep(0.02)",
        str(left),
    )
    adopter.succeed()
    assert take_numbers(site) == each_once(1001)
    assert site.outboxes() == []


def test_two_relays_do_not_relay_the_same_outbox(site: Site) -> None:
    for _ in range(6):
        emit_and_die(site, 500, padding=200)
    relays = [site.processes.dispatcher("relay", "--once") for _ in range(3)]
    for relay in relays:
        relay.wait()
    assert site.outboxes() == []
    assert take_numbers(site) == Counter(dict.fromkeys(range(500), 6))


def test_a_relay_takes_its_own_outbox_soon_after_another_reader_left_it(site: Site) -> None:
    site.environ["DISPATCHER_RELAY__ADOPT_SECONDS"] = "60"
    settings = site.settings()
    outbox = Outbox(settings.outbox_directory, journal_bytes=1 << 16, max_bytes=1 << 20)
    other = Reader(outbox.directory)
    relay = Relay(settings, own=outbox.directory)
    outbox.append(b'{"id":"a","type":"event","name":"a.b","timestamp":"2026-01-31T12:00:00Z","data":{},"context":{}}')
    assert relay.step() == 0
    other.close()
    wait_for(lambda: relay.step() == 1)
    relay.close()
    outbox.close()


def test_a_surviving_child_does_not_block_adoption_of_its_parents_outbox(site: Site) -> None:
    site.redis.stop()
    parent = site.emitting(
        "tracker.emit('shop.order.paid', {'n': 0})\n"
        "deadline = time.monotonic() + 10\n"
        "from pathlib import Path\n"
        "state = Path(os.environ['DISPATCHER_STATE_DIRECTORY'])\n"
        # The relay thread holds its lock now, and a child inherits it.
        "while not list(state.glob('outbox/*/relay.lock')) and time.monotonic() < deadline: time.sleep(0.01)\n"
        "time.sleep(0.2)\n"
        "if os.fork() == 0:\n"
        "    time.sleep(60)\n"
        "os.kill(os.getpid(), 9)"
    )
    assert parent.wait() == -signal.SIGKILL, parent.output
    site.redis.start()
    relayed = site.processes.run("relay", "--once", "--timeout", "3")
    assert relayed.returncode == 0, relayed.stderr
    assert site.outboxes() == []
    assert take_numbers(site) == each_once(1)


def test_events_emitted_while_redis_refuses_are_put_once_when_it_is_back(in_site: Site) -> None:
    tracker.emit("shop.basket.seen", {"n": 0})
    assert dispatcher.flush(60)
    in_site.redis.stop()
    for n in range(1, 3000):
        tracker.emit("shop.basket.seen", {"n": n})
    assert not dispatcher.flush(0.3)
    in_site.redis.start()
    assert dispatcher.flush(60)
    assert take_numbers(in_site) == each_once(3000)


def test_commands_that_a_silent_redis_runs_late_double_nothing(in_site: Site) -> None:
    for burst in range(4):
        in_site.redis.freeze()
        for n in range(burst * 500, burst * 500 + 500):
            tracker.emit("shop.order.paid", {"n": n})
        # Longer than relay.timeout_seconds, so the relay has given up its commands.
        assert not dispatcher.flush(0.8)
        in_site.redis.thaw()
        if burst % 2:
            assert dispatcher.flush(60)
    assert dispatcher.flush(60)
    assert take_numbers(in_site) == each_once(2000)
    assert take_numbers(in_site, SEGMENT) == each_once(2000)
    in_site.assert_ledger_closes()


def test_a_relay_killed_at_any_moment_loses_nothing_and_puts_nothing_twice(site: Site) -> None:
    count = 40_000
    emit_and_die(site, count)
    chance = random.Random(2026)
    kills = 0
    while site.outboxes() and kills < 4:
        relay = site.processes.dispatcher("relay")
        relay.wait_for_output("relaying")
        time.sleep(chance.uniform(0.0, 0.15))  # the moment of the kill, not a wait
        relay.kill()
        kills += 1
        site.assert_ledger_closes()
    done = site.processes.dispatcher("relay", "--once")
    done.succeed()
    assert site.outboxes() == []
    assert take_numbers(site) == each_once(count)
    assert take_numbers(site, SEGMENT) == each_once(count)
    site.assert_ledger_closes()


class Killed(BaseException):
    """The process is killed here."""


def die(self: Reader, position: int) -> None:
    raise Killed


def test_a_crash_between_put_and_commit_puts_nothing_twice(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    emit_and_die(site, 5000, padding=300)

    with monkeypatch.context() as patched:
        patched.setattr(Reader, "commit", die)
        for _ in range(3):
            relay = Relay(site.settings())
            with pytest.raises(Killed):
                relay.step()
            relay.close()
    assert 0 < site.counts(LOG).queued < 5000
    site.relay_once()
    assert take_numbers(site) == each_once(5000)


def test_a_changed_allowlist_does_not_repeat_earlier_puts(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    emit_and_die(site, 5000, padding=300)

    with monkeypatch.context() as patched:
        patched.setattr(Reader, "commit", die)
        relay = Relay(site.settings())
        with pytest.raises(Killed):
            relay.step()
        relay.close()
    put = site.counts(SEGMENT).queued
    assert 0 < put < 5000
    site.allow(["nothing.at.all"])
    site.relay_once()
    assert take_numbers(site) == each_once(5000)
    assert take_numbers(site, SEGMENT) == each_once(put)
    assert site.counts(SEGMENT).filtered == 5000 - put


def test_a_changed_allowlist_takes_effect_without_a_restart(in_site: Site) -> None:
    tracker.emit("shop.basket.seen", {"n": 0})
    assert dispatcher.flush(60)
    assert in_site.counts(SEGMENT).queued == 0
    in_site.allow(["shop.basket.*"])

    def emitted_to_segment() -> bool:
        tracker.emit("shop.basket.seen", {"n": 1})
        assert dispatcher.flush(60)
        return in_site.counts(SEGMENT).queued > 0

    wait_for(emitted_to_segment)
    assert in_site.counts(SEGMENT).filtered >= 1
    tracker.emit("shop.order.paid", {"n": 2})
    assert dispatcher.flush(60)
    assert 2 not in take_numbers(in_site, SEGMENT)


@pytest.mark.parametrize("broken", ["[destinations.segment\n", "[destinations.segment]\nevents = ['!shop.*']\n"])
def test_unusable_settings_leave_the_old_ones_in_force(
    in_site: Site, broken: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="dispatcher")
    tracker.emit("shop.order.paid", {"n": 0})
    assert dispatcher.flush(60)
    in_site.settings_file.write_text(broken)
    wait_for(lambda: "the old ones stay in force" in caplog.text)
    tracker.emit("shop.order.paid", {"n": 1})
    tracker.emit("shop.basket.seen", {"n": 2})
    assert dispatcher.flush(60)
    assert take_numbers(in_site, SEGMENT) == each_once(2)
    in_site.allow(["shop.*"])
    wait_for(lambda: "were read again" in caplog.text)
    tracker.emit("shop.basket.seen", {"n": 3})
    assert dispatcher.flush(60)
    assert take_numbers(in_site, SEGMENT) == Counter([3])


def test_a_settings_file_replaced_by_renaming_is_noticed(in_site: Site) -> None:
    tracker.emit("shop.basket.seen", {"n": 0})
    assert dispatcher.flush(60)
    fresh = in_site.directory / "fresh.toml"
    fresh.write_text("[destinations.segment]\nevents = ['*']\n")
    fresh.rename(in_site.settings_file)

    def reaches_segment() -> bool:
        tracker.emit("shop.basket.seen", {"n": 1})
        assert dispatcher.flush(60)
        return in_site.counts(SEGMENT).queued > 0

    wait_for(reaches_segment)


def test_the_relays_memory_stays_flat_however_long_the_backlog(site: Site) -> None:
    # 120 MB of journals.
    emit_and_die(site, 60_000, name="shop.basket.seen", padding=2000)
    relay = site.processes.dispatcher("relay")
    wait_for(lambda: batches(site) > 0 or not relay.running, what=lambda: relay.output)
    early = memory_bytes(relay.pid)
    most = early

    def is_done() -> bool:
        nonlocal most
        most = max(most, memory_bytes(relay.pid))
        return site.outboxes() == []

    wait_for(is_done, what=lambda: relay.output)
    assert most - early < 20_000_000, f"it grew from {early:,} to {most:,} bytes"
    assert relay.stop() == 0
    assert site.counts(LOG).queued == 60_000


def test_relayed_journals_are_deleted_while_the_process_goes_on(site: Site) -> None:
    child = site.emitting(
        "for n in range(4000): tracker.emit('shop.basket.seen', {'n': n, 'padding': 'x' * 5000})\n"
        "assert dispatcher.flush(60)\nprint('flushed')\ntime.sleep(60)"
    )
    child.wait_for_output("flushed")
    [outbox] = site.outboxes()
    # The file that is written to, the spare file, and at most one that was just finished.
    wait_for(lambda: len(list(outbox.glob("*.journal"))) <= 3, what=lambda: sorted(outbox.iterdir()))
    child.kill()


def test_the_next_relay_deletes_journals_that_a_killed_relay_left(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = site.emitting(
        "for n in range(3000): tracker.emit('shop.basket.seen', {'n': n, 'padding': 'x' * 5000})\n"
        "print('emitted')\n"
        "while not os.path.exists(sys.argv[1]): time.sleep(0.02)\n"
        "tracker.emit('shop.basket.seen', {'n': 3000})\nprint('one more')\ntime.sleep(60)",
        str(site.directory / "go"),
        DISPATCHER_RELAY__MODE="external",
    )
    writer.wait_for_output("emitted")
    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", lambda self, missing_ok=False: None)
        relay = Relay(site.settings())
        wait_for(lambda: relay.step() == 0)
        relay.close()
    [outbox] = site.outboxes()
    assert len(list(outbox.glob("[0-9]*.journal"))) > 3
    (site.directory / "go").touch()
    writer.wait_for_output("one more")
    relay = Relay(site.settings())
    assert relay.step() == 1
    relay.close()
    assert len(list(outbox.glob("[0-9]*.journal"))) <= 1
    writer.kill()
