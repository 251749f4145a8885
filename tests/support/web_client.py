"""Web client: many requests at once to an app of ``tests.support.web_apps``, each with a user of its own."""

from __future__ import annotations

import http.client
import os
import threading
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.support.tracking_lines import read_lines

#: Requests of one test, fifty at a time. Long form: `WEB_REQUESTS=5000 make test ARGS=…`.
REQUESTS = int(os.environ.get("WEB_REQUESTS", "100"))
_AT_A_TIME = 50


def path_of(n: int, kind: str) -> str:
    return f"/courses/course-v1:Org+C{n}+R/{kind}"


def ask_all(port: int, kinds: Sequence[str]) -> None:
    """Send the requests 1 … REQUESTS, of each kind in turn. Fails if one is not answered with "ok"."""

    opened: list[http.client.HTTPConnection] = []
    local = threading.local()

    def ask(n: int) -> None:
        if not hasattr(local, "connection"):
            local.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            opened.append(local.connection)
        headers = {"X-User": str(n), "User-Agent": f"a {n}", "X-Request-Id": f"r {n}"}
        local.connection.request("GET", path_of(n, kinds[n % len(kinds)]), headers=headers)
        response = local.connection.getresponse()
        body = response.read()
        assert (response.status, body) == (200, b"ok"), (n, response.status, body[:2000])

    try:
        with ThreadPoolExecutor(_AT_A_TIME) as pool:
            list(pool.map(ask, range(1, REQUESTS + 1)))
    finally:
        for connection in opened:
            connection.close()


def assert_each_has_its_own(log: Path, kinds: Sequence[str], steps: Sequence[str] = ("first", "second")) -> None:
    """Check that each request has a line for each step, with its own user, ids, course, path and agent."""
    found: defaultdict[int, list[str]] = defaultdict(list)
    ids: set[str] = set()
    for line in read_lines(log):
        n = line["event"]["n"]
        if n < 0:  # what an app emits as it starts
            assert "user_id" not in line["context"]
            continue
        found[n].append(line["event"]["step"])
        context = line["context"]
        own = {key: context[key] for key in ("user_id", "request_id", "course_id", "org_id", "path")}
        course = {"course_id": f"course-v1:Org+C{n}+R", "org_id": "Org"}
        assert own == {"user_id": n, "request_id": f"r {n}", **course, "path": path_of(n, kinds[n % len(kinds)])}, line
        assert line["agent"] == f"a {n}"
        ids.add(context["event_id"])
    assert {n: sorted(given) for n, given in found.items()} == {n: sorted(steps) for n in range(1, REQUESTS + 1)}
    assert len(ids) == len(steps) * REQUESTS
