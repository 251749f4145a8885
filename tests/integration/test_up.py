"""``dispatcher up`` as a web developer uses it: real processes, Ctrl-C, and nothing left behind."""

from __future__ import annotations

import base64
import http.client
import json
import os
import re
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from dispatcher.connections.redis_pool import RedisPool
from dispatcher.doctor.checks.outbox import are_dead_relayed
from dispatcher.store.batches import BatchStore
from tests.support.json_lines import read_whole_lines
from tests.support.processes import Child, Processes, assert_none_left, left_over
from tests.support.tracking_lines import assert_each_once, count_lines
from tests.support.waiting import wait_for

LOG, SEGMENT = "tracking_log", "segment"


class Machine:
    """A machine without any configuration, on which ``dispatcher up`` may run."""

    def __init__(self, directory: Path) -> None:
        # So short that the embedded Redis can have its socket in the state directory.
        self.state = directory / "state"
        self.log = self.state / "tracking.log"
        self.kept = self.state / "segment-stub.jsonl"
        environ = {"PATH": "/usr/bin:/bin", "HOME": str(directory), "DISPATCHER_STATE_DIRECTORY": str(self.state)}
        self.processes = Processes(directory / "output", environ)

    def up(self, *arguments: str) -> Child:
        child = self.processes.dispatcher("up", *(arguments or ("--no-flower",)))
        child.wait_for_output("ready:")
        return child

    def emit(self, count: int, first: int = 0) -> None:
        for n in range(first, first + count):
            done = self.processes.run("emit", "shop.order.paid", "--data", json.dumps({"n": n}))
            assert done.returncode == 0, done.stderr

    def none_left(self) -> None:
        assert_none_left(str(self.state))


@pytest.fixture
def machine() -> Iterator[Machine]:
    directory = Path(tempfile.mkdtemp(prefix="dispatcher-up-"))
    machine = Machine(directory)
    yield machine
    machine.processes.close()
    machine.none_left()
    shutil.rmtree(directory)


def test_up_delivers_beside_a_second_one_that_is_refused_and_ends_with_ctrl_c(machine: Machine) -> None:
    up = machine.up()
    machine.emit(1)
    [line] = wait_for(lambda: read_whole_lines(machine.log), what=lambda: up.output)
    [message] = wait_for(lambda: read_whole_lines(machine.kept), what=lambda: up.output)
    assert (line["event"], message["properties"]) == ({"n": 0}, {"n": 0})
    # Itself, and one process each for redis, worker, relay and board.
    assert len(left_over(str(machine.state))) == 5
    second = machine.processes.run("up", "--no-flower")
    assert second.returncode == 5
    assert "is running already" in second.stderr
    machine.emit(1, first=1)
    wait_for(lambda: count_lines(machine.log) == 2, what=lambda: up.output)
    up.send(signal.SIGINT)
    assert up.wait() == 0, up.output
    assert "Traceback" not in up.output
    machine.none_left()


def test_ups_that_start_at_once_choose_ports_of_their_own(machine: Machine) -> None:
    # All of them want the board's usual port.
    processes = Processes(machine.state.parent / "others", {**machine.processes.environ})
    ups = []
    for number in range(2):
        state = machine.state.parent / f"state-{number}"
        ups.append(processes.dispatcher("up", "--no-flower", DISPATCHER_STATE_DIRECTORY=str(state)))
    try:
        for up in ups:
            up.wait_for_output("ready:", 60)
        ports = [re.findall(r"board http://127\.0\.0\.1:(\d+)", up.output)[0] for up in ups]
        assert len(set(ports)) == len(ups)
        for number, port in enumerate(ports):
            password = (machine.state.parent / f"state-{number}/board-password").read_text()
            assert fetch(int(port), password)[0] == 200
    finally:
        assert [up.stop() for up in ups] == [0] * len(ups)


def test_up_says_where_the_collector_is_or_what_it_lacks(machine: Machine) -> None:
    enabled = {"DISPATCHER_COLLECTOR__ENABLED": "true", "DISPATCHER_COLLECTOR__PORT": "0"}
    lacking = machine.processes.dispatcher("up", "--no-flower", **enabled)
    lacking.wait_for_output("collector not started: it knows no source; add a table [sources.web]")
    lacking.send(signal.SIGINT)
    assert lacking.wait() == 0, lacking.output
    assert "restart" not in lacking.output

    sources = json.dumps({"web": {"write_key": "k1"}})
    up = machine.processes.dispatcher("up", "--no-flower", DISPATCHER_SOURCES=sources, **enabled)
    up.wait_for_output("ready:")
    ready = up.output.split("ready:")[1].splitlines()[0]
    url = ready.split("events over HTTP to ")[1].split(";")[0]
    body = json.dumps({"key": "k1", "events": [{"id": "e-1", "name": "page.seen", "data": {}}]})
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=60)
    connection.request("POST", "/v1/events", body)
    assert json.loads(connection.getresponse().read())["accepted"] == 1
    connection.close()
    [line] = wait_for(lambda: read_whole_lines(machine.log), what=lambda: up.output)
    assert line["name"] == "page.seen"


def test_up_delivers_after_a_restart_what_was_waiting(machine: Machine) -> None:
    up = machine.up()
    machine.emit(1)
    wait_for(lambda: count_lines(machine.log) == 1, what=lambda: up.output)
    assert up.stop() == 0
    # Nothing runs now: these wait in the outboxes of ended processes.
    done = machine.processes.run("emit", "shop.order.paid", "--data", '{"n": 1}', "--timeout", "0")
    assert (done.returncode, "waits in the outbox" in done.stderr) == (0, True)
    up = machine.up()
    wait_for(lambda: count_lines(machine.log) == 2, what=lambda: up.output)
    drained = machine.processes.run("drain", "--timeout", "10", "--json")
    assert json.loads(drained.stdout) == {"drained": True, "waiting": 0, "problem": None}
    found = json.loads(machine.processes.run("status", "--json").stdout)
    assert found["destinations"][LOG]["delivered"] == 2, "the ledger did not outlive the restart"
    assert_each_once(machine.log, 2)
    assert up.stop() == 0


def test_kill_9_of_up_leaves_no_process_and_loses_nothing(machine: Machine) -> None:
    up = machine.up()
    machine.emit(1)
    wait_for(lambda: count_lines(machine.log) == 1, what=lambda: up.output)
    up.kill()
    assert_none_left(str(machine.state))
    again = machine.up()
    machine.emit(1, first=1)
    wait_for(lambda: count_lines(machine.log) == 2, what=lambda: again.output)
    assert_each_once(machine.log, 2)
    assert again.stop() == 0


def test_up_restarts_each_of_its_processes_that_dies(machine: Machine) -> None:
    up = machine.up()
    for part in (b"embedded.sock", b"\0dispatcher.tasks\0"):
        [pid] = [pid for pid in left_over(str(machine.state)) if part in cmdline(pid)]
        os.kill(pid, signal.SIGKILL)
    up.wait_for_output("worker ended with signal SIGKILL")
    up.wait_for_output("redis ended with signal SIGKILL")
    machine.emit(3)
    wait_for(lambda: count_lines(machine.log) == 3, what=lambda: up.output)
    assert_each_once(machine.log, 3)
    assert up.stop() == 0


@pytest.mark.parametrize("part", ["relay", "worker", "flower"])
def test_up_is_ready_only_once_each_part_answers(machine: Machine, part: str) -> None:
    if part == "worker":
        # Redis still knows the worker of an earlier run.
        machine.up().kill()
        assert_none_left(str(machine.state))
    up = machine.processes.dispatcher("up", "--flower-port", "0")
    pids = wait_for(lambda: find_part(machine, part), what=lambda: up.output)
    os.kill(pids[0], signal.SIGSTOP)
    for other in PARTS.keys() - {part}:
        wait_for(partial(is_answering, machine, up, other), what=lambda: up.output)
    time.sleep(1)  # up looks four times a second
    assert "ready:" not in up.output
    os.kill(pids[0], signal.SIGCONT)
    up.wait_for_output("ready:")
    assert is_answering(machine, up, part)
    assert up.stop() == 0


PARTS = {"relay": b"relay", "worker": b"dispatcher.tasks", "flower": b"dispatcher.tasks.flower"}


def find_part(machine: Machine, part: str) -> list[int]:
    with suppress(OSError):  # one has ended
        return [pid for pid in left_over(str(machine.state)) if PARTS[part] in cmdline(pid).split(b"\0")]
    return []


def is_answering(machine: Machine, up: Child, part: str) -> bool:
    if part == "relay":
        return are_dead_relayed(machine.state / "outbox")
    if part == "worker":
        pool = RedisPool(f"redis+socket://{machine.state}/embedded.sock?virtual_host=0", timeout_seconds=30)
        workers = BatchStore(pool).counts([LOG])[LOG].workers or ()
        pool.close()
        [pid] = find_part(machine, part)
        return pid in [worker.pid for worker in workers]
    port = re.search(r"flower http://127\.0\.0\.1:(\d+)", up.output)
    return port is not None and fetch(int(port[1]))[0] == 401


def test_a_quiet_up_says_only_what_goes_wrong(machine: Machine) -> None:
    up = machine.processes.dispatcher("up", "-q", "--flower-port", "0")
    wait_for((machine.state / "embedded.sock").exists, what=lambda: up.output)
    machine.emit(2)
    wait_for(lambda: count_lines(machine.log) == len(read_whole_lines(machine.kept)) == 2, what=lambda: up.output)
    # On a machine that is busy it may say what it waits for.
    assert [line for line in up.output.splitlines() if "not ready yet" not in line] == []
    [worker] = find_part(machine, "worker")
    os.kill(worker, signal.SIGKILL)
    up.wait_for_output("worker ended with signal SIGKILL")
    machine.emit(1, first=2)
    wait_for(lambda: count_lines(machine.log) == 3, what=lambda: up.output)
    assert up.stop() == 0
    assert [line for line in up.output.splitlines() if not re.match(r" *(worker|flower) |.*not ready yet", line)] == []


def cmdline(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def test_up_with_flower_asks_for_the_password(machine: Machine) -> None:
    up = machine.up("--flower-port", "0")
    found = re.search(r"flower http://127\.0\.0\.1:(\d+) \(user dispatcher, password (\S+)\)", up.output)
    assert found is not None, up.output
    port, password = int(found[1]), found[2]
    assert wait_for(lambda: fetch(port)[0], what=lambda: up.output) == 401
    assert fetch(port, "wrong")[0] == 401
    status, page = fetch(port, password)
    board = re.search(r"board http://127\.0\.0\.1:(\d+) \(user dispatcher, password (\S+)\)", up.output)
    assert board is not None, up.output
    assert (status, f'href="http://127.0.0.1:{board[1]}/"' in page) == (200, True)
    session = json.loads(fetch(int(board[1]), board[2], path="/api/session")[1])
    assert session["flower_url"] == f"http://127.0.0.1:{port}"
    # It shows the worker and the name of the task.

    def shown() -> bool:
        machine.emit(1)  # again, since it asks the workers for their events every few seconds only
        tasks = fetch(port, password, path="/api/tasks")[1]
        return all(f"tasks.{name}.deliver" in tasks for name in (LOG, SEGMENT))

    wait_for(shown)
    up.send(signal.SIGINT)
    assert up.wait() == 0


def fetch(port: int, password: str | None = None, *, path: str = "/") -> tuple[int, str]:
    """The status and text of an answer; status 0 while nothing listens."""
    headers = {}
    if password is not None:
        headers["Authorization"] = "Basic " + base64.b64encode(f"dispatcher:{password}".encode()).decode()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    except OSError:
        return 0, ""
    finally:
        connection.close()
