"""A kept port: nobody else gets it, and the process that it is kept for listens on it."""

from __future__ import annotations

import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from dispatcher.connections.listener import listen
from dispatcher.local.port import KeptPort

AT_ONCE = 40


def test_many_who_want_one_port_at_once_get_one_each() -> None:
    with KeptPort(0) as first:
        wanted = first.number
    with ThreadPoolExecutor(AT_ONCE) as pool, ExitStack() as stack:
        kept = list(pool.map(lambda _: KeptPort(wanted), range(AT_ONCE)))
        for port in kept:
            stack.enter_context(port)
        numbers = [port.number for port in kept]
        assert len(set(numbers)) == AT_ONCE
        assert wanted in numbers


def test_another_process_gets_another_port() -> None:
    code = "import sys; from dispatcher.local.port import KeptPort; print(KeptPort(int(sys.argv[1])).number)"
    with KeptPort(0) as port:
        command = [sys.executable, "-c", code, str(port.number)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert int(done.stdout) != port.number


def test_a_server_listens_on_a_kept_port_again_and_again() -> None:
    with KeptPort(0) as port:
        for _ in range(3):
            listener = listen("127.0.0.1", port.number)
            client = socket.create_connection(("127.0.0.1", port.number), timeout=60)
            connection, _address = listener.accept()
            # The server hangs up first, so that the port has a connection in TIME_WAIT.
            for one in (connection, client, listener):
                one.close()


def test_a_port_on_which_somebody_listens_is_left_alone() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        with KeptPort(taken) as port:
            assert port.number != taken


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(OSError, match="assign requested address"):
        KeptPort(0, "192.0.2.1")
