"""``dispatcher up --shop``: somebody clicks, and sees what becomes of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.board import LOGIN, PATIENCE, accessible, press, sees
from tests.support.browser import Browser, missing
from tests.support.json_lines import read_whole_lines
from tests.support.redis_server import RedisServer
from tests.support.site import open_site
from tests.support.waiting import wait_for

pytestmark = pytest.mark.timeout(300)


@pytest.mark.skipif(bool(missing()), reason="Chromium and its driver are not installed")
def test_clicks_in_the_shop_come_to_every_destination_and_are_shown(tmp_path: Path) -> None:
    with RedisServer() as redis, open_site(tmp_path, redis) as site, Browser() as browser:
        site.environ["DISPATCHER_BOARD__BASIC_AUTH"] = LOGIN
        up = site.processes.dispatcher("up", "--shop", "--board-port", "0", "--no-flower")
        up.wait_for_output("ready:", PATIENCE)
        found = re.search(r"http://(127\.0\.0\.1:\d+)/shop", up.output)
        assert found is not None, up.output
        browser.open(f"http://{LOGIN}@{found[1]}/shop")
        sees(browser, "Green tea", "looking")
        press(browser, "Look at it: A pot")
        press(browser, "Into the basket: Green tea")
        sees(browser, "1 in the basket")
        press(browser, "Pay")
        sees(browser, "The basket is empty")
        names = {"shop.product.viewed", "shop.basket.filled", "shop.order.paid"}
        wait_for(
            lambda: {event["name"] for event in read_whole_lines(site.log)} == names, PATIENCE, what=lambda: up.output
        )
        # Later ones are shown in any case: relays learn within a second that somebody looks.
        browser.run("document.getElementById('email').value = 'ada@example.com'")
        press(browser, "Leave it")
        sees(browser, "shop.address.left", "tracking_log delivered")
        for scheme in ("light", "dark"):
            browser.devtools("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
            accessible(browser)
        browser.devtools("Emulation.setDeviceMetricsOverride", width=360, height=700, deviceScaleFactor=1, mobile=False)
        assert browser.run("return document.documentElement.scrollWidth") == 360
        assert up.stop(PATIENCE) == 0, up.output


def test_a_shop_that_cannot_be_opened_says_why(tmp_path: Path) -> None:
    with RedisServer() as redis, open_site(tmp_path, redis) as site:
        up = site.processes.dispatcher("up", "--shop", "--no-board")
        assert up.wait(PATIENCE) == 5, up.output
        assert "leave --no-board out" in up.output
        up = site.processes.dispatcher("up", "--shop", DISPATCHER_DEBUG="false")
        assert up.wait(PATIENCE) == 5, up.output
        assert "DISPATCHER_DEBUG=true" in up.output
