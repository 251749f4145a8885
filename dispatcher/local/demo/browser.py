"""A browser in the demo: Chromium opens the shop's page, in which tracker.js is, and clicks once."""

from __future__ import annotations

import os
import shutil
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from dispatcher.local.demo.visits import DemoError, Emitted

if TYPE_CHECKING:
    from pathlib import Path

#: The event of the page's button.
NAME: Final = "shop.button.clicked"
_PROGRAMS: Final = ("chromium", "chromedriver")
_TIMEOUT_SECONDS: Final = 30.0


def missing_parts() -> list[str]:
    """What is not installed of what the browser takes; empty if it can be started."""
    packages = [name for name in ("selenium",) if find_spec(name) is None]
    return [*(name for name in _PROGRAMS if shutil.which(name) is None), *packages]


def click_once(url: str, profile: Path) -> Emitted:
    """Open the page, click its button, and wait until the collector has answered. Blocks for some seconds.

    Args:
        url: Of the page.
        profile: A directory for the browser's own files.

    Returns:
        The event, with the id that the page shows.

    Raises:
        DemoError: The browser does not start, or the page does not do it in time.
    """
    from selenium.common.exceptions import WebDriverException  # noqa: PLC0415 - a package of the tests
    from selenium.webdriver import Chrome, ChromeOptions  # noqa: PLC0415
    from selenium.webdriver.chrome.service import Service  # noqa: PLC0415
    from selenium.webdriver.common.by import By  # noqa: PLC0415
    from selenium.webdriver.support.wait import WebDriverWait  # noqa: PLC0415

    options = ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for switch in (
        "--headless",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        # Otherwise it asks its maker's servers for this and that.
        "--disable-background-networking",
        "--disable-component-update",
        f"--user-data-dir={profile}",
    ):
        options.add_argument(switch)
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")  # as root, the sandbox does not start
    try:
        driver = Chrome(options=options, service=Service(shutil.which("chromedriver")))
        try:
            driver.set_script_timeout(_TIMEOUT_SECONDS)
            driver.get(url)
            wait = WebDriverWait(driver, _TIMEOUT_SECONDS)
            wait.until(lambda page: page.execute_script("return typeof Tracker === 'object'"))
            driver.find_element(By.TAG_NAME, "button").click()
            driver.execute_async_script("Tracker.flush().then(arguments[arguments.length - 1])")
            shown = driver.find_element(By.TAG_NAME, "output").text
        finally:
            driver.quit()
    except WebDriverException as error:
        raise DemoError(f"the browser did not click: {str(error.msg).strip().splitlines()[0]}") from error
    return Emitted(NAME, shown)
