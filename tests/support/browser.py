"""A headless Chromium for tests of pages: Debian's, driven by its own ChromeDriver."""

from __future__ import annotations

import shutil
from base64 import b64decode
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

from selenium.common.exceptions import WebDriverException
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

from tests.support.waiting import wait_for

#: Programs that must be installed; .ci/run installs them.
PROGRAMS = ("chromium", "chromedriver")
# Pixels: those of a laptop.
_SIZE = (1440, 800)


def missing() -> list[str]:
    """The programs that are not installed."""
    return [program for program in PROGRAMS if shutil.which(program) is None]


def _has_ended(pid: str) -> bool:
    """Whether a process is gone, or waits for nothing but its parent's word."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


class Browser:
    """One browser with its own profile. It sends requests only to the pages that it opens."""

    def __init__(self) -> None:
        self._profile = TemporaryDirectory(prefix="dispatcher-chromium-")
        self._driver = self._start()

    def _start(self) -> Chrome:
        options = ChromeOptions()
        options.binary_location = shutil.which("chromium") or ""
        for switch in (
            "--headless",
            # Its sandbox does not start as root, and tests in a container run as root. The pages are our own.
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-quic",
            "--no-first-run",
            # Otherwise it contacts its maker's servers from the start.
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
            # Snippets of vendors stay without their scripts.
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost, EXCLUDE *.localhost",
            f"--user-data-dir={self._profile.name}",
            f"--window-size={_SIZE[0]},{_SIZE[1]}",
        ):
            options.add_argument(switch)
        # With its full path, or Selenium would try to download a driver.
        driver = Chrome(options=options, service=Service(shutil.which("chromedriver")))
        driver.set_page_load_timeout(30)
        return driver

    def restart(self, *, kill: bool = False) -> None:
        """Close the browser and start it again with the same profile, as it is then.

        Args:
            kill: whether it gets no time to write anything, as where the power goes
        """
        # Chromium's own note of who has the profile: HOST-PID.
        pid = (Path(self._profile.name) / "SingletonLock").readlink().name.rpartition("-")[2]
        with suppress(WebDriverException):
            self.devtools("Browser.crash" if kill else "Browser.close")
        # Its driver would not wait; and a second one beside it finds the profile's storage locked.
        wait_for(lambda: _has_ended(pid), what="the end of the browser")
        self._driver.quit()
        self._driver = self._start()

    def open(self, url: str) -> str:
        """Open a URL, and return the page's source as it is then."""
        self._driver.get(url)
        return self.source

    @property
    def driver(self) -> Chrome:
        """Selenium's own, for code that takes one."""
        return self._driver

    @property
    def source(self) -> str:
        """The source of the page as its scripts have changed it, including hidden parts."""
        return str(self._driver.execute_script("return document.documentElement.outerHTML"))

    @property
    def text(self) -> str:
        """The visible text of the page."""
        return str(self._driver.execute_script("return document.body.innerText"))

    def run(self, script: str, *arguments: object) -> Any:
        """Run a script in the page, and return its result."""
        return self._driver.execute_script(script, *arguments)

    def devtools(self, command: str, **arguments: object) -> Any:
        """Run a command of the DevTools protocol in the tab, and return its result."""
        return self._driver.execute_cdp_cmd(command, arguments)

    @property
    def tab(self) -> str:
        """The name of the tab in front, for ``go_to_tab``."""
        return str(self._driver.current_window_handle)

    @property
    def version(self) -> str:
        """The browser's version."""
        return str(self._driver.capabilities["browserVersion"])

    def new_tab(self) -> str:
        """Open a tab, go on in it, and return the name of the one before."""
        before = self._driver.current_window_handle
        self._driver.switch_to.new_window("tab")
        return before

    def go_to_tab(self, tab: str, *, close: bool = False) -> None:
        """Go on in another tab.

        Args:
            tab: what ``new_tab`` returned
            close: whether the tab that is left is closed, as a user does it
        """
        if close:
            self._driver.close()
        self._driver.switch_to.window(tab)

    def table(self, element_id: str) -> list[dict[str, str]]:
        """The rows of a table, by the headings of its columns. Read in one script, since pages redraw their tables."""
        rows = self.run(
            """
            const table = document.getElementById(arguments[0]);
            // Scripts may be about to draw it.
            const head = table?.tHead?.rows[0]?.cells ?? [];
            const body = table?.tBodies[0]?.rows ?? [];
            // Not innerText, which is in capitals where the style says so.
            const heads = Array.from(head, (cell) => cell.textContent.trim());
            return Array.from(body, (row) => Array.from(row.cells, (cell) => cell.innerText.trim()))
                .filter((cells) => cells.length === heads.length)
                .map((cells) => Object.fromEntries(cells.map((cell, index) => [heads[index], cell])));
            """,
            element_id,
        )
        return list(rows)

    def photograph(self, path: Path, *, to: str = ".page-section", width: int = _SIZE[0]) -> None:
        """Write the page as a PNG.

        Args:
            path: Where to.
            to: The element with which the picture ends, as a CSS selector.
            width: Of the window, in pixels.
        """
        # A table that has just been filled fits its head to its columns when the window changes.
        self.run("window.dispatchEvent(new Event('resize'))")
        script = "return document.querySelector(arguments[0]).getBoundingClientRect().bottom + scrollY"
        height = self.run(script, to)
        clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
        picture = self._driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
        path.write_bytes(b64decode(picture["data"]))

    def close(self) -> None:
        self._driver.quit()
        self._profile.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
