"""A site with a board that is looked at, as an operator does it: over HTTP, and in a browser."""

from __future__ import annotations

import http.client
import json
import os
import re
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from dispatcher.local.segment_stub import SegmentStub
from tests.support.browser import Browser
from tests.support.processes import Child
from tests.support.site import Site
from tests.support.waiting import wait_for

LOGIN = "ops:a-password"
PATIENCE = 60.0
#: Widths in pixels, and colours; the first one is that of the docs.
LOOKS: Final[list[tuple[int, Literal["light", "dark"]]]] = [
    (1440, "light"),
    (1440, "dark"),
    (360, "light"),
    (360, "dark"),
]
AXE = Path(__file__).parents[1] / "peers/node_modules/axe-core/axe.min.js"
#: In an event's data, and on no page unless somebody asks for it.
PERSONAL = "ada.lovelace@example.com"


@dataclass
class Answer:
    status: int
    text: str
    headers: dict[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.text)


@dataclass
class Watched:
    """A site with a worker, and a board whose buttons work."""

    site: Site
    board: Child
    port: int
    token: str = ""

    @property
    def url(self) -> str:
        """For a browser, with the login."""
        return f"http://{LOGIN}@127.0.0.1:{self.port}/"

    def ask(self, path: str, body: Any = None, login: str | None = LOGIN, **headers: str) -> Answer:
        """Ask the board. A body that is not bytes goes as JSON, with the token of the board's page."""
        if login is not None:
            headers["Authorization"] = "Basic " + b64encode(login.encode()).decode()
        if body is not None and not isinstance(body, bytes):
            headers = {"X-Board-Token": self.token, **headers}
            body = json.dumps(body).encode()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request("GET" if body is None else "POST", path, body, headers)
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            # A stream goes on for as long as somebody reads it.
            is_stream = found["content-type"].startswith("text/event-stream")
            return Answer(answer.status, "" if is_stream else answer.read().decode(), found)
        finally:
            connection.close()

    def shown(self, name: str = "segment") -> dict[str, Any]:
        """What the page gets of a destination now."""
        return next(one for one in self.ask("/api/ledger").json["destinations"] if one["name"] == name)

    def emit(self, count: int) -> None:
        code = "for n in range(int(sys.argv[1])): tracker.emit('shop.order.paid', {'n': n, 'email': sys.argv[2]})"
        self.site.emitting(code, str(count), PERSONAL).succeed(PATIENCE)

    @contextmanager
    def outage(self) -> Iterator[None]:
        """Segment refuses connections; afterwards it accepts them again on the same port."""
        port = self.site.segment_stub.port
        self.site.segment_stub.stop()
        try:
            yield
        finally:
            self.site.segment_stub = SegmentStub(port=port).start()


@contextmanager
def open_board(site: Site, *arguments: str) -> Iterator[Watched]:
    """A board of this site, whose buttons work; it has ended well afterwards.

    Args:
        arguments: More for ``dispatcher board``.
    """
    site.environ["DISPATCHER_BOARD__BASIC_AUTH"] = LOGIN
    board = site.processes.dispatcher("board", "--port", "0", "--allow-control", *arguments)
    board.wait_for_output("http://127.0.0.1:", PATIENCE)
    found = re.search(r"http://127\.0\.0\.1:(\d+)", board.output)
    assert found is not None
    watched = Watched(site, board, int(found[1]))
    wait_for(lambda: watched.ask("/healthz", login=None).status == 200, PATIENCE, what=lambda: board.output)
    watched.token = watched.ask("/api/session").json["token"]
    try:
        yield watched
    finally:
        assert board.stop() == 0, board.output
        assert "Traceback" not in board.output, board.output[board.output.index("Traceback") - 200 :][:3000]


def press(browser: Browser, label: str) -> None:
    """Press the button with this name, once it can be pressed."""
    # In one script, since the page may draw it anew between two.
    find = "const found = [...document.querySelectorAll('button')].find((b) => b.checkVisibility() && !b.disabled && "
    find += "(b.ariaLabel || b.textContent) === arguments[0]); if (found) { found.focus(); found.click(); }"
    find += "return Boolean(found)"
    wait_for(lambda: browser.run(find, label), PATIENCE, what=lambda: f"{label}: {browser.text}")


def sees(browser: Browser, *words: str) -> None:
    """Wait until the page shows all of these words."""
    wait_for(lambda: all(word in browser.text for word in words), PATIENCE, what=lambda: f"{words}: {browser.text}")


def look(browser: Browser, width: int, scheme: Literal["light", "dark"]) -> None:
    """Make the window so many pixels wide, as of a phone or a laptop, and its colours light or dark."""
    browser.devtools("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    browser.devtools("Emulation.setDeviceMetricsOverride", **size)
    assert browser.run("return document.documentElement.scrollWidth") == width


def take(browser: Browser, name: str, *, to: str = "main") -> None:
    """Take pictures of the board for the docs, if they are wanted: with SCREENSHOTS=directory one for a laptop, and
    with SCREENSHOT_LOOKS=directory three more, for who looks at how it looks."""
    for width, scheme in LOOKS:
        is_first = (width, scheme) == LOOKS[0]
        directory = os.environ.get("SCREENSHOTS" if is_first else "SCREENSHOT_LOOKS")
        if directory:
            look(browser, width, scheme)
            suffix = "" if is_first else f"-{width}-{scheme}"
            browser.photograph(Path(directory) / f"{name}{suffix}.png", to=to, width=width)
    look(browser, *LOOKS[0])


def accessible(browser: Browser) -> None:
    """Check the page as it is by axe's rules, if it is installed: `make peers` does."""
    if not AXE.exists():
        return
    browser.run(AXE.read_text() + "; axe.run().then((found) => { window.found = found; })")
    found = wait_for(lambda: browser.run("return window.found"), PATIENCE, what=lambda: "axe to end")
    browser.run("window.found = null")
    wrong = [(rule["id"], [node["html"][:200] for node in rule["nodes"]]) for rule in found["violations"]]
    assert not wrong, wrong
    assert len(found["passes"]) > 15
