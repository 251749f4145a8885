"""``dispatcher flower`` in a real browser, through the outage of a destination and of Redis.

With SCREENSHOTS=directory the pictures of docs/operations.md are taken: ``make screenshots``.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import pytest

from dispatcher.local.port import KeptPort
from dispatcher.local.segment_stub import SegmentStub
from tests.support.board import open_board, press, sees
from tests.support.browser import Browser, missing
from tests.support.processes import Child
from tests.support.redis_server import RedisServer
from tests.support.site import Site, open_site
from tests.support.waiting import wait_for

LOGIN = "ops:a-password"
MAX_TASKS = 40
# Seconds that the start of processes and browsers may take on a busy machine.
PATIENCE = 60.0
#: What is emitted, and may be seen on no page.
PERSONAL = {
    "email": "ada.lovelace@example.com",
    "name": "Augusta King",
    "card": "4111 1111 1111 1111",
    "note": "a gift for Byron",
}
CONTEXT = {"user_id": 18151127, "username": "enchantress", "ip": "198.51.100.77", "session": "5e55104"}
SECRETS = [str(value) for value in (*PERSONAL.values(), *CONTEXT.values())]

# Several waits, each of which may take long on a busy machine.
pytestmark = pytest.mark.timeout(300)


@dataclass
class Answer:
    status: int
    text: str


@dataclass
class Watched:
    """A site with one worker, and Flower that watches it."""

    site: Site
    flower: Child
    port: int
    segment_stub: SegmentStub
    board_port: int = 0
    pages: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def fetch(self, path: str, login: str | None = LOGIN) -> Answer:
        """Fetch a page, and keep it for a later search. The status is 0 while nothing listens."""
        headers = {}
        if login is not None:
            headers["Authorization"] = "Basic " + base64.b64encode(login.encode()).decode()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            answer = Answer(response.status, response.read().decode())
        except OSError:
            return Answer(0, "")
        finally:
            connection.close()
        self.pages.append(answer.text)
        return answer

    def tasks(self) -> dict[str, dict[str, object]]:
        return dict(json.loads(self.fetch("/api/tasks").text))

    def emit(self, name: str, count: int, **environ: str) -> None:
        """Emit events full of personal data from a process that puts all of them before it ends."""
        code = (
            "import json\ndata, context = map(json.loads, sys.argv[3:5])\n"
            "with tracker.context('request', context):\n"
            "    for n in range(int(sys.argv[2])): tracker.emit(sys.argv[1], {**data, 'n': n})\n"
        )
        self.site.emitting(code, name, str(count), json.dumps(PERSONAL), json.dumps(CONTEXT), **environ).succeed(
            PATIENCE
        )

    @contextmanager
    def outage(self) -> Iterator[None]:
        """Segment refuses connections; afterwards it accepts them again on the same port."""
        port = self.segment_stub.port
        self.segment_stub.stop()
        try:
            yield
        finally:
            self.segment_stub = SegmentStub(port=port).start()


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    with ExitStack() as stack:
        redis = stack.enter_context(RedisServer())
        site = stack.enter_context(open_site(tmp_path_factory.mktemp("watched"), redis))
        port, board_port = (stack.enter_context(KeptPort(0)).number for _ in range(2))
        site.environ["DISPATCHER_BOARD__URL"] = f"http://127.0.0.1:{board_port}"
        site.environ["DISPATCHER_BOARD__FLOWER_URL"] = f"http://127.0.0.1:{port}"
        # Just long enough to be seen.
        site.environ["DISPATCHER_DESTINATIONS__SEGMENT__RETRY__FIRST_SECONDS"] = "2"
        site.environ["DISPATCHER_DESTINATIONS__SEGMENT__RETRY__MAX_SECONDS"] = "2"
        site.environ["FLOWER_BASIC_AUTH"] = LOGIN
        flower = site.processes.dispatcher("flower", "--port", str(port), "--max-tasks", str(MAX_TASKS))
        watched = Watched(site, flower, port, site.segment_stub, board_port)
        try:
            # With events enabled from the start, since Flower enables them only every five seconds.
            # With a limit of one event batches never join, so that tests can have as many tasks as they emit.
            site.worker("-E", "-n", "worker@shop-1", DISPATCHER_DESTINATIONS__SEGMENT__BATCH_EVENTS="1")
            wait_for(lambda: "worker@shop-1" in watched.fetch("/metrics").text, PATIENCE, what=lambda: flower.output)
            yield watched
        finally:
            # The one that exists since the last outage.
            watched.segment_stub.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if missing():
        pytest.skip(f"{' and '.join(missing())} is not on this machine: apt-get install chromium chromium-driver")
    with Browser() as browser:
        yield browser


PAGES = ["/", "/workers", "/tasks", "/broker", "/worker/worker@shop-1", "/task/segment.1", "/tasks/datatable"]
API = ["/api/workers", "/api/tasks", "/api/queues/length", "/api/task/types", "/api/task/info/segment.1"]


@pytest.mark.parametrize("path", [*PAGES, *API])
@pytest.mark.parametrize("login", [None, "ops:wrong", "ops:", "nobody:a-password"])
def test_every_page_asks_for_the_login(watched: Watched, path: str, login: str | None) -> None:
    answer = watched.fetch(path, login)
    assert answer.status == 401
    assert "worker@shop-1" not in answer.text


@pytest.mark.parametrize(
    "path",
    [
        "/api/worker/shutdown/worker@shop-1",
        "/api/task/revoke/segment.1",
        "/api/task/async-apply/tasks.segment.deliver",
        "/api/worker/queue/cancel-consumer/worker@shop-1?queue=segment",
    ],
)
def test_flower_cannot_stop_anything(watched: Watched, path: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", watched.port, timeout=60)
    headers = {"Authorization": "Basic " + base64.b64encode(LOGIN.encode()).decode()}
    connection.request("POST", path, body="{}", headers=headers)
    assert connection.getresponse().status == 403
    connection.close()


def test_an_outage_shows_as_a_retry_with_error_and_due_time_then_as_success(watched: Watched, browser: Browser) -> None:
    browser.open(f"http://{LOGIN}@127.0.0.1:{watched.port}/tasks")

    def row(state: str, words: str) -> dict[str, str]:
        watched.pages.append(browser.open(f"{watched.url}/tasks"))
        rows = [row for row in browser.table("tasks-table") if row["UUID"].startswith("segment.")]
        rows = [row for row in rows if words in row["args"] and row["State"] == state]
        return rows[0] if rows else {}

    with watched.outage():
        # By a relay that finds all of them: one batch, however busy the machine is.
        watched.emit("shop.order.paid", 37, DISPATCHER_RELAY__MODE="external")
        assert watched.site.processes.run("relay", "--once").returncode == 0
        watched.emit("edx.bi.video.played", 1)

        waiting = wait_for(lambda: row("RETRY", "37 events"), PATIENCE, what=lambda: browser.text)
        assert "Segment at 127.0.0.1" in waiting["Exception"]
        assert "cannot be reached" in waiting["Exception"]
        due = datetime.fromisoformat(waiting["ETA"].replace("\N{NON-BREAKING HYPHEN}", "-"))
        assert abs(due - datetime.now(UTC)) < timedelta(seconds=PATIENCE)
        take(browser, "flower-retry.png")
        on_screen = browser.run(
            "return Array.from(document.getElementById('tasks-table').tHead.rows[0].cells)"
            ".filter((cell) => cell.getBoundingClientRect().right <= innerWidth).map((cell) => cell.textContent.trim())"
        )
        assert {"UUID", "State", "Result", "Retries", "ETA"} <= set(on_screen)
        task_page = f"{watched.url}/task/{quote(waiting['UUID'])}"
        for page in ("/", "/workers", "/broker", f"/worker/{quote('worker@shop-1')}"):
            watched.pages.append(browser.open(watched.url + page))
        watched.pages.append(browser.open(task_page))
        wait_for(lambda: "RETRY" in browser.open(task_page), PATIENCE)
        take(browser, "flower-task.png")

    watched.site.wait_until_delivered(PATIENCE)
    wait_for(lambda: row("SUCCESS", "1 event,"), PATIENCE, what=lambda: browser.text)
    delivered = wait_for(lambda: row("SUCCESS", "37 events"), PATIENCE, what=lambda: browser.text)
    assert delivered["UUID"] == waiting["UUID"]
    assert int(delivered["Retries"]) >= 1
    assert delivered["Result"].startswith("37 delivered")
    assert delivered["Exception"] == ""
    take(browser, "flower-success.png")
    watched.pages.append(browser.open(task_page))
    assert "SUCCESS" in browser.text

    for path in ("/api/tasks", "/api/workers", "/metrics", f"/api/task/info/{quote(waiting['UUID'])}"):
        assert watched.fetch(path).status == 200
    assert watched.site.counts("segment").dead == 0
    assert_nothing_personal(watched)


def test_the_board_leads_to_a_task_in_flower_and_its_page_leads_back(watched: Watched, browser: Browser) -> None:
    browser.open(f"http://{LOGIN}@127.0.0.1:{watched.port}/tasks")
    with open_board(watched.site, "--port", str(watched.board_port)) as board:
        browser.open(board.url)
        with watched.outage():
            watched.emit("shop.order.paid", 1)
            sees(browser, "cannot be reached")
            press(browser, "segment")
            press(browser, "Batches … segment")
            sees(browser, "Batches that wait for segment", "parked: 1 event", "Task in Flower")
            follow(browser, "Task in Flower")
            wait_for(lambda: "RETRY" in browser.text or browser.run("location.reload()"), PATIENCE, every=0.5)
            assert browser.run("return location.pathname").startswith("/task/segment.")
            watched.pages.append(browser.source)
            follow(browser, "The destination on the board")
            # It is open already.
            sees(browser, "What waits", "cannot be reached")
            assert not browser.run("return document.getElementById('destination-segment-more').hidden")
            assert browser.run("return document.getElementById('destination-tracking_log-more').hidden")
        follow(browser, "Tasks in Flower")
        wait_for(lambda: browser.table("tasks-table"), PATIENCE, what=lambda: browser.text)
        assert {row["UUID"].partition(".")[0] for row in browser.table("tasks-table")} == {"segment"}
        follow(browser, "Board")
        sees(browser, "The sum closes")
    watched.site.wait_until_delivered(PATIENCE)
    assert_nothing_personal(watched)


def follow(browser: Browser, text: str) -> None:
    """Follow the link with this text."""
    find = "const found = [...document.links].find((a) => a.checkVisibility() && a.textContent.trim() === arguments[0])"
    script = f"{find}; if (found) found.click(); return Boolean(found)"
    wait_for(lambda: browser.run(script, text), PATIENCE, what=lambda: f"{text}: {browser.text}")


def test_metrics_count_deliveries_and_need_no_login(watched: Watched) -> None:
    watched.emit("shop.order.paid", 1)
    wanted = re.compile(r'flower_events_total\{task="tasks.segment.deliver",type="task-succeeded",worker="\S+"\} [1-9]')
    wait_for(lambda: wanted.search(watched.fetch("/metrics", None).text), PATIENCE)
    assert watched.fetch("/healthcheck", None).status == 200
    assert_nothing_personal(watched)


def test_flower_remembers_a_limited_number_of_tasks(watched: Watched) -> None:
    before = set(watched.tasks())
    watched.emit("shop.order.paid", 2 * MAX_TASKS, DISPATCHER_DESTINATIONS__SEGMENT__BATCH_EVENTS="1")
    wait_for(lambda: len(set(watched.tasks()) - before) == MAX_TASKS, PATIENCE)
    assert len(watched.tasks()) == MAX_TASKS


def test_flower_shows_new_tasks_after_a_restart_of_redis(watched: Watched) -> None:
    watched.site.redis.restart()
    before = set(watched.tasks())

    def shown() -> bool:
        watched.emit("shop.order.paid", 1)
        return bool(set(watched.tasks()) - before)

    wait_for(shown, PATIENCE, what=lambda: watched.flower.output)
    assert watched.flower.running


def assert_nothing_personal(watched: Watched) -> None:
    seen = [secret for secret in SECRETS if any(secret in page for page in watched.pages)]
    assert seen == []


def take(browser: Browser, name: str) -> None:
    """Take a screenshot for the documentation, if they are requested."""
    if directory := os.environ.get("SCREENSHOTS"):
        browser.photograph(Path(directory) / name)
