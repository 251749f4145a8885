"""Workers and failures of their Redis, of themselves and of their supervisors."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from kombu.transport import TRANSPORT_ALIASES
from redis.exceptions import ConnectionError

import dispatcher
from dispatcher import tracker
from dispatcher.tasks.celery import make_app
from tests.support.link import Link
from tests.support.processes import MARK, Child, assert_none_left, child_pids
from tests.support.redis_server import RedisServer
from tests.support.refusing_server import RefusingServer
from tests.support.site import Site
from tests.support.tracking_lines import assert_each_once, count_lines
from tests.support.waiting import wait_for

LOG = "tracking_log"

# The app of `celery -A brisk`: like tasks, but with short timeouts for a silent Redis.
BRISK = """
from dispatcher.tasks.celery import app
app.conf.broker_transport_options.update(socket_timeout=1, socket_connect_timeout=1, health_check_interval=1)
"""

# The app of `celery -A hung`: like tasks, but its consumer hangs at its first start.
HUNG = """
import os, time
from celery import signals
from dispatcher.tasks.celery import app, watchdog
watchdog._hung_seconds = 1.0

@signals.worker_ready.connect(weak=False)
def hang(sender, **_):
    if not os.path.exists(os.environ["HUNG_FILE"]):
        open(os.environ["HUNG_FILE"], "w").close()
        sender.hub.call_soon(time.sleep, 3600)
"""


def celery(site: Site, app: str, code: str, *arguments: str, **environ: str) -> Child:
    """A worker of the test's own app."""
    (site.directory / f"{app}.py").write_text(code)
    command = [sys.executable, "-m", "celery", "-A", app, "worker", "--loglevel", "INFO", *arguments]
    return site.processes.start(*command, PYTHONPATH=f"{site.directory}:{Path.cwd()}", **environ)


def emit(site: Site, number: int) -> None:
    """Emit one event, and wait until it is in the store."""
    tracker.emit("shop.order.paid", {"n": number})
    wait_for(lambda: dispatcher.flush(1), what="the event to be in the store")


def restart_empty(redis: RedisServer) -> None:
    redis.kill()
    for entry in redis.directory.iterdir():
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    redis.start()


def shut_down_unsaved(redis: RedisServer) -> None:
    with suppress(ConnectionError):
        redis.call("SHUTDOWN", "NOSAVE")
    redis.restart()


def kill_all_clients(redis: RedisServer) -> None:
    with redis.client() as client:
        for kind in ("normal", "pubsub"):
            client.execute_command("CLIENT", "KILL", "TYPE", kind)


def refuse_the_login_for_a_while(redis: RedisServer) -> None:
    with redis.client() as client:
        client.config_set("requirepass", "a-secret")
        kill_all = ("CLIENT", "KILL", "TYPE")
        for kind in ("normal", "pubsub"):
            client.execute_command(*kill_all, kind, "SKIPME", "yes")
        time.sleep(1)  # the length of the trouble
        client.config_set("requirepass", "")


def load_for_a_while(redis: RedisServer) -> None:
    redis.kill()
    with RefusingServer(redis.socket, "LOADING Redis is loading the dataset in memory") as server:
        wait_for(lambda: server.refused > 5)
    redis.start()


def be_a_replica_for_a_while(redis: RedisServer) -> None:
    with redis.client() as client:
        client.execute_command("REPLICAOF", "127.0.0.1", "1")
        time.sleep(1)  # the length of the trouble
        client.execute_command("REPLICAOF", "NO", "ONE")


TROUBLES: list[Callable[[RedisServer], None]] = [
    restart_empty,
    shut_down_unsaved,
    kill_all_clients,
    refuse_the_login_for_a_while,
    load_for_a_while,
    be_a_replica_for_a_while,
]


# The pools share the loop that reconnects, but differ in what happens to running deliveries.
@pytest.mark.parametrize(("pool", "troubles"), [("threads", TROUBLES), ("prefork", TROUBLES[::2])])
def test_a_worker_takes_events_again_after_any_failure_of_redis(
    in_site: Site, pool: str, troubles: list[Callable[[RedisServer], None]]
) -> None:
    worker = in_site.worker("-P", pool, "-c", "2")
    for number, trouble in enumerate(troubles):
        emit(in_site, number)
        # Not only the lines: what Redis lost before it was settled would come again, as it should.
        in_site.wait_until_delivered()
        trouble(in_site.redis)
    emit(in_site, len(troubles))
    in_site.wait_until_delivered()
    assert_each_once(in_site.log, len(troubles) + 1)
    # The same process as before, which was not restarted.
    assert worker.output.count(" ready.") == 1
    assert worker.stop() == 0


def test_a_worker_survives_a_silent_redis(in_site: Site) -> None:
    worker = celery(in_site, "brisk", BRISK, "-P", "prefork")
    worker.wait_for_output(" ready.")
    emit(in_site, 0)
    in_site.wait_for_lines(1)
    in_site.redis.freeze()
    wait_for(lambda: "dropping stale connection" in worker.output, what=lambda: worker.output)
    in_site.redis.thaw()
    emit(in_site, 1)
    in_site.wait_for_lines(2)
    assert worker.stop() == 0


def test_a_worker_notices_dead_connections(in_site: Site) -> None:
    with Link(in_site.redis.socket) as link:
        worker = celery(in_site, "brisk", BRISK, DISPATCHER_BROKER_URL=link.url)
        worker.wait_for_output(" ready.")
        link.deaden()
        emit(in_site, 0)
        in_site.wait_for_lines(1)
        assert worker.stop() == 0


def test_a_hung_worker_is_ended_and_restarted(in_site: Site) -> None:
    command = [
        sys.executable,
        "-m",
        "dispatcher.local.worker_supervisor",
        sys.executable,
        "-m",
        "celery",
        "-A",
        "hung",
        "worker",
    ]
    (in_site.directory / "hung.py").write_text(HUNG)
    worker = in_site.processes.start(
        *command,
        *("--loglevel", "INFO"),
        PYTHONPATH=f"{in_site.directory}:{Path.cwd()}",
        HUNG_FILE=str(in_site.directory / "hung"),
    )
    emit(in_site, 0)
    worker.wait_for_output("worker ended with exit code 70; starting again")
    in_site.wait_for_lines(1)
    # The output names the place in the code.
    assert "in call_soon" in worker.output or "asynchronous/hub.py" in worker.output
    assert worker.stop() == 0


def test_a_worker_counts_as_hung_only_while_redis_answers(site: Site) -> None:
    code = """
import logging, time
from dispatcher import config
from dispatcher.tasks.worker.watchdog import Watchdog
logging.basicConfig()
Watchdog(config.load(), hung_seconds=0.5).start()
print("watching", flush=True)
time.sleep(60)
"""
    site.redis.stop()
    child = site.processes.python(code)
    child.wait_for_output("watching")
    time.sleep(2.5)  # several looks
    assert child.running
    site.redis.start()
    assert child.wait() == 70
    assert "has taken nothing" in child.output


def test_the_supervisor_restarts_its_child_however_it_ended(site: Site) -> None:
    code = "import os, time; print('up', os.getpid(), flush=True); time.sleep(60)"
    parent = site.processes.start(
        sys.executable, "-m", "dispatcher.local.worker_supervisor", sys.executable, "-c", code
    )
    parent.wait_for_output("up")
    [child] = child_pids(parent.pid)
    os.kill(child, signal.SIGKILL)
    wait_for(lambda: parent.output.count("up ") == 2, what=lambda: parent.output)
    assert "worker ended with signal SIGKILL; starting again in 0.5 s" in parent.output
    # A killed supervisor leaves nothing behind.
    parent.kill()
    assert_none_left(site.environ[MARK])


def test_the_supervisor_stops_with_its_child_and_returns_its_exit_code(site: Site) -> None:
    def keep(code: str) -> Child:
        head = "import signal, sys, time\n"
        return site.processes.start(
            sys.executable, "-m", "dispatcher.local.worker_supervisor", sys.executable, "-c", head + code
        )

    assert keep("sys.exit(2)").wait() == 2
    wait_forever = "print('up', flush=True); time.sleep(60)"
    leaving = keep(f"signal.signal(signal.SIGTERM, lambda *_: sys.exit(0)); {wait_forever}")
    leaving.wait_for_output("up")
    failing = keep(f"signal.signal(signal.SIGTERM, lambda *_: sys.exit(3)); {wait_forever}")
    failing.wait_for_output("up")
    told = keep(f"signal.signal(signal.SIGHUP, lambda *_: print('told', flush=True)); {wait_forever}")
    told.wait_for_output("up")
    told.send(signal.SIGHUP)
    told.wait_for_output("told")
    impatient = keep(
        "signal.signal(signal.SIGTERM, lambda *_: None); signal.signal(signal.SIGQUIT, lambda *_: sys.exit(0)); "
        + wait_forever
    )
    impatient.wait_for_output("up")
    impatient.send(signal.SIGTERM)
    impatient.send(signal.SIGINT)
    assert [leaving.stop(), failing.stop(), impatient.wait()] == [0, 1, 0]


def test_two_signals_at_once_reach_the_child_one_after_the_other(site: Site) -> None:
    script = """
import os, signal, sys, time
from dispatcher.local.supervisor import Child
from dispatcher.local.worker_supervisor import WorkerSupervisor

class Hurried(WorkerSupervisor):
    def _forward(self, number):
        if number == signal.SIGTERM:
            os.kill(os.getpid(), signal.SIGINT)  # comes in the moment before the child is told of the first one
            time.sleep(0.3)
        super()._forward(number)

code = '''
import signal, sys, time
def end(*_):
    for number in (signal.SIGTERM, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)  # as the interpreter does on its way out
    time.sleep(1)
    sys.exit(0)
signal.signal(signal.SIGTERM, lambda *_: None)
signal.signal(signal.SIGQUIT, end)
print("up", flush=True)
time.sleep(600)
'''
child = Child("worker", [sys.executable, "-c", code], captured=False)
sys.exit(Hurried(child, print).run())
"""
    parent = site.processes.python(script)
    parent.wait_for_output("up")
    assert parent.stop() == 0, parent.output


def test_a_shutdown_does_not_wait_beyond_its_time_limit(site: Site) -> None:
    code = """
import logging, subprocess, sys, time
from dispatcher.tasks.worker.shutdown import Shutdown
logging.basicConfig()
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
shutdown = Shutdown(0.2)
shutdown.prepare()
shutdown.begin()
time.sleep(60)
"""
    child = site.processes.python(code)
    assert child.wait() == 1
    assert "not finished within 0.2 s" in child.output


def test_a_rolling_deployment_under_load_loses_and_doubles_nothing(site: Site) -> None:
    stop = site.directory / "stop"
    steady = f"""
from pathlib import Path
n, stop = 0, Path({str(stop)!r})
while not stop.exists():
    for _ in range(20):
        tracker.emit("shop.order.paid", {{"n": n}}); n += 1
    time.sleep(0.005)
assert dispatcher.flush(60)
report(n)
"""
    worker = site.worker("-n", "first@%h")
    emitting = site.emitting(steady)
    site.wait_for_lines(1)
    following = site.worker("-n", "second@%h", "-P", "prefork", "-c", "2")
    assert worker.stop() == 0
    site.wait_for_lines(count_lines(site.log) + 1)
    stop.touch()
    emitted = int(emitting.report()[0])
    site.wait_until_delivered()
    assert_each_once(site.log, emitted)
    site.assert_ledger_closes()
    # None came to Segment twice either, which would be the only trace of an interrupted batch.
    assert site.counts("segment").delivered == emitted
    assert following.stop() == 0


def test_a_worker_without_a_supervisor_answers_remote_control(in_site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TRANSPORT_ALIASES, "redis", "dispatcher.tasks.transport:Transport")
    monkeypatch.setitem(TRANSPORT_ALIASES, "rediss", "dispatcher.tasks.transport:Transport")
    monkeypatch.setattr("kombu.transport._transport_cache", {})
    worker = in_site.worker("--no-restart", "-n", "one@test")
    assert not child_pids(worker.pid)
    with make_app(in_site.settings()) as app:
        inspect = app.control.inspect(timeout=60, limit=1)
        assert inspect.ping() == {"one@test": {"ok": "pong"}}
        assert {queue["name"] for queue in inspect.active_queues()["one@test"]} == {"tracking_log", "segment"}
        app.control.cancel_consumer(LOG, reply=True, timeout=60, limit=1)
        emit(in_site, 0)
        wait_for(lambda: in_site.counts("segment").delivered == 1)
        assert in_site.counts(LOG).delivered == 0
        app.control.add_consumer(LOG, reply=True, timeout=60, limit=1)
        in_site.wait_for_lines(1)
    assert worker.stop() == 0
