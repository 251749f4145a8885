"""What a vendor says of an event that it refuses is kept with the event, and shown by `dead show` alone."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from dispatcher.store.dead_letter import DeadLetterFilter
from dispatcher.store.dead_letter_files import read, write
from dispatcher.store.dead_letters import DeadLetters
from dispatcher.tasks.destinations.http.answer import Answer, own_words
from tests.support.site import Site
from tests.support.waiting import wait_for

WORDS = "the field course_id is unknown"
BODY = f'{{"message": "{WORDS}", "write_key": "k3y", "by": "ada@example.com",\n "end": "{"x" * 3000}"}}\x1b[31m'


@pytest.fixture
def refusing() -> Iterator[str]:
    """A vendor that refuses every request, and says why."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(400)
            self.send_header("Content-Length", str(len(BODY.encode())))
            self.end_headers()
            self.wfile.write(BODY.encode())

        def log_message(self, format: str, *args: object) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_dead_letter_has_the_vendors_own_words(site: Site, refusing: str) -> None:
    assert site.emitting("tracker.emit('shop.order.paid')").wait() == 0
    site.worker(DISPATCHER_DESTINATIONS__SEGMENT__HOST=refusing)
    wait_for(lambda: site.counts("segment").dead == 1, what=lambda: str(site.counts("segment")))

    (row,) = [json.loads(line) for line in site.processes.run("dead", "list", "--json").stdout.splitlines()]
    shown = site.processes.run("dead", "show", "segment", row["dead_letter"])

    answer = json.loads(shown.stdout)["answer"]
    assert WORDS in answer
    assert len(answer) <= 1000
    assert "\n" not in answer
    assert "\x1b" not in shown.stdout
    for secret in ("k3y", "ada@example.com"):
        assert secret not in shown.stdout
    for command in (("dead", "list"), ("dead", "list", "--json"), ("status",), ("status", "--json")):
        assert WORDS not in site.processes.run(*command).stdout

    # They go with the dead letter to a file.
    letters = list(DeadLetters(site._pool).select("segment", DeadLetterFilter()))
    file = write(site.directory / "dead", "segment", letters)
    assert [letter.answer for letter in read(file, "segment")] == [answer]


@pytest.mark.parametrize(
    ("body", "words"),
    [(b"", ""), (b"no\r\nsuch\tfield", "no such field"), (bytes(range(128, 256)) * 4, ""), ("nö".encode(), "nö")],
)
def test_only_text_counts_as_words(body: bytes, words: str) -> None:
    assert own_words(Answer(status=400, headers={}, body=body)) == words
