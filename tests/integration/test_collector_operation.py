"""The collector as operators run it: several processes, their sums, and an end in order that loses nothing."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.collector import Collector
from tests.support.processes import Processes
from tests.support.waiting import wait_for

SOURCES = {
    "web": {"write_key": "k1", "origins": ["https://www.example.org"]},
    "server": {"write_key": "k2", "kind": "server"},
    "silent": {"write_key": "k3", "kind": "server"},
}


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    environ = {
        **os.environ,
        "DISPATCHER_STATE_DIRECTORY": str(tmp_path),
        "DISPATCHER_SOURCES": json.dumps(SOURCES),
        "DISPATCHER_RELAY__MODE": "external",
        "DISPATCHER_COLLECTOR__DRAIN_SECONDS": "60",
    }
    running = Processes(tmp_path / "logs", environ)
    yield running
    running.close()


def body_of(event_id: str) -> bytes:
    item = {"type": "track", "event": "Clicked", "userId": "7", "messageId": event_id}
    return json.dumps({"writeKey": "k2", "batch": [item]}).encode()


class Client:
    """Sends one event after another over connections that stay open, and sends again what got no answer."""

    def __init__(self, collector: Collector, name: str) -> None:
        self._collector, self._name = collector, name
        self.acknowledged: list[str] = []
        self.closes = 0
        self._is_stopped = threading.Event()

    def run(self) -> None:
        connection: http.client.HTTPConnection | None = None
        number = 0
        while not self._is_stopped.wait(0.005):
            connection = connection or http.client.HTTPConnection("127.0.0.1", self._collector.port, timeout=60)
            event_id = f"{self._name}-{number}"
            try:
                connection.request("POST", "/v1/batch", body_of(event_id))
                answer = connection.getresponse()
                is_taken = json.loads(answer.read())["accepted"] == 1
                self.closes += answer.getheader("Connection") == "close"
            except (OSError, http.client.HTTPException):
                connection.close()
                connection = None
                continue
            if is_taken:
                self.acknowledged.append(event_id)
                number += 1

    @contextmanager
    def running(self) -> Iterator[None]:
        thread = threading.Thread(target=self.run)
        thread.start()
        try:
            yield
        finally:
            self._is_stopped.set()
            thread.join(60)


def test_several_processes_are_one_collector_to_operators(tmp_path: Path, processes: Processes) -> None:
    running = Collector(processes, tmp_path, "--processes", "2")
    clients = [Client(running, name) for name in "ab"]
    with clients[0].running(), clients[1].running():
        wait_for(lambda: len(started(running)) == 2, what="both to start")
        wait_for(lambda: all(len(client.acknowledged) > 20 for client in clients), what="events")
        # One that is killed is replaced, and the other goes on.
        os.kill(started(running)[0], signal.SIGKILL)
        wait_for(lambda: len(started(running)) == 3, what="another one in its place")
        counts = [len(client.acknowledged) for client in clients]
        wait_for(lambda: all(len(c.acknowledged) > n for c, n in zip(clients, counts, strict=True)), what="more")
        # Nobody else sees what operators see.
        assert running.ask("GET", "/metrics")[0] == 404
        with socket.create_connection(("127.0.0.1", running.port), timeout=60) as connection:
            body = body_of("under way")
            connection.sendall(b"POST /v1/batch HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body[:-1]))
            running.child.send(signal.SIGTERM)
            # Balancers see it first; meanwhile everybody is answered, and told to come by another connection.
            wait_for(lambda: running.ask("GET", "/readyz")[0] == 503, every=0.01, what="it to drain")
            assert running.ask("GET", "/healthz")[0] == 200
            wait_for(lambda: all(client.closes for client in clients), what="connections to end")
            connection.sendall(body[-1:])
            head = connection.recv(1_000)
            assert head.startswith(b"HTTP/1.1 200")
            assert b"connection: close" in head.lower()
        for pid in started(running)[1:]:
            os.kill(pid, signal.SIGINT)  # who asks again does not want to wait
        assert running.child.wait() == 0, running.child.output
    kept = {event["id"] for event in running.events()}
    acknowledged = {event_id for client in clients for event_id in client.acknowledged} | {"under way"}
    assert acknowledged <= kept
    # The counts of all processes go on; what the killed one had counted in its last two seconds is missing.
    again = Collector(processes, tmp_path)
    counted = again.count('accepted_total{source="server"}')
    assert 0 < counted <= len(kept)
    again.send("k2", {"type": "track", "event": "Clicked", "userId": "7"})
    wait_for(lambda: again.count('accepted_total{source="server"}') == counted + 1, what="the next one")
    again.child.send(signal.SIGTERM)
    again.child.send(signal.SIGINT)
    assert again.child.wait() == 0


def started(collector: Collector) -> list[int]:
    """The process ids of all that have started so far."""
    return [int(pid) for pid in re.findall(r"Started server process \[(\d+)\]", collector.child.output)]


def test_the_sum_of_all_processes_is_exact(tmp_path: Path, processes: Processes) -> None:
    running = Collector(processes, tmp_path, "--processes", "2", DISPATCHER_COLLECTOR__DRAIN_SECONDS="0")
    wait_for(lambda: len(started(running)) == 2, what="both to start")
    for number in range(20):
        assert running.ask("POST", "/v1/batch", body_of(f"id-{number}"))[0] == 200
    assert running.ask("POST", "/v1/batch", b"{", Origin="https://shop.example.com")[0] == 400
    wait_for(lambda: running.count('refused_total{reason="not_json"}') == 1, what="the sum of both")
    for _ in range(4):  # whichever process answers
        wait_for(lambda: running.count('accepted_total{source="server"}') == 20, what="the sum of both")
    assert running.child.stop() == 0, running.child.output
    # Without Redis, which is away here, and after the collectors' end.
    shown = processes.run("status", "--json")
    assert shown.returncode == 4
    found = json.loads(shown.stdout)
    assert found["sources"]["server"]["accepted"] == 20
    assert found["sources"]["silent"]["last_seen_ms"] is None
    assert found["refused_requests"]["last_hour"] == [
        {"reason": "not_json", "origin": "https://shop.example.com", "requests": 1}
    ]
