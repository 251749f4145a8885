"""Collector: a running ``dispatcher collector``, and what is in its outboxes."""

from __future__ import annotations

import http.client
import json
import socket
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from dispatcher.outbox.journal import parse
from tests.support.processes import Child, Processes
from tests.support.waiting import wait_for


class Collector:
    """A running collector and its outbox.

    Args:
        processes: Start it, and end it with all others.
        state: The directory of its state.
        arguments: Of the command; without ``--port`` it takes a free one.
        environ: More of its environment.
    """

    def __init__(self, processes: Processes, state: Path, *arguments: str, **environ: str) -> None:
        self._state = state
        port = () if "--port" in arguments else ("--port", "0")
        self.child: Child = processes.dispatcher("collector", *port, *arguments, **environ)
        self.child.wait_for_output("Started server process")
        self.metrics_port = int(self.child.output.partition("/metrics")[0].rpartition(":")[2])
        self.port = int(self.child.output.split("http://127.0.0.1:")[1].split()[0])
        # One of several processes listens some time after its port is known.
        wait_for(self._is_listening, what=lambda: self.child.output)

    def _is_listening(self) -> bool:
        with socket.socket() as connection:
            return connection.connect_ex(("127.0.0.1", self.port)) == 0

    def ask(self, method: str, path: str, body: bytes | str = b"", **headers: str) -> tuple[int, dict[str, str], bytes]:
        """The status, the headers in lower case, and the body of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def send(self, key: str, *items: Any, **headers: str) -> tuple[int, dict[str, Any]]:
        """Send a batch; returns status and answer."""
        status, _, body = self.ask("POST", "/v1/batch", json.dumps({"writeKey": key, "batch": items}), **headers)
        return status, json.loads(body)

    def metrics(self) -> str:
        """What operators see."""
        with urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=60) as answer:
            text: str = answer.read().decode()
        return text

    def count(self, series: str) -> int:
        """The value of a series of its metrics, without the beginning of its name; 0 where it has none."""
        lines = self.metrics().splitlines()
        return sum(int(line.rpartition(" ")[2]) for line in lines if line.startswith(f"dispatcher_collector_{series} "))

    def raw(self, data: bytes) -> bytes:
        """All that it answers to these bytes until it closes, or for as long as the socket's time-out."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as connection:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            parts = []
            while part := connection.recv(65_536):
                parts.append(part)
            return b"".join(parts)

    def events(self) -> list[dict[str, Any]]:
        """What is in its journals."""
        files = sorted(self._state.glob("outbox/*/0*.journal"))
        return [json.loads(payload) for file in files for payload in parse(file.read_bytes()).payloads]
