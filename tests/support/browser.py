"""A headless Chromium for tests of pages: Debian's, driven by its own ChromeDriver."""

from __future__ import annotations

import shutil
from base64 import b64decode
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

#: Programs that must be installed; .ci/run installs them.
PROGRAMS = ("chromium", "chromedriver")
# Pixels: those of a laptop.
_SIZE = (1440, 800)


def missing() -> list[str]:
    """The programs that are not installed."""
    return [program for program in PROGRAMS if shutil.which(program) is None]


class Browser:
    """One browser with its own profile. It sends requests only to the pages that it opens."""

    def __init__(self) -> None:
        self._profile = TemporaryDirectory(prefix="dispatcher-chromium-")
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
            f"--user-data-dir={self._profile.name}",
            f"--window-size={_SIZE[0]},{_SIZE[1]}",
        ):
            options.add_argument(switch)
        # With its full path, or Selenium would try to download a driver.
        self._driver = Chrome(options=options, service=Service(shutil.which("chromedriver")))
        self._driver.set_page_load_timeout(30)

    def open(self, url: str) -> str:
        """Open a URL, and return the page's source as it is then."""
        self._driver.get(url)
        return self.source

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
