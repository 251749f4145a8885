"""Tasks of a site's own Celery app emit with the context of the request that sent them, by every road."""

from __future__ import annotations

import os
import sys
from collections import defaultdict

import pytest

from tests.support.processes import ROOT
from tests.support.site import Site
from tests.support.tracking_lines import read_lines

#: Long form: `WEB_REQUESTS=5000 make test ARGS=tests/integration/test_celery_context.py`.
REQUESTS = int(os.environ.get("WEB_REQUESTS", "100")) // 5
#: Seconds that the tasks of all requests may take: a busy machine runs some fifty tasks a second.
SECONDS = 120 + REQUESTS

#: What one call of send_all has emitted in the end.
STEPS = sorted(
    ["plain", "retried", "link 1", "link 2", "member", "member", "body", "by name", "parent", "child", "fails"]
)

SENDER = """
from tests.support.web_apps.celery_app import send_all

for n in range(int(sys.argv[1])):
    with tracker.context("request", {"user_id": n, "course_id": f"c{n}", "token": "stays here"}):
        send_all(n)
"""


@pytest.mark.timeout(60 + 2 * SECONDS)
@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_each_task_has_the_context_of_its_request(site: Site, pool: str) -> None:
    environ = {"PYTHONPATH": str(ROOT), "SHOP_BROKER": site.redis.url}
    worker = site.processes.start(
        *(sys.executable, "-m", "celery", "-A", "tests.support.web_apps.celery_app", "worker"),
        *("--pool", pool, "--concurrency", "4", "--loglevel", "WARNING", "--without-mingle", "--without-gossip"),
        **environ,
    )
    site.emitting(SENDER, str(REQUESTS), **environ).succeed(SECONDS)
    site.worker()
    site.wait_for_lines(REQUESTS * len(STEPS), SECONDS)
    worker.stop()
    found: defaultdict[int, list[str]] = defaultdict(list)
    for line in read_lines(site.log):
        n = line["event"]["n"]
        found[n].append(line["event"]["step"])
        context = {key: value for key, value in line["context"].items() if key != "event_id"}
        left_over = {"left_over": n} if line["event"]["step"] == "fails" else {}
        assert context == {"user_id": n, "course_id": f"c{n}", **left_over}, line
    assert {n: sorted(steps) for n, steps in found.items()} == dict.fromkeys(range(REQUESTS), STEPS)
